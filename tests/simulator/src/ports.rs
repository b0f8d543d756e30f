//! The ports of a simulation: SQLite for D1, the stand-in CRM for the CRMs, a list for the queue.
//! Every port can be told to fail before or after its effect.

use async_trait::async_trait;
use crypto::SeededRandom;
use crypto::jwt::Unverified;
use flows::world::{Cache, Clock, Http, KeysUnavailable, Log, Queue, QueueUnavailable, Shards, Signatures};
use model::doorbell::Doorbell;
use model::health::CheckRound;
use model::{Secret, Timestamp};
use providers::http::{Answer, Body, NoAnswer, Request, Response};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use store::Db;
use stub_crm::{App, Config, Fate, StubCrm, Switches};
use stub_db::SqliteDb;

/// Where a fault can be planned. (The database has its own: `SqliteDb::fail_at`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// Requests to a CRM.
    Http,
    /// Doorbells.
    Queue,
}

/// How a port fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happened.
    Before,
    /// It happened, and nobody said so.
    After,
    /// It works, and whoever asked stands still for so many seconds before it goes on.
    Stall(i64),
}

/// The ports.
pub struct Ports {
    now: Cell<Timestamp>,
    /// The directory, and the shard of every workspace that has no other.
    pub db: SqliteDb,
    /// A second shard.
    pub shard: SqliteDb,
    /// Both CRMs.
    pub crm: RefCell<StubCrm>,
    /// Doorbells and when they may be heard.
    pub queue: RefCell<Vec<(Timestamp, Doorbell)>>,
    /// Facts about CRM accounts, and until when.
    pub cache: RefCell<BTreeMap<String, (Timestamp, String)>>,
    /// Health checks and when they may be made.
    pub checks: RefCell<Vec<(Timestamp, CheckRound)>>,
    /// Log lines.
    pub log: RefCell<Vec<String>>,
    /// Chance.
    pub random: SeededRandom,
    calls: RefCell<BTreeMap<Port, u64>>,
    faults: RefCell<BTreeMap<(Port, u64), Fault>>,
}

