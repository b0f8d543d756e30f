//! The pipeline's own promises: doubt that outlives a disconnect, an order per target, a fence around the lease, true times.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::disconnect::disconnect;
use flows::process_writes::{LEASE_SECS, process_writes};
use flows::read_writes::{Query, WriteDetail, fetch_write, list_writes};
use flows::reconcile_writes::reconcile_writes;
use flows::replay_writes::{replay_dead_letters, replay_write};
use flows::submit_writes::submit_writes;
use model::curated::{WRITE_BYTES_MAX, WRITES_PER_REQUEST_MAX};
use model::write::WriteStatus;
use model::{Crm, Role, Timestamp};
use pollster::block_on;
use providers::provider;
use serde_json::{Value, json};
use simulator::{Fault, Port, Sim};

fn task(crm: Crm, n: usize, email: &str) -> Value {
    json!({"crm": crm, "action": "create_task", "object_type": "thread", "object_id": format!("th_{n}"),
           "source_event_id": format!("evt_{n}"), "contact": {"email": email, "first_name": format!("Ada {n}")},
           "task": {"subject": format!("Call back {n}"), "due_at": "2026-11-27T09:00:00Z"}})
}

fn submit(sim: &Sim, writes: &[Value]) -> Vec<String> {
    let answers = block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &json!({"writes": writes}))).unwrap();
    answers.into_iter().map(|answer| answer.unwrap().write.id).collect()
}

fn hear(sim: &Sim) {
    for doorbell in sim.ports.hear() {
        let _ = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell));
    }
}

/// Lets time pass, reconciles and hears until every write is final.
fn run(sim: &Sim) {
    for _ in 0..60 {
        hear(sim);
        let all = Query { limit: Some("100".to_owned()), ..Query::default() };
        let page = block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &all)).unwrap();
        if page.writes.iter().all(|write| write.status.is_final()) {
            return;
        }
        sim.sleep_secs(120);
        block_on(reconcile_writes(&sim.world())).unwrap();
    }
    panic!("writes are left over");
}

fn read(sim: &Sim, id: &str) -> WriteDetail {
    block_on(fetch_write(&sim.world(), &sim.caller(Role::Member), id)).unwrap()
}

fn class_and_code(write: &WriteDetail) -> (String, String) {
    let error = write.write.error.as_ref().expect("an error");
    (error.class.clone(), error.code.clone().unwrap_or_default())
}

fn effects(sim: &Sim, object: &str) -> usize {
    let ledger = sim.ports.stand_in("ledger");
    ledger["effects"].as_array().unwrap().iter().filter(|e| e["object"] == object && e["archived"] == false).count()
}

const fn tasks(crm: Crm) -> &'static str {
    match crm {
        Crm::Hubspot => "tasks",
        Crm::Salesforce => "Task",
    }
}

/// Connected, probed, and with one write whose creating call took effect without an answer.
fn with_a_lost_answer(seed: u64, crm: Crm) -> (Sim, String) {
    let sim = Sim::new(seed);
    sim.connect(crm);
    submit(&sim, &[task(crm, 0, "first@example.com")]);
    run(&sim);
    let id = submit(&sim, &[task(crm, 1, "ada@example.com")]).remove(0);
    let before = effects(&sim, tasks(crm));
    // The last calls of the lot create the task; which one that is, the mechanism decides.
    for nth in 1..=4 {
        sim.ports.fail_at(Port::Http, nth, Fault::After);
    }
    hear(&sim);
    sim.ports.clear_faults();
    assert!(effects(&sim, tasks(crm)) <= before + 1);
    (sim, id)
}

