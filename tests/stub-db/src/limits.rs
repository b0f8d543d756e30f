//! D1's limits, imposed on SQLite.

use crate::Failure;
use rusqlite::Connection;
use rusqlite::limits::Limit;
use store::Statement;

/// Bound parameters per statement.
pub const BINDS: i32 = 100;
/// Bytes of a string, a blob or a row.
pub const VALUE_BYTES: i32 = 2_000_000;
/// Bytes of a statement.
pub const STATEMENT_BYTES: i32 = 100_000;
/// Columns of a table or a result.
pub const COLUMNS: i32 = 100;
/// Bytes of a LIKE or GLOB pattern.
pub const PATTERN_BYTES: i32 = 50;

/// Sets them on a connection, after the migrations: D1's pages give the first five, workerd's source the others.
pub(crate) fn impose(connection: &Connection) {
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, BINDS),
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES),
        (Limit::SQLITE_LIMIT_COLUMN, COLUMNS),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 10),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
    ] {
        connection.set_limit(limit, value).expect("SQLite knows its limits");
    }
}

/// What SQLite would do and D1 does not.
pub(crate) fn check(statement: &Statement) -> Result<(), Failure> {
    let keyword =
        statement.sql.split_whitespace().next().unwrap_or_default().trim_end_matches(';').to_ascii_uppercase();
    match keyword.as_str() {
        "BEGIN" | "COMMIT" | "END" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => {
            Err(Failure::rule(format!("D1 has no {keyword}: a batch is the transaction")))
        }
        "ATTACH" | "DETACH" | "VACUUM" | "PRAGMA" => {
            Err(Failure::rule(format!("{keyword} is no statement for a flow")))
        }
        _ => Ok(()),
    }
}
