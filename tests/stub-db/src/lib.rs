//! D1 on this machine: [`SqliteDb`] is `store::Db` on SQLite, with the real schema and D1's rules, for native tests and the
//! simulator.
//!
//! In scope: what D1 does that plain SQLite does not. Numbers bind as REAL; a batch is one transaction, all or nothing;
//! at most [`limits::BINDS`] binds and [`limits::VALUE_BYTES`] per value, and the other limits of [`limits`]; no
//! transaction control in SQL; foreign keys are on; `changes()` is the previous statement's. Counters for budgets, and
//! faults for "fail every step" tests.
//!
//! Stricter than D1 on purpose: an integer beyond 2^53, which D1 rounds silently in either direction, fails the batch.
//! Out of scope: read replication, D1's time limits, other error texts than the [`DbError`] they become.
//!
//! Sources: Cloudflare's D1 limits page, and workerd `src/workerd/util/sqlite.c++` for the engine limits.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's database: a schema that does not apply must stop the test at once"
)]

mod convert;
mod faults;
pub mod limits;
mod rows_written;
mod schema;
#[cfg(test)]
mod tests;

pub use faults::Fault;

use async_trait::async_trait;
use faults::Faults;
use rows_written::IndexCount;
use rusqlite::{Connection, ErrorCode, Transaction};
use std::cell::{Cell, RefCell};
use std::path::Path;
use store::{Db, DbError, Outcome, Statement};

/// What the batches so far have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches sent, failed ones among them: what a request waits for.
    pub round_trips: u64,
    /// Statements in committed batches.
    pub statements: u64,
    /// Rows returned by committed batches. (D1 bills rows scanned, which are at least these.)
    pub rows_returned: u64,
    /// Rows changed by committed batches, with an entry per index of the table, as D1 bills them. An upper bound: an
    /// update is counted as if it touched every index, and a partial index as if it held every row.
    pub rows_written: u64,
}

/// One value of one row, as text. See [`SqliteDb::dump`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedValue {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The value as SQLite casts it to text.
    pub text: String,
}

/// A D1 database on SQLite. Single-threaded, as a Worker is; share it by reference.
pub struct SqliteDb {
    connection: RefCell<Connection>,
    faults: RefCell<Faults>,
    counters: Cell<Counters>,
    indexes: IndexCount,
    last_failure: RefCell<Option<String>>,
}

impl SqliteDb {
    /// A fresh database in memory, all migrations applied.
    ///
    /// # Panics
    /// When a migration does not apply.
    pub fn in_memory() -> Self {
        Self::on(Connection::open_in_memory().expect("SQLite opens in memory"))
    }

    /// The database in a file, made when absent; migrations it does not have yet are applied. Several may be open on one
    /// file: each batch is complete before the next begins.
    ///
    /// # Panics
    /// When the file cannot be opened or a migration does not apply.
    pub fn on_file(path: &Path) -> Self {
        Self::on(Connection::open(path).expect("SQLite opens the file"))
    }

    fn on(mut connection: Connection) -> Self {
        connection.pragma_update(None, "foreign_keys", true).expect("SQLite enforces foreign keys");
        connection.set_prepared_statement_cache_capacity(256);
        schema::apply(&mut connection);
        limits::impose(&connection);
        Self {
            indexes: IndexCount::of(&connection),
            connection: RefCell::new(connection),
            faults: RefCell::default(),
            counters: Cell::default(),
            last_failure: RefCell::default(),
        }
    }

    /// Deletes every row and forgets faults and counters: as good as a fresh one, and much sooner.
    ///
    /// # Panics
    /// When SQLite cannot empty a table.
    pub fn empty(&self) {
        schema::empty(&mut self.connection.borrow_mut()).expect("SQLite empties its tables");
        self.clear_faults();
        self.reset_counters();
    }