#[test]
fn a_doubt_outlives_a_disconnect_and_is_settled_after_the_reconnect() {
    for crm in Crm::ALL {
        let (sim, id) = with_a_lost_answer(31, crm);
        let open = read(&sim, &id).write;
        let made = effects(&sim, tasks(crm));
        block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), crm)).unwrap();
        sim.sleep_secs(1_000);
        run(&sim);
        let dead = read(&sim, &id);
        assert_eq!(dead.write.status, WriteStatus::PermanentFailure);
        if open.status == WriteStatus::Unknown {
            assert_eq!(class_and_code(&dead), ("unknown_outcome".to_owned(), "not_connected".to_owned()), "{crm}");
            sim.connect(crm);
            assert_eq!(read(&sim, &id).write.status, WriteStatus::Unknown, "{crm}: taken up again by itself");
        } else {
            sim.connect(crm);
            block_on(replay_write(&sim.world(), &sim.caller(Role::Owner), &id)).unwrap();
        }
        run(&sim);
        assert_eq!(read(&sim, &id).write.status, WriteStatus::Succeeded, "{crm}");
        assert_eq!(effects(&sim, tasks(crm)), made.max(2), "{crm}: one effect");
    }
}

#[test]
fn a_later_write_of_the_same_person_waits_for_an_earlier_one_and_others_do_not() {
    let sim = Sim::new(32);
    sim.connect(Crm::Hubspot);
    let first = submit(&sim, &[task(Crm::Hubspot, 1, "ada@example.com")]).remove(0);
    sim.ports.fail_at(Port::Http, 1, Fault::Before);
    // The probe's call is lost too where there is one; the lot's first call fails either way.
    for nth in 2..=8 {
        sim.ports.fail_at(Port::Http, nth, Fault::Before);
    }
    hear(&sim);
    sim.ports.clear_faults();
    assert!(!read(&sim, &first).write.status.is_final(), "{:?}", read(&sim, &first).write.status);
    sim.sleep_secs(1);
    let later = submit(&sim, &[task(Crm::Hubspot, 2, "ada@example.com"), task(Crm::Hubspot, 3, "eve@example.com")]);
    for doorbell in sim.ports.hear().into_iter().filter(|bell| !bell.writes.iter().any(|id| id.as_str() == first)) {
        block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell)).unwrap();
    }
    assert_eq!(read(&sim, &later[1]).write.status, WriteStatus::Succeeded, "independent");
    assert_eq!(read(&sim, &later[0]).write.status, WriteStatus::Planned, "held back");
    assert!(read(&sim, &later[0]).attempts.is_empty());
    run(&sim);
    let ended = |id: &str| read(&sim, id).write.updated_at;
    assert!(ended(&first) <= ended(&later[0]));
    assert_eq!(read(&sim, &later[0]).write.status, WriteStatus::Succeeded);
}

#[test]
fn a_processor_that_stood_still_past_its_lease_sends_nothing_more() {
    for crm in Crm::ALL {
        let sim = Sim::new(33);
        sim.connect(crm);
        submit(&sim, &[task(crm, 0, "first@example.com")]);
        run(&sim);
        let id = submit(&sim, &[task(crm, 1, "ada@example.com")]).remove(0);
        // The first call's answer comes only after the lease is over.
        sim.ports.fail_at(Port::Http, 1, Fault::Stall(LEASE_SECS));
        let before = sim.ports.used(Port::Http);
        hear(&sim);
        assert_eq!(sim.ports.used(Port::Http) - before, 1, "{crm}: a request left after the lease");
        run(&sim);
        assert_eq!(read(&sim, &id).write.status, WriteStatus::Succeeded);
        assert_eq!(effects(&sim, tasks(crm)), 2, "{crm}");
    }
}

#[test]
fn times_are_those_of_the_answers() {
    let sim = Sim::new(34);
    sim.connect(Crm::Hubspot);
    submit(&sim, &[task(Crm::Hubspot, 0, "first@example.com")]);
    run(&sim);
    let id = submit(&sim, &[task(Crm::Hubspot, 1, "ada@example.com")]).remove(0);
    sim.ports.fail_at(Port::Http, 1, Fault::Stall(7));
    hear(&sim);
    let write = read(&sim, &id);
    let at = |text: &str| Timestamp::parse(text).unwrap().0;
    let attempt = &write.attempts[0];
    let took_ms = at(attempt.ended_at.as_ref().unwrap()) - at(&attempt.started_at);
    assert_eq!((write.write.status, took_ms), (WriteStatus::Succeeded, 7_000));
    assert!(attempt.calls.unwrap() >= 1);
}

