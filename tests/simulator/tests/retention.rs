//! Retention: a workspace's policy, and the purge that keeps to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use crypto::Keyring;
use crypto::pii::PiiMaster;
use flows::Error;
use flows::change_policy::change_policy;
use flows::process_writes::process_writes;
use flows::purge_retention::{PurgeKeys, PurgeReport, purge_retention};
use flows::read_policy::read_policy;
use flows::reconcile_writes::reconcile_writes;
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use flows::submit_writes::submit_writes;
use model::retention::Refusal;
use model::{Crm, Role, Secret, Timestamp};
use pollster::block_on;
use providers::provider;
use serde_json::{Value, json};
use simulator::{Sim, WORKSPACE, workspace};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use store::attachments::{self, NewAttachment};
use store::messages::{self, NewMessage};
use store::{Db, Statement, WorkspaceScope};
use stub_db::Fault;

fn read(sim: &Sim, role: Role) -> Value {
    block_on(read_policy(&sim.world(), &sim.caller(role))).unwrap()
}

fn change(sim: &Sim, role: Role, body: &Value) -> Result<Value, Error> {
    block_on(change_policy(&sim.world(), &sim.caller(role), body))
}

/// The values of a column of the database.
fn column(sim: &Sim, table: &str, column: &str) -> Vec<String> {
    let values = sim.ports.db.dump().into_iter().filter(|v| v.table == table && v.column == column);
    values.map(|v| v.text).collect()
}

#[test]
fn a_policy_is_the_default_until_an_admin_changes_it_and_each_change_is_audited_once() {
    let sim = Sim::new(7);
    let defaults = json!({"message_days": 365, "attachment_days": 90, "write_days": 180});
    let seen = read(&sim, Role::Member);
    assert_eq!((&seen["policy"], &seen["is_default"], &seen["updated_by"]), (&defaults, &json!(true), &Value::Null));

    assert_eq!(change(&sim, Role::Member, &json!({})), Err(Error::AdminRequired));
    let refused = change(&sim, Role::Admin, &json!({"message_days": 0}));
    assert_eq!(refused, Err(Error::PolicyRefused(Refusal::OutOfRange { field: "message_days", min: 1 })));
    assert!(column(&sim, "audit_events", "event").is_empty(), "nothing was changed");

    let month = json!({"message_days": 30, "attachment_days": 30, "write_days": null});
    let given = json!({"message_days": "30", "write_days": null});
    for _ in 0..2 {
        let changed = change(&sim, Role::Admin, &given).unwrap();
        assert_eq!((&changed["policy"], &changed["updated_by"]), (&month, &json!("us_admin")));
        assert_eq!(read(&sim, Role::Member), changed);
    }
    change(&sim, Role::Owner, &json!({})).unwrap();
    assert_eq!(column(&sim, "audit_events", "event"), ["retention_policy_changed"; 2]);
    let told: Vec<Value> =
        column(&sim, "audit_events", "detail_json").iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    for detail in [json!({"before": defaults, "after": month}), json!({"before": month, "after": defaults})] {
        assert!(told.contains(&detail), "{told:?}");
    }
    let stored = column(&sim, "retention_policies", "version");
    assert_eq!(stored, ["2"], "a policy of its own, also where it says what the defaults say");
}

/// Attachments' bytes, some of which cannot be removed.
#[derive(Default)]
struct Bucket {
    objects: RefCell<BTreeSet<String>>,
    stuck: RefCell<BTreeSet<String>>,
    calls: Cell<u32>,
    /// The nth call from the first: nothing happens, or it does and nobody says so.
    fault: Cell<Option<(u32, bool)>>,
}

#[async_trait(?Send)]
impl Objects for Bucket {
    async fn remove(&self, keys: &[&str]) -> Result<(), ObjectsUnavailable> {
        self.calls.set(self.calls.get() + 1);
        let refused = || Err(ObjectsUnavailable("planned".to_owned()));
        let fault = self.fault.get().filter(|(nth, _)| *nth == self.calls.get());
        if fault == Some((self.calls.get(), false)) || keys.iter().any(|key| self.stuck.borrow().contains(*key)) {
            return refused();
        }
        for key in keys {
            self.objects.borrow_mut().remove(*key);
        }
        if fault.is_some() { refused() } else { Ok(()) }
    }
}

fn days_ago(sim: &Sim, days: i64) -> Timestamp {
    sim.now().plus_secs(-days * 86_400)
}