    /// Makes the `nth` batch from now fail (1 is the next one). Several may be pending, one per batch.
    ///
    /// # Panics
    /// When `nth` is 0 or that batch has a fault already.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        self.faults.borrow_mut().plan(nth, fault);
    }

    /// Faults planned and not met yet. A test that planned one should end with 0: else it did not test what it meant to.
    pub fn pending_faults(&self) -> usize {
        self.faults.borrow().pending()
    }

    /// Forgets all planned faults.
    pub fn clear_faults(&self) {
        self.faults.borrow_mut().clear();
    }

    /// What the batches have cost since the start or the last [`Self::reset_counters`].
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Sets the counters to zero.
    pub fn reset_counters(&self) {
        self.counters.set(Counters::default());
    }

    /// Why the last failed batch failed, in SQLite's words: `DbError` has none, and a test's message wants some.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.borrow().clone()
    }

    /// Every value that is not NULL of every table, for tests that look for what must not be stored. Not counted as a
    /// round trip.
    ///
    /// # Panics
    /// When SQLite cannot read its own tables.
    pub fn dump(&self) -> Vec<DumpedValue> {
        schema::dump(&self.connection.borrow()).expect("SQLite reads its own tables")
    }

    fn attempt(&self, statements: &[Statement], fault: Option<Fault>) -> Result<Vec<Outcome>, Failure> {
        if fault == Some(Fault::Refused) {
            return Err(Failure::injected(DbError::Unavailable));
        }
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction()?;
        let outcomes = statements.iter().map(|s| run(&transaction, s)).collect::<Result<Vec<_>, _>>()?;
        if fault == Some(Fault::Lost) {
            return Err(Failure::injected(DbError::Unknown));
        }
        transaction.commit()?;
        self.count(statements, &outcomes);
        if fault == Some(Fault::Applied) {
            return Err(Failure::injected(DbError::Unknown));
        }
        Ok(outcomes)
    }

    fn count(&self, statements: &[Statement], outcomes: &[Outcome]) {
        let mut counters = self.counters.get();
        for (statement, outcome) in statements.iter().zip(outcomes) {
            counters.statements += 1;
            counters.rows_returned += outcome.rows.len() as u64;
            counters.rows_written += outcome.changes * self.indexes.entries_per_row(statement.sql);
        }
        self.counters.set(counters);
    }
}

#[async_trait(?Send)]
impl Db for SqliteDb {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        let mut counters = self.counters.get();
        counters.round_trips += 1;
        self.counters.set(counters);
        let fault = self.faults.borrow_mut().next();
        self.attempt(&statements, fault).map_err(|failure| {
            self.last_failure.replace(Some(failure.text));
            failure.error
        })
    }
}

/// A failed batch: what the caller sees, and what a person debugging wants.
struct Failure {
    error: DbError,
    text: String,
}

impl Failure {
    fn injected(error: DbError) -> Self {
        Self { error, text: "a planned fault".to_owned() }
    }

    /// A rule of D1 (or of ours) that SQLite does not know.
    fn rule(text: impl Into<String>) -> Self {
        Self { error: DbError::Shape, text: text.into() }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(cause: rusqlite::Error) -> Self {
        let error = match cause.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => DbError::Constraint,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DbError::Unavailable,
            _ => DbError::Shape,
        };
        Self { error, text: cause.to_string() }
    }
}

fn run(transaction: &Transaction<'_>, statement: &Statement) -> Result<Outcome, Failure> {
    limits::check(statement)?;
    let mut prepared = transaction.prepare_cached(statement.sql)?;
    let columns: Vec<String> = prepared.column_names().map(ToOwned::to_owned).collect();
    let binds = statement.binds.iter().map(convert::bind).collect::<Result<Vec<_>, _>>()?;
    let before = transaction.total_changes();
    let mut rows = Vec::new();
    // A statement without columns steps once and yields no row; one with RETURNING is read to its end.
    let mut found = prepared.query(rusqlite::params_from_iter(binds))?;
    while let Some(row) = found.next()? {
        rows.push(convert::row(row, &columns)?);
    }
    drop(found);
    Ok(Outcome { rows, changes: transaction.total_changes() - before })
}
