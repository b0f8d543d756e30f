//! Every step may fail of the flows that the storm does not draw and that have no file of their own: delivering alarms,
//! declining an install, changing a policy, linking threads. (The purge, an erasure, the sealing of the audit trail, a check
//! and the watch over installs: `retention`, `erasure`, `audit`, `health`, `uninstalls`; all others: `every_step`.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use flows::change_policy::change_policy;
use flows::decline_install::{decline_install, decline_token};
use flows::deliver_alarms::deliver_alarms;
use flows::finish_oauth::Parked;
use flows::link_threads::link_threads;
use flows::purge_installs::purge_installs;
use flows::world::Http;
use flows::{Error, World};
use model::{AlarmId, Crm, Role, Secret};
use pollster::block_on;
use providers::http::{Answer, Body, NoAnswer, Request, Response};
use serde_json::{Value, json};
use simulator::{Browser, Fault, Port, Sim, WORKSPACE, workspace};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use store::{Db, Statement, WorkspaceScope, alarms};

/// The receiver of a webhook, which loses one request or one answer.
#[derive(Default)]
struct Receiver {
    /// What it took, by `webhook-id`: the body, and how often.
    taken: RefCell<BTreeMap<String, (String, u32)>>,
    calls: Cell<u32>,
    fault: Cell<Option<(u32, Fault)>>,
}

#[async_trait(?Send)]
impl Http for Receiver {
    async fn send(&self, request: Request) -> Answer {
        self.calls.set(self.calls.get() + 1);
        let fault = self.fault.get().filter(|(nth, _)| *nth == self.calls.get()).map(|(_, fault)| fault);
        if fault == Some(Fault::Before) {
            return Err(NoAnswer::Lost);
        }
        let id = request.headers.iter().find(|(name, _)| *name == "webhook-id").unwrap().1.clone();
        let Body::Json(body) = request.body else { panic!("no JSON") };
        let mut taken = self.taken.borrow_mut();
        let (first, times) = taken.entry(id).or_insert_with(|| (body.clone(), 0));
        assert_eq!(*first, body, "a repeat says the same under the same id");
        *times += 1;
        if fault.is_some() {
            return Err(NoAnswer::Lost);
        }
        Ok(Response { status: 204, headers: Vec::new(), body: Secret::new(Vec::new()) })
    }
}

/// Three alarms, of two shards.
fn alarmed() -> Sim {
    let mut sim = Sim::new(1);
    sim.settings_mut().webhook_url = Some("https://hooks.example.com/".to_owned());
    sim.keys_mut().webhook_secret = Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()));
    let scope = WorkspaceScope::of(workspace(WORKSPACE));
    for (id, shard) in [("al_1", &sim.ports.db), ("al_2", &sim.ports.db), ("al_3", &sim.ports.shard)] {
        let (parsed, payload) = (AlarmId::parse(id).unwrap(), json!({"id": id}).to_string());
        let alarm = alarms::Alarm { id: &parsed, kind: "crm.writes_failed", payload: &payload, at: sim.now() };
        let changed = Statement::new(
            "INSERT INTO thread_links (workspace_id, thread_id, deal_id, updated_at) VALUES (?1, ?2, 'd', 0)",
            [WORKSPACE.into(), id.into()],
        );
        block_on(shard.batch(vec![changed, alarms::raise_if_changed(&scope, &alarm)])).unwrap();
        shard.reset_counters();
    }
    sim
}

fn deliver(sim: &Sim, receiver: &Receiver) {
    let world = World { http: receiver, ..sim.world() };
    block_on(deliver_alarms(&world)).unwrap();
}

/// Every alarm was taken, and is marked so; at most the one whose delivery was disturbed was taken twice.
fn all_taken(sim: &Sim, receiver: &Receiver, when: &str) {
    let taken = receiver.taken.borrow();
    assert_eq!(taken.keys().map(String::as_str).collect::<Vec<_>>(), ["al_1", "al_2", "al_3"], "{when}");
    assert!(taken.values().map(|(_, times)| times).sum::<u32>() <= 4, "{when}: {taken:?}");
    let read = || Statement::new("SELECT try_at, delivered_at FROM alarms", []);
    for db in [&sim.ports.db, &sim.ports.shard] {
        for row in &block_on(db.batch(vec![read()])).unwrap()[0].rows {
            assert!(row["try_at"].is_null() && row["delivered_at"].is_i64(), "{when}: {row:?}");
        }
    }
}

#[test]
fn every_step_of_a_delivery_may_fail_and_each_alarm_is_taken_under_its_id() {
    let mut met = 0;
    let clean = (alarmed(), Receiver::default());
    deliver(&clean.0, &clean.1);
    let counts = [&clean.0.ports.db, &clean.0.ports.shard].map(|db| db.counters().round_trips);
    all_taken(&clean.0, &clean.1, "without a fault");
    for (shard, count) in counts.into_iter().enumerate() {
        for nth in 1..=count {
            for fault in stub_db::Fault::ALL {
                let (sim, receiver) = (alarmed(), Receiver::default());
                [&sim.ports.db, &sim.ports.shard][shard].fail_at(nth, fault);
                deliver(&sim, &receiver);
                assert_eq!(sim.ports.pending_faults(), 0);
                met += 1;
                deliver(&sim, &receiver);
                all_taken(&sim, &receiver, &format!("batch {nth} of shard {shard}: {fault:?}"));
            }
        }
    }
    for nth in 1..=clean.1.calls.get() {
        for fault in [Fault::Before, Fault::After] {
            let (sim, receiver) = (alarmed(), Receiver::default());
            receiver.fault.set(Some((nth, fault)));
            deliver(&sim, &receiver);
            met += 1;
            // The wait before the second try is drawn, of five minutes at most.
            sim.sleep_secs(301);
            deliver(&sim, &receiver);
            all_taken(&sim, &receiver, &format!("request {nth}: {fault:?}"));
        }
    }
    assert!(met >= 18, "{met} steps were failed");
}

