//! Salesforce's errors: an array with `errorCode` at the top level, items with `statusCode` inside collections.
//!
//! Not the OAuth ones (`oauth.rs`). Codes and texts: Salesforce's REST guide and recorded bodies.

use crate::fields::Fields as _;
use crate::http::Answer;
use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// HTTP status of a call that is refused as a whole.
    pub status: u16,
    /// `REQUIRED_FIELD_MISSING`
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Fields concerned.
    pub fields: Option<Vec<String>>,
    /// What a duplicate rule found.
    pub duplicate: Option<Value>,
}

/// A value or a refusal.
pub type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    /// A refusal with status 400.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into(), fields: None, duplicate: None }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same about these fields.
    #[must_use]
    pub fn about(self, fields: &[&str]) -> Self {
        Self { fields: Some(fields.iter().map(|field| (*field).to_owned()).collect()), ..self }
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::new("NOT_FOUND", "The requested resource does not exist").status(404)
    }

    /// 405.
    pub fn wrong_method(method: &str) -> Self {
        Self::new(
            "METHOD_NOT_ALLOWED",
            format!("HTTP Method '{method}' not allowed. Allowed are GET,HEAD,PATCH,POST,DELETE"),
        )
        .status(405)
    }

    /// The body cannot be read.
    pub fn bad_json() -> Self {
        Self::new("JSON_PARSER_ERROR", "The HTTP entity body is required, but this request has no entity body.")
    }

    /// The field does not exist, or is hidden from the user.
    pub fn no_column(field: &str, object: &str) -> Self {
        Self::new("INVALID_FIELD", format!("No such column '{field}' on sobject of type {object}"))
    }

    /// An element of the top-level array.
    pub fn element(&self) -> Value {
        let mut item = json!({"message": self.message, "errorCode": self.code});
        if let Some(fields) = &self.fields {
            item.put("fields", json!(fields));
        }
        if let Some(duplicate) = &self.duplicate {
            item.put("duplicateResult", duplicate.clone());
        }
        item
    }

    /// An element of a collection's `errors`.
    pub fn item(&self) -> Value {
        let mut item = json!({"statusCode": self.code, "message": self.message, "fields": self.fields.clone().unwrap_or_default()});
        if let Some(duplicate) = &self.duplicate {
            item.put("duplicateResult", duplicate.clone());
        }
        item
    }

    /// The whole answer.
    pub fn answer(&self) -> Answer {
        Answer::json(self.status, &json!([self.element()]))
    }
}
