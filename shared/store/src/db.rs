//! The `Db` port: one transaction at a time, on D1 in production and on SQLite in tests.
//!
//! Writes are values ([`Statement`]), so a flow composes several tables into one batch; D1 has no interactive transactions.
//! D1 binds every number as REAL, so an integer is only ever compared with or stored into an INTEGER column, ids are text,
//! and lists travel as one JSON text for `json_each`.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A bound parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// SQL NULL.
    Null,
    /// Text.
    Text(String),
    /// Travels as f64: exact up to 2^53, so for times and counts only.
    Int(i64),
}

impl Bind {
    /// A list as one JSON text, for `json_each`; our own types always serialise.
    pub fn list<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::Text(serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned()))
    }
}

impl From<&str> for Bind {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Bind {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<model::Timestamp> for Bind {
    fn from(at: model::Timestamp) -> Self {
        Self::Int(at.0)
    }
}

impl<T: Into<Self>> From<Option<T>> for Bind {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<u32> for Bind {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

/// One statement with numbered parameters (`?1`, `?2`, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Constant text: values never enter SQL any other way than as binds.
    pub sql: &'static str,
    /// In the order of their numbers.
    pub binds: Vec<Bind>,
}

impl Statement {
    /// A statement.
    pub fn new(sql: &'static str, binds: impl Into<Vec<Bind>>) -> Self {
        Self { sql, binds: binds.into() }
    }
}

/// What one statement of a batch came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Rows of a SELECT or RETURNING.
    pub rows: Vec<Map<String, Value>>,
    /// Rows changed.
    pub changes: u64,
}

impl Outcome {
    /// All rows, typed.
    pub fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>, DbError> {
        self.rows.iter().map(read).collect()
    }

    /// The first row, typed.
    pub fn first<T: DeserializeOwned>(&self) -> Result<Option<T>, DbError> {
        self.rows.first().map(read).transpose()
    }
}

fn read<T: DeserializeOwned>(row: &Map<String, Value>) -> Result<T, DbError> {
    T::deserialize(row).map_err(|_| DbError::Shape)
}

/// Why a batch failed. Nothing of it is applied, except perhaps with [`DbError::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// A UNIQUE, CHECK, NOT NULL or foreign-key constraint refused it; not applied.
    #[error("the database refused the change")]
    Constraint,
    /// Overloaded or unreachable; not applied.
    #[error("the database is busy")]
    Unavailable,
    /// The connection broke: perhaps applied. Every batch is safe to repeat.
    #[error("the database did not answer; the change may have been applied")]
    Unknown,
    /// A row does not have the expected shape, or a statement is wrong: a bug or a missing migration.
    #[error("the database does not have the expected shape; are all migrations applied?")]
    Shape,
}

/// One database.
#[async_trait(?Send)]
pub trait Db {
    /// Runs the statements in order as one transaction: all or nothing.
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError>;
}

/// Runs one statement.
pub async fn run(db: &dyn Db, statement: Statement) -> Result<Outcome, DbError> {
    db.batch(vec![statement]).await?.into_iter().next().ok_or(DbError::Shape)
}

/// The outcome at `index` of a batch.
pub fn nth(outcomes: &[Outcome], index: usize) -> Result<&Outcome, DbError> {
    outcomes.get(index).ok_or(DbError::Shape)
}
