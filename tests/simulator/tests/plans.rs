//! How SQLite means to run the write log's statements: by the whole key, whatever the size of the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use model::write::{Transition, WriteStatus};
use model::{Crm, Timestamp};
use pollster::block_on;
use serde_json::json;
use simulator::workspace;
use store::writes::{self, Key, Settled};
use store::{Db, Statement, WorkspaceScope};
use stub_db::SqliteDb;

fn plan_of(db: &SqliteDb, statement: Statement) -> Vec<String> {
    let explained = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let outcomes = block_on(db.batch(vec![Statement::new(explained.leak(), statement.binds)])).unwrap();
    outcomes[0].rows.iter().map(|row| row["detail"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_lot_is_found_by_its_keys() {
    let db = SqliteDb::in_memory();
    let scope = WorkspaceScope::of(workspace("ws_acme"));
    let (crm, keys, now) = (Crm::Hubspot, ["k".to_owned()], Timestamp(0));
    let settled = [Settled {
        key: "k".to_owned(),
        transition: Transition { status: WriteStatus::Succeeded, retry_count: 1, next_retry_at: None, failure: None },
        external_ids: json!({}),
        response: None,
        dry_run: None,
    }];
    for (name, statement) in [
        ("lease", writes::lease(&scope, crm, &keys, "at_1", now, now)),
        ("begin_attempts", writes::begin_attempts(&scope, crm, &keys, "at_1", now)),
        ("settle", writes::settle(&scope, crm, "at_1", &settled, now)),
        ("end_attempts", writes::end_attempts(&scope, crm, "at_1", now, &settled, 1, now)),
        ("select_by_keys", writes::select_by_keys(&scope, &[Key { crm, key: "k".to_owned() }])),
    ] {
        let plan = plan_of(&db, statement);
        let of_table: Vec<&String> =
            plan.iter().filter(|step| step.contains("crm_write") || step.contains("SEARCH w")).collect();
        assert!(!of_table.is_empty(), "{name}: {plan:?}");
        assert!(of_table.iter().all(|step| step.contains("idempotency_key=?")), "{name} walks the table: {plan:?}");
    }
}
