//! Everything there is in one run: the clock, the databases, the CRMs, the gates, what was promised to whom, and what was
//! found wrong. Requests to it (`desk`) come and go, and may be killed.

use super::book::Book;
use super::coverage::Coverage;
use super::desk::Desk;
use super::dice::Dice;
use super::fault::{Fault, Kind, Site};
use super::gates::GateObject;
use super::planted::Bug;
use super::scenario::{Scenario, TENANTS};
use super::time::{Slot, Time};
use super::upkeep::{self, Household};
use crate::{BEGINNING, SHARD};
use crypto::Keyring;
use flows::authenticate::Caller;
use flows::{Keys, Settings};
use model::{Crm, Role, Secret};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use stub_crm::{App, Config, DuplicateRules, KeyField, Rotation, StubCrm, Switches, UniqueOnActivities};
use stub_db::SqliteDb;

/// What one gate keeps beyond the life of its instances.
pub type Kept = Rc<RefCell<BTreeMap<&'static str, String>>>;

/// The whole of it.
pub struct Place {
    /// The clock and the tasks.
    pub time: Time,
    /// Latencies.
    pub chance: Dice,
    /// The product's chance.
    pub random: Dice,
    /// The directory's database and the other shard's.
    pub databases: [Rc<SqliteDb>; 2],
    /// Both CRMs.
    pub crm: RefCell<StubCrm>,
    /// What was promised and seen.
    pub book: RefCell<Book>,
    /// Which faults met which states.
    pub coverage: RefCell<Coverage>,
    /// Live instances of gates.
    pub gates: RefCell<BTreeMap<String, GateObject>>,
    /// What gates keep.
    pub kept: RefCell<BTreeMap<String, Kept>>,
    /// Facts, each until a time.
    pub cache: RefCell<BTreeMap<String, (i64, String)>>,
    /// Until when a CRM refuses everything of a workspace's account.
    pub limits: RefCell<BTreeMap<(usize, Crm), i64>>,
    /// What is there beside the writes.
    pub household: Household,
    /// The operator's switch.
    pub is_dry: Cell<bool>,
    /// Nothing fails any more.
    pub is_calm: Cell<bool>,
    /// How often each site was used until then.
    pub uses_before_calm: RefCell<BTreeMap<Site, u64>>,
    /// Instead of the scenario's faults: so many of a thousand uses fail.
    pub hazard: Cell<Option<Hazard>>,
    /// The bug that is planted in this run.
    pub bug: Option<Bug>,
    /// The storm's habits.
    pub scenario: Scenario,
    /// Secrets.
    pub keys: Keys,
    /// Those of a gate.
    pub gate_keys: Keys,
    /// What a deployment configures.
    pub settings: Settings,
    /// The same, dry.
    pub dry_settings: Settings,
    /// What is against the rules, in the order it was found.
    pub wrongs: RefCell<Vec<String>>,
    trace: Option<RefCell<Vec<String>>>,
    counts: RefCell<BTreeMap<Site, u64>>,
}

/// Faults by rate, in thousandths of the uses of a port.
#[derive(Clone, Copy, Debug)]
pub struct Hazard {
    /// Answers of a CRM that are lost after the effect.
    pub lost: usize,
    /// Effects that are answered with 500.
    pub failed: usize,
    /// Messages that the queue delivers twice.
    pub twice: usize,
}

impl Hazard {
    /// What a request to a CRM meets.
    pub fn of_request(self, chance: &Dice) -> Option<Kind> {
        let drawn = chance.below(1_000);
        if drawn < self.lost {
            return Some(Kind::AnswerLost);
        }
        (drawn < self.lost + self.failed).then_some(Kind::ServerErrorAfter)
    }
}

/// Whether a run writes down what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Every call.
    Trace,
    /// Nothing.
    Quiet,
}

