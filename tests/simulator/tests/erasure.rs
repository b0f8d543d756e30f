//! Erasing a person: nothing of them is left, nothing of anybody else is touched, and what is on its way to a CRM is not lost
//! from sight.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use crypto::Keyring;
use crypto::pii::{PiiMaster, WorkspacePiiKey};
use flows::Error;
use flows::erase_person::erase_person;
use flows::process_writes::process_writes;
use flows::purge_retention::{PurgeKeys, PurgeReport, purge_retention};
use flows::read_writes::{Query, list_writes};
use flows::reconcile_writes::reconcile_writes;
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use flows::replay_writes::replay_dead_letters;
use flows::submit_writes::submit_writes;
use model::{Crm, Role, Secret};
use pollster::block_on;
use providers::provider;
use serde_json::{Value, json};
use simulator::{Port, Sim, WORKSPACE, workspace};
use std::cell::RefCell;
use std::collections::BTreeSet;
use store::attachments::{self, NewAttachment};
use store::messages::{self, NewMessage};
use store::{Db, Statement, WorkspaceScope};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

#[derive(Default)]
struct Bucket {
    objects: RefCell<BTreeSet<String>>,
    away: RefCell<bool>,
}

#[async_trait(?Send)]
impl Objects for Bucket {
    async fn remove(&self, keys: &[&str]) -> Result<(), ObjectsUnavailable> {
        if *self.away.borrow() {
            return Err(ObjectsUnavailable("away".to_owned()));
        }
        for key in keys {
            self.objects.borrow_mut().remove(*key);
        }
        Ok(())
    }
}

fn key(letter: &str) -> Secret<String> {
    Secret::new(format!("{}=", letter.repeat(43)))
}

fn master() -> PiiMaster {
    PiiMaster::from_base64(&key("I")).ok().unwrap()
}

fn hmac(id: &str, email: &str) -> String {
    WorkspacePiiKey::derive(&master(), &workspace(id)).email_hmac(email).unwrap()
}

fn erase(sim: &Sim, bucket: &Bucket, email: &str) -> Result<Value, Error> {
    block_on(erase_person(&sim.world(), &sim.caller(Role::Owner), bucket, &master(), email))
}

fn purge(sim: &Sim, bucket: &Bucket) -> PurgeReport {
    let keys = PurgeKeys { audit: Keyring::from_base64(&key("E"), None).ok().unwrap(), pii: master() };
    block_on(purge_retention(&sim.world(), bucket, &keys)).unwrap()
}

fn submit(sim: &Sim, email: &str, n: usize) {
    let write = json!({"crm": "hubspot", "action": "create_task", "object_type": "thread", "object_id": format!("th_{n}"),
        "source_event_id": format!("evt_{n}"), "contact": {"email": email, "first_name": "Given", "last_name": "Name"},
        "task": {"subject": "Call back", "due_at": "2026-11-27T09:00:00Z", "text": format!("Mail to {email}.")}});
    let answers = block_on(submit_writes(&sim.world(), &sim.caller(Role::Member), &json!({"writes": [write]})));
    answers.unwrap().into_iter().next().unwrap().unwrap();
    sim.sleep_secs(1);
}

fn hear(sim: &Sim) {
    for doorbell in sim.ports.hear() {
        let _ = block_on(process_writes(&sim.world(), &provider(doorbell.connection.crm), &doorbell));
    }
}

/// Two messages with each person, each with an attachment, in a workspace.
fn keep(sim: &Sim, bucket: &Bucket, id: &str) {
    let scope = WorkspaceScope::of(workspace(id));
    let mut statements: Vec<Statement> = Vec::new();
    for (who, email) in [("ada", ADA), ("bob", BOB)] {
        for n in 0..2 {
            let (message, object_key) = (format!("{who}{n}"), format!("{id}/{who}{n}"));
            let pseudonym = hmac(id, email);
            let body = format!("Dear {email}");
            bucket.objects.borrow_mut().insert(object_key.clone());
            statements.push(messages::keep(
                &scope,
                &NewMessage {
                    id: &message,
                    thread_id: "th_1",
                    contact_hmac: Some(&pseudonym),
                    subject: Some(&body),
                    body: Some(&body),
                    received_at: sim.now(),
                },
            ));
            statements.push(attachments::keep(
                &scope,
                &NewAttachment {
                    id: &message,
                    message_id: &message,
                    object_key: &object_key,
                    file_name: Some(&body),
                    size_bytes: 1,
                    received_at: sim.now(),
                },
            ));
        }
    }
    block_on(sim.ports.db.batch(statements)).unwrap();
}

