//! A gate's surroundings in simulated time: SQLite with latency, the stand-in CRM with strict rotation, and a witness at the
//! token endpoint.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a rig of tests")]

pub mod executor;

use async_trait::async_trait;
use crypto::jwt::Unverified;
use crypto::{Aad, Column, Keyring, SeededRandom, vault};
use executor::{Arrivals, Clock, Executor};
use flows::gate::{Admission, Ask, Gate, GateRefusal, Purpose, Report};
use flows::gate_keeper::{GateKeeper, Host, Task};
use flows::world::{Cache, Http, KeysUnavailable, Log, Queue, QueueUnavailable, Shards, Signatures};
use flows::{Keys, Settings, World};
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use model::{ConnectionId, Crm, Secret, Timestamp, WorkspaceId};
use providers::Provider;
use providers::http::{Answer, Body, NoAnswer, Request, Response};
use providers::oauth::{AppCredentials, Grant};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use store::connections::{self, Connected, Connection};
use store::{Db, DbError, Outcome, Statement, WorkspaceScope};
use stub_crm::{App, Config, Fate, Rotation, StubCrm};
use stub_db::SqliteDb;

pub const BEGINNING: Timestamp = Timestamp(1_795_165_200_000);

/// The calls to the token endpoint, and what they did.
#[derive(Default)]
pub struct Witness {
    /// Refresh calls.
    pub refreshes: Cell<u32>,
    /// Introspections.
    pub introspections: Cell<u32>,
    /// A refresh token was shown after it had been replaced.
    pub spent_twice: Cell<u32>,
    /// Every other call.
    pub calls: Cell<u32>,
    spent: RefCell<BTreeSet<String>>,
}

/// Everything outside of the gate. Shared by all instances of it.
pub struct Place {
    pub of: Crm,
    pub clock: Rc<Clock>,
    pub db: SqliteDb,
    /// Longer than none, so that callers interleave.
    pub db_latency_ms: Cell<u64>,
    /// The database is down.
    pub db_down: Cell<bool>,
    pub crm: RefCell<StubCrm>,
    pub crm_latency_ms: Cell<u64>,
    pub witness: Witness,
    pub random: SeededRandom,
    pub keys: Keys,
    /// What `connect` seals with, when it is not the current key.
    pub sealing: RefCell<Option<Keyring>>,
    pub settings: Settings,
    pub log: RefCell<Vec<String>>,
    /// What the gate keeps beyond the life of an instance.
    pub storage: RefCell<BTreeMap<(String, &'static str), String>>,
}

pub fn app() -> AppCredentials {
    AppCredentials {
        client_id: "client".to_owned(),
        client_secret: Secret::new("secret".to_owned()),
        scopes: vec!["oauth".to_owned()],
        optional_scopes: Vec::new(),
        redirect_uri: "https://conduit.example/cb".to_owned(),
    }
}

pub fn keyring(letter: &str) -> Keyring {
    Keyring::from_base64(&Secret::new(format!("{}=", letter.repeat(43))), None).ok().unwrap()
}

pub fn key(crm: Crm) -> ConnectionKey {
    ConnectionKey { workspace_id: WorkspaceId::parse("ws_acme").unwrap(), shard: "DB".into(), crm }
}

pub fn scope() -> WorkspaceScope {
    WorkspaceScope::of(key(Crm::Hubspot).workspace_id)
}

/// Somebody who needs the token, and no permit: the budget has tests of its own.
pub fn ask() -> Ask {
    Ask { calls: 0, searches: 0, purpose: Purpose::Writes, refused_generation: None }
}

pub fn refused(generation: u64) -> Ask {
    Ask { refused_generation: Some(generation), ..ask() }
}

impl Place {
    /// A place with one connected HubSpot portal whose refresh tokens rotate and work once.
    pub fn new(of: Crm) -> Rc<Self> {
        Self::with_keys(of, keyring("E"))
    }

