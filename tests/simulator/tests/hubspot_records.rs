//! HubSpot's mechanisms against the stand-in portal: by which one records are written under each of its policies, in how many
//! calls, and that every step of each may fail, lag or leave something out, and the effect is one and tied.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::process_writes::process_writes;
use flows::read_connections::list_connections;
use flows::read_writes::{Query, fetch_write, list_writes};
use flows::reconcile_writes::reconcile_writes;
use flows::submit_writes::submit_writes;
use model::write::WriteStatus;
use model::{Crm, Role};
use pollster::block_on;
use providers::provider;
use serde_json::{Value, json};
use simulator::{Fault, Port, Sim, WORKSPACE, workspace};
use store::deals::{KnownDeal, ThreadLink};
use store::{Db as _, WorkspaceScope};

const POLICIES: [&str; 4] = ["accepted", "refused", "missing_scopes", "made_plain"];

/// A workspace connected to a portal with these switches, and probed.
fn portal(seed: u64, switches: &Value) -> Sim {
    let sim = unprobed(seed, switches);
    let first = json!({"crm": "hubspot", "action": "upsert_contact", "object_type": "person", "object_id": "p",
        "source_event_id": "probe", "contact": {"email": "first@example.com"}});
    submit(&sim, &[first]);
    run(&sim);
    sim
}

/// The same, before its first lot.
fn unprobed(seed: u64, switches: &Value) -> Sim {
    let mut sim = Sim::new(seed);
    turn(&sim, &json!({"hubspot_unlimited": true}));
    turn(&sim, switches);
    let scopes = &mut sim.settings_mut().hubspot.as_mut().unwrap().scopes;
    scopes.extend(["crm.objects.deals.read", "crm.objects.deals.write", "crm.schemas.deals.write"].map(str::to_owned));
    sim.connect(Crm::Hubspot);
    sim
}

fn turn(sim: &Sim, switches: &Value) {
    let request = stub_crm::Request {
        method: "POST".to_owned(),
        url: "https://stand-in.example/stand-in/faults".to_owned(),
        headers: Vec::new(),
        body: json!({"switches": switches}).to_string().into_bytes(),
    };
    assert_eq!(sim.ports.ask_crm(&request).status, 200, "{switches}");
}

fn task(n: usize) -> Value {
    json!({"crm": "hubspot", "action": "create_task", "object_type": "thread", "object_id": format!("th_{n}"),
           "source_event_id": format!("evt_{n}"),
           "contact": {"email": format!("person{n}@example.com"), "first_name": "Ada", "last_name": format!("L{n}")},
           "task": {"subject": format!("Call back {n}"), "due_at": "2026-11-27T09:00:00Z", "text": "They asked for a quote."}})
}

fn deal(n: usize, event: &str, stage: &str) -> Value {
    json!({"crm": "hubspot", "action": "upsert_deal", "object_type": "deal", "object_id": format!("d_{n}"),
           "source_event_id": event, "contact": {"email": format!("person{n}@example.com")},
           "deal": {"deal_id": format!("d_{n}"), "name": format!("Deal {n}"), "stage": stage, "amount": "1250.50"}})
}

fn submit(sim: &Sim, writes: &[Value]) -> Vec<String> {
    let answers = block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &json!({"writes": writes}))).unwrap();
    answers.into_iter().map(|answer| answer.unwrap().write.id).collect()
}

/// Hears doorbells, lets time pass and reconciles until nothing is left to do.
fn run(sim: &Sim) {
    for _ in 0..60 {
        let doorbells = sim.ports.hear();
        if doorbells.is_empty() {
            if block_on(reconcile_writes(&sim.world())).is_ok_and(|r| r.due == 0) && open(sim) == 0 {
                return;
            }
            sim.sleep_secs(120);
        }
        for doorbell in doorbells {
            let _ = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell));
        }
    }
    panic!("writes are left over");
}

fn open(sim: &Sim) -> usize {
    let all = Query { limit: Some("100".to_owned()), ..Query::default() };
    let page = block_on(list_writes(&sim.world(), &sim.caller(Role::Member), &all)).unwrap();
    page.writes.iter().filter(|write| !write.status.is_final()).count()
}

