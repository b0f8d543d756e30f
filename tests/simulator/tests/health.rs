//! Health checks: each connection once an hour, at its own time; what fails warns, what keeps failing is an error, and what
//! works again is well again. Audited on a change only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use crypto::{Aad, Column, vault};
use flows::check_health::{Checked, check_health};
use flows::read_connections::{ConnectionView, list_connections};
use flows::reconcile_connections::{ConnectionsReconciled, reconcile_connections};
use model::connection::ConnectionKey;
use model::health::{ACCESS_REFUSED, FAILURES_UNTIL_ERROR};
use model::{ConnectionStatus, Crm, Health, Role};
use pollster::block_on;
use providers::{Provider, provider};
use serde_json::{Value, json};
use simulator::{Fault, Port, Sim, WORKSPACE, workspace};
use store::{Statement, WorkspaceScope};

fn key(crm: Crm) -> ConnectionKey {
    ConnectionKey { workspace_id: workspace(WORKSPACE), shard: "DB".to_owned(), crm }
}

fn connected(seed: u64, crm: Crm) -> Sim {
    let sim = Sim::new(seed);
    sim.connect(crm);
    sim
}

fn view(sim: &Sim) -> ConnectionView {
    block_on(list_connections(&sim.world(), &sim.caller(Role::Member))).unwrap().remove(0)
}

fn health(sim: &Sim) -> (Health, u32) {
    let health = view(sim).health.unwrap();
    (health.status, health.consecutive_failures)
}

/// An hour with its job: every message is heard when its time comes. Answers what the checks came to.
fn hour(sim: &Sim) -> Vec<Checked> {
    block_on(reconcile_connections(&sim.world())).unwrap();
    let end = sim.now().plus_secs(3_600);
    let mut came_to = Vec::new();
    while sim.now() < end {
        sim.sleep_secs(60);
        for round in sim.ports.hear_checks() {
            for (workspace_id, crm) in round.connections {
                let key = ConnectionKey { workspace_id, shard: round.shard.clone(), crm };
                came_to.push(block_on(check_health(&sim.world(), &key)).unwrap());
            }
        }
    }
    came_to
}

/// The path of the check, which no other call has.
const fn path(crm: Crm) -> &'static str {
    match crm {
        Crm::Hubspot => "/account-info/",
        Crm::Salesforce => "/limits",
    }
}

fn faults(sim: &Sim, faults: &[Value]) {
    let request = stub_crm::Request {
        method: "POST".to_owned(),
        url: "https://stand-in.example/stand-in/faults".to_owned(),
        body: json!({"clear": true, "faults": faults}).to_string().into_bytes(),
        ..stub_crm::Request::default()
    };
    assert_eq!(sim.ports.ask_crm(&request).status, 200);
}

fn fault(crm: Crm, more: &Value) -> Value {
    let mut fault = json!({"match": {"provider": crm, "path_contains": path(crm)}});
    fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fault
}

/// A refusal of the app by a CRM that knows the token.
fn refusal(crm: Crm) -> Value {
    fault(crm, &json!({"status": 403, "code": "API_DISABLED_FOR_ORG"}))
}

fn events(sim: &Sim, name: &str) -> usize {
    let dump = sim.ports.db.dump();
    dump.iter().filter(|v| v.table == "audit_events" && v.column == "event" && v.text == name).count()
}

fn alarms(sim: &Sim) -> Vec<Value> {
    let dump = sim.ports.db.dump();
    let payloads = dump.iter().filter(|v| v.table == "alarms" && v.column == "payload_json");
    payloads.map(|v| serde_json::from_str(&v.text).unwrap()).collect()
}

#[test]
fn a_connection_is_checked_once_an_hour_and_nothing_is_audited_while_it_is_well() {
    for crm in Crm::ALL {
        let sim = connected(1, crm);
        let before = sim.ports.db.dump().iter().filter(|v| v.table == "audit_events").count();
        hour(&sim);
        let mut checks = 0;
        for _ in 0..24 {
            let came_to = hour(&sim);
            assert_eq!(came_to, [Checked::As(Health::Ok)]);
            checks += came_to.len();
        }
        assert_eq!(checks, 24);
        let after = sim.ports.db.dump().iter().filter(|v| v.table == "audit_events").count();
        assert_eq!(before, after, "{crm}");
        assert!(view(&sim).heartbeat_at > Some(simulator::BEGINNING.plus_secs(80_000).iso()));
    }
}

#[test]
fn an_idle_connection_is_kept_fresh_for_months() {
    let sim = connected(2, Crm::Hubspot);
    for _ in 0..24 * 60 {
        hour(&sim);
    }
    assert_eq!((view(&sim).status, health(&sim)), (ConnectionStatus::Connected, (Health::Ok, 0)));
}

