//! JSON for requests, built by functions: every use of `json!` is code of its own in a Worker, and these are there once.

use crate::http::{Body, Effect, Method, Request};
use crate::lot::{Entry, Lot};
use serde_json::{Map, Value};

/// A string.
#[inline(never)]
pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// An object of these fields, which are taken.
#[inline(never)]
pub(crate) fn object(fields: &mut [(&str, Value)]) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert((*name).to_owned(), value.take());
    }
    Value::Object(object)
}

/// What `of` makes of the entries at these positions, in their order.
#[inline(never)]
pub(crate) fn each(lot: &Lot, positions: &[usize], of: &dyn Fn(&Entry) -> Option<Value>) -> Vec<Value> {
    let mut made = Vec::with_capacity(positions.len());
    for entry in lot.at(positions) {
        made.extend(of(entry));
    }
    made
}

/// A `POST` of this.
#[inline(never)]
pub(crate) fn post(url: String, body: &Value, effect: Effect) -> Request {
    Request::new(Method::Post, url, Body::Json(model::json::text(body)), effect)
}
