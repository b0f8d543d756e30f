//! The real flows, SQL, adapters and stand-in CRM in one thread, one process and simulated time, from a seed.
//!
//! In scope: a [`Sim`] that holds the parts, hands out [`World`]s over them and lets faults be planned at every port. Out of
//! scope: Cloudflare (the endpoint tests run the built Workers), and anything a Worker would decide.

mod browser;
mod gate;
mod ports;
pub mod storm;

pub use browser::Browser;
pub use gate::Gates;
pub use ports::{Fault, Port};

use crypto::{Keyring, SeededRandom};
use flows::authenticate::Caller;
use flows::mint_link::{LinkRequest, mint_link};
use flows::open_link::open_link;
use flows::{Keys, Settings, World};
use model::install::Page;
use model::{Crm, Role, Secret, Timestamp, UserId, WorkspaceId};
use ports::Ports;
use providers::oauth::AppCredentials;
use std::cell::Cell;
use std::rc::Rc;
use store::{Db, Statement};
use stub_db::SqliteDb;

/// 2026-11-20T09:00:00Z, when every simulation begins.
pub const BEGINNING: Timestamp = Timestamp(1_795_165_200_000);

/// The workspace every simulation has.
pub const WORKSPACE: &str = "ws_acme";

/// The name of the second shard.
pub const SHARD: &str = "SHARD_2";

/// A whole Conduit, its CRMs and its clock.
pub struct Sim {
    requests: Cell<u64>,
    /// The ports, with what happened at them.
    pub ports: Rc<Ports>,
    /// The gates, with what they stored.
    pub gates: Gates,
    keys: Keys,
    settings: Settings,
}

impl Sim {
    /// A Conduit with one workspace, an owner and a member, and nothing connected.
    ///
    /// # Panics
    /// When the simulation's own keys are not keys.
    pub fn new(seed: u64) -> Self {
        let ring = |bytes: &str| {
            let ring = Keyring::from_base64(&Secret::new(format!("{}=", bytes.repeat(43))), None);
            ring.unwrap_or_else(|error| unreachable!("{error}"))
        };
        let ports = Rc::new(Ports::new(seed));
        let gate_keys = Keys { tokens: Some(ring("E")), ..Keys::default() };
        let sim = Self {
            gates: Gates::new(&ports, gate_keys, settings()),
            ports,
            requests: Cell::new(0),
            keys: Keys {
                tokens: Some(ring("E")),
                states: Some(ring("I")),
                jwt_secret: Some(Secret::new("a secret of the host product, 32 bytes or more".to_owned())),
                ..Keys::default()
            },
            settings: settings(),
        };
        sim.seed_workspace(WORKSPACE);
        sim
    }

    /// Adds a workspace with the owner `us_owner` and the member `us_member`.
    ///
    /// # Panics
    /// When the database refuses it.
    pub fn seed_workspace(&self, id: &str) {
        self.seed_workspace_on(id, "DB");
    }

