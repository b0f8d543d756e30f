//! What D1 does, shown of the stand-in. What it shares with D1 in workerd is also in the endpoint tests.

use crate::{Counters, Fault, SqliteDb};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::{Bind, Db, DbError, Outcome, Statement};

fn run(db: &SqliteDb, sql: &'static str, binds: &[Bind]) -> Result<Outcome, DbError> {
    batch(db, vec![Statement::new(sql, binds)]).map(|mut outcomes| outcomes.remove(0))
}

fn batch(db: &SqliteDb, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
    pollster::block_on(db.batch(statements))
}

fn scalar(db: &SqliteDb, sql: &'static str, binds: &[Bind]) -> Value {
    let outcome = run(db, sql, binds).unwrap();
    outcome.rows[0].values().next().unwrap().clone()
}

fn workspace(id: &str, created_at: i64) -> Statement {
    Statement::new(
        "INSERT INTO workspaces (id, name, created_at) VALUES (?1, ?2, ?3)",
        [Bind::from(id), "Acme".into(), Bind::Int(created_at)],
    )
}

fn count(db: &SqliteDb) -> Value {
    scalar(db, "SELECT COUNT(*) FROM workspaces", &[])
}

fn text(db: &SqliteDb) -> String {
    db.last_failure().unwrap_or_default()
}

/// A table for what the schema has no example of.
fn lab() -> SqliteDb {
    let db = SqliteDb::in_memory();
    run(&db, "CREATE TABLE lab (id TEXT PRIMARY KEY, n INTEGER, t TEXT, r REAL) STRICT", &[]).unwrap();
    db
}

#[test]
fn every_migration_is_applied() {
    let db = SqliteDb::in_memory();
    for table in ["workspaces", "oauth_states", "crm_connections", "crm_write_log", "audit_events"] {
        let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        assert_eq!(scalar(&db, sql, &[Bind::from(table)]), json!(1), "{table}");
    }
}

#[test]
fn a_number_binds_as_real() {
    assert_eq!(scalar(&lab(), "SELECT typeof(?1)", &[Bind::Int(1)]), json!("real"));
    assert_eq!(scalar(&lab(), "SELECT 'k' || ?1", &[Bind::Int(7)]), json!("k7.0"));
}

#[test]
fn a_number_lands_in_an_integer_column_as_an_integer() {
    let db = lab();
    let ms = 1_763_640_000_123;
    run(&db, "INSERT INTO lab (id, n) VALUES ('a', ?1)", &[Bind::Int(ms)]).unwrap();
    assert_eq!(scalar(&db, "SELECT typeof(n) FROM lab", &[]), json!("integer"));
    assert_eq!(scalar(&db, "SELECT n FROM lab WHERE n = ?1", &[Bind::Int(ms)]), json!(ms));
    assert_eq!(scalar(&db, "SELECT n FROM lab LIMIT ?1", &[Bind::Int(1)]), json!(ms));
}

#[test]
fn a_text_column_shows_a_number_as_the_mistake_it_is_and_text_as_given() {
    let db = lab();
    run(&db, "INSERT INTO lab (id, t) VALUES ('a', ?1), ('b', ?2)", &[Bind::Int(7), Bind::from("7")]).unwrap();
    assert_eq!(scalar(&db, "SELECT t FROM lab WHERE id = 'a'", &[]), json!("7.0"));
    assert_eq!(scalar(&db, "SELECT t FROM lab WHERE id = 'b'", &[]), json!("7"));
}

#[test]
fn a_whole_real_comes_out_as_an_integer_and_a_fraction_stays() {
    assert_eq!(scalar(&lab(), "SELECT ?1", &[Bind::Int(7)]), json!(7));
    assert_eq!(scalar(&lab(), "SELECT ?1 / 2", &[Bind::Int(7)]), json!(3.5));
}

#[test]
fn an_integer_beyond_2_53_neither_enters_nor_leaves() {
    let db = lab();
    assert_eq!(run(&db, "SELECT ?1", &[Bind::Int((1 << 53) + 1)]), Err(DbError::Shape));
    assert!(text(&db).contains("2^53"), "{}", text(&db));
    assert_eq!(run(&db, "SELECT 9007199254740993 AS big", &[]), Err(DbError::Shape));
    assert_eq!(scalar(&db, "SELECT ?1", &[Bind::Int(1 << 53)]), json!(1_i64 << 53));
}