/// The places that hold one of the texts, as table and column.
fn places(sim: &Sim, texts: &[&str]) -> Vec<String> {
    let values = sim.ports.db.dump().into_iter();
    let found = values.filter(|value| texts.iter().any(|text| value.text.contains(text)));
    found.map(|value| format!("{}.{}", value.table, value.column)).collect()
}

fn scene(seed: u64) -> (Sim, Bucket) {
    let sim = Sim::new(seed);
    let bucket = Bucket::default();
    sim.connect(Crm::Hubspot);
    sim.seed_workspace("ws_globex");
    keep(&sim, &bucket, WORKSPACE);
    keep(&sim, &bucket, "ws_globex");
    for (n, email) in [ADA, BOB, ADA].into_iter().enumerate() {
        submit(&sim, email, n);
    }
    hear(&sim);
    (sim, bucket)
}

fn events(sim: &Sim, name: &str) -> usize {
    sim.ports.db.dump().iter().filter(|v| v.table == "audit_events" && v.column == "event" && v.text == name).count()
}

#[test]
fn nothing_of_the_person_is_left_and_nothing_of_anybody_else_is_touched() {
    let (sim, bucket) = scene(1);
    let bobs = places(&sim, &[BOB, &hmac(WORKSPACE, BOB)]);
    let elsewhere = places(&sim, &[&hmac("ws_globex", ADA)]);
    let seen = erase(&sim, &bucket, "  Ada@Example.com ").unwrap();
    let counts = ["messages_redacted", "attachments_removed", "writes_redacted", "writes_cancelled"];
    assert_eq!((&seen["status"], counts.map(|name| seen[name].as_u64().unwrap())), (&json!("finished"), [2, 2, 2, 0]));
    let own = places(&sim, &[&hmac(WORKSPACE, ADA)]);
    assert_eq!(own, Vec::<String>::new(), "her pseudonym");
    let address: BTreeSet<String> = places(&sim, &[ADA]).into_iter().collect();
    let others = ["messages.subject", "messages.body", "attachments.file_name"].map(str::to_owned);
    assert_eq!(address, BTreeSet::from(others), "her address is in the other workspace only");
    assert_eq!(places(&sim, &[BOB, &hmac(WORKSPACE, BOB)]), bobs);
    assert_eq!(places(&sim, &[&hmac("ws_globex", ADA)]), elsewhere);
    assert_eq!(bucket.objects.borrow().len(), 6);
    assert_eq!((events(&sim, "erasure_requested"), events(&sim, "person_erased")), (1, 1));
    assert!(sim.ports.log.borrow().iter().all(|line| !line.contains("ada@")), "no address in the log");

    let again = erase(&sim, &bucket, ADA).unwrap();
    assert_eq!((&again["status"], counts.map(|name| again[name].as_u64().unwrap())), (&json!("finished"), [0; 4]));
}

#[test]
fn only_an_admin_may_and_only_an_address_will_do() {
    let (sim, bucket) = scene(2);
    let refused = block_on(erase_person(&sim.world(), &sim.caller(Role::Member), &bucket, &master(), ADA));
    assert_eq!(refused, Err(Error::AdminRequired));
    for text in ["", " ", "ada", "@example.com", "ada@", &format!("{}@example.com", "a".repeat(320))] {
        assert!(matches!(erase(&sim, &bucket, text), Err(Error::Parameter { name: "email", .. })), "{text}");
    }
    assert_eq!(events(&sim, "erasure_requested"), 0);
}