fn apply(sim: &Sim, statements: Vec<Statement>) {
    let applied = block_on(sim.ports.db.batch(statements));
    assert!(applied.is_ok(), "{:?}", sim.ports.db.last_failure());
}

fn scope(id: &str) -> WorkspaceScope {
    WorkspaceScope::of(workspace(id))
}

/// Keeps messages of so many days ago, each with an attachment of its own.
fn keep(sim: &Sim, bucket: &Bucket, id: &str, ages: &[i64]) {
    let mut statements = Vec::new();
    for (n, age) in ages.iter().enumerate() {
        let (message, key) = (format!("m{n}"), format!("{id}/{n}"));
        bucket.objects.borrow_mut().insert(key.clone());
        statements.push(messages::keep(
            &scope(id),
            &NewMessage {
                id: &message,
                thread_id: "th_1",
                contact_hmac: Some("pseudonym"),
                subject: Some("the subject"),
                body: Some("the body"),
                received_at: days_ago(sim, *age),
            },
        ));
        statements.push(attachments::keep(
            &scope(id),
            &NewAttachment {
                id: &format!("a{n}"),
                message_id: &message,
                object_key: &key,
                file_name: Some("name.pdf"),
                size_bytes: 5,
                received_at: days_ago(sim, *age),
            },
        ));
    }
    apply(sim, statements);
}

fn keys() -> PurgeKeys {
    let key = |letter: &str| Secret::new(format!("{}=", letter.repeat(43)));
    PurgeKeys {
        audit: Keyring::from_base64(&key("E"), None).ok().unwrap(),
        pii: PiiMaster::from_base64(&key("I")).ok().unwrap(),
    }
}

fn purge(sim: &Sim, bucket: &Bucket) -> PurgeReport {
    block_on(purge_retention(&sim.world(), bucket, &keys())).unwrap()
}

/// The details of a workspace's `retention_purge_completed`, added up, and how many there are.
fn told(sim: &Sim) -> (usize, BTreeMap<String, i64>) {
    let texts = column(sim, "audit_events", "detail_json");
    let details: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let details: Vec<&Value> = details.iter().filter(|detail| detail.get("messages_redacted").is_some()).collect();
    let mut sums = BTreeMap::new();
    for detail in &details {
        for (name, value) in detail.as_object().unwrap() {
            *sums.entry(name.clone()).or_default() += value.as_i64().unwrap_or_default();
        }
    }
    (details.len(), sums)
}

/// 400 days ago, at either border of a year and of 90 days, and yesterday.
const AGES: [i64; 6] = [400, 366, 365, 91, 90, 1];

#[test]
fn what_is_due_goes_and_what_is_not_stays_and_the_trail_tells_of_it_once() {
    let sim = Sim::new(1);
    let bucket = Bucket::default();
    sim.seed_workspace("ws_globex");
    keep(&sim, &bucket, WORKSPACE, &AGES);
    keep(&sim, &bucket, "ws_globex", &[1]);
    let report = purge(&sim, &bucket);
    let expected = PurgeReport { workspaces: 1, completed: 1, messages: 2, attachments: 4, ..PurgeReport::default() };
    assert_eq!(report, expected);
    assert_eq!(column(&sim, "messages", "body").len(), 5, "six less two, and the other workspace's");
    assert_eq!(column(&sim, "messages", "contact_hmac").len(), 5);
    assert_eq!(column(&sim, "messages", "redacted_at"), [sim.now().0.to_string(), sim.now().0.to_string()]);
    assert_eq!(bucket.objects.borrow().len(), 3);
    assert_eq!(column(&sim, "attachments", "object_key").len(), 3);
    let (events, sums) = told(&sim);
    assert_eq!((events, sums["messages_redacted"], sums["attachments_removed"]), (1, 2, 4));

    assert_eq!(purge(&sim, &bucket), PurgeReport::default(), "nothing is left for today");
    sim.sleep_secs(86_400);
    let next = purge(&sim, &bucket);
    assert_eq!((next.messages, next.attachments), (1, 1), "tomorrow has its own");
}

