//! [`flows::world::Cache`]: this isolate's memory before KV. Nothing in it is needed, so no failure is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use async_trait::async_trait;
use flows::world::Cache;
use js_sys::{Object, Reflect};
use model::Timestamp;
use wasm_bindgen::JsValue;

use crate::bindings::Bindings;
use crate::js;

/// More than this is not held in memory: a value is some kilobytes, an isolate has 128 MB.
const HELD_MAX: usize = 64;
/// Nor a larger value.
const HELD_BYTES_MAX: usize = 32 * 1_024;
/// What came from KV is believed for a minute before it is read again: how long it has been there is not known.
const REREAD_SECS: i64 = 60;

thread_local! {
    static HELD: RefCell<BTreeMap<String, (Timestamp, Rc<str>)>> = const { RefCell::new(BTreeMap::new()) };
}

/// Facts about CRM accounts.
pub struct Facts {
    bindings: Rc<Bindings>,
}

impl Facts {
    /// The cache of a request.
    pub const fn new(bindings: Rc<Bindings>) -> Self {
        Self { bindings }
    }
}

#[async_trait(?Send)]
impl Cache for Facts {
    async fn get(&self, key: &str) -> Option<String> {
        let now = js::now();
        if let Some(value) = HELD.with_borrow(|held| held.get(key).filter(|(until, _)| *until > now).cloned()) {
            return Some(value.1.to_string());
        }
        let value = read(&self.bindings, key).await?;
        hold(key, &value, now.plus_secs(REREAD_SECS));
        Some(value)
    }

    async fn put(&self, key: &str, value: &str, ttl_secs: u32) {
        hold(key, value, js::now().plus_secs(ttl_secs.into()));
        write(&self.bindings, key, value, ttl_secs).await;
    }
}

fn hold(key: &str, value: &str, until: Timestamp) {
    if value.len() > HELD_BYTES_MAX {
        return;
    }
    HELD.with_borrow_mut(|held| {
        while held.len() >= HELD_MAX {
            held.pop_first();
        }
        held.insert(key.to_owned(), (until, Rc::from(value)));
    });
}

/// A text from KV.
pub async fn read(bindings: &Bindings, key: &str) -> Option<String> {
    let cache = bindings.cache()?;
    js::call(&cache, "get", &[key.into()]).await.ok()?.as_string()
}

/// A text to KV. A failure changes nothing but who asks next.
pub async fn write(bindings: &Bindings, key: &str, value: &str, ttl_secs: u32) {
    let Some(cache) = bindings.cache() else { return };
    let options = Object::new();
    let life = JsValue::from_f64(f64::from(ttl_secs));
    let _ = Reflect::set(&options, &JsValue::from_str("expirationTtl"), &life);
    let _ = js::call(&cache, "put", &[key.into(), value.into(), options.into()]).await;
}
