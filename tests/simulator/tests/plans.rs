//! How SQLite means to run the write log's statements: by the whole key, whatever the size of the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use model::write::{Transition, WriteStatus};
use model::{Crm, Timestamp, WriteId};
use pollster::block_on;
use serde_json::json;
use simulator::workspace;
use std::cell::RefCell;
use store::leases::{self, Claim, Settled, Settlement};
use store::writes::{self, Filter, Key};
use store::{
    Db, DbError, Outcome, Statement, WorkspaceScope, deals, health, install_events, metrics, pending_installs,
    redaction, replays, retention,
};
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
        created_at: now,
        transition: Transition { status: WriteStatus::Failed, retry_count: 1, next_retry_at: Some(now), failure: None },
        external_ids: json!({}),
        response: None,
        dry_run: None,
    }];
    let part = Settlement::of(&settled).remove(0);
    let of_a_write = [Key { crm, key: "k".to_owned() }];
    let asked = Asked::default();
    block_on(writes::list_attempts(&asked, &scope, &WriteId::of(crm, "k").unwrap())).unwrap();
    let list_attempts = asked.0.take().remove(0);
    let claim = Claim { lease_id: "at_1", until: now, crashed_before: now, held_since: now, at: now };
    for (name, statement) in [
        ("lease", leases::lease(&scope, crm, &keys, &claim)),
        ("begin_attempts", leases::begin_attempts(&scope, crm, &keys, "at_1", now)),
        ("settle", part.settle(&scope, crm, "at_1", 1, now)),
        ("end_attempts", part.end_attempts(&scope, crm, ("at_1", now), 1, now).unwrap()),
        ("deals", deals::select_of_lease(&scope, crm, &keys, "at_1")),
        ("select_by_keys", writes::select_by_keys(&scope, &of_a_write)),
        ("select_others", writes::select_others(&scope, &of_a_write, "req", now)),
        ("replay", replays::replay(&scope, &of_a_write, now)),
        ("redact", redaction::redact(&scope, &of_a_write, now)),
        ("cancel", redaction::cancel(&scope, &of_a_write, now)),
        ("select_left", redaction::select_left(&scope, &of_a_write)),
        ("delete_attempts", redaction::delete_attempts(&scope, &of_a_write)),
        ("note_stragglers", retention::note_stragglers(&scope, &of_a_write)),
        ("list_attempts", list_attempts),
    ] {
        let plan = plan_of(&db, statement);
        let of_table: Vec<&String> =
            plan.iter().filter(|step| OF_TABLE.iter().any(|table| step.contains(table))).collect();
        assert!(!of_table.is_empty(), "{name}: {plan:?}");
        let by_key = |step: &&String| step.contains("idempotency_key=?") || step.contains(BY_TARGET);
        assert!(of_table.iter().all(by_key), "{name} walks the table: {plan:?}");
    }
}

/// Steps about the write log and its attempts, by name or alias.
const OF_TABLE: [&str; 3] = ["crm_write", "SEARCH w", "SEARCH a"];

/// The looks for open writes of the same target: an earlier one, and one that another lot is sending.
const BY_TARGET: &str = "USING INDEX crm_write_log_open (<expr>=? AND workspace_id=? AND crm=? AND target=?";

#[test]
fn what_is_open_is_found_without_what_is_final() {
    let db = SqliteDb::in_memory();
    let scope = WorkspaceScope::of(workspace("ws_acme"));
    let plan = plan_of(&db, leases::select_released(&scope, Crm::Hubspot, &["t"], Timestamp(0)));
    assert!(
        plan.iter().any(|step| step.contains("crm_write_log_open (<expr>=? AND workspace_id=? AND crm=? AND target=?")),
        "{plan:?}"
    );
    let plan = plan_of(
        &db,
        leases::lease(
            &scope,
            Crm::Hubspot,
            &["k".to_owned()],
            &Claim {
                lease_id: "at_1",
                until: Timestamp(0),
                crashed_before: Timestamp(0),
                held_since: Timestamp(0),
                at: Timestamp(0),
            },
        ),
    );
    assert!(plan.iter().any(|step| step.contains(BY_TARGET)), "{plan:?}");
}

#[test]
fn a_page_of_the_log_begins_where_the_last_one_ended() {
    let (db, asked) = (SqliteDb::in_memory(), Asked::default());
    let scope = WorkspaceScope::of(workspace("ws_acme"));
    for (status, wanted) in [
        (None, "USING PRIMARY KEY (workspace_id=? AND (created_at,crm,idempotency_key)<(?,?,?))"),
        (
            Some(WriteStatus::PermanentFailure),
            "USING INDEX crm_write_log_dead (workspace_id=? AND (created_at,crm,idempotency_key)<(?,?,?))",
        ),
    ] {
        block_on(writes::list(&asked, &scope, &Filter { status, limit: 1, ..Filter::default() })).unwrap();
        let plan = plan_of(&db, asked.0.take().remove(0));
        assert!(plan.len() == 1 && plan[0].contains(wanted), "{plan:?}");
    }
}

/// Writes down what a read asks, and answers nothing.
#[derive(Default)]
struct Asked(RefCell<Vec<Statement>>);

#[async_trait(?Send)]
impl Db for Asked {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        let answers = statements.iter().map(|_| Outcome { rows: Vec::new(), changes: 0 }).collect();
        self.0.borrow_mut().extend(statements);
        Ok(answers)
    }
}

#[test]
fn what_is_due_is_found_without_what_waits() {
    let (db, asked) = (SqliteDb::in_memory(), Asked::default());
    block_on(writes::list_due(&asked, Timestamp(0), 1)).unwrap();
    block_on(metrics::fetch_oldest_due(&asked, Timestamp(0))).unwrap();
    for statement in asked.0.take() {
        let plan = plan_of(&db, statement);
        for wanted in ["crm_write_log_open (<expr>=?)", "crm_write_log_waiting (next_retry_at<?)"] {
            assert!(plan.iter().any(|step| step.contains(wanted)), "{wanted}: {plan:?}");
        }
        assert!(!plan.iter().any(|step| step.contains("SCAN crm_write_log")), "{plan:?}");
    }
}

#[test]
fn every_other_job_finds_what_is_due_by_an_index() {
    let (db, asked) = (SqliteDb::in_memory(), Asked::default());
    block_on(health::list_due(&asked, Timestamp(0), None, 1)).unwrap();
    block_on(pending_installs::list_ended(&asked, Timestamp(0), None, 1)).unwrap();
    let mut statements = asked.0.take();
    statements.push(install_events::delete_of_old(Timestamp(0), 1));
    statements.push(pending_installs::delete_old(Timestamp(0), 1));
    statements.push(store::connect_sessions::delete_old(Timestamp(0), 1));
    statements.push(store::oauth_states::delete_old(Timestamp(0), 1));
    statements.push(store::alarms::delete_old(Timestamp(0), 1));
    for statement in statements {
        let sql = statement.sql;
        let plan = plan_of(&db, statement);
        let tables =
            ["connection_health", "pending_installs", "install_events", "connect_sessions", "oauth_states", "alarms"];
        let walks = |step: &String| tables.iter().any(|table| step.starts_with(&format!("SCAN {table}")));
        assert!(!plan.iter().any(walks), "{sql}: {plan:?}");
    }
}