    /// The same with other keys.
    pub fn with_keys(of: Crm, tokens: Keyring) -> Rc<Self> {
        let app_of = || App { client_id: "client".into(), client_secret: "secret".into(), ..App::default() };
        let mut crm = StubCrm::new(Config { hubspot: app_of(), salesforce: app_of(), ..Config::default() });
        crm.switches_mut().hubspot_rotation = Rotation::Strict;
        crm.switches_mut().salesforce_rotation = Rotation::Strict;
        let place = Rc::new(Self {
            of,
            clock: Clock::new(BEGINNING),
            db: SqliteDb::in_memory(),
            db_latency_ms: Cell::new(4),
            db_down: Cell::new(false),
            crm: RefCell::new(crm),
            crm_latency_ms: Cell::new(50),
            witness: Witness::default(),
            random: SeededRandom::new(7),
            keys: Keys { tokens: Some(tokens), ..Keys::default() },
            sealing: RefCell::new(None),
            settings: Settings { hubspot: Some(app()), salesforce: Some(app()), ..Settings::default() },
            log: RefCell::default(),
            storage: RefCell::default(),
        });
        place.connect(1);
        place
    }

    fn handle(&self, request: &Request) -> stub_crm::Answer {
        self.crm.borrow_mut().handle(&carried(request), self.clock.now().0)
    }

    /// A person consents; the tokens are stored as generation `generation`.
    pub fn connect(&self, generation: u64) {
        self.connect_as("ws_acme", "cx_1", generation);
    }

    /// The same for another workspace.
    pub fn connect_as(&self, workspace: &str, connection: &str, generation: u64) {
        let (url, scopes) = match self.of {
            Crm::Hubspot => ("https://app.hubspot.com/oauth/authorize", "oauth"),
            Crm::Salesforce => ("https://login.salesforce.com/services/oauth2/authorize", "api+refresh_token"),
        };
        let form = format!(
            "response_type=code&client_id=client&redirect_uri=https%3A%2F%2Fconduit.example%2Fcb&scope={scopes}&decision=approve"
        );
        let authorize = stub_crm::Request {
            method: "POST".into(),
            url: url.into(),
            headers: vec![("content-type".into(), "application/x-www-form-urlencoded".into())],
            body: form.into_bytes(),
        };
        let answer = self.crm.borrow_mut().handle(&authorize, self.clock.now().0);
        let location = answer.header("location").expect("the consent page redirects").to_owned();
        let code = location.split("code=").nth(1).unwrap().split('&').next().unwrap().replace("%3D", "=");
        let adapter = providers::provider(self.of);
        let grant = Grant::Code { code: &Secret::new(code), verifier: &Secret::new("v".to_owned()) };
        let answer = self.handle(&adapter.token_request(&app(), &grant, None).unwrap());
        let token = adapter.read_token(&Ok(delivered(answer))).expect("the code is exchanged");

        let id = ConnectionId::parse(connection).unwrap();
        let seal = |column, plain: &Secret<String>| {
            let aad = Aad { scope: workspace, connection, column, generation };
            let other = self.sealing.borrow();
            let keys = other.as_ref().or(self.keys.tokens.as_ref()).unwrap();
            vault::seal(keys, &self.random, &aad, plain).ok().unwrap()
        };
        let now = self.clock.now();
        let row = connections::connect(
            &WorkspaceScope::of(WorkspaceId::parse(workspace).unwrap()),
            &Connected {
                id: &id,
                crm: self.of,
                external_account_id: token.external_account_id.as_deref().unwrap(),
                external_account_name: None,
                external_user_id: None,
                instance_url: token.instance_url.as_deref(),
                login_host: None,
                scopes_json: "[]",
                access_token_sealed: seal(Column::AccessToken, &token.access_token).as_str(),
                refresh_token_sealed: Some(seal(Column::RefreshToken, token.refresh_token.as_ref().unwrap()).as_str()),
                expires_at: Some(now.plus_secs(token.expires_in_secs.unwrap_or(7_200))),
                token_generation: generation,
                connected_by: "us_1",
                at: now,
            },
        );
        let outcomes = pollster::block_on(self.db.batch(vec![row])).expect("the connection is stored");
        assert_eq!(outcomes[0].changes, 1);
    }