#[test]
fn what_fails_and_passes_warns_and_a_day_of_it_is_an_error_of_the_health_alone() {
    for crm in Crm::ALL {
        let sim = connected(3, crm);
        hour(&sim);
        for what in
            [json!({"status": 503}), json!({"lose": "answer"}), json!({"status": 429}), json!({"truncate": true})]
        {
            faults(&sim, &[fault(crm, &what)]);
            assert_eq!(hour(&sim), [Checked::As(Health::Warning)], "{crm} {what}");
        }
        assert_eq!(events(&sim, "connection_health_changed"), 1, "one change, however many warnings");
        assert!(view(&sim).health.unwrap().detail.is_some());
        for _ in 4..FAILURES_UNTIL_ERROR - 1 {
            assert_eq!(hour(&sim), [Checked::As(Health::Warning)]);
        }
        assert!(alarms(&sim).is_empty());
        assert_eq!(hour(&sim), [Checked::As(Health::Error)]);
        assert_eq!(hour(&sim), [Checked::As(Health::Error)]);
        assert_eq!(view(&sim).status, ConnectionStatus::Connected, "no person has to reconnect it");
        assert_eq!(alarms(&sim).len(), 1, "told once");
        assert_eq!(alarms(&sim)[0]["type"], "crm.connection_failed");

        faults(&sim, &[]);
        assert_eq!(hour(&sim), [Checked::As(Health::Ok)]);
        assert_eq!(health(&sim), (Health::Ok, 0));
        assert_eq!(events(&sim, "connection_health_changed"), 3);
    }
}

#[test]
fn lasting_refusals_make_the_connection_an_error_and_it_comes_back_by_itself() {
    for crm in Crm::ALL {
        let sim = connected(4, crm);
        hour(&sim);
        faults(&sim, &[refusal(crm)]);
        assert_eq!(hour(&sim), [Checked::As(Health::Warning)]);
        assert_eq!(hour(&sim), [Checked::As(Health::Warning)]);
        assert_eq!((view(&sim).status, alarms(&sim).len()), (ConnectionStatus::Connected, 0));
        assert_eq!(hour(&sim), [Checked::As(Health::Error)]);
        let shown = view(&sim);
        assert_eq!(shown.status, ConnectionStatus::Error);
        assert_eq!(shown.last_error.as_ref().unwrap().code, ACCESS_REFUSED);
        assert!(shown.last_error.unwrap().advice.unwrap().contains("administrator"));
        assert_eq!((events(&sim, "connection_failed"), alarms(&sim).len()), (1, 1));
        assert_eq!(alarms(&sim)[0]["data"]["code"], ACCESS_REFUSED);

        // For days: checked on, and its grant kept alive, while nobody else gets a token.
        for _ in 0..50 {
            assert_eq!(hour(&sim), [Checked::As(Health::Error)], "{crm}");
        }
        let ask =
            flows::gate::Ask { calls: 1, searches: 0, purpose: flows::gate::Purpose::Writes, refused_generation: None };
        let refused = block_on(sim.world().gate.admit(&key(crm), ask)).err();
        assert_eq!(refused, Some(flows::gate::GateRefusal::Reconnect));
        assert_eq!((events(&sim, "connection_failed"), alarms(&sim).len()), (1, 1), "still one");

        faults(&sim, &[]);
        assert_eq!(hour(&sim), [Checked::As(Health::Ok)], "{crm}");
        assert_eq!((view(&sim).status, health(&sim)), (ConnectionStatus::Connected, (Health::Ok, 0)));
        assert!(view(&sim).last_error.is_none());
        assert_eq!(events(&sim, "connection_restored"), 1);
    }
}

#[test]
fn a_token_of_another_account_is_an_error_at_once_and_is_not_checked_again() {
    let sim = connected(5, Crm::Hubspot);
    for (sql, binds) in [
        ("UPDATE crm_connections SET external_account_id = '1'", vec![]),
        ("UPDATE connection_health SET check_at = ?1", vec![sim.now().into()]),
    ] {
        block_on(store::db::run(&sim.ports.db, Statement::new(sql, binds))).unwrap();
    }
    assert_eq!(block_on(check_health(&sim.world(), &key(Crm::Hubspot))), Ok(Checked::As(Health::Error)));
    assert_eq!(view(&sim).last_error.unwrap().code, "account_mismatch");
    assert_eq!(hour(&sim), []);
    assert_eq!(alarms(&sim).len(), 1);
}

/// The customer removes the app.
fn revoke(sim: &Sim, crm: Crm) {
    let scope = WorkspaceScope::of(workspace(WORKSPACE));
    let row = block_on(store::connections::fetch(&sim.ports.db, &scope, crm)).unwrap().unwrap();
    let aad = Aad {
        scope: WORKSPACE,
        connection: row.id.as_str(),
        column: Column::RefreshToken,
        generation: row.token_generation,
    };
    let keys = sim.keys().tokens.as_ref().unwrap();
    let token = vault::open(keys, &aad, row.refresh_token_sealed.as_deref().unwrap()).unwrap();
    let world = sim.world();
    for request in provider(crm).revoke_requests(world.settings.app(crm).unwrap(), None, Some(&token), None) {
        assert_eq!(block_on(world.http.send(request)).unwrap().status, 200);
    }
}