#[test]
fn a_write_that_waits_is_cancelled_and_nothing_of_it_reaches_the_crm() {
    let (sim, bucket) = scene(3);
    submit(&sim, ADA, 7);
    let sent = sim.ports.used(Port::Http);
    let seen = erase(&sim, &bucket, ADA).unwrap();
    assert_eq!((&seen["status"], &seen["writes_cancelled"]), (&json!("finished"), &json!(1)));
    hear(&sim);
    block_on(reconcile_writes(&sim.world())).unwrap();
    hear(&sim);
    // Replayed, there is nothing to send, and it is told why.
    let all = block_on(replay_dead_letters(&sim.world(), &sim.caller(Role::Owner), &json!({"dry_run": false})));
    assert_eq!(all.unwrap().replayed, 1);
    hear(&sim);
    assert_eq!(sim.ports.used(Port::Http), sent, "the doorbell found nothing to do");
    let page = block_on(list_writes(&sim.world(), &sim.caller(Role::Owner), &Query::default())).unwrap();
    let ends: Vec<Value> = page.writes.iter().map(|write| json!(write.error)["code"].clone()).collect();
    assert!(ends.contains(&json!("payload_expired")), "{ends:?}");
    assert!(places(&sim, &[&hmac(WORKSPACE, ADA)]).is_empty());
}

#[test]
fn a_write_that_may_be_in_the_crm_is_settled_first_and_the_erasure_waits_for_it() {
    let (sim, bucket) = scene(4);
    submit(&sim, ADA, 7);
    sim.ports.queue.borrow_mut().clear();
    // As a try leaves it whose answer was lost.
    let doubt = "UPDATE crm_write_log SET status = 'unknown', in_doubt = 1 WHERE status = 'planned'";
    block_on(sim.ports.db.batch(vec![Statement::new(doubt, [])])).unwrap();
    let seen = erase(&sim, &bucket, ADA).unwrap();
    assert_eq!(seen["status"], "waiting", "{seen}");
    assert_eq!(purge(&sim, &bucket).erasures_waiting, 1);
    let mut left = 0;
    while purge(&sim, &bucket).erasures_finished == 0 {
        left += 1;
        assert!(left < 30, "it is never settled");
        sim.sleep_secs(3_600);
        block_on(reconcile_writes(&sim.world())).unwrap();
        hear(&sim);
    }
    let hers = ["messages.subject", "messages.body", "attachments.file_name"];
    assert!(places(&sim, &[ADA]).iter().all(|place| hers.contains(&place.as_str())), "{:?}", places(&sim, &[ADA]));
    assert_eq!(events(&sim, "person_erased"), 1);
}

#[test]
fn a_bucket_that_is_away_keeps_the_erasure_open() {
    let (sim, bucket) = scene(5);
    *bucket.away.borrow_mut() = true;
    let seen = erase(&sim, &bucket, ADA).unwrap();
    assert_eq!((&seen["status"], &seen["messages_redacted"]), (&json!("waiting"), &json!(0)));
    *bucket.away.borrow_mut() = false;
    assert_eq!(purge(&sim, &bucket).erasures_finished, 1);
    assert_eq!(bucket.objects.borrow().len(), 6);
    assert!(places(&sim, &[&hmac(WORKSPACE, ADA)]).is_empty());
}

#[test]
fn whatever_step_fails_the_same_request_again_finishes_it_and_counts_once() {
    let mut failed = 0;
    for nth in 1..=16 {
        for fault in stub_db::Fault::ALL {
            let (sim, bucket) = scene(6);
            submit(&sim, ADA, 7);
            sim.ports.db.fail_at(nth, fault);
            let first = erase(&sim, &bucket, ADA);
            failed += usize::from(first.is_err());
            sim.ports.db.clear_faults();
            let last = erase(&sim, &bucket, ADA).unwrap();
            assert_eq!(last["status"], "finished", "{nth} {fault:?}");
            assert!(places(&sim, &[&hmac(WORKSPACE, ADA)]).is_empty(), "{nth} {fault:?}");
            let finished: Vec<Value> = (sim.ports.db.dump().into_iter())
                .filter(|v| {
                    v.table == "audit_events" && v.column == "detail_json" && v.text.contains("writes_cancelled")
                })
                .map(|v| serde_json::from_str(&v.text).unwrap())
                .collect();
            let sum = |name: &str| finished.iter().map(|detail| detail[name].as_u64().unwrap()).sum::<u64>();
            let sums = ["messages_redacted", "attachments_removed", "writes_redacted", "writes_cancelled"].map(sum);
            assert_eq!(sums, [2, 2, 2, 1], "{nth} {fault:?}");
        }
    }
    assert!(failed >= 24, "{failed} requests failed");
}