    /// The customer removes the app.
    pub fn revoke(&self) {
        let row = self.row();
        let aad = Aad {
            scope: "ws_acme",
            connection: "cx_1",
            column: Column::RefreshToken,
            generation: row.token_generation,
        };
        let token = vault::open(self.keys.tokens.as_ref().unwrap(), &aad, row.refresh_token_sealed.as_deref().unwrap())
            .unwrap();
        for request in providers::provider(self.of).revoke_requests(&app(), None, Some(&token), None) {
            assert_eq!(self.handle(&request).status, 200);
        }
    }

    /// The access token is over.
    pub fn let_it_expire(&self) {
        self.clock.advance_secs(7_201);
    }

    pub fn row(&self) -> Connection {
        pollster::block_on(connections::fetch(&self.db, &scope(), self.of)).unwrap().unwrap()
    }

    /// Whether the CRM accepts this access token.
    pub fn works(&self, access_token: &Secret<String>) -> bool {
        let url = match self.of {
            Crm::Hubspot => "https://api.hubapi.com/crm/objects/2026-03/contacts?limit=1",
            Crm::Salesforce => "https://acme.my.salesforce.com/services/data/v67.0/limits",
        };
        let request = Request::get(url.into()).with_bearer(access_token.clone());
        self.handle(&request).status != 401
    }

    /// Whether the gate keeps something under this name.
    pub fn keeps(&self, name: &'static str) -> bool {
        self.storage.borrow().contains_key(&("ws_acme".to_owned(), name))
    }

    pub fn logged(&self, event: &str) -> usize {
        self.log.borrow().iter().filter(|line| line.starts_with(event)).count()
    }

    pub fn audited(&self, event: &str) -> usize {
        self.db.dump().iter().filter(|v| v.table == "audit_events" && v.column == "event" && v.text == event).count()
    }

    /// No token ever given out stands anywhere in the database or the log.
    pub fn assert_no_token_in_plain(&self) {
        let crm = self.crm.borrow();
        let stored = self.db.dump();
        for secret in crm.issued() {
            assert!(stored.iter().all(|value| !value.text.contains(secret)), "a token stands in the database");
            assert!(self.log.borrow().iter().all(|line| !line.contains(secret)), "a token stands in the log");
            let kept = self.storage.borrow();
            assert!(kept.values().all(|line| !line.contains(secret)), "a token stands in the object's storage");
        }
    }

    /// What the witness saw, as (refresh calls, tokens spent twice).
    pub fn seen(&self) -> (u32, u32) {
        (self.witness.refreshes.get(), self.witness.spent_twice.get())
    }

    fn watch(&self, request: &Request, answer: &stub_crm::Answer) {
        let Body::Form(form) = &request.body else {
            self.witness.calls.set(self.witness.calls.get() + 1);
            return;
        };
        if request.url.ends_with("/introspect") {
            self.witness.introspections.set(self.witness.introspections.get() + 1);
            return;
        }
        self.witness.refreshes.set(self.witness.refreshes.get() + 1);
        let shown = form.expose().split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap_or_default();
        let mut spent = self.witness.spent.borrow_mut();
        if spent.contains(shown) {
            self.witness.spent_twice.set(self.witness.spent_twice.get() + 1);
        }
        // Whatever becomes of the answer: this is what the CRM did.
        if answer.status == 200 && answer.value()["refresh_token"].as_str() != Some(shown) {
            spent.insert(shown.to_owned());
        }
    }
}

fn delivered(answer: stub_crm::Answer) -> Response {
    Response { status: answer.status, headers: answer.headers, body: Secret::new(answer.body) }
}

fn carried(request: &Request) -> stub_crm::Request {
    let mut headers: Vec<(String, String)> = Vec::new();
    if let Some(token) = &request.bearer {
        headers.push(("authorization".into(), format!("Bearer {}", token.expose())));
    }
    let (kind, body) = match &request.body {
        Body::Empty => (None, Vec::new()),
        Body::Json(text) => (Some("application/json"), text.clone().into_bytes()),
        Body::Form(form) => (Some("application/x-www-form-urlencoded"), form.expose().clone().into_bytes()),
    };
    headers.extend(kind.map(|kind| ("content-type".to_owned(), kind.to_owned())));
    stub_crm::Request { method: request.method.as_str().into(), url: request.url.clone(), headers, body }
}

/// The ports of a place, with its latencies.
pub struct Ports(pub Rc<Place>);

#[async_trait(?Send)]
impl Db for Ports {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        self.0.clock.sleep(self.0.db_latency_ms.get()).await;
        if self.0.db_down.get() {
            return Err(DbError::Unavailable);
        }
        let outcome = self.0.db.batch(statements).await;
        self.0.clock.sleep(self.0.db_latency_ms.get()).await;
        outcome
    }
}