    /// Adds a workspace whose tables are in another shard, with the same people.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn seed_workspace_on(&self, id: &str, shard: &str) {
        seed(&self.ports.db, &workspace(id), shard, self.now());
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.ports.now()
    }

    /// Lets time pass.
    pub fn sleep_secs(&self, secs: i64) {
        self.ports.set_now(self.now().plus_secs(secs));
    }

    /// The world of one request.
    pub fn world(&self) -> World<'_> {
        let n = self.requests.get() + 1;
        self.requests.set(n);
        World {
            now: self.now(),
            clock: &*self.ports,
            request_id: format!("req_{n}"),
            directory: &self.ports.db,
            shards: &*self.ports,
            http: &*self.ports,
            queue: &*self.ports,
            gate: &self.gates,
            cache: &*self.ports,
            signatures: &*self.ports,
            random: &self.ports.random,
            keys: &self.keys,
            settings: &self.settings,
            log: &*self.ports,
        }
    }

    /// The settings, to be changed before use.
    pub const fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The keys, to be changed before use.
    pub const fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// The keys, for tests that seal and open.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Chance of this simulation.
    pub fn random(&self) -> &SeededRandom {
        &self.ports.random
    }

    /// A caller of [`WORKSPACE`].
    pub fn caller(&self, role: Role) -> Caller {
        Caller {
            workspace_id: workspace(WORKSPACE),
            shard: "DB".to_owned(),
            role,
            actor: format!("us_{}", role.as_str()),
        }
    }

    /// A caller of any workspace.
    pub fn caller_of(&self, id: &str, shard: &str, role: Role) -> Caller {
        Caller { workspace_id: workspace(id), shard: shard.to_owned(), ..self.caller(role) }
    }

    /// Everything that an attack must leave as it was: connections, accounts, installs and the audit trail, value by value.
    pub fn standing(&self) -> Vec<String> {
        let tables = ["crm_connections", "crm_accounts", "pending_installs", "audit_events", "workspace_members"];
        let values = self.ports.db.dump().into_iter().chain(self.ports.shard.dump());
        values
            .filter(|value| tables.contains(&value.table.as_str()))
            .map(|value| format!("{}.{}={}", value.table, value.column, value.text))
            .collect()
    }

    /// The cookie of a session on our own pages, opened through a link that the caller's back end minted for a member.
    ///
    /// # Panics
    /// When the link is refused.
    pub fn session(&self, caller: &Caller, user: &str) -> Secret<String> {
        let back_end = Caller { actor: "token:ci".to_owned(), ..caller.clone() };
        let ask = LinkRequest { user_id: Some(user), page: Page::Claim, return_to: None };
        let link = pollster::block_on(mint_link(&self.world(), &back_end, &ask));
        let url = link.map_or_else(|error| unreachable!("{error}"), |link| link.url);
        let secret = url.rsplit_once("link=").map_or("", |(_, secret)| secret);
        let opened = pollster::block_on(open_link(&self.world(), secret, None));
        Secret::new(opened.unwrap_or_else(|error| unreachable!("{error}")).session.as_str().to_owned())
    }

    /// Connects [`WORKSPACE`] through the real redirects, as a person would, and approves.
    ///
    /// # Panics
    /// When the flow does not end in a connection.
    pub fn connect(&self, crm: Crm) {
        let finished = Browser::new(self).connect(crm);
        assert!(finished.is_ok(), "{crm} connects: {finished:?}");
    }
}

/// Writes a workspace and its people into a directory.
fn seed(directory: &SqliteDb, workspace: &WorkspaceId, shard: &str, now: Timestamp) {
    let member =
        |user: &str, role| UserId::parse(user).map(|user| store::workspaces::admit_member(workspace, &user, role, now));
    let statements: Vec<Statement> = [
        Some(store::workspaces::create(workspace, workspace.as_str(), shard, now)),
        member("us_owner", Role::Owner),
        member("us_member", Role::Member),
    ]
    .into_iter()
    .flatten()
    .collect();
    let seeded = pollster::block_on(directory.batch(statements));
    assert!(seeded.is_ok(), "the workspace is seeded: {:?}", directory.last_failure());
    directory.reset_counters();
}

fn settings() -> Settings {
    let app = |crm: Crm, scopes: &[&str]| AppCredentials {
        client_id: format!("{crm}-client"),
        client_secret: Secret::new(format!("{crm}-secret")),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        optional_scopes: Vec::new(),
        redirect_uri: format!("https://conduit.example/functions/v1/{crm}-oauth-callback"),
    };
    Settings {
        public_origin: "https://conduit.example".to_owned(),
        return_to_origins: vec!["https://app.example".to_owned()],
        hubspot: Some(app(Crm::Hubspot, &["oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"])),
        salesforce: Some(app(Crm::Salesforce, &["api", "refresh_token"])),
        ..Settings::default()
    }
}

/// A workspace id.
///
/// # Panics
/// When the text is not one.
pub fn workspace(id: &str) -> WorkspaceId {
    let parsed = WorkspaceId::parse(id);
    assert!(parsed.is_some(), "{id} is a workspace id");
    parsed.unwrap_or_else(|| unreachable!())
}