#[test]
fn a_hundred_binds_pass_and_a_hundred_and_one_are_refused() {
    let db = lab();
    let hundred = vec![Bind::from("x"); 100];
    assert_eq!(scalar(&db, "SELECT ?100", &hundred), json!("x"));
    let more = vec![Bind::from("x"); 101];
    assert_eq!(run(&db, "SELECT ?101", &more), Err(DbError::Shape));
    assert!(text(&db).contains("variable number"), "{}", text(&db));
}

#[test]
fn a_bind_without_a_place_or_a_place_without_a_bind_is_refused() {
    assert_eq!(run(&lab(), "SELECT ?1", &[Bind::Null, Bind::Null]), Err(DbError::Shape));
    assert_eq!(run(&lab(), "SELECT ?1, ?2", &[Bind::Null]), Err(DbError::Shape));
}

#[test]
fn a_value_over_two_megabytes_is_refused() {
    let db = lab();
    let insert = "INSERT INTO lab (id, t) VALUES ('a', ?1)";
    assert_eq!(run(&db, insert, &[Bind::from("x".repeat(2_000_001))]), Err(DbError::Shape));
    assert_eq!(run(&db, insert, &[Bind::from("x".repeat(1_999_900))]).unwrap().changes, 1);
}

#[test]
fn transactions_and_pragmas_are_not_statements() {
    for sql in ["BEGIN", "begin immediate", "COMMIT;", "ROLLBACK", "SAVEPOINT a", "PRAGMA foreign_keys = 0", "VACUUM"] {
        assert_eq!(run(&lab(), sql, &[]), Err(DbError::Shape), "{sql}");
    }
}

#[test]
fn two_statements_in_one_text_are_refused() {
    let db = lab();
    assert_eq!(run(&db, "DELETE FROM lab; DELETE FROM lab", &[]), Err(DbError::Shape));
}

#[test]
fn two_columns_of_one_name_are_refused() {
    assert_eq!(run(&lab(), "SELECT 1 AS a, 2 AS a", &[]), Err(DbError::Shape));
}

#[test]
fn a_batch_is_all_or_nothing() {
    let db = SqliteDb::in_memory();
    let failed = batch(&db, vec![workspace("ws_a", 1), workspace("no prefix", 1)]);
    assert_eq!(failed, Err(DbError::Constraint));
    assert!(text(&db).contains("CHECK"), "{}", text(&db));
    assert_eq!(count(&db), json!(0));
}

#[test]
fn a_wrong_type_in_a_strict_table_is_refused() {
    assert_eq!(run(&lab(), "INSERT INTO lab (id, n) VALUES ('a', 'seven')", &[]), Err(DbError::Constraint));
    assert_eq!(run(&lab(), "INSERT INTO lab (id, n) VALUES ('a', 1.5)", &[]), Err(DbError::Constraint));
}

#[test]
fn foreign_keys_are_enforced() {
    let db = SqliteDb::in_memory();
    let member =
        "INSERT INTO workspace_members (workspace_id, user_id, role, created_at) VALUES ('ws_x', 'us_x', 'owner', 1)";
    assert_eq!(run(&db, member, &[]), Err(DbError::Constraint));
}

#[test]
fn changes_is_the_previous_statements_so_a_lost_compare_and_set_inserts_nothing() {
    let db = lab();
    run(&db, "INSERT INTO lab (id, n) VALUES ('row', 1)", &[]).unwrap();
    let advance = |event: &str| {
        let update = Statement::new("UPDATE lab SET n = 2 WHERE id = 'row' AND n = 1", []);
        let event = Statement::new("INSERT INTO lab (id) SELECT ?1 WHERE changes() = 1", [Bind::from(event)]);
        let outcomes = batch(&db, vec![update, event]).unwrap();
        outcomes.iter().map(|outcome| outcome.changes).collect::<Vec<_>>()
    };
    assert_eq!(advance("won"), [1, 1]);
    assert_eq!(advance("lost"), [0, 0]);
    assert_eq!(scalar(&db, "SELECT COUNT(*) FROM lab WHERE id = 'lost'", &[]), json!(0));
}

