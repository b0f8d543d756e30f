//! Runs of jobs under their lease, what the purge of installs does in slices and the delivery
//! of alarms, whatever step fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::deliver_alarms::deliver_alarms;
use flows::purge_installs::{Purged, purge_installs};
use flows::run_job::{LEASE_SECS, begin_job, end_job, list_jobs};
use model::install::{INSTALL_KEPT_SECS, INSTALL_LIFE_SECS};
use model::{Crm, Secret};
use pollster::block_on;
use serde_json::json;
use simulator::{Browser, Fault, Port, Sim, WORKSPACE, workspace};
use store::{Statement, WorkspaceScope, alarms, db};

#[test]
fn one_run_at_a_time_and_a_dead_one_is_taken_over() {
    let sim = Sim::new(1);
    let first = block_on(begin_job(&sim.world(), "purge-installs")).unwrap();
    let since = sim.now();
    sim.sleep_secs(60);
    let refused = block_on(begin_job(&sim.world(), "purge-installs")).unwrap_err();
    assert_eq!(refused, Error::JobRunning { since });
    block_on(begin_job(&sim.world(), "reseal-tokens")).unwrap();

    sim.sleep_secs(LEASE_SECS - 60);
    let second = block_on(begin_job(&sim.world(), "purge-installs")).unwrap();
    // The dead one was not dead: its end changes nothing.
    block_on(end_job(&sim.world(), first, Ok(json!({"of": "the first"})))).unwrap();
    assert_eq!(block_on(list_jobs(&sim.world())).unwrap()[0].outcome, "running");
    block_on(end_job(&sim.world(), second, Ok(json!({"of": "the second"})))).unwrap();
    let listed = block_on(list_jobs(&sim.world())).unwrap();
    assert_eq!((listed[0].outcome.as_str(), &listed[0].report), ("done", &Some(json!({"of": "the second"}))));
    block_on(begin_job(&sim.world(), "purge-installs")).unwrap();
}

#[test]
fn a_failed_run_says_so_and_frees_the_lease() {
    let sim = Sim::new(2);
    let begun = block_on(begin_job(&sim.world(), "seal-audit")).unwrap();
    assert_eq!(block_on(end_job(&sim.world(), begun, Err(Error::NoRandom))), Err(Error::NoRandom));
    let listed = block_on(list_jobs(&sim.world())).unwrap();
    assert_eq!((listed[0].outcome.as_str(), &listed[0].report), ("failed", &Some(json!({"code": "no_random"}))));
    assert!(block_on(begin_job(&sim.world(), "seal-audit")).is_ok());
}

#[test]
fn a_beginning_whose_answer_is_lost_is_over_when_its_lease_is() {
    let sim = Sim::new(3);
    sim.ports.db.fail_at(1, stub_db::Fault::Applied);
    assert!(block_on(begin_job(&sim.world(), "seal-audit")).is_err());
    assert!(matches!(block_on(begin_job(&sim.world(), "seal-audit")), Err(Error::JobRunning { .. })));
    sim.sleep_secs(LEASE_SECS);
    assert!(block_on(begin_job(&sim.world(), "seal-audit")).is_ok());
}

/// An alarm in the second shard, so that jobs are seen to walk them.
fn raise(sim: &Sim, id: &str) {
    let scope = WorkspaceScope::of(workspace(WORKSPACE));
    let id = model::AlarmId::parse(id).unwrap();
    let alarm = alarms::Alarm { id: &id, kind: "crm.writes_failed", payload: "{}", at: sim.now() };
    let touched = Statement::new("UPDATE connection_health SET detail = detail WHERE 1 = 0 RETURNING 1", []);
    block_on(store::Db::batch(&sim.ports.shard, vec![touched, alarms::raise_if_changed(&scope, &alarm)])).unwrap();
    assert!(state(sim).is_empty(), "nothing changed, so nothing is raised");
    let changed = Statement::new(
        "INSERT INTO thread_links (workspace_id, thread_id, deal_id, updated_at) VALUES (?1, 't', 'd', 0)",
        [WORKSPACE.into()],
    );
    for _ in 0..2 {
        let raised = vec![changed.clone(), alarms::raise_if_changed(&scope, &alarm)];
        let _ = block_on(store::Db::batch(&sim.ports.shard, raised));
    }
}

fn state(sim: &Sim) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let read = Statement::new("SELECT tries, try_at, delivered_at, last_error FROM alarms", []);
    block_on(db::run(&sim.ports.shard, read)).unwrap().rows
}

#[test]
fn without_a_webhook_alarms_are_only_kept() {
    let sim = Sim::new(4);
    raise(&sim, "al_1");
    block_on(deliver_alarms(&sim.world())).unwrap();
    assert!(state(&sim)[0]["try_at"].is_null() && state(&sim)[0]["delivered_at"].is_null());
}

