//! The composite resource: up to 25 requests in one call, later ones referring to earlier ones (providers reference 2.6).
//!
//! Always without `allOrNone`: one entry's refusal leaves the others alone. What depends on a refused part is halted.

use super::hosts;
use crate::hostile;
use crate::http::{Body, Effect, Method, Request, Response};
use serde_json::{Value, json};

/// Subrequests in one call.
pub(super) const PARTS_MAX: usize = 25;

/// One subrequest. `path` is below the version, `reference` begins with a letter and is alphanumeric.
pub(super) fn part(method: Method, path: &str, reference: &str, body: Option<Value>) -> Value {
    let mut part = json!({"method": method.as_str(), "url": hosts::data_path(path), "referenceId": reference});
    if let (Some(body), Some(fields)) = (body, part.as_object_mut()) {
        fields.insert("body".to_owned(), body);
    }
    part
}

/// The call.
pub(super) fn request(instance: &str, parts: &[Value], effect: Effect) -> Request {
    let body = json!({"allOrNone": false, "collateSubrequests": false, "compositeRequest": parts});
    let url = format!("{instance}{}", hosts::data_path("composite"));
    Request::new(Method::Post, url, Body::Json(body.to_string()), effect)
}

/// A part's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) status: u16,
    pub(super) body: &'a Value,
}

impl Part<'_> {
    /// 2xx and not flagged as failed: `success: false` inside a 2xx has been seen.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && self.body.get("success").and_then(Value::as_bool) != Some(false)
    }
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
