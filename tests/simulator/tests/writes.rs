//! Submitting and processing writes: one effect each, whatever fails; duplicates answered with the first one's row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::process_writes::{LEASE_SECS, process_writes};
use flows::read_writes::{Query, WriteDetail, fetch_write, list_writes};
use flows::reconcile_writes::reconcile_writes;
use flows::submit_writes::submit_writes;
use model::write::WriteStatus;
use model::{Crm, Role};
use pollster::block_on;
use providers::provider;
use serde_json::{Value, json};
use simulator::{Fault, Port, Sim};

fn task(crm: Crm, n: usize) -> Value {
    json!({"crm": crm, "action": "create_task", "object_type": "thread", "object_id": format!("th_{n}"),
           "source_event_id": format!("evt_{n}"),
           "contact": {"email": format!("person{n}@example.com"), "first_name": "Ada", "last_name": format!("L{n}")},
           "task": {"subject": format!("Call back {n}"), "due_at": "2026-11-27T09:00:00Z", "text": "They asked for a quote."}})
}

fn connected(seed: u64, crm: Crm) -> Sim {
    let sim = Sim::new(seed);
    sim.connect(crm);
    sim
}

/// Submits, and answers the ids.
fn submit(sim: &Sim, writes: &[Value]) -> Vec<String> {
    let answers = block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &json!({"writes": writes}))).unwrap();
    answers.into_iter().map(|answer| answer.unwrap().write.id).collect()
}

/// Hears doorbells, lets time pass and reconciles until nothing is left to do.
fn run(sim: &Sim) {
    for _ in 0..40 {
        let doorbells = sim.ports.hear();
        if doorbells.is_empty() {
            if block_on(reconcile_writes(&sim.world())).is_ok_and(|r| r.due == 0) && pending(sim) == 0 {
                return;
            }
            sim.sleep_secs(120);
        }
        for doorbell in doorbells {
            // A failed consumer is rung again by the reconciler.
            let _ = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell));
        }
    }
    panic!("writes are left over");
}

fn pending(sim: &Sim) -> usize {
    let page = block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &all())).unwrap();
    page.writes.iter().filter(|write| !write.status.is_final()).count()
}

fn all() -> Query {
    Query { limit: Some("100".to_owned()), ..Query::default() }
}

fn read(sim: &Sim, id: &str) -> WriteDetail {
    block_on(fetch_write(&sim.world(), &sim.caller(Role::Member), id)).unwrap()
}

/// How many records of these objects the CRMs hold.
fn effects(sim: &Sim, object: &str) -> usize {
    let ledger = sim.ports.stand_in("ledger");
    let effects = ledger["effects"].as_array().expect("the ledger lists effects");
    effects.iter().filter(|e| e["object"] == object && e["archived"] == false).count()
}

const fn names(crm: Crm) -> (&'static str, &'static str) {
    match crm {
        Crm::Hubspot => ("contacts", "tasks"),
        Crm::Salesforce => ("Lead", "Task"),
    }
}

#[test]
fn a_task_lands_with_its_person() {
    for crm in Crm::ALL {
        let sim = connected(1, crm);
        // The first lot of a connection finds out by which mechanisms it is written.
        submit(&sim, &[task(crm, 0)]);
        run(&sim);
        sim.ports.db.reset_counters();
        let ids = submit(&sim, &[task(crm, 1)]);
        assert_eq!(sim.ports.db.counters().round_trips, 1, "a submit is one round trip");
        let before = sim.ports.used(Port::Http);
        run(&sim);
        let calls = sim.ports.used(Port::Http) - before;
        assert!(calls <= 2, "{crm}: {calls} calls for a person and a task");
        let write = read(&sim, &ids[0]);
        assert_eq!(write.write.status, WriteStatus::Succeeded, "{:?}", write.write.error);
        assert_eq!(write.write.external_ids.len(), 2, "{:?}", write.write.external_ids);
        assert!(write.write.response.is_some());
        assert_eq!(write.attempts.len(), 1);
        assert_eq!(write.attempts[0].outcome.as_deref(), Some("succeeded"));
        let (person, activity) = names(crm);
        assert_eq!((effects(&sim, person), effects(&sim, activity)), (2, 2));
    }
}

#[test]
fn a_hundred_writes_of_one_connection_go_together() {
    for crm in Crm::ALL {
        let sim = connected(2, crm);
        let writes: Vec<Value> = (0..100).map(|n| task(crm, n)).collect();
        submit(&sim, &writes);
        let before = sim.ports.used(Port::Http);
        sim.ports.db.reset_counters();
        for doorbell in sim.ports.hear() {
            block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell)).unwrap();
        }
        let (calls, trips) = (sim.ports.used(Port::Http) - before, sim.ports.db.counters().round_trips);
        println!("{crm}: 100 tasks took {calls} calls to the CRM and {trips} round trips to the database");
        run(&sim);
        let (person, activity) = names(crm);
        assert_eq!((effects(&sim, person), effects(&sim, activity)), (100, 100));
        assert!(calls <= 24, "{crm}: {calls}");
    }
}

#[test]
fn a_repeat_is_answered_with_the_first_ones_row() {
    let sim = connected(3, Crm::Hubspot);
    let first = submit(&sim, &[task(Crm::Hubspot, 1)]);
    run(&sim);
    let answers = block_on(submit_writes(
        &sim.world(),
        &sim.caller(Role::Member),
        &json!({"writes": [task(Crm::Hubspot, 1), task(Crm::Hubspot, 2), task(Crm::Hubspot, 2)]}),
    ))
    .unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers[0].write.id, first[0]);
    assert_eq!(answers.iter().map(|a| a.duplicate).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(answers[0].write.status, WriteStatus::Succeeded);
    run(&sim);
    assert_eq!(effects(&sim, "tasks"), 2);

    let mut other = task(Crm::Hubspot, 1);
    other["task"]["subject"] = json!("Something else");
    let answers = block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &other)).unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err(), &Error::IdempotencyKeyReused);
}

