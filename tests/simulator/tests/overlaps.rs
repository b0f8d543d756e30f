//! Two runs of one job at once, taking turns at every step: each thing is done once, and told once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use crypto::Keyring;
use crypto::pii::{PiiMaster, WorkspacePiiKey};
use flows::erase_person::erase_person;
use flows::purge_retention::{PurgeKeys, purge_retention};
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use flows::seal_audit::{SETTLED_AFTER_SECS, seal_audit};
use flows::verify_audit::verify_audit;
use flows::world::Shards;
use flows::{World, audit};
use model::{Role, Secret};
use pollster::block_on;
use serde_json::{Value, json};
use simulator::{Sim, WORKSPACE, workspace};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use store::messages::{self, NewMessage};
use store::{Db, DbError, Outcome, Statement, WorkspaceScope};
use stub_db::SqliteDb;

/// A database that lets somebody else go first, before and after every batch.
struct Polite<'a>(&'a SqliteDb);

struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[async_trait(?Send)]
impl Db for Polite<'_> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        Turn(false).await;
        let outcomes = self.0.batch(statements).await;
        Turn(false).await;
        outcomes
    }
}

impl Shards for Polite<'_> {
    fn open(&self, name: &str) -> Option<&dyn Db> {
        (name == "DB").then_some(self)
    }

    fn names(&self) -> Vec<String> {
        vec!["DB".to_owned()]
    }
}

/// Runs both, in turn; `ahead` steps of the first come before the second begins.
fn both<T>(first: impl Future<Output = T>, second: impl Future<Output = T>, ahead: u32) -> (T, T) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    let mut context = Context::from_waker(Waker::noop());
    let mut steps = 0;
    while one.is_none() || other.is_none() {
        if one.is_none()
            && let Poll::Ready(done) = first.as_mut().poll(&mut context)
        {
            one = Some(done);
        }
        steps += 1;
        if steps > ahead
            && other.is_none()
            && let Poll::Ready(done) = second.as_mut().poll(&mut context)
        {
            other = Some(done);
        }
    }
    (one.unwrap(), other.unwrap())
}

struct NoBucket;

#[async_trait(?Send)]
impl Objects for NoBucket {
    async fn remove(&self, _: &[&str]) -> Result<(), ObjectsUnavailable> {
        Err(ObjectsUnavailable("there is no bucket".to_owned()))
    }
}

fn key(letter: &str) -> Secret<String> {
    Secret::new(format!("{}=", letter.repeat(43)))
}

fn ring() -> Keyring {
    Keyring::from_base64(&key("E"), None).ok().unwrap()
}

fn master() -> PiiMaster {
    PiiMaster::from_base64(&key("I")).ok().unwrap()
}

/// `count` messages of 400 days ago, exchanged with Ada.
fn keep(sim: &Sim, count: usize) {
    let scope = WorkspaceScope::of(workspace(WORKSPACE));
    let ada = WorkspacePiiKey::derive(&master(), &workspace(WORKSPACE)).email_hmac("ada@example.com").unwrap();
    let message = |n: usize| {
        let id = format!("m{n}");
        messages::keep(
            &scope,
            &NewMessage {
                id: &id,
                thread_id: "th_1",
                contact_hmac: Some(&ada),
                subject: None,
                body: Some("body"),
                received_at: sim.now().plus_secs(-400 * 86_400),
            },
        )
    };
    block_on(sim.ports.db.batch((0..count).map(message).collect())).unwrap();
}

/// A count of the events of a name, added up.
fn told(sim: &Sim, name: &str) -> (usize, u64) {
    let values = sim.ports.db.dump();
    let texts = values.iter().filter(|v| v.table == "audit_events" && v.column == "detail_json");
    let details = texts.map(|v| serde_json::from_str::<Value>(&v.text).unwrap());
    let counts: Vec<u64> = details.filter_map(|detail| detail[name].as_u64()).collect();
    (counts.len(), counts.iter().sum())
}

#[test]
fn two_purges_redact_and_tell_once() {
    for ahead in (0..24).step_by(3) {
        let sim = Sim::new(1);
        keep(&sim, 2_500);
        let db = Polite(&sim.ports.db);
        let world = || World { directory: &db, shards: &db, ..sim.world() };
        let keys = PurgeKeys { audit: ring(), pii: master() };
        let (one, other) = (world(), world());
        let runs = both(purge_retention(&one, &NoBucket, &keys), purge_retention(&other, &NoBucket, &keys), ahead);
        let (first, second) = (runs.0.unwrap(), runs.1.unwrap());
        assert_eq!(first.messages + second.messages, 2_500, "{ahead} ahead");
        let (events, sum) = told(&sim, "messages_redacted");
        assert_eq!(
            (sum, events),
            (2_500, usize::try_from(first.completed + second.completed).unwrap()),
            "{ahead} ahead"
        );
    }
}

#[test]
fn two_sealers_make_one_chain() {
    for ahead in (0..16).step_by(3) {
        let sim = Sim::new(2);
        let scope = WorkspaceScope::of(workspace(WORKSPACE));
        for n in 0..450 {
            let event = audit::event(&sim.world(), "us_owner", "connection_connected", &format!("cx_{n}"), json!({}));
            block_on(sim.ports.db.batch(vec![event.unwrap().append(&scope)])).unwrap();
            sim.sleep_secs(i64::from(n % 2 == 0));
        }
        sim.sleep_secs(SETTLED_AFTER_SECS);
        let db = Polite(&sim.ports.db);
        let world = || World { directory: &db, shards: &db, ..sim.world() };
        let (one, keys) = (world(), ring());
        // The other one is a minute later, and sees more.
        let event = audit::event(&sim.world(), "us_owner", "connection_connected", "cx_last", json!({})).unwrap();
        block_on(sim.ports.db.batch(vec![event.append(&scope)])).unwrap();
        sim.sleep_secs(SETTLED_AFTER_SECS);
        let other = world();
        let runs = both(seal_audit(&one, &keys), seal_audit(&other, &keys), ahead);
        assert_eq!((runs.0.unwrap().broken, runs.1.unwrap().broken), (0, 0));
        block_on(seal_audit(&sim.world(), &keys)).unwrap();
        let seen = block_on(verify_audit(&sim.world(), &sim.caller(Role::Owner), &keys, None)).unwrap();
        assert_eq!((seen.status, seen.verified, seen.unsealed), ("intact", 451, 0), "{ahead} ahead: {seen:?}");
    }
}

#[test]
fn two_requests_erase_a_person_once() {
    for ahead in (0..12).step_by(2) {
        let sim = Sim::new(3);
        keep(&sim, 700);
        let db = Polite(&sim.ports.db);
        let world = || World { directory: &db, shards: &db, ..sim.world() };
        let (one, other, caller, pii) = (world(), world(), sim.caller(Role::Owner), master());
        let ask = |world| erase_person(world, &caller, &NoBucket, &pii, "ada@example.com");
        let runs = both(ask(&one), ask(&other), ahead);
        assert!(runs.0.is_ok() && runs.1.is_ok(), "{ahead} ahead: {runs:?}");
        assert_eq!(told(&sim, "messages_redacted").1, 700, "{ahead} ahead");
    }
}