impl Place {
    /// The place of a scenario, before its first step.
    pub fn new(scenario: Scenario, bug: Option<Bug>, telling: Telling) -> Rc<Self> {
        let seed = scenario.seed;
        let ring = |bytes: &str| {
            let ring = Keyring::from_base64(&Secret::new(format!("{}=", bytes.repeat(43))), None);
            ring.unwrap_or_else(|error| unreachable!("{error}"))
        };
        let place = Rc::new(Self {
            time: Time::new(BEGINNING.0, Dice::new(seed, 2)),
            chance: Dice::new(seed, 3),
            random: Dice::new(seed, 4),
            databases: [empty_database(), empty_database()],
            crm: RefCell::new(stand_in(&scenario)),
            book: RefCell::default(),
            coverage: RefCell::default(),
            gates: RefCell::default(),
            kept: RefCell::default(),
            cache: RefCell::default(),
            limits: RefCell::default(),
            household: Household::default(),
            is_dry: Cell::new(false),
            is_calm: Cell::new(false),
            uses_before_calm: RefCell::default(),
            hazard: Cell::new(None),
            bug,
            keys: Keys {
                tokens: Some(ring("E")),
                states: Some(ring("I")),
                webhook_secret: Some(Secret::new(upkeep::WEBHOOK_SECRET.to_owned())),
                ..Keys::default()
            },
            gate_keys: Keys { tokens: Some(ring("E")), ..Keys::default() },
            settings: settings(&scenario, false),
            dry_settings: settings(&scenario, true),
            scenario,
            wrongs: RefCell::default(),
            trace: (telling == Telling::Trace).then(RefCell::default),
            counts: RefCell::default(),
        });
        for tenant in 0..TENANTS {
            let caller = caller(tenant);
            crate::seed(&place.databases[0], &caller.workspace_id, &caller.shard, BEGINNING);
        }
        upkeep::furnish(&place);
        place
    }

    /// The fault that this use of a site meets.
    pub fn fault(&self, site: Site) -> Option<Fault> {
        let mut counts = self.counts.borrow_mut();
        let nth = counts.entry(site).or_default();
        *nth += 1;
        if self.is_calm.get() {
            return None;
        }
        if let Some(hazard) = self.hazard.get() {
            let kind = match site {
                Site::Http => hazard.of_request(&self.chance),
                Site::Queue => (self.chance.below(1_000) < hazard.twice).then_some(Kind::RingTwice),
                _ => None,
            };
            return kind.map(|kind| Fault { site, nth: *nth, count: 1, kind, extent_ms: 1 });
        }
        let hits = |fault: &&Fault| fault.site == site && fault.nth <= *nth && *nth < fault.nth + fault.count;
        self.scenario.faults.iter().find(hits).copied()
    }

    /// How often each site was used so far.
    pub fn uses(&self) -> BTreeMap<Site, u64> {
        self.counts.borrow().clone()
    }

    /// Notes something that is against the rules.
    pub fn wrong(&self, rule: &str, what: &str) {
        let line = format!("{rule}: {what}");
        self.tell(|| format!("!! {line}"));
        self.wrongs.borrow_mut().push(line);
    }

    /// Writes down what happens, when asked to.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at_ms = self.time.now_ms() - BEGINNING.0;
            trace.borrow_mut().push(format!("{:>9}.{:03}  {}", at_ms / 1_000, at_ms % 1_000, line()));
        }
    }

    /// What was written down.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| trace.borrow().clone()).unwrap_or_default()
    }

    /// Runs one request, in a group of its own; `None` when it died. The caller waits.
    pub async fn request<T: 'static, F: Future<Output = T> + 'static>(
        self: &Rc<Self>,
        what: &'static str,
        tenant: Option<usize>,
        deed: impl FnOnce(Rc<Desk>) -> F,
    ) -> Option<T> {
        let desk = Desk::open(self, what, tenant);
        let (slot, filler) = Slot::new();
        let work = deed(Rc::clone(&desk));
        self.time.spawn(desk.group, async move { filler.fill(work.await) });
        let done = slot.wait().await;
        if done.is_none() {
            self.tell(|| format!("{} {what} died", desk.id));
        }
        done
    }

    /// No token may stand in a text that leaves the process.
    pub fn must_not_tell_a_token(&self, whereabouts: &str, text: &str) {
        if text.len() > 24 && self.crm.borrow().issued().iter().any(|token| text.contains(token.as_str())) {
            self.wrong("1 a token in plain", whereabouts);
        }
    }

    /// Ends the run. A gate that was killed while others waited for it holds itself, and with it the place: what is large is
    /// taken out.
    pub fn dismantle(&self) {
        self.gates.borrow_mut().clear();
        self.time.clear();
        self.crm.replace(StubCrm::new(Config::default()));
        self.databases.iter().for_each(give_back);
    }
}

