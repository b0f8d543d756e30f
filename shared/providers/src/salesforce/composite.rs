//! The composite resource: up to 25 requests in one call, later ones referring to earlier ones, and at most five of them
//! queries or collections of up to 200 records (providers reference 2.6).
//!
//! Always without `allOrNone`: one record's refusal leaves the others alone. What depends on a refused part is halted.

use super::hosts;
use super::records::Fields;
use crate::encode;
use crate::hostile;
use crate::http::{Body, Effect, Method, Request, Response};
use serde_json::{Value, json};

/// One subrequest. `path` is below the version, `reference` begins with a letter and is alphanumeric.
pub(super) fn part(method: Method, path: &str, reference: &str, body: Option<Value>) -> Value {
    let mut part = json!({"method": method.as_str(), "url": hosts::data_path(path), "referenceId": reference});
    if let (Some(body), Some(fields)) = (body, part.as_object_mut()) {
        fields.insert("body".to_owned(), body);
    }
    part
}

/// A collection: these records, created or changed independently of one another, answered in this order.
pub(super) fn collection(method: Method, path: &str, reference: &str, records: Vec<Value>) -> Value {
    let mut body = Fields::new();
    body.insert("allOrNone".to_owned(), Value::Bool(false));
    body.insert("records".to_owned(), Value::Array(records));
    part(method, &format!("composite/sobjects{path}"), reference, Some(Value::Object(body)))
}

/// A record of a collection.
pub(super) fn record(object: &str, mut fields: Fields) -> Value {
    fields.insert("attributes".to_owned(), json!({"type": object}));
    Value::Object(fields)
}

/// A query. References, as in `@{l.totalSize}`, stay as they are: they are resolved before the URL is read.
pub(super) fn query(soql: &str, reference: &str) -> Value {
    part(Method::Get, &query_path(soql), reference, None)
}

/// `query?q=`, with references left as they are. No literal of ours holds `@{`: an address cannot.
pub(super) fn query_path(soql: &str) -> String {
    let mut path = "query?q=".to_owned();
    let mut rest = soql;
    while let Some((before, (reference, after))) =
        rest.split_once("@{").and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
    {
        path.push_str(&encode::component(before));
        path.push_str("@{");
        path.push_str(reference);
        path.push('}');
        rest = after;
    }
    path.push_str(&encode::component(rest));
    path
}

/// The call.
pub(super) fn request(instance: &str, parts: &[Value], effect: Effect) -> Request {
    let body = json!({"allOrNone": false, "collateSubrequests": false, "compositeRequest": parts});
    let url = format!("{instance}{}", hosts::data_path("composite"));
    Request::new(Method::Post, url, Body::Json(model::json::text(&body)), effect)
}

/// A part's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) status: u16,
    pub(super) body: &'a Value,
}

impl<'a> Part<'a> {
    /// 2xx and not flagged as failed: `success: false` inside a 2xx has been seen.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && self.body.get("success").and_then(Value::as_bool) != Some(false)
    }

    /// The result of a collection's record, as if it had come alone.
    pub(super) fn result(&self, nth: usize) -> Option<Self> {
        let body = self.body.as_array()?.get(nth)?;
        // Without a flag nothing is said of the record.
        body.get("success").and_then(Value::as_bool)?;
        Some(Self { status: self.status, body })
    }

    /// The rows of a query, and whether they are all of them. One odd fixture has `done: true` beside a next page: `done` is
    /// what counts. Anything else than `true` is "not all".
    pub(super) fn rows(&self) -> Option<(&'a [Value], bool)> {
        rows(self.body)
    }
}

/// The rows of a query's body, and whether they are all of them.
pub(super) fn rows(body: &Value) -> Option<(&[Value], bool)> {
    let records = body.get("records")?.as_array()?;
    Some((records, body.get("done").and_then(Value::as_bool) == Some(true)))
}

/// The composite's body, when the answer is one.
pub(super) fn body(response: &Response) -> Option<Value> {
    response.json().filter(|body| response.is_success() && body.get("compositeResponse").is_some_and(Value::is_array))
}

/// The answer of the part with this reference.
pub(super) fn find<'a>(body: &'a Value, reference: &str) -> Option<Part<'a>> {
    let parts = hostile::list(body, "compositeResponse").iter();
    let part = parts.into_iter().find(|part| hostile::text(part, "referenceId") == Some(reference))?;
    let status = part.get("httpStatusCode").and_then(Value::as_u64)?;
    Some(Part { status: u16::try_from(status).ok()?, body: part.get("body").unwrap_or(&Value::Null) })
}