#[async_trait(?Send)]
impl Http for Ports {
    async fn send(&self, request: Request) -> Answer {
        let place = &self.0;
        place.clock.sleep(place.crm_latency_ms.get()).await;
        let mut answer = place.handle(&request);
        // The stand-in answers a lost request with nothing, so that nothing was done and nothing is to be seen.
        if answer.fate != Fate::LoseRequest {
            let truth = if answer.fate == Fate::LoseAnswer {
                stub_crm::Answer { fate: Fate::Deliver, ..answer.clone() }
            } else {
                answer.clone()
            };
            place.watch(&request, &truth);
        }
        let delay_ms = std::mem::take(&mut answer.delay_ms) + place.crm_latency_ms.get();
        let deadline_ms = u64::from(request.deadline_ms);
        place.clock.sleep(delay_ms.min(deadline_ms)).await;
        if answer.fate != Fate::Deliver {
            place.clock.sleep(deadline_ms.saturating_sub(delay_ms)).await;
            return Err(NoAnswer::Lost);
        }
        if delay_ms >= deadline_ms { Err(NoAnswer::Lost) } else { Ok(delivered(answer)) }
    }
}

impl Shards for Ports {
    fn open(&self, name: &str) -> Option<&dyn Db> {
        (name == "DB").then_some(self as &dyn Db)
    }
    fn names(&self) -> Vec<String> {
        vec!["DB".to_owned()]
    }
}

#[async_trait(?Send)]
impl Queue for Ports {
    async fn ring(&self, _: Vec<Doorbell>, _: u32) -> Result<(), QueueUnavailable> {
        Err(QueueUnavailable)
    }
}

#[async_trait(?Send)]
impl Gate for Ports {
    async fn admit(&self, _: &ConnectionKey, _: Ask) -> Result<Admission, GateRefusal> {
        Err(GateRefusal::Unavailable)
    }
    async fn report(&self, _: &ConnectionKey, _: Report) {}
    async fn forget(&self, _: &ConnectionKey) {}
}

#[async_trait(?Send)]
impl Signatures for Ports {
    async fn verify(&self, _: &Unverified) -> Result<bool, KeysUnavailable> {
        Err(KeysUnavailable)
    }
}

impl flows::world::Clock for Ports {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

#[async_trait(?Send)]
impl Cache for Ports {
    async fn get(&self, _: &str) -> Option<String> {
        None
    }

    async fn put(&self, _: &str, _: &str, _: u32) {}
}

impl Log for Ports {
    fn event(&self, name: &'static str, fields: &[(&'static str, &str)]) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.0.log.borrow_mut().push(format!("{name} {}", fields.join(" ")));
    }
}

/// What one instance of the gate lives in.
struct Instance {
    ports: Ports,
    name: String,
    group: u32,
    arrivals: Arrivals,
}

