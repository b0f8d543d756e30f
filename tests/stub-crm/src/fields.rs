//! Adding a field to a JSON object without a panic where it is none.

use serde_json::{Map, Value};

/// What JSON objects can be asked to do here.
pub trait Fields {
    /// Sets a field; nothing happens to what is not an object.
    fn put(&mut self, name: &str, value: Value);
    /// A field that is an object, made if absent.
    fn object(&mut self, name: &str) -> &mut Value;
    /// A field; null when absent.
    fn field(&self, name: &str) -> &Value;
}

impl Fields for Value {
    fn put(&mut self, name: &str, value: Value) {
        if let Some(fields) = self.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    }

    fn object(&mut self, name: &str) -> &mut Value {
        if !self.is_object() {
            *self = Value::Object(Map::new());
        }
        match self {
            Value::Object(fields) => fields.entry(name).or_insert_with(|| Value::Object(Map::new())),
            other => other,
        }
    }

    fn field(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}
