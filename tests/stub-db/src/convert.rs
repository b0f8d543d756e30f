//! Values in and out, as they look after the trip through JavaScript.

use crate::Failure;
use rusqlite::Row;
use rusqlite::types::{Value as Sqlite, ValueRef};
use serde_json::{Map, Value};
use store::Bind;

/// The largest integer an f64 counts to.
const EXACT: i64 = 1 << 53;

/// JavaScript has one kind of number, so D1 binds every one of them as REAL.
#[allow(clippy::cast_precision_loss, reason = "checked to be exact")]
pub fn bind(bind: &Bind) -> Result<Sqlite, Failure> {
    Ok(match bind {
        Bind::Null => Sqlite::Null,
        Bind::Text(text) => Sqlite::Text(text.clone()),
        Bind::Int(n) if n.unsigned_abs() <= EXACT.unsigned_abs() => Sqlite::Real(*n as f64),
        Bind::Int(n) => return Err(Failure::rule(format!("bind {n} is beyond 2^53: it would be rounded"))),
    })
}

pub fn row(row: &Row<'_>, columns: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    for (index, column) in columns.iter().enumerate() {
        let value = value(row.get_ref(index)?).map_err(|rule| Failure::rule(format!("column {column}: {rule}")))?;
        if fields.insert(column.clone(), value).is_some() {
            return Err(Failure::rule(format!(
                "two columns are named {column}: D1's rows are objects and would lose one"
            )));
        }
    }
    Ok(fields)
}

fn value(value: ValueRef<'_>) -> Result<Value, String> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) if n.unsigned_abs() <= EXACT.unsigned_abs() => Value::from(n),
        ValueRef::Integer(n) => return Err(format!("{n} is beyond 2^53: it would be rounded")),
        ValueRef::Real(x) => real(x),
        ValueRef::Text(bytes) => Value::from(str::from_utf8(bytes).map_err(|_| "text that is not UTF-8")?),
        ValueRef::Blob(bytes) => Value::from(bytes.to_vec()),
    })
}

/// A whole number is an integer once it has been a JavaScript number, whatever its column.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked to be whole and exact")]
fn real(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() <= EXACT as f64 { Value::from(x as i64) } else { Value::from(x) }
}