#[test]
fn a_revoked_grant_is_found_by_the_check_and_rests_until_a_person_reconnects() {
    for crm in Crm::ALL {
        let sim = connected(6, crm);
        hour(&sim);
        revoke(&sim, crm);
        hour(&sim);
        hour(&sim);
        assert_eq!((view(&sim).status, health(&sim).0), (ConnectionStatus::Error, Health::Error), "{crm}");
        assert_eq!(alarms(&sim).len(), 1, "the gate's mark is an alarm too");
        assert_eq!(hour(&sim), []);
        sim.connect(crm);
        hour(&sim);
        assert_eq!(hour(&sim), [Checked::As(Health::Ok)]);
    }
}

#[test]
fn two_checks_at_once_count_once() {
    let sim = connected(7, Crm::Hubspot);
    faults(&sim, &[fault(Crm::Hubspot, &json!({"status": 503}))]);
    sim.sleep_secs(2 * 3_600);
    let first = block_on(check_health(&sim.world(), &key(Crm::Hubspot))).unwrap();
    let second = block_on(check_health(&sim.world(), &key(Crm::Hubspot))).unwrap();
    assert_eq!((first, second), (Checked::As(Health::Warning), Checked::NotDue));
    assert_eq!(health(&sim), (Health::Warning, 1));
}

#[test]
fn checks_that_were_lost_are_rung_again_and_a_run_that_overlaps_checks_nothing_twice() {
    let sim = connected(8, Crm::Hubspot);
    hour(&sim);
    sim.ports.fail_at(Port::Queue, 1, Fault::Before);
    let lost = block_on(reconcile_connections(&sim.world())).unwrap();
    assert_eq!((lost.rounds, lost.rounds_lost), (0, 1));
    sim.sleep_secs(3_600);
    let found = block_on(reconcile_connections(&sim.world())).unwrap();
    assert_eq!((found.due, found.overdue, found.rounds), (1, 1, 1));
    let again = block_on(reconcile_connections(&sim.world())).unwrap();
    assert_eq!(again, ConnectionsReconciled { due: 1, overdue: 1, rounds: 1, ..ConnectionsReconciled::default() });
    let came_to = hour(&sim);
    assert_eq!(came_to.iter().filter(|c| **c == Checked::As(Health::Ok)).count(), 1, "{came_to:?}");
}

#[test]
fn every_step_of_a_check_may_fail_and_the_next_one_finds_the_truth() {
    for crm in Crm::ALL {
        // Round trips: the row, the gate's look at it, the record.
        for nth in 1..=3 {
            for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied, stub_db::Fault::Lost] {
                let sim = connected(9, crm);
                sim.sleep_secs(2 * 3_600);
                sim.ports.db.fail_at(nth, fault);
                let _ = block_on(check_health(&sim.world(), &key(crm)));
                sim.ports.db.clear_faults();
                hour(&sim);
                hour(&sim);
                assert_eq!(health(&sim), (Health::Ok, 0), "{crm} {nth} {fault:?}");
                assert_eq!(view(&sim).status, ConnectionStatus::Connected);
            }
        }
    }
}

#[test]
fn a_disconnected_connection_is_not_checked() {
    let sim = connected(10, Crm::Hubspot);
    hour(&sim);
    block_on(flows::disconnect::disconnect(&sim.world(), &sim.caller(Role::Owner), Crm::Hubspot)).unwrap();
    assert_eq!(hour(&sim), [Checked::AtRest]);
    assert_eq!(hour(&sim), []);
}

#[test]
fn thousands_of_checks_are_spread_over_the_hour_in_few_messages() {
    let sim = connected(11, Crm::Hubspot);
    let many = Statement::new(
        "INSERT INTO connection_health (workspace_id, crm, status, checked_at, check_at)
         SELECT 'ws_' || value, 'hubspot', 'ok', 0, ?2 + value * 1000 FROM json_each(?1)",
        [json!((0..3_600).collect::<Vec<_>>()).to_string().into(), sim.now().into()],
    );
    block_on(store::db::run(&sim.ports.db, many)).unwrap();
    sim.ports.db.reset_counters();
    let report = block_on(reconcile_connections(&sim.world())).unwrap();
    let trips = sim.ports.db.counters().round_trips;
    println!("{report:?}, {trips} round trips");
    assert!(report.due >= 3_600 && report.rounds <= 200, "{report:?}");
    assert!(trips <= 5);
    let checks = sim.ports.checks.borrow();
    let per_minute = |minute: i64| {
        let from = sim.now().plus_secs(minute * 60);
        let within = checks.iter().filter(|(at, _)| *at >= from && *at < from.plus_secs(60));
        within.map(|(_, round)| round.connections.len()).sum::<usize>()
    };
    assert!(
        (1..59).all(|minute| (40..=80).contains(&per_minute(minute))),
        "{:?}",
        (0..60).map(per_minute).collect::<Vec<_>>()
    );
}
