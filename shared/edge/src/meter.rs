//! Data points for Workers Analytics Engine, made of log events: what happened how often, where the dataset is bound. Writing one
//! is not waited for and cannot fail the work it tells of.

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::bindings::Bindings;
use crate::js;

/// Takes an event and its fields.
pub type Meter = Box<dyn Fn(&'static str, &[(&'static str, &str)])>;

/// The events that are counted.
const METERED: &[&str] = &[
    "connection_checked",
    "connection_failed",
    "crm_limit_met",
    "job_done",
    "job_failed",
    "token_refresh_failed",
    "token_refreshed",
    "webhook_failed",
    "webhook_given_up",
    "writes_settled",
];

/// Fields of a point that are text, in their order after the event itself; and those that are numbers.
const TEXTS: [&str; 4] = ["crm", "status", "class", "code"];
const NUMBERS: [&str; 4] = ["count", "calls", "limit_used", "limit_max"];

/// The meter, where a dataset is bound as `METRICS`.
pub fn open(bindings: &Bindings) -> Option<Meter> {
    let dataset = bindings.dataset()?;
    let write: Function = js::property(&dataset, "writeDataPoint")?.dyn_into().ok()?;
    Some(Box::new(move |event, fields| {
        if METERED.contains(&event) {
            let _ = write.call1(&dataset, &point(event, fields));
        }
    }))
}

/// A count. Not parsed as a fraction: that brings 12 KB gzip of tables to every Worker that counts.
fn whole(text: &str) -> Option<f64> {
    text.parse().ok().map(|count: u32| f64::from(count))
}

fn point(event: &str, fields: &[(&'static str, &str)]) -> JsValue {
    let field = |name: &str| fields.iter().find(|(of, _)| *of == name).map(|(_, value)| *value);
    let blobs = Array::of1(&JsValue::from_str(event));
    for name in TEXTS {
        blobs.push(&JsValue::from_str(field(name).unwrap_or_default()));
    }
    let doubles = Array::new();
    for name in NUMBERS {
        // An event without a count is one.
        let missing = if name == "count" { 1.0 } else { 0.0 };
        doubles.push(&JsValue::from_f64(field(name).and_then(whole).unwrap_or(missing)));
    }
    let point = Object::new();
    for (name, value) in [("blobs", blobs), ("doubles", doubles), ("indexes", Array::of1(&JsValue::from_str(event)))] {
        let _ = Reflect::set(&point, &JsValue::from_str(name), &value);
    }
    point.into()
}
