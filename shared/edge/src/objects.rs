//! [`flows::remove_attachments::Objects`] on R2: one call removes up to a thousand objects, and one that is not there is no
//! error. Only the Workers that name it have it.

use async_trait::async_trait;
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use js_sys::Array;
use wasm_bindgen::JsValue;
use worker::Env;

use crate::js;

/// The bucket with the bytes of attachments.
const ATTACHMENTS: &str = "ATTACHMENTS";

/// The bucket.
pub struct Attachments {
    bucket: Option<JsValue>,
}

impl Attachments {
    /// The bucket of a Worker, where it is bound.
    pub fn from_env(env: &Env) -> Self {
        Self { bucket: js::property(env.as_ref(), ATTACHMENTS) }
    }
}

#[async_trait(?Send)]
impl Objects for Attachments {
    async fn remove(&self, keys: &[&str]) -> Result<(), ObjectsUnavailable> {
        let bucket = self.bucket.as_ref().ok_or_else(|| ObjectsUnavailable("the bucket is not bound".to_owned()))?;
        let keys: Array = keys.iter().map(|key| JsValue::from_str(key)).collect();
        // R2 names its own limits and states in its errors, never a key's content.
        let removed = js::call(bucket, "delete", &[keys.into()]).await;
        removed.map(|_| ()).map_err(|thrown| ObjectsUnavailable(js::message(&thrown)))
    }
}