/// The calls while `work` ran.
fn calls(sim: &Sim, work: impl FnOnce()) -> u64 {
    let before = sim.ports.used(Port::Http);
    work();
    sim.ports.used(Port::Http) - before
}

fn records(sim: &Sim, object: &str) -> Vec<Value> {
    let records = sim.ports.stand_in(&format!("records/{object}"));
    let list = records.as_array().or_else(|| records["records"].as_array());
    list.unwrap_or_else(|| panic!("{records}")).clone()
}

/// The ids of this kind a record is tied to.
fn tied(record: &Value, kind: &str) -> Vec<String> {
    let results = record["associations"][kind]["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn scope() -> WorkspaceScope {
    WorkspaceScope::of(workspace(WORKSPACE))
}

fn mechanism(sim: &Sim, kind: &str) -> String {
    let connections = block_on(list_connections(&sim.world(), &sim.caller(Role::Member))).unwrap();
    let json = serde_json::to_value(&connections).unwrap();
    let connection = json.as_array().unwrap().iter().find(|c| c["crm"] == "hubspot").unwrap().clone();
    connection["mechanisms"][kind]["mechanism"].as_str().unwrap_or_else(|| panic!("{connection}")).to_owned()
}

#[test]
fn the_probe_finds_what_the_portal_takes_and_a_single_outcome_is_three_calls_at_most() {
    for policy in POLICIES {
        let sim = portal(1, &json!({"hubspot_unique_on_activities": policy}));
        let expected = if policy == "accepted" { "unique_field" } else { "look_then_create" };
        assert_eq!(["task", "note", "deal"].map(|kind| mechanism(&sim, kind)), [expected, expected, "unique_field"]);
        assert_eq!(mechanism(&sim, "contact"), "upsert");
        // The first task made with its associations in it asks for their types, once a day.
        submit(&sim, &[task(0)]);
        assert_eq!(calls(&sim, || run(&sim)), 3, "{policy}");
        let made = calls(&sim, || {
            let ids = submit(&sim, &[task(1)]);
            run(&sim);
            let write = block_on(fetch_write(&sim.world(), &sim.caller(Role::Member), &ids[0])).unwrap().write;
            assert_eq!(write.status, WriteStatus::Succeeded, "{:?}", write.error);
        });
        assert_eq!(made, if policy == "accepted" { 3 } else { 2 }, "{policy}");
        let tasks = records(&sim, "tasks");
        assert_eq!((tasks.len(), tied(&tasks[1], "contacts").len()), (2, 1), "{policy}");
    }
}

#[test]
fn a_thousand_queued_outcomes_cost_six_hundredths_of_a_call_each_at_most() {
    for policy in ["accepted", "refused"] {
        let sim = portal(2, &json!({"hubspot_unique_on_activities": policy}));
        for n in 0..10 {
            let writes: Vec<Value> = (0..100).map(|m| task(n * 100 + m)).collect();
            submit(&sim, &writes);
        }
        let made = calls(&sim, || run(&sim));
        println!("hubspot, unique property {policy}: {made} calls for 1,000 outcomes");
        assert!(made <= 60, "{policy}: {made}");
        let tasks = records(&sim, "tasks");
        assert_eq!(tasks.len(), 1_000);
        assert!(tasks.iter().all(|task| tied(task, "contacts").len() == 1));
    }
}

#[test]
fn every_call_of_a_lot_may_be_lost_and_each_outcome_is_one_and_tied() {
    // Lists that lag longer than the look waits, an index that is late, reads with gaps: one at a time, as a portal may be.
    let portals = [
        json!({"hubspot_unique_on_activities": "accepted"}),
        json!({}),
        json!({"hubspot_association_lag_ms": 300_000}),
        json!({"hubspot_search_lag_ms": 300_000}),
        json!({"hubspot_incomplete_reads": 3}),
    ];
    for switches in &portals {
        for nth in 1..=4 {
            for fault in [Fault::Before, Fault::After] {
                // The probe is made under the portal's own policy; lags begin afterwards.
                let policy = switches.get("hubspot_unique_on_activities").cloned().unwrap_or_else(|| json!("refused"));
                let sim = portal(3, &json!({"hubspot_unique_on_activities": policy}));
                link_deal(&sim, 2);
                turn(&sim, switches);
                submit(&sim, &[task(1), task(2), task(3)]);
                sim.ports.fail_at(Port::Http, nth, fault);
                run(&sim);
                let what = format!("{switches} call {nth} {fault:?}");
                let tasks = records(&sim, "tasks");
                assert_eq!(tasks.len(), 3, "{what}");
                assert!(tasks.iter().all(|task| tied(task, "contacts").len() == 1), "{what}");
                assert_eq!(tasks.iter().filter(|task| tied(task, "deals").len() == 1).count(), 1, "{what}");
            }
        }
    }
}

#[test]
fn what_was_made_by_our_property_and_not_tied_is_found_again_although_the_next_probe_fails() {
    // The probe of tasks, notes and deals is 12 calls; then the contact, the task, and its tie, which does not leave.
    const TIE: u64 = 15;
    for (probe_call, lost) in [(1, Fault::Before), (2, Fault::After), (3, Fault::Before), (4, Fault::Before)] {
        let mut unsettled = 0;
        for batch in 1..=5 {
            let sim = unprobed(7, &json!({"hubspot_unique_on_activities": "accepted"}));
            submit(&sim, &[task(1)]);
            sim.ports.fail_at(Port::Http, TIE, Fault::Before);
            // The lot's end is not written down: what the probe found, and what was made, is forgotten.
            for nth in [batch, batch + 1] {
                sim.ports.db.fail_at(nth, stub_db::Fault::Lost);
            }
            for doorbell in sim.ports.hear() {
                unsettled +=
                    u32::from(block_on(process_writes(&sim.world(), &provider(Crm::Hubspot), &doorbell)).is_err());
            }
            sim.ports.fail_at(Port::Http, probe_call, lost);
            sim.sleep_secs(3_600);
            run(&sim);
            let tasks = records(&sim, "tasks");
            let ties: Vec<usize> = tasks.iter().map(|task| tied(task, "contacts").len()).collect();
            assert_eq!(ties, [1], "batch {batch}, probe call {probe_call} {lost:?}");
        }
        assert!(unsettled > 0, "no lot died at its end");
    }
}

/// A deal of the portal, known as `d_{n}`, to which the thread `th_{n}` belongs.
fn link_deal(sim: &Sim, n: usize) {
    submit(sim, &[deal(n, "made", "contractsent")]);
    run(sim);
    let crm_deal_id = records(sim, "deals")[0]["id"].as_str().unwrap().to_owned();
    let known = KnownDeal { crm: Crm::Hubspot, deal_id: format!("d_{n}"), crm_deal_id };
    let link = ThreadLink { thread_id: format!("th_{n}"), deal_id: format!("d_{n}") };
    let statements = vec![
        store::deals::learn(&scope(), &[known], sim.now()),
        store::deals::link_threads(&scope(), &[link], sim.now()),
    ];
    block_on(sim.ports.db.batch(statements)).unwrap();
}

#[test]
fn a_deal_is_made_once_whatever_is_lost_and_changed_afterwards() {
    for policy in ["accepted", "refused"] {
        for nth in 1..=4 {
            for fault in [Fault::Before, Fault::After] {
                let sim = portal(4, &json!({"hubspot_unique_on_activities": policy}));
                submit(&sim, &[deal(1, "made", "contractsent")]);
                sim.ports.fail_at(Port::Http, nth, fault);
                run(&sim);
                submit(&sim, &[deal(1, "moved", "77011")]);
                run(&sim);
                let deals = records(&sim, "deals");
                assert_eq!(deals.len(), 1, "{policy} call {nth} {fault:?}");
                let properties = &deals[0]["properties"];
                assert_eq!((&properties["dealstage"], &properties["pipeline"]), (&json!("77011"), &json!("77001")));
                assert_eq!((&properties["amount"], tied(&deals[0], "contacts").len()), (&json!("1250.50"), 1));
            }
        }
    }
}

#[test]
fn the_types_of_associations_are_asked_for_once_a_day_and_their_absence_holds_nothing_up() {
    let sim = portal(7, &json!({"hubspot_unique_on_activities": "refused"}));
    let lists = |sim: &Sim| {
        let calls = sim.ports.stand_in("ledger")["calls"].as_object().unwrap().clone();
        calls.iter().filter(|(name, _)| name.contains("/labels")).map(|(_, count)| count.as_u64().unwrap()).sum::<u64>()
    };
    // The first list is lost on its way: the task is made, tied as documented, and the next lot asks again.
    submit(&sim, &[task(0)]);
    sim.ports.fail_at(Port::Http, 2, Fault::Before);
    run(&sim);
    for (n, asked) in [(1, 1), (2, 1), (3, 1)] {
        submit(&sim, &[task(n)]);
        run(&sim);
        assert_eq!(lists(&sim), asked, "task {n}");
    }
    sim.sleep_secs(86_400);
    submit(&sim, &[task(4)]);
    run(&sim);
    assert_eq!(lists(&sim), 2, "a day later");
    let tasks = records(&sim, "tasks");
    assert_eq!(tasks.len(), 5);
    assert!(tasks.iter().all(|task| tied(task, "contacts").len() == 1));
}

#[test]
fn an_unknown_stage_is_told_with_those_there_are() {
    let sim = portal(5, &json!({}));
    let ids = submit(&sim, &[deal(1, "made", "won!")]);
    run(&sim);
    let write = block_on(fetch_write(&sim.world(), &sim.caller(Role::Member), &ids[0])).unwrap().write;
    assert_eq!(write.status, WriteStatus::PermanentFailure);
    let error = serde_json::to_value(&write.error).unwrap();
    assert_eq!(error["code"], "unknown_stage");
    assert!(error["detail"].as_str().unwrap().contains("contractsent"), "{error}");
    // The pipelines were kept: a second deal asks for nothing but itself, its contact and their tie.
    submit(&sim, &[deal(2, "made", "contractsent")]);
    assert_eq!(calls(&sim, || run(&sim)), 3);
}

#[test]
fn a_property_that_is_taken_away_is_probed_again_and_nothing_is_doubled() {
    let sim = portal(6, &json!({"hubspot_unique_on_activities": "accepted"}));
    submit(&sim, &[task(1)]);
    run(&sim);
    // Somebody removes it, and the portal's policy does not let it be made again.
    turn(&sim, &json!({"hubspot_unique_on_activities": "refused"}));
    remove_property(&sim, "tasks");
    submit(&sim, &[task(2)]);
    run(&sim);
    assert_eq!(mechanism(&sim, "task"), "look_then_create");
    let tasks = records(&sim, "tasks");
    assert_eq!(tasks.len(), 2);
    assert!(tasks.iter().all(|task| tied(task, "contacts").len() == 1));
}

#[test]
fn a_record_that_was_not_tied_yet_is_found_although_its_property_was_taken_away() {
    let mut unsettled = 0;
    for batch in 1..=4 {
        let sim = portal(6, &json!({"hubspot_unique_on_activities": "accepted"}));
        submit(&sim, &[task(1)]);
        // The contact, the task, and its tie, which does not leave; then the lot's end is not written down.
        sim.ports.fail_at(Port::Http, 3, Fault::Before);
        for nth in [batch, batch + 1] {
            sim.ports.db.fail_at(nth, stub_db::Fault::Lost);
        }
        for doorbell in sim.ports.hear() {
            unsettled += u32::from(block_on(process_writes(&sim.world(), &provider(Crm::Hubspot), &doorbell)).is_err());
        }
        turn(&sim, &json!({"hubspot_unique_on_activities": "refused"}));
        remove_property(&sim, "tasks");
        sim.sleep_secs(3_600);
        run(&sim);
        let ties: Vec<usize> = records(&sim, "tasks").iter().map(|task| tied(task, "contacts").len()).collect();
        assert_eq!(ties, [1], "batch {batch}");
    }
    assert!(unsettled > 0, "no lot died at its end");
}

/// As an administrator would, with the app's own token.
fn remove_property(sim: &Sim, kind: &str) {
    let tokens = sim.ports.stand_in("tokens").to_string();
    let candidates = tokens.split('"').filter(|text| text.len() > 20);
    let removed = candidates.map(|token| {
        let request = stub_crm::Request {
            method: "DELETE".to_owned(),
            url: format!("https://api.hubapi.com/crm/properties/2026-03/{kind}/conduit_write_key"),
            headers: vec![("authorization".to_owned(), format!("Bearer {token}"))],
            body: Vec::new(),
        };
        sim.ports.ask_crm(&request).status
    });
    assert!(removed.into_iter().any(|status| status == 204), "no token removes it");
}