#[test]
fn a_replay_is_for_admins_shows_first_and_keeps_the_key() {
    let sim = Sim::new(35);
    sim.connect(Crm::Hubspot);
    let ids = submit(&sim, &[task(Crm::Hubspot, 1, "ada@example.com"), task(Crm::Hubspot, 2, "eve@example.com")]);
    block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), Crm::Hubspot)).unwrap();
    run(&sim);
    let all = json!({"error_code": "not_connected"});
    let replay = |role, body: &Value| block_on(replay_dead_letters(&sim.world(), &sim.caller(role), body));
    assert_eq!(replay(Role::Member, &all).unwrap_err(), Error::AdminRequired);
    let refused = block_on(replay_write(&sim.world(), &sim.caller(Role::Admin), &ids[0])).unwrap_err();
    assert_eq!(refused, Error::NotConnected(Crm::Hubspot));
    sim.connect(Crm::Hubspot);
    let shown = replay(Role::Admin, &all).unwrap();
    assert_eq!((shown.dry_run, shown.replayed, shown.remaining), (true, 2, 0));
    assert_eq!(read(&sim, &ids[0]).write.status, WriteStatus::PermanentFailure, "shown, not done");
    let done = replay(Role::Admin, &json!({"error_code": "not_connected", "dry_run": false})).unwrap();
    assert_eq!((done.dry_run, done.replayed, done.remaining, done.writes.len()), (false, 2, 0, 2));
    run(&sim);
    for id in &ids {
        assert_eq!(read(&sim, id).write.status, WriteStatus::Succeeded);
    }
    assert_eq!(effects(&sim, "tasks"), 2);
    let refused = block_on(replay_write(&sim.world(), &sim.caller(Role::Admin), &ids[0])).unwrap_err();
    assert_eq!(refused, Error::NotADeadLetter(WriteStatus::Succeeded));
}

/// A write of exactly the largest size, all of whose text doubles when it is quoted again.
fn largest(crm: Crm, n: usize) -> Value {
    let mut write = task(crm, n, &format!("person{n}@example.com"));
    let room = WRITE_BYTES_MAX - write.to_string().len() - r#","text":"""#.len();
    write["task"]["text"] = json!("\"".repeat(room / 2));
    assert!(WRITE_BYTES_MAX - write.to_string().len() <= 1);
    write
}

#[test]
fn a_hundred_of_the_largest_writes_are_taken_recorded_and_carried_within_what_the_database_binds() {
    for crm in Crm::ALL {
        let mut sim = Sim::new(36);
        sim.connect(crm);
        sim.settings_mut().dry_run = true;
        let writes: Vec<Value> = (0..WRITES_PER_REQUEST_MAX).map(|n| largest(crm, n)).collect();
        sim.ports.db.reset_counters();
        let ids = submit(&sim, &writes);
        assert_eq!(sim.ports.db.counters().round_trips, 1, "{crm}: one round trip, whatever the size");
        hear(&sim);
        assert!(read(&sim, &ids[99]).write.dry_run.is_some(), "{crm}: recorded");
        sim.settings_mut().dry_run = false;
        assert_eq!(submit(&sim, &writes), ids);
        run(&sim);
        assert_eq!(effects(&sim, tasks(crm)), 100, "{crm}");
    }
}

#[test]
fn a_lone_write_is_three_round_trips() {
    for crm in Crm::ALL {
        let sim = Sim::new(37);
        sim.connect(crm);
        submit(&sim, &[task(crm, 0, "first@example.com")]);
        run(&sim);
        sim.ports.db.reset_counters();
        let id = submit(&sim, &[task(crm, 1, "ada@example.com")]).remove(0);
        hear(&sim);
        // The gate has the token in memory and asks the database nothing.
        assert_eq!(sim.ports.db.counters().round_trips, 3, "{crm}: submit, lease, settlement");
        assert_eq!(read(&sim, &id).write.status, WriteStatus::Succeeded, "{crm}");
    }
}