#[test]
fn without_a_connection_nothing_is_planned() {
    let sim = connected(4, Crm::Hubspot);
    let body = json!({"writes": [task(Crm::Salesforce, 1), task(Crm::Hubspot, 1)]});
    let answers = block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &body)).unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err(), &Error::NotConnected(Crm::Salesforce));
    assert!(answers[1].is_ok());
}

#[test]
fn dry_run_records_the_requests_and_sends_none() {
    for crm in Crm::ALL {
        let mut sim = connected(5, crm);
        sim.settings_mut().dry_run = true;
        let ids = submit(&sim, &[task(crm, 1)]);
        let before = sim.ports.used(Port::Http);
        for doorbell in sim.ports.hear() {
            block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell)).unwrap();
        }
        assert_eq!(sim.ports.used(Port::Http), before, "nothing left");
        let write = read(&sim, &ids[0]).write;
        assert_eq!(write.status, WriteStatus::Planned);
        let requests = write.dry_run.unwrap()["requests"].as_array().unwrap().clone();
        assert!(!requests.is_empty());
        assert!(requests.iter().all(|r| r["url"].as_str().unwrap().starts_with("https://")), "{requests:?}");

        // Switched on, the write is sent when it is submitted again.
        sim.settings_mut().dry_run = false;
        submit(&sim, &[task(crm, 1)]);
        run(&sim);
        assert_eq!(read(&sim, &ids[0]).write.status, WriteStatus::Succeeded);
    }
}

#[test]
fn every_step_of_a_write_may_fail_and_the_effect_is_one() {
    for crm in Crm::ALL {
        let (person, activity) = names(crm);
        let check = |sim: &Sim, what: &str| {
            run(sim);
            assert_eq!(sim.ports.pending_faults(), 0, "{crm} {what}: the fault was met");
            let page = block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &all())).unwrap();
            assert_eq!(page.writes[0].status, WriteStatus::Succeeded, "{crm} {what}: {:?}", page.writes[0].error);
            assert_eq!((effects(sim, person), effects(sim, activity)), (1, 1), "{crm} {what}");
        };
        for nth in 1..=2 {
            for fault in [Fault::Before, Fault::After] {
                let sim = connected(6, crm);
                submit(&sim, &[task(crm, 1)]);
                sim.ports.fail_at(Port::Http, nth, fault);
                check(&sim, &format!("http {nth} {fault:?}"));
            }
        }
        // Round trips: 1 leases, 2 settles.
        for nth in 1..=2 {
            for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied] {
                let sim = connected(6, crm);
                submit(&sim, &[task(crm, 1)]);
                sim.ports.db.fail_at(nth, fault);
                for doorbell in sim.ports.hear() {
                    let _ = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell));
                }
                sim.sleep_secs(LEASE_SECS);
                check(&sim, &format!("db {nth} {fault:?}"));
            }
        }
        for fault in [Fault::Before, Fault::After] {
            let sim = connected(6, crm);
            sim.ports.fail_at(Port::Queue, 1, fault);
            submit(&sim, &[task(crm, 1)]);
            check(&sim, &format!("queue {fault:?}"));
        }
    }
}

#[test]
fn a_doorbell_heard_twice_at_once_is_processed_once() {
    let sim = connected(7, Crm::Hubspot);
    submit(&sim, &[task(Crm::Hubspot, 1)]);
    let doorbell = sim.ports.hear().remove(0);
    let first = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell)).unwrap();
    let second = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell)).unwrap();
    assert_eq!((first.leased, second.leased), (1, 0));
    assert_eq!(effects(&sim, "tasks"), 1);
}

#[test]
fn the_log_is_paged_and_filtered() {
    let sim = connected(8, Crm::Hubspot);
    for n in 0..7 {
        submit(&sim, &[task(Crm::Hubspot, n)]);
        sim.sleep_secs(1);
    }
    let mut query = Query { limit: Some("3".to_owned()), ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &query)).unwrap();
        seen.extend(page.writes.into_iter().map(|write| write.object_id));
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["th_6", "th_5", "th_4", "th_3", "th_2", "th_1", "th_0"]);
    let one = Query { object_id: Some("th_3".to_owned()), ..Query::default() };
    assert_eq!(block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &one)).unwrap().writes.len(), 1);
    for bad in [
        Query { limit: Some("0".to_owned()), ..Query::default() },
        Query { status: Some("lost".to_owned()), ..Query::default() },
        Query { crm: Some("pipedrive".to_owned()), ..Query::default() },
        Query { cursor: Some("x".to_owned()), ..Query::default() },
    ] {
        assert!(block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn another_workspaces_write_does_not_exist() {
    let sim = connected(9, Crm::Hubspot);
    sim.seed_workspace("ws_other");
    let ids = submit(&sim, &[task(Crm::Hubspot, 1)]);
    let stranger =
        flows::authenticate::Caller { workspace_id: simulator::workspace("ws_other"), ..sim.caller(Role::Owner) };
    assert_eq!(block_on(fetch_write(&sim.world(), &stranger, &ids[0])).unwrap_err(), Error::WriteNotFound);
    assert!(block_on(list_writes(&sim.world(), &stranger, &all())).unwrap().writes.is_empty());
}
