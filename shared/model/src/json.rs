//! JSON text to our types, by way of a `Value`, and values to text. Rows come as values already, and serde makes the code
//! that reads a type once for every source it is read from: text as a second source costs a Worker 5 KB gzip.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The value as text. Not by its `Display`, which takes every piece of it through a formatter.
pub fn text(value: &Value) -> String {
    // A value's keys are text, so this does not fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// The value that `text` is, or `None` when it is not JSON of that shape.
pub fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    let value = serde_json::from_str::<Value>(text).ok()?;
    T::deserialize(&value).ok()
}