#[test]
fn whatever_step_fails_the_next_run_goes_on_and_nothing_is_counted_twice_or_forgotten() {
    let mut steps = 0;
    for nth in 1..30 {
        for fault in Fault::ALL {
            let sim = Sim::new(2);
            let bucket = Bucket::default();
            keep(&sim, &bucket, WORKSPACE, &AGES);
            sim.ports.db.fail_at(nth, fault);
            let _ = block_on(purge_retention(&sim.world(), &bucket, &keys()));
            if sim.ports.db.pending_faults() > 0 {
                sim.ports.db.clear_faults();
            } else {
                steps += 1;
            }
            purge(&sim, &bucket);
            settled(&sim, &bucket, &format!("batch {nth} {fault:?}"));
        }
    }
    assert!(steps >= 8 * Fault::ALL.len(), "{steps} steps were failed");
    for (nth, happened) in [(1, false), (1, true)] {
        let sim = Sim::new(2);
        let bucket = Bucket::default();
        keep(&sim, &bucket, WORKSPACE, &AGES);
        bucket.fault.set(Some((nth, happened)));
        purge(&sim, &bucket);
        purge(&sim, &bucket);
        settled(&sim, &bucket, &format!("bucket {nth} {happened}"));
    }
}

fn settled(sim: &Sim, bucket: &Bucket, when: &str) {
    let (_, sums) = told(sim);
    assert_eq!((sums["messages_redacted"], sums["attachments_removed"]), (2, 4), "{when}");
    assert_eq!(column(sim, "messages", "redacted_at").len(), 2, "{when}");
    assert_eq!((bucket.objects.borrow().len(), column(sim, "attachments", "object_key").len()), (2, 2), "{when}");
    assert!(column(sim, "retention_progress", "workspace_id").is_empty(), "{when}");
    assert_eq!(purge(sim, bucket), PurgeReport::default(), "{when}");
}

#[test]
fn an_attachment_that_cannot_be_removed_keeps_no_other_and_is_tried_again() {
    let sim = Sim::new(3);
    let bucket = Bucket::default();
    keep(&sim, &bucket, WORKSPACE, &[100; 20]);
    let stuck = format!("{WORKSPACE}/7");
    bucket.stuck.borrow_mut().insert(stuck.clone());
    let first = purge(&sim, &bucket);
    assert_eq!((first.attachments, first.attachments_failed, first.completed), (19, 1, 1));
    assert_eq!(column(&sim, "attachments", "object_key"), [stuck]);
    assert_eq!(told(&sim).1["attachments_left"], 1);
    bucket.stuck.borrow_mut().clear();
    let second = purge(&sim, &bucket);
    assert_eq!((second.attachments, second.attachments_failed), (1, 0));
    assert!(bucket.objects.borrow().is_empty());
    assert_eq!(told(&sim).1["attachments_removed"], 20);
}

#[test]
fn a_bucket_that_is_away_is_not_asked_for_ever() {
    let sim = Sim::new(3);
    let bucket = Bucket::default();
    keep(&sim, &bucket, WORKSPACE, &[100; 400]);
    *bucket.stuck.borrow_mut() = bucket.objects.borrow().clone();
    let report = purge(&sim, &bucket);
    assert_eq!((report.attachments, report.attachments_failed), (0, 400));
    assert!(bucket.calls.get() <= 16, "{} calls", bucket.calls.get());
    bucket.stuck.borrow_mut().clear();
    assert_eq!(purge(&sim, &bucket).attachments, 400);
}

#[test]
fn the_key_of_another_workspace_is_not_removed() {
    let sim = Sim::new(4);
    let bucket = Bucket::default();
    sim.seed_workspace("ws_globex");
    keep(&sim, &bucket, WORKSPACE, &[100]);
    keep(&sim, &bucket, "ws_globex", &[1]);
    let theirs = attachments::keep(
        &scope(WORKSPACE),
        &NewAttachment {
            id: "planted",
            message_id: "m0",
            object_key: "ws_globex/0",
            file_name: None,
            size_bytes: 5,
            received_at: days_ago(&sim, 100),
        },
    );
    apply(&sim, vec![theirs]);
    let report = purge(&sim, &bucket);
    assert_eq!((report.attachments, report.attachments_failed), (1, 1));
    assert_eq!(*bucket.objects.borrow(), BTreeSet::from(["ws_globex/0".to_owned()]));
}

fn submit(sim: &Sim, n: usize) -> bool {
    let write = json!({"crm": "hubspot", "action": "create_task", "object_type": "thread", "object_id": format!("th_{n}"),
        "source_event_id": format!("evt_{n}"),
        "contact": {"email": format!("person{n}@example.com"), "first_name": "Ada", "last_name": "Lovelace"},
        "task": {"subject": "Call back", "due_at": "2026-11-27T09:00:00Z", "text": "They asked for a quote."}});
    let answers =
        block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &json!({"writes": [write]}))).unwrap();
    answers.into_iter().next().unwrap().unwrap().duplicate
}

/// Hears the doorbells there are.
fn hear(sim: &Sim) {
    for doorbell in sim.ports.hear() {
        block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell)).unwrap();
    }
}

