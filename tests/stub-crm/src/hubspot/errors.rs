//! `HubSpot`'s error bodies.
//!
//! Not the OAuth ones (`oauth.rs`): those have no category. Shapes: `HubSpot`'s error-handling page and recorded bodies.

use crate::Env;
use crate::http::Answer;
use crate::hubspot::kind::Kind;
use crate::limits::Budget;
use serde_json::{Value, json};

/// A property that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyError {
    /// The property.
    pub name: String,
    /// For people.
    pub message: String,
    /// For programs.
    pub code: &'static str,
}

/// The fields every error has.
pub fn body(env: &Env<'_>, category: &str, message: &str) -> Value {
    json!({"status": "error", "message": message, "correlationId": env.correlation, "category": category})
}

/// An error of the usual shape.
pub fn error(env: &Env<'_>, status: u16, category: &str, message: &str) -> Answer {
    Answer::json(status, &body(env, category, message))
}

/// 400 `VALIDATION_ERROR`.
pub fn invalid(env: &Env<'_>, message: &str) -> Answer {
    error(env, 400, "VALIDATION_ERROR", message)
}

/// 404 for a record.
pub fn not_found(env: &Env<'_>) -> Answer {
    error(env, 404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
}

/// The real body when a path names no object type: there is no category.
pub fn unknown_type(env: &Env<'_>, name: &str) -> Answer {
    Answer::json(
        400,
        &json!({"status": "error", "message": format!("Unable to infer object type from: {name}"), "correlationId": env.correlation}),
    )
}

/// 404 for a path.
pub fn no_such_path(env: &Env<'_>) -> Answer {
    Answer::json(404, &json!({"status": "error", "message": "Not Found", "correlationId": env.correlation}))
}

/// 405.
pub fn wrong_method(env: &Env<'_>) -> Answer {
    Answer::json(
        405,
        &json!({"status": "error", "message": "HTTP 405 Method Not Allowed", "correlationId": env.correlation}),
    )
}

/// The body is not the JSON object it should be.
pub fn bad_json(env: &Env<'_>) -> Answer {
    invalid(env, "Invalid input JSON on line 1, column 1: could not be read")
}

/// The body of a refusal of properties: the list as text in the message, and again as `errors`.
pub fn properties_body(env: &Env<'_>, errors: &[PropertyError]) -> Value {
    let listed: Vec<Value> = errors
        .iter()
        .map(|e| json!({"isValid": false, "message": e.message, "error": e.code, "name": e.name}))
        .collect();
    let mut body = body(env, "VALIDATION_ERROR", &format!("Property values were not valid: {}", Value::from(listed)));
    let details =
        errors.iter().map(|e| json!({"message": e.message, "code": e.code, "context": {"propertyName": [e.name]}}));
    if let Some(fields) = body.as_object_mut() {
        fields.insert("errors".into(), details.collect());
    }
    body
}

/// The sentence for missing required properties. (Its exact words are not documented.)
pub fn required_body(env: &Env<'_>, kind: Kind, missing: &[&str]) -> Value {
    let message = format!("Error creating {}. Some required properties were not set.", kind.singular().to_uppercase());
    let mut body = body(env, "VALIDATION_ERROR", &message);
    if let Some(fields) = body.as_object_mut() {
        let errors = [json!({"message": message, "code": "REQUIRED_PROPERTY", "context": {"properties": missing}})];
        fields.insert("errors".into(), json!(errors));
        fields.insert("context".into(), json!({"properties": missing}));
    }
    body
}

/// 403 with the scopes that would do.
pub fn missing_scopes(env: &Env<'_>, scopes: &[&str]) -> Answer {
    let mut body = body(env, "MISSING_SCOPES", "One or more of the following scopes are required.");
    if let Some(fields) = body.as_object_mut() {
        fields.insert("context".into(), json!({"requiredGranularScopes": scopes}));
        fields.insert("links".into(), json!({"scopes": "https://developers.hubspot.com/scopes"}));
    }
    Answer::json(403, &body)
}

/// 429, worded for the limit that was met.
pub fn rate_limited(env: &Env<'_>, budget: Budget) -> Answer {
    let (message, policy) = match budget {
        Budget::TenSecondly => ("You have reached your ten_secondly_rolling limit.", "TEN_SECONDLY_ROLLING"),
        Budget::Secondly => ("You have reached your secondly limit.", "SECONDLY"),
    };
    Answer::json(
        429,
        &json!({"status": "error", "message": message, "errorType": "RATE_LIMIT", "correlationId": env.correlation,
            "policyName": policy, "groupName": "publicapi:crm:objects"}),
    )
}

/// The item for ids that are not there, in a 207.
pub fn missing_ids(kind: Kind, ids: &[String]) -> Value {
    let message = format!(
        "Could not get some {} objects, they may be deleted or not exist. Check that ids are valid.",
        kind.singular().to_uppercase()
    );
    json!({"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": ids}})
}