impl Ports {
    pub(crate) fn new(seed: u64) -> Self {
        let app = |crm: &str| App {
            client_id: format!("{crm}-client"),
            client_secret: format!("{crm}-secret"),
            redirect_uris: vec![format!("https://conduit.example/functions/v1/{crm}-oauth-callback")],
            required_scopes: Vec::new(),
        };
        let config =
            Config { seed, hubspot: app("hubspot"), salesforce: app("salesforce"), switches: Switches::default() };
        Self {
            now: Cell::new(crate::BEGINNING),
            db: SqliteDb::in_memory(),
            shard: SqliteDb::in_memory(),
            crm: RefCell::new(StubCrm::new(config)),
            queue: RefCell::default(),
            cache: RefCell::default(),
            checks: RefCell::default(),
            log: RefCell::default(),
            random: SeededRandom::new(seed),
            calls: RefCell::default(),
            faults: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now.get()
    }

    pub(crate) fn set_now(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// Makes the `nth` use of a port from now fail (1 is the next one).
    pub fn fail_at(&self, port: Port, nth: u64, fault: Fault) {
        let used = self.used(port);
        self.faults.borrow_mut().insert((port, used + nth), fault);
    }

    /// How often a port was used.
    pub fn used(&self, port: Port) -> u64 {
        self.calls.borrow().get(&port).copied().unwrap_or_default()
    }

    /// Forgets the faults that were planned and not met.
    pub fn clear_faults(&self) {
        self.faults.borrow_mut().clear();
    }

    /// Faults planned and not met.
    pub fn pending_faults(&self) -> usize {
        self.faults.borrow().len() + self.db.pending_faults() + self.shard.pending_faults()
    }

    fn next_fault(&self, port: Port) -> Option<Fault> {
        let mut calls = self.calls.borrow_mut();
        let nth = calls.entry(port).or_default();
        *nth += 1;
        self.faults.borrow_mut().remove(&(port, *nth))
    }

    /// Takes the health checks that may be made by now.
    pub fn hear_checks(&self) -> Vec<CheckRound> {
        let now = self.now.get();
        let mut checks = self.checks.borrow_mut();
        let (due, later): (Vec<_>, Vec<_>) = checks.drain(..).partition(|(at, _)| *at <= now);
        *checks = later;
        due.into_iter().map(|(_, round)| round).collect()
    }

    /// Takes the doorbells that may be heard by now.
    pub fn hear(&self) -> Vec<Doorbell> {
        let now = self.now.get();
        let mut queue = self.queue.borrow_mut();
        let (due, later): (Vec<_>, Vec<_>) = queue.drain(..).partition(|(at, _)| *at <= now);
        *queue = later;
        due.into_iter().map(|(_, doorbell)| doorbell).collect()
    }

    /// Sends a request to the stand-in, as any client would: for tests that look into the CRM.
    pub fn ask_crm(&self, request: &stub_crm::Request) -> stub_crm::Answer {
        self.crm.borrow_mut().handle(request, self.now.get().0)
    }

    /// JSON from the stand-in's control plane.
    pub fn stand_in(&self, path: &str) -> serde_json::Value {
        let request = stub_crm::Request {
            method: "GET".to_owned(),
            url: format!("https://stand-in.example/stand-in/{path}"),
            ..stub_crm::Request::default()
        };
        self.ask_crm(&request).value()
    }
}

pub(crate) fn carried(request: &Request) -> stub_crm::Request {
    let mut headers: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if let Some(token) = &request.bearer {
        headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
    }
    let (content_type, body) = match &request.body {
        Body::Empty => (None, Vec::new()),
        Body::Json(text) => (Some("application/json"), text.clone().into_bytes()),
        Body::Form(form) => (Some("application/x-www-form-urlencoded"), form.expose().clone().into_bytes()),
    };
    headers.extend(content_type.map(|value| ("content-type".to_owned(), value.to_owned())));
    stub_crm::Request { method: request.method.as_str().to_owned(), url: request.url.clone(), headers, body }
}

#[async_trait(?Send)]
impl Http for Ports {
    async fn send(&self, request: Request) -> Answer {
        let fault = self.next_fault(Port::Http);
        if fault == Some(Fault::Before) {
            return Err(NoAnswer::Lost);
        }
        let answer = self.ask_crm(&carried(&request));
        let lost = fault == Some(Fault::After)
            || answer.fate != Fate::Deliver
            || answer.delay_ms >= u64::from(request.deadline_ms);
        if lost {
            return Err(NoAnswer::Lost);
        }
        if let Some(Fault::Stall(secs)) = fault {
            self.now.set(self.now.get().plus_secs(secs));
        }
        Ok(Response { status: answer.status, headers: answer.headers, body: Secret::new(answer.body) })
    }
}

#[async_trait(?Send)]
impl Queue for Ports {
    async fn ring(&self, doorbells: Vec<Doorbell>, delay_secs: u32) -> Result<(), QueueUnavailable> {
        let fault = self.next_fault(Port::Queue);
        if fault == Some(Fault::Before) {
            return Err(QueueUnavailable);
        }
        let at = self.now.get().plus_secs(i64::from(delay_secs));
        self.queue.borrow_mut().extend(doorbells.into_iter().map(|doorbell| (at, doorbell)));
        if fault == Some(Fault::After) { Err(QueueUnavailable) } else { Ok(()) }
    }

    async fn check(&self, rounds: Vec<(CheckRound, u32)>) -> Result<(), QueueUnavailable> {
        let fault = self.next_fault(Port::Queue);
        if fault == Some(Fault::Before) {
            return Err(QueueUnavailable);
        }
        let timed = rounds.into_iter().map(|(round, delay)| (self.now.get().plus_secs(i64::from(delay)), round));
        self.checks.borrow_mut().extend(timed);
        if fault == Some(Fault::After) { Err(QueueUnavailable) } else { Ok(()) }
    }
}

impl Shards for Ports {
    fn open(&self, name: &str) -> Option<&dyn Db> {
        match name {
            "DB" => Some(&self.db),
            crate::SHARD => Some(&self.shard),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        vec!["DB".to_owned(), crate::SHARD.to_owned()]
    }
}

#[async_trait(?Send)]
impl Signatures for Ports {
    async fn verify(&self, _: &Unverified) -> Result<bool, KeysUnavailable> {
        Err(KeysUnavailable)
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        self.now.get()
    }
}

#[async_trait(?Send)]
impl Cache for Ports {
    async fn get(&self, key: &str) -> Option<String> {
        let cache = self.cache.borrow();
        cache.get(key).filter(|(until, _)| *until > self.now.get()).map(|(_, value)| value.clone())
    }

    async fn put(&self, key: &str, value: &str, ttl_secs: u32) {
        let until = self.now.get().plus_secs(i64::from(ttl_secs));
        self.cache.borrow_mut().insert(key.to_owned(), (until, value.to_owned()));
    }
}

impl Log for Ports {
    fn event(&self, name: &'static str, fields: &[(&'static str, &str)]) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.log.borrow_mut().push(format!("{name} {}", fields.join(" ")));
    }
}
