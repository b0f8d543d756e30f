//! The few touches of JavaScript the other modules share: reading a property, an error's text, the one clock.

use js_sys::{Array, Function, Promise, Reflect};
use model::Timestamp;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// A property of an object, unless it is undefined or null.
pub fn property(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &JsValue::from_str(name)).ok().filter(|value| !value.is_undefined() && !value.is_null())
}

/// A property that is text and not blank.
pub fn text(object: &JsValue, name: &str) -> Option<String> {
    property(object, name)?.as_string().filter(|text| !text.trim().is_empty())
}

/// Calls a method by name and waits for the promise it gives.
pub async fn call(object: &JsValue, method: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let method: Function = Reflect::get(object, &JsValue::from_str(method))?.dyn_into()?;
    let promise: Promise = method.apply(object, &arguments.iter().collect::<Array>())?.dyn_into()?;
    JsFuture::from(promise).await
}

/// What a thrown value says. For classifying and logging; never for a caller.
pub fn message(thrown: &JsValue) -> String {
    thrown
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()))
        .or_else(|| thrown.as_string())
        .unwrap_or_else(|| "not an Error".to_owned())
}

/// The clock. Read once per request, write lot or refresh: in production it stands still between I/O anyway.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 are whole and far below 2^53")]
pub fn now() -> Timestamp {
    Timestamp(js_sys::Date::now() as i64)
}