fn decline(sim: &Sim, parked: &Parked) -> Result<bool, Error> {
    let cookie = parked.claim_cookie.expose();
    let token = decline_token(cookie);
    let declined = block_on(decline_install(&sim.world(), Some(cookie), parked.install_id.as_str(), Some(&token)));
    declined.map(|declined| declined.revoked)
}

/// Nothing of a declined install is left, here or at the CRM, and it was told once.
fn gone(sim: &Sim, when: &str) {
    assert_eq!(sim.ports.crm.borrow().living_grants(), 0, "{when}: the CRM still has a grant");
    let dump = sim.ports.db.dump();
    assert!(
        !dump.iter().any(|v| v.table == "pending_installs" && v.text.starts_with("v1.")),
        "{when}: a token is kept"
    );
    assert!(!dump.iter().any(|v| v.table == "crm_connections"), "{when}: it was connected");
    for event in ["install_declined", "install_revoked"] {
        let told = dump.iter().filter(|v| v.table == "install_events" && v.text == event).count();
        assert_eq!(told, 1, "{when}: {event}");
    }
}

/// The person says no again, or the hourly purge goes on.
fn finish(sim: &Sim, parked: &Parked) {
    let _ = decline(sim, parked);
    for _ in 0..3 {
        sim.sleep_secs(3_600);
        let _ = block_on(purge_installs(&sim.world()));
    }
}

#[test]
fn every_step_of_a_decline_may_fail_and_nothing_of_the_install_is_left() {
    for crm in Crm::ALL {
        let clean = Sim::new(2);
        let parked = Browser::new(&clean).install(crm).unwrap();
        let (batches, calls) = (clean.ports.db.counters().round_trips, clean.ports.used(Port::Http));
        assert_eq!(decline(&clean, &parked), Ok(true));
        let batches = clean.ports.db.counters().round_trips - batches;
        let calls = clean.ports.used(Port::Http) - calls;
        gone(&clean, "without a fault");
        assert!(batches >= 4 && calls >= 1, "{crm}: {batches} batches, {calls} calls");
        for nth in 1..=batches {
            for fault in stub_db::Fault::ALL {
                let sim = Sim::new(2);
                let parked = Browser::new(&sim).install(crm).unwrap();
                sim.ports.db.fail_at(nth, fault);
                let _ = decline(&sim, &parked);
                assert_eq!(sim.ports.pending_faults(), 0);
                finish(&sim, &parked);
                gone(&sim, &format!("{crm} batch {nth} {fault:?}"));
            }
        }
        for nth in 1..=calls {
            for fault in [Fault::Before, Fault::After] {
                let sim = Sim::new(2);
                let parked = Browser::new(&sim).install(crm).unwrap();
                sim.ports.fail_at(Port::Http, nth, fault);
                let _ = decline(&sim, &parked);
                assert_eq!(sim.ports.pending_faults(), 0);
                finish(&sim, &parked);
                gone(&sim, &format!("{crm} call {nth} {fault:?}"));
            }
        }
    }
}

/// A request of an admin.
type Ask<'a> = &'a dyn Fn(&Sim) -> Result<(), Error>;

/// Sends it again until it is answered.
fn until_answered(sim: &Sim, ask: Ask<'_>) {
    let mut tries = 1;
    while ask(sim).is_err() {
        tries += 1;
        assert!(tries < 4, "it is never answered");
    }
}

#[test]
fn every_step_of_an_admins_request_may_fail_and_it_is_done_and_told_once() {
    let link = |sim: &Sim| {
        let body: Value = json!({"links": [{"thread_id": "th_1", "deal_id": "d_1"}],
            "deals": [{"deal_id": "d_1", "crm": "hubspot", "crm_deal_id": "77"}]});
        block_on(link_threads(&sim.world(), &sim.caller(Role::Admin), &body)).map(|_| ())
    };
    let policy = |sim: &Sim| {
        block_on(change_policy(&sim.world(), &sim.caller(Role::Admin), &json!({"message_days": 30}))).map(|_| ())
    };
    let requests: [(Ask<'_>, &str, &str, &[&str]); 2] = [
        (&link, "thread_links", "deal_id", &["threads_linked", "deals_mapped"]),
        (&policy, "retention_policies", "message_days", &["retention_policy_changed"]),
    ];
    for (ask, table, column, events) in requests {
        let count = |sim: &Sim| sim.ports.db.counters().round_trips;
        let clean = connected();
        let before = count(&clean);
        until_answered(&clean, ask);
        for nth in 1..=count(&clean) - before {
            for fault in stub_db::Fault::ALL {
                let sim = connected();
                sim.ports.db.fail_at(nth, fault);
                until_answered(&sim, ask);
                let when = format!("{table} batch {nth} {fault:?}");
                assert_eq!(sim.ports.pending_faults(), 0, "{when}");
                let dump = sim.ports.db.dump();
                assert_eq!(dump.iter().filter(|v| v.table == table && v.column == column).count(), 1, "{when}");
                for event in events {
                    let told = dump.iter().filter(|v| v.table == "audit_events" && v.text == *event).count();
                    assert_eq!(told, 1, "{when}: {event}");
                }
            }
        }
    }
}

fn connected() -> Sim {
    let sim = Sim::new(3);
    sim.connect(Crm::Hubspot);
    sim
}