#[test]
fn changes_survives_a_select_between() {
    let db = lab();
    let outcomes = batch(
        &db,
        vec![
            Statement::new("INSERT INTO lab (id) VALUES ('a'), ('b')", []),
            Statement::new("SELECT id FROM lab", []),
            Statement::new("SELECT changes() AS changed", []),
        ],
    )
    .unwrap();
    assert_eq!(outcomes.iter().map(|o| o.changes).collect::<Vec<_>>(), [2, 0, 0]);
    assert_eq!(outcomes[2].rows[0]["changed"], json!(2));
}

#[test]
fn returning_gives_the_rows_and_the_changes() {
    let db = SqliteDb::in_memory();
    batch(&db, vec![workspace("ws_a", 1), workspace("ws_b", 2)]).unwrap();
    let outcome = run(&db, "UPDATE workspaces SET name = 'New' RETURNING id, created_at", &[]).unwrap();
    assert_eq!(outcome.changes, 2);
    assert_eq!(Value::from(outcome.rows[1].clone()), json!({"id": "ws_b", "created_at": 2}));
}

#[test]
fn a_list_travels_as_one_json_text() {
    let rows = run(&lab(), "SELECT value FROM json_each(?1)", &[Bind::from(r#"["a","b"]"#)]).unwrap().rows;
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_refused_batch_is_not_applied() {
    let db = SqliteDb::in_memory();
    db.fail_at(1, Fault::Refused);
    assert_eq!(batch(&db, vec![workspace("ws_a", 1)]), Err(DbError::Unavailable));
    assert_eq!(count(&db), json!(0));
}

#[test]
fn a_lost_answer_is_applied_and_unknown() {
    let db = SqliteDb::in_memory();
    db.fail_at(1, Fault::Applied);
    assert_eq!(batch(&db, vec![workspace("ws_a", 1)]), Err(DbError::Unknown));
    assert_eq!(count(&db), json!(1));
}

#[test]
fn a_lost_request_is_unknown_and_not_applied() {
    let db = SqliteDb::in_memory();
    db.fail_at(1, Fault::Lost);
    assert_eq!(batch(&db, vec![workspace("ws_a", 1)]), Err(DbError::Unknown));
    assert_eq!(count(&db), json!(0));
}

#[test]
fn a_fault_meets_the_batch_it_was_planned_for_and_no_other() {
    let db = SqliteDb::in_memory();
    count(&db);
    db.fail_at(2, Fault::Refused);
    db.fail_at(3, Fault::Applied);
    assert!(batch(&db, vec![workspace("ws_a", 1)]).is_ok());
    assert_eq!(db.pending_faults(), 2);
    assert_eq!(batch(&db, vec![workspace("ws_b", 1)]), Err(DbError::Unavailable));
    assert_eq!(batch(&db, vec![workspace("ws_c", 1)]), Err(DbError::Unknown));
    assert!(batch(&db, vec![workspace("ws_d", 1)]).is_ok());
    assert_eq!((db.pending_faults(), count(&db)), (0, json!(3)));
    db.fail_at(1, Fault::Lost);
    db.clear_faults();
    assert_eq!(count(&db), json!(3));
}

#[test]
fn round_trips_count_failures_too_and_rows_written_count_index_entries() {
    let db = SqliteDb::in_memory();
    let member =
        "INSERT INTO workspace_members (workspace_id, user_id, role, created_at) VALUES ('ws_a', ?1, 'owner', 1)";
    batch(&db, vec![workspace("ws_a", 1), Statement::new(member, [Bind::from("us_a")])]).unwrap();
    // One row in workspaces; one row and one index entry in workspace_members.
    let expected = Counters { round_trips: 1, statements: 2, rows_returned: 0, rows_written: 3 };
    assert_eq!(db.counters(), expected);
    batch(&db, vec![workspace("no prefix", 1)]).unwrap_err();
    assert_eq!(db.counters(), Counters { round_trips: 2, ..expected });
    count(&db);
    assert_eq!(db.counters().rows_returned, 1);
    db.reset_counters();
    assert_eq!(db.counters(), Counters::default());
}

#[test]
fn a_file_keeps_its_rows_and_is_migrated_once() {
    let folder = std::env::temp_dir().join(format!("stub-db-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("kept.sqlite");
    batch(&SqliteDb::on_file(&file), vec![workspace("ws_a", 1)]).unwrap();
    assert_eq!(count(&SqliteDb::on_file(&file)), json!(1));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_dump_shows_every_value() {
    let db = SqliteDb::in_memory();
    batch(&db, vec![workspace("ws_a", 17)]).unwrap();
    let dump = db.dump();
    for (column, text) in [("id", "ws_a"), ("name", "Acme"), ("shard", "DB"), ("created_at", "17")] {
        assert!(dump.iter().any(|v| v.table == "workspaces" && v.column == column && v.text == text), "{column}");
    }
    assert_eq!(dump.len(), 4);
}

#[test]
fn the_write_log_keeps_its_rows_and_their_attempts_when_it_is_ordered_by_time() {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    crate::schema::apply_until(&mut connection, 11);
    connection
        .execute_batch(
            "INSERT INTO crm_write_log (workspace_id, crm, idempotency_key, request_hash, action, object_type, object_id,
                 source_event_id, payload_json, status, retry_count, next_retry_at, in_doubt, error_class, error_code,
                 error_detail, provider_correlation_id, external_ids_json, response_json, dry_run_json, lease_id,
                 lease_until, request_id, created_at, updated_at, target, position, external_account_id, calls)
             VALUES ('ws_1', 'hubspot', 'k1', 'h', 'a', 't', 'o', 'e', '{}', 'in_flight', 2, 5, 1, 'c', 'd', 'f', 'g',
                     '{\"task\":\"9\"}', '{}', '[]', 'at_2', 7, 'r', 3, 4, 'x', 300, '77', 6),
                    ('ws_1', 'hubspot', 'k2', 'h', 'a', 't', 'o', 'e', '{}', 'planned', 0, NULL, 0, NULL, NULL, NULL, NULL,
                     '{}', NULL, NULL, NULL, NULL, 'r', 9, 9, NULL, NULL, NULL, NULL);
             INSERT INTO crm_write_attempts (workspace_id, crm, idempotency_key, lease_id, started_at, ended_at, outcome,
                 http_status, error_code, calls)
             VALUES ('ws_1', 'hubspot', 'k1', 'at_1', 3, 4, 'failed', 500, 'd', 2),
                    ('ws_1', 'hubspot', 'k1', 'at_2', 5, NULL, NULL, NULL, NULL, NULL)",
        )
        .unwrap();
    let before = rows_by_column(&connection);
    crate::schema::apply(&mut connection);
    let mut after = rows_by_column(&connection);
    let of_attempts = after.get_mut("crm_write_attempts").unwrap();
    assert_eq!(of_attempts.remove("write_created_at").unwrap(), ["3", "3"]);
    assert_eq!(after, before);
}

/// Of the write log and its attempts: what each column holds, in the order of the keys.
fn rows_by_column(connection: &rusqlite::Connection) -> BTreeMap<&'static str, BTreeMap<String, Vec<String>>> {
    let mut tables = BTreeMap::new();
    for (table, order) in [("crm_write_log", "idempotency_key"), ("crm_write_attempts", "idempotency_key, started_at")]
    {
        let mut select = connection.prepare(&format!("SELECT * FROM {table} ORDER BY {order}")).unwrap();
        let names: Vec<String> = select.column_names().map(str::to_owned).collect();
        let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for name in &names {
                let value = row
                    .get::<_, Option<String>>(name.as_str())
                    .or_else(|_| row.get::<_, i64>(name.as_str()).map(|number| Some(number.to_string())));
                columns.entry(name.clone()).or_default().push(value.unwrap().unwrap_or_else(|| "NULL".to_owned()));
            }
        }
        tables.insert(table, columns);
    }
    tables
}
