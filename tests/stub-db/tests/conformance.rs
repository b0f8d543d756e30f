//! The suite that every database must pass, on SQLite. The endpoint tests run the same one on D1 in workerd.
#![allow(clippy::expect_used, reason = "tests")]

use stub_db::SqliteDb;

#[test]
fn sqlite_conforms() {
    let db = SqliteDb::in_memory();
    let (checks, failures) = pollster::block_on(store::conformance::run_all(&db));
    assert!(checks >= 12, "{checks} checks ran");
    assert!(failures.is_empty(), "{failures:#?}; SQLite said last: {:?}", db.last_failure());
}
