//! The repository's migrations, read from its schema folder, and a look at everything stored.

use crate::DumpedValue;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// `schema/*.sql`, in the order of their names.
fn migrations() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema");
    let entries = std::fs::read_dir(&folder).expect("the repository has a schema folder");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the schema folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    files
}

/// Applies what is missing, each file in one transaction. `user_version` is the number of those applied.
pub fn apply(connection: &mut Connection) {
    apply_until(connection, u32::MAX);
}

/// As [`apply`], but none after this number.
pub fn apply_until(connection: &mut Connection, last: u32) {
    let applied: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("SQLite has a user_version");
    for (number, file) in (1_u32..).zip(migrations()).filter(|(number, _)| (applied + 1..=last).contains(number)) {
        let sql = std::fs::read_to_string(&file).expect("a migration can be read");
        let transaction = connection.transaction().expect("a transaction begins");
        if let Err(error) = transaction.execute_batch(&sql) {
            panic!("{} does not apply: {error}", file.display());
        }
        transaction.pragma_update(None, "user_version", number).expect("the user_version is set");
        transaction.commit().expect("a migration commits");
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Deletes every row.
pub fn empty(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "defer_foreign_keys", true)?;
    for table in tables(&transaction)? {
        transaction.prepare_cached(&format!("DELETE FROM \"{table}\""))?.execute([])?;
    }
    transaction.commit()
}

pub fn dump(connection: &Connection) -> rusqlite::Result<Vec<DumpedValue>> {
    let mut values = Vec::new();
    for table in tables(connection)? {
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info(?1)")?
            .query_map([&table], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for column in columns {
            let sql = format!("SELECT CAST(\"{column}\" AS TEXT) FROM \"{table}\" WHERE \"{column}\" IS NOT NULL");
            let mut statement = connection.prepare(&sql)?;
            for text in statement.query_map([], |row| row.get::<_, String>(0))? {
                values.push(DumpedValue { table: table.clone(), column: column.clone(), text: text? });
            }
        }
    }
    Ok(values)
}