#[test]
fn a_webhook_that_is_not_what_it_should_be_is_refused_by_name() {
    let mut sim = Sim::new(5);
    sim.settings_mut().webhook_url = Some("https://10.0.0.1/".to_owned());
    assert_eq!(block_on(deliver_alarms(&sim.world())), Err(Error::SecretMissing("WEBHOOK_URL")));
    sim.settings_mut().webhook_url = Some("https://hooks.example.com/".to_owned());
    assert_eq!(block_on(deliver_alarms(&sim.world())), Err(Error::SecretMissing("WEBHOOK_SECRET")));
}

#[test]
fn what_is_not_taken_is_tried_later_and_in_the_end_given_up() {
    let mut sim = Sim::new(6);
    sim.settings_mut().webhook_url = Some("https://hooks.example.com/".to_owned());
    sim.keys_mut().webhook_secret = Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()));
    raise(&sim, "al_1");
    for tries in 1..=10 {
        let report = block_on(deliver_alarms(&sim.world())).unwrap();
        assert_eq!((report.due, report.postponed + report.given_up), (1, 1), "try {tries}");
        let row = state(&sim).remove(0);
        assert_eq!(row["tries"].as_u64(), Some(tries));
        let Some(try_at) = row["try_at"].as_i64() else {
            assert_eq!((tries, report.given_up), (10, 1));
            return;
        };
        let wait = try_at - sim.now().0;
        assert!(wait > 0 && wait <= 300_000 << (tries - 1), "try {tries}: {wait} ms");
        assert_eq!(block_on(deliver_alarms(&sim.world())).unwrap().due, 0, "not before its time");
        sim.sleep_secs(wait / 1_000 + 1);
    }
    panic!("it was never given up");
}

fn count(sim: &Sim, sql: &'static str) -> u64 {
    block_on(db::run(&sim.ports.db, Statement::new(sql, []))).unwrap().rows[0]["n"].as_u64().unwrap()
}

/// More than a page of installs, each of its own account.
fn install_many(sim: &Sim, how_many: usize) {
    for n in 0..how_many {
        let mut browser = Browser::new(sim);
        let url = browser.start_install(Crm::Salesforce).unwrap();
        let callback = browser.consent(&format!("{url}&org={}", 500 + n), "approve");
        browser.finish_install(Crm::Salesforce, &callback).unwrap();
    }
}

#[test]
fn one_run_withdraws_every_page_of_ended_installs_and_passes_those_that_cannot_be() {
    let sim = Sim::new(31);
    install_many(&sim, 45);
    sim.sleep_secs(INSTALL_LIFE_SECS);
    // The first one's CRM does not answer: it must not be met again in this run, nor keep the others.
    sim.ports.fail_at(Port::Http, 1, Fault::Before);
    let purged = block_on(purge_installs(&sim.world())).unwrap();
    assert_eq!(purged, Purged { revoked: 44, left: 1, ..Purged::default() });
    let purged = block_on(purge_installs(&sim.world())).unwrap();
    assert_eq!(purged, Purged { revoked: 1, ..Purged::default() });
}

#[test]
fn a_run_that_has_used_its_queries_says_so_and_the_next_one_goes_on() {
    let sim = Sim::new(32);
    install_many(&sim, 100);
    sim.sleep_secs(INSTALL_LIFE_SECS);
    let first = block_on(purge_installs(&sim.world())).unwrap();
    assert!(first.unfinished && first.revoked > 0 && first.revoked < 100, "{first:?}");
    let second = block_on(purge_installs(&sim.world())).unwrap();
    assert_eq!(second, Purged { revoked: 100 - first.revoked, ..Purged::default() });
}

#[test]
fn the_events_of_an_install_go_with_its_row_and_not_before() {
    let sim = Sim::new(33);
    install_many(&sim, 2);
    sim.sleep_secs(INSTALL_LIFE_SECS);
    block_on(purge_installs(&sim.world())).unwrap();
    sim.sleep_secs(INSTALL_KEPT_SECS - 60);
    install_many(&sim, 1);
    assert_eq!(block_on(purge_installs(&sim.world())).unwrap().deleted, 0);
    assert_eq!(count(&sim, "SELECT COUNT(DISTINCT install_id) AS n FROM install_events"), 3);
    sim.sleep_secs(120);
    // The answer of the deletion is lost: the next run finds nothing left of it.
    sim.ports.db.fail_at(2, stub_db::Fault::Applied);
    assert!(block_on(purge_installs(&sim.world())).is_err());
    assert_eq!(block_on(purge_installs(&sim.world())).unwrap().deleted, 0);
    assert_eq!(count(&sim, "SELECT COUNT(*) AS n FROM pending_installs"), 1, "what waits is kept");
    let left = "SELECT COUNT(*) AS n FROM install_events WHERE install_id NOT IN (SELECT id FROM pending_installs)";
    assert_eq!(count(&sim, left), 0);
    assert!(count(&sim, "SELECT COUNT(*) AS n FROM install_events") > 0, "with its events");
}