thread_local! {
    /// Databases that no place uses.
    static FREE: RefCell<Vec<Rc<SqliteDb>>> = const { RefCell::new(Vec::new()) };
}

/// A database without a row, used before or new.
fn empty_database() -> Rc<SqliteDb> {
    let free = FREE.with_borrow_mut(Vec::pop);
    free.unwrap_or_else(|| Rc::new(SqliteDb::in_memory()))
}

fn give_back(database: &Rc<SqliteDb>) {
    database.empty();
    FREE.with_borrow_mut(|free| free.push(Rc::clone(database)));
}

fn settings(scenario: &Scenario, dry_run: bool) -> Settings {
    let webhook_url = Some(upkeep::WEBHOOK_URL.to_owned());
    let mut settings = Settings { dry_run, webhook_url, ..crate::settings() };
    let of_deals = ["crm.objects.deals.read", "crm.objects.deals.write", "crm.schemas.deals.write"];
    if let Some(app) = settings.hubspot.as_mut().filter(|_| scenario.habits.deals) {
        app.scopes.extend(of_deals.map(str::to_owned));
    }
    settings
}

fn rotation(habit: u8) -> Rotation {
    [Rotation::Off, Rotation::On, Rotation::Strict][usize::from(habit).min(2)]
}

fn stand_in(scenario: &Scenario) -> StubCrm {
    let app = |crm: &str| App {
        client_id: format!("{crm}-client"),
        client_secret: format!("{crm}-secret"),
        redirect_uris: vec![format!("https://conduit.example/functions/v1/{crm}-oauth-callback")],
        required_scopes: Vec::new(),
    };
    let habits = scenario.habits;
    let switches = Switches {
        hubspot_search_lag_ms: habits.search_lag_ms,
        hubspot_unique_on_activities: [
            UniqueOnActivities::Refused,
            UniqueOnActivities::MissingScopes,
            UniqueOnActivities::MadePlain,
            UniqueOnActivities::Accepted,
        ][usize::from(habits.unique).min(3)],
        hubspot_association_lag_ms: habits.association_lag_ms,
        salesforce_rotation: rotation(habits.rotation),
        hubspot_rotation: rotation(habits.hubspot_rotation),
        hubspot_incomplete_reads: habits.incomplete_reads,
        salesforce_duplicate_rules: [DuplicateRules::Off, DuplicateRules::AllowSave, DuplicateRules::Block]
            [usize::from(habits.duplicate_rules).min(2)],
        salesforce_session_secs: 1_800,
        salesforce_key_field: [KeyField::Absent, KeyField::Unique, KeyField::NotUnique]
            [usize::from(habits.key_field).min(2)],
        ..Switches::default()
    };
    StubCrm::new(Config { seed: scenario.seed, hubspot: app("hubspot"), salesforce: app("salesforce"), switches })
}

/// The owner of a workspace.
pub fn caller(tenant: usize) -> Caller {
    Caller {
        workspace_id: crate::workspace(&format!("ws_t{tenant}")),
        shard: if tenant == 2 { SHARD } else { "DB" }.to_owned(),
        role: Role::Owner,
        actor: "us_owner".to_owned(),
    }
}

/// What the consent page is asked for, so that each workspace has an account of its own.
pub fn account_choice(tenant: usize, crm: Crm) -> String {
    match crm {
        Crm::Hubspot => format!("hub_id={}", 100 + tenant),
        Crm::Salesforce => format!("org={}", 1 + tenant),
    }
}

/// Which of those has this id in the CRM.
pub fn account_of(crm: Crm, id: &str) -> Option<usize> {
    match crm {
        Crm::Hubspot => id.parse::<usize>().ok()?.checked_sub(100),
        Crm::Salesforce => id.get(5..15)?.parse::<usize>().ok()?.checked_sub(1),
    }
}
