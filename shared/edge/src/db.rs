//! [`store::Db`] on D1: one `batch` call per batch, which is one transaction and one round trip, also for one statement.
//!
//! Results come over as one JSON text: a single crossing, and JavaScript writes a whole number without a fraction, so
//! that an integer column is an integer again.

use std::rc::Rc;

use async_trait::async_trait;
use flows::world::{Log, Shards};
use js_sys::{Array, JSON};
use serde_json::{Map, Value};
use store::{Bind, Db, DbError, Outcome, Statement};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::types::D1Database;

use crate::js;
use crate::log::Lines;

/// One D1 database.
pub struct D1 {
    database: D1Database,
    name: String,
    log: Rc<Lines>,
}

impl D1 {
    /// A database by its binding's name.
    pub const fn new(database: D1Database, name: String, log: Rc<Lines>) -> Self {
        Self { database, name, log }
    }

    async fn send(&self, statements: &[Statement]) -> Result<Vec<Outcome>, JsValue> {
        let prepared = Array::new();
        for statement in statements {
            let binds: Array = statement.binds.iter().map(to_js).collect();
            let statement = self.database.prepare(statement.sql)?.bind(binds)?;
            prepared.push(statement.as_ref());
        }
        let answer = JsFuture::from(self.database.batch(prepared)?).await?;
        let text = JSON::stringify(&answer)?;
        outcomes(&String::from(text)).ok_or_else(|| JsValue::from_str(UNREADABLE))
    }
}

#[async_trait(?Send)]
impl Db for D1 {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        self.log.rounds.count();
        self.send(&statements).await.map_err(|thrown| {
            let text = js::message(&thrown);
            let error = classify(&text);
            if error != DbError::Constraint {
                // SQLite names tables and columns in its errors, never values.
                self.log.event("database_failed", &[("database", &self.name), ("reason", &text)]);
            }
            error
        })
    }
}

/// Every database of this Worker, by binding name.
pub struct Databases(pub Vec<(String, D1)>);

impl Shards for Databases {
    fn open(&self, name: &str) -> Option<&dyn Db> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, database)| -> &dyn Db { database })
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// D1 has no integers: a JavaScript number is bound as REAL, and the STRICT column turns a whole one back.
#[expect(clippy::cast_precision_loss, reason = "times and counts stay below 2^53 (see store::Bind)")]
fn to_js(bind: &Bind) -> JsValue {
    match bind {
        Bind::Null => JsValue::NULL,
        Bind::Text(text) => JsValue::from_str(text),
        Bind::Int(number) => JsValue::from_f64(*number as f64),
    }
}

const UNREADABLE: &str = "D1_TYPE_ERROR: the answer of the batch is not the documented one";

fn outcomes(json: &str) -> Option<Vec<Outcome>> {
    let Ok(Value::Array(answers)) = serde_json::from_str(json) else { return None };
    answers.into_iter().map(outcome).collect()
}

/// `{"results": [{…}], "success": true, "meta": {"changes": 0, …}}`
fn outcome(mut answer: Value) -> Option<Outcome> {
    let changes = answer.get("meta")?.get("changes").and_then(Value::as_u64).unwrap_or(0);
    let rows = match answer.get_mut("results").map(Value::take) {
        Some(Value::Array(rows)) => rows.into_iter().map(row).collect::<Option<_>>()?,
        _ => Vec::new(),
    };
    Some(Outcome { rows, changes })
}

fn row(row: Value) -> Option<Map<String, Value>> {
    if let Value::Object(columns) = row { Some(columns) } else { None }
}

/// What a failure's text says about the change. What is not listed may have been applied.
pub fn classify(text: &str) -> DbError {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["SQLITE_CONSTRAINT", "constraint failed"]) {
        DbError::Constraint
    } else if says(&[
        "D1_TYPE_ERROR",
        "D1_COLUMN_NOTFOUND",
        "D1_EXEC_ERROR",
        "no such table",
        "no such column",
        "syntax error",
        "too many SQL variables",
        "malformed JSON",
        "Wrong number of parameter bindings",
        "SQLITE_MISMATCH",
        "SQLITE_ERROR",
        "SQLITE_RANGE",
        "SQLITE_TOOBIG",
    ]) {
        DbError::Shape
    } else if says(&[
        "overloaded",
        "Too many requests queued",
        "due to transient issue on remote node",
        "maximum DB size",
    ]) {
        DbError::Unavailable
    } else {
        DbError::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::{classify, outcomes};
    use store::DbError;

    #[test]
    fn every_known_text_has_its_class() {
        for (text, class) in [
            ("D1_ERROR: UNIQUE constraint failed: oauth_states.state_hash: SQLITE_CONSTRAINT", DbError::Constraint),
            (
                "D1_ERROR: CHECK constraint failed: x: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)",
                DbError::Constraint,
            ),
            ("D1_ERROR: no such table: workspaces: SQLITE_ERROR", DbError::Shape),
            ("D1_ERROR: near \"SELEC\": syntax error at offset 0: SQLITE_ERROR", DbError::Shape),
            ("D1_TYPE_ERROR: Type 'bigint' not supported for value '1'", DbError::Shape),
            ("D1_ERROR: Wrong number of parameter bindings for SQL query.", DbError::Shape),
            ("D1_ERROR: too many SQL variables at offset 5: SQLITE_ERROR", DbError::Shape),
            ("D1_ERROR: D1 DB is overloaded. Requests queued for too long.", DbError::Unavailable),
            ("D1_ERROR: D1 DB is overloaded. Too many requests queued.", DbError::Unavailable),
            ("D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.", DbError::Unavailable),
            ("D1_ERROR: Exceeded maximum DB size.", DbError::Unavailable),
            ("D1_ERROR: Network connection lost.", DbError::Unknown),
            ("D1_ERROR: D1 DB reset because its code was updated.", DbError::Unknown),
            ("D1_ERROR: Internal error in D1 DB storage caused object to be reset.", DbError::Unknown),
            ("D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.", DbError::Unknown),
            ("D1_ERROR: Replica disconnected from primary.", DbError::Unknown),
            ("D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.", DbError::Unknown),
            ("something new", DbError::Unknown),
        ] {
            assert_eq!(classify(text), class, "{text}");
        }
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let json = r#"[{"results":[{"at":1795165200000,"name":null}],"success":true,"meta":{"changes":1,"duration":0.2}},
            {"success":true,"meta":{"changes":0}}]"#;
        let outcomes = outcomes(json).unwrap();
        assert_eq!(outcomes[0].rows[0]["at"].as_i64(), Some(1_795_165_200_000));
        assert_eq!((outcomes[0].changes, outcomes[1].rows.len()), (1, 0));
    }
}