/// The columns of the log in which a person can be.
fn people_in_the_log(sim: &Sim) -> usize {
    let values = sim.ports.db.dump();
    values.iter().filter(|v| v.table == "crm_write_log" && v.text.contains("@example.com")).count()
}

#[test]
fn an_old_write_loses_its_payload_when_it_is_over_and_is_still_known_when_it_is_repeated() {
    let sim = Sim::new(6);
    let bucket = Bucket::default();
    sim.connect(Crm::Hubspot);
    for n in 0..3 {
        assert!(!submit(&sim, n));
    }
    hear(&sim);
    sim.sleep_secs(1);
    // Nobody is rung for this one: it is on its way for half a year.
    submit(&sim, 3);
    sim.ports.queue.borrow_mut().clear();
    sim.sleep_secs(179 * 86_400);
    assert_eq!(purge(&sim, &bucket).writes, 0, "not yet");
    sim.sleep_secs(3 * 86_400);

    let first = purge(&sim, &bucket);
    assert_eq!((first.writes, first.attempts, first.completed), (3, 3, 1));
    assert_eq!(people_in_the_log(&sim), 1, "the one on its way");
    assert_eq!(column(&sim, "retention_stragglers", "idempotency_key").len(), 1);
    assert_eq!(purge(&sim, &bucket).writes, 0, "it is looked at again, and is still on its way");
    assert!(submit(&sim, 0), "a repeat is a duplicate");
    hear(&sim);
    assert_eq!(column(&sim, "crm_write_log", "status").iter().filter(|status| *status == "succeeded").count(), 3);

    block_on(reconcile_writes(&sim.world())).unwrap();
    hear(&sim);
    let second = purge(&sim, &bucket);
    assert_eq!((second.writes, people_in_the_log(&sim)), (1, 0));
    assert!(column(&sim, "retention_stragglers", "idempotency_key").is_empty());
    let left = ["payload_json", "response_json", "dry_run_json"].map(|name| column(&sim, "crm_write_log", name));
    assert_eq!(left, [vec!["{\"redacted\":true}".to_owned(); 4], Vec::new(), Vec::new()]);
    assert!(column(&sim, "crm_write_attempts", "lease_id").is_empty());
    assert_eq!(purge(&sim, &bucket), PurgeReport::default());
}

#[test]
fn what_is_spent_goes_a_day_or_a_month_after_its_time() {
    let sim = Sim::new(8);
    let bucket = Bucket::default();
    sim.connect(Crm::Hubspot);
    assert_eq!(column(&sim, "oauth_states", "state_hash").len(), 1);
    sim.sleep_secs(86_400);
    assert_eq!(purge(&sim, &bucket).states, 0, "its ten minutes are not a day past");
    sim.sleep_secs(601);
    assert_eq!(purge(&sim, &bucket).states, 1);
    assert!(column(&sim, "oauth_states", "state_hash").is_empty());

    // An alarm, whether it was told or not: here in the second shard, whose slice is another one.
    let raise = "INSERT INTO alarms (workspace_id, id, kind, payload_json, created_at) VALUES ('ws_acme', 'al_1', 'crm.writes_failed', '{}', ?1)";
    block_on(store::db::run(&sim.ports.shard, Statement::new(raise, [sim.now().into()]))).unwrap();
    sim.sleep_secs(30 * 86_400);
    assert_eq!(purge(&sim, &bucket).alarms, 0, "a month is not past");
    sim.sleep_secs(1);
    assert_eq!(purge(&sim, &bucket).alarms, 1);
}

#[test]
fn a_run_that_used_up_its_queries_says_so_and_the_next_ones_finish() {
    let sim = Sim::new(9);
    let bucket = Bucket::default();
    for n in 0..300 {
        let id = format!("ws_{n:03}");
        sim.seed_workspace(&id);
        keep(&sim, &bucket, &id, &[400]);
    }
    let (mut runs, mut redacted) = (0, 0);
    loop {
        sim.ports.db.reset_counters();
        let report = purge(&sim, &bucket);
        let queries = sim.ports.db.counters().statements;
        assert!(queries <= 900, "{queries} queries in one run");
        runs += 1;
        redacted += report.messages;
        assert!(runs < 10, "{report:?}");
        if !report.unfinished {
            break;
        }
    }
    assert!(runs > 1, "one run was enough");
    assert_eq!((redacted, told(&sim).1["messages_redacted"], bucket.objects.borrow().len()), (300, 300, 0));
}
