//! The names of everything a Worker may be given by its wrangler.toml, and the opened bindings of one request.
//!
//! A binding is a JavaScript handle and belongs to its request; plain values are in `configuration`.

use js_sys::Object;
use wasm_bindgen::{JsCast, JsValue};
use worker::Env;
use worker::worker_sys::types::{D1Database, DurableObjectNamespace, Fetcher, Queue};

use crate::js;

/// The directory, and by default every tenant's tables.
pub const DATABASE: &str = "DB";
/// Further D1 databases: shards, named in `workspaces.shard` by their binding.
pub const SHARD_PREFIX: &str = "SHARD_";
/// The doorbell of the processor of HubSpot's writes.
pub const HUBSPOT_WRITES_QUEUE: &str = "HUBSPOT_WRITES_QUEUE";
/// The doorbell of the processor of Salesforce's writes.
pub const SALESFORCE_WRITES_QUEUE: &str = "SALESFORCE_WRITES_QUEUE";
/// Health checks, of the job that makes them.
pub const CHECKS_QUEUE: &str = "CHECKS_QUEUE";
/// The Analytics Engine dataset; optional.
pub const METRICS: &str = "METRICS";
/// The gates' namespace.
pub const CONNECTION_GATE: &str = "CONNECTION_GATE";
/// The cache: nothing in it is needed.
pub const CACHE: &str = "CACHE";
/// The stand-in CRM; local runs and tests only. Where it is bound, no request leaves the machine.
pub const STAND_IN: &str = "STAND_IN";

/// The bindings of one request; each is absent where the Worker has no business with it.
pub struct Bindings {
    env: Env,
}

impl Bindings {
    /// Nothing is opened yet: each binding costs its look-up when it is first needed.
    pub fn from_env(env: &Env) -> Self {
        Self { env: env.clone() }
    }

    /// A database.
    pub fn database(&self, name: &str) -> Option<D1Database> {
        self.open(name)
    }

    /// A queue that this Worker may send to.
    pub fn queue(&self, name: &str) -> Option<Queue> {
        self.open(name)
    }

    /// The gates.
    pub fn gates(&self) -> Option<DurableObjectNamespace> {
        self.open(CONNECTION_GATE)
    }

    /// The stand-in CRM.
    pub fn stand_in(&self) -> Option<Fetcher> {
        self.open(STAND_IN)
    }

    /// The Analytics Engine dataset.
    pub fn dataset(&self) -> Option<JsValue> {
        js::property(self.env.as_ref(), METRICS)
    }

    /// Another Worker.
    pub fn service(&self, name: &str) -> Option<Fetcher> {
        self.open(name)
    }

    /// The cache, a KV namespace.
    pub fn cache(&self) -> Option<JsValue> {
        js::property(self.env.as_ref(), CACHE)
    }

    fn open<T: JsCast>(&self, name: &str) -> Option<T> {
        js::property(self.env.as_ref(), name).map(JsCast::unchecked_into)
    }
}

/// The names of the databases bound.
pub fn database_names(env: &Env) -> Vec<String> {
    let object: &JsValue = env.as_ref();
    Object::keys(object.unchecked_ref::<Object>())
        .iter()
        .filter_map(|name| name.as_string())
        .filter(|name| name == DATABASE || name.starts_with(SHARD_PREFIX))
        .collect()
}