#[async_trait(?Send)]
impl Host for Instance {
    fn world(&self) -> World<'_> {
        let place = &self.ports.0;
        World {
            now: place.clock.now(),
            clock: &self.ports,
            request_id: "gate".to_owned(),
            directory: &self.ports,
            shards: &self.ports,
            http: &self.ports,
            queue: &self.ports,
            gate: &self.ports,
            cache: &self.ports,
            signatures: &self.ports,
            random: &place.random,
            keys: &place.keys,
            settings: &place.settings,
            log: &self.ports,
        }
    }

    async fn sleep(&self, ms: u32) {
        self.ports.0.clock.sleep(u64::from(ms)).await;
    }

    fn spawn(&self, task: Task) {
        self.arrivals.borrow_mut().push((self.group, task));
    }

    fn recall(&self, name: &'static str) -> Option<String> {
        self.ports.0.storage.borrow().get(&(self.name.clone(), name)).cloned()
    }

    fn remember(&self, name: &'static str, line: Option<&str>) {
        let mut storage = self.ports.0.storage.borrow_mut();
        match line {
            Some(line) => storage.insert((self.name.clone(), name), line.to_owned()),
            None => storage.remove(&(self.name.clone(), name)),
        };
    }
}

/// A place, its executor, and the instances of the gate that were started.
pub struct Rig {
    pub place: Rc<Place>,
    pub executor: Executor,
    instances: Cell<u32>,
}

/// One live instance of the gate.
pub struct Object {
    pub keeper: GateKeeper,
    pub group: u32,
}

pub type Answers = Rc<RefCell<Vec<Result<Admission, GateRefusal>>>>;

impl Rig {
    pub fn new() -> Self {
        Self::of(Crm::Hubspot)
    }

    pub fn of(crm: Crm) -> Self {
        Self::at(Place::new(crm))
    }

    /// In a place that is there already.
    pub fn at(place: Rc<Place>) -> Self {
        Self { executor: Executor::new(&place.clock), place, instances: Cell::new(0) }
    }

    /// Starts an instance of the gate.
    pub fn object(&self) -> Object {
        self.object_of("ws_acme")
    }

    /// Starts an instance of another workspace's gate.
    pub fn object_of(&self, workspace: &str) -> Object {
        let group = self.instances.get() + 1;
        self.instances.set(group);
        let ports = Ports(Rc::clone(&self.place));
        let host = Instance { ports, name: workspace.to_owned(), group, arrivals: self.executor.arrivals() };
        let key = ConnectionKey { workspace_id: WorkspaceId::parse(workspace).unwrap(), ..key(self.place.of) };
        Object { keeper: GateKeeper::new(Rc::new(host), key), group }
    }

    /// What a job lives in.
    pub fn job(&self) -> Rc<dyn Host> {
        let (ports, arrivals) = (Ports(Rc::clone(&self.place)), self.executor.arrivals());
        Rc::new(Instance { ports, name: "job".to_owned(), group: 0, arrivals })
    }

    /// The instance loses its memory, and everything it was doing ends.
    #[expect(clippy::needless_pass_by_value, reason = "it is gone")]
    pub fn evict(&self, object: Object) {
        self.executor.kill(object.group);
    }

    /// `callers` callers ask at once.
    pub fn callers(&self, object: &Object, callers: usize, ask: &Ask) -> Answers {
        let answers = Answers::default();
        for _ in 0..callers {
            let (keeper, ask, answers) = (object.keeper.clone(), ask.clone(), Rc::clone(&answers));
            self.executor.spawn(object.group, async move {
                let answer = keeper.admit(&ask).await;
                answers.borrow_mut().push(answer);
            });
        }
        answers
    }

    /// One caller asks and is answered.
    pub fn admit(&self, object: &Object, ask: &Ask) -> Result<Admission, GateRefusal> {
        let answers = self.callers(object, 1, ask);
        self.executor.run_until(|| answers.borrow().len() == 1);
        answers.take().pop().expect("every caller is answered")
    }

    /// Everybody got the same working token.
    pub fn assert_all_admitted(&self, answers: &Answers, callers: usize) {
        let answers = answers.borrow();
        assert_eq!(answers.len(), callers, "everybody is answered");
        let generation = self.place.row().token_generation;
        for answer in answers.iter() {
            assert_eq!(answer.as_ref().expect("everybody is admitted").token_generation, generation);
        }
        assert!(self.place.works(&answers[0].as_ref().unwrap().access_token), "the CRM accepts the token");
    }
}
