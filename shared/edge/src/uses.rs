//! Which ports and keys a Worker uses. What it does not name is not linked into its wasm, and answers "unavailable" if it is
//! asked after all: a port is a few kilobytes, and an OAuth start never speaks to a provider. A keyring that is not named is
//! not read either, even where somebody gave the Worker the secret.

use std::rc::Rc;

use async_trait::async_trait;
use crypto::jwt::Unverified;
use flows::gate::{Admission, Ask, Gate, GateRefusal, Report};
use flows::world::{Cache, Http, KeysUnavailable, Queue, QueueUnavailable, Signatures};
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use providers::http::{Answer, NoAnswer, Request};

use crate::bindings::Bindings;
use crate::cache::Facts;
use crate::configuration::{self, Configuration, ReadKeyring};
use crate::gate::Gates;
use crate::http::Fetch;
use crate::log::Lines;
use crate::meter::{self, Meter};
use crate::queue::{ChecksQueue, WritesQueue};
use crate::signatures::Jwks;

/// What ports are made of.
pub struct Parts {
    pub(crate) bindings: Rc<Bindings>,
    pub(crate) configuration: Rc<Configuration>,
    pub(crate) log: Rc<Lines>,
}

/// The ports named. Each is a function that makes one, so that naming it is what links it.
#[derive(Clone, Copy)]
pub struct Uses {
    pub(crate) http: fn(&Parts) -> Box<dyn Http>,
    pub(crate) gate: fn(&Parts) -> Box<dyn Gate>,
    pub(crate) queue: fn(&Parts) -> Box<dyn Queue>,
    pub(crate) cache: fn(&Parts) -> Box<dyn Cache>,
    pub(crate) signatures: fn(&Parts) -> Box<dyn Signatures>,
    pub(crate) tokens: ReadKeyring,
    pub(crate) states: ReadKeyring,
    pub(crate) meter: fn(&Parts) -> Option<Meter>,
}

impl Uses {
    /// The databases, chance and the log, which everybody has.
    pub const NONE: Self = Self {
        http: |_| Box::new(Unnamed),
        gate: |_| Box::new(Unnamed),
        queue: |_| Box::new(Unnamed),
        cache: |_| Box::new(Unnamed),
        signatures: |_| Box::new(Unnamed),
        tokens: |_| Ok(None),
        states: |_| Ok(None),
        meter: |_| None,
    };

    /// And the keys that open tokens.
    #[must_use]
    pub const fn tokens(mut self) -> Self {
        self.tokens = configuration::token_keys;
        self
    }

    /// And the keys that open what a flow in progress keeps.
    #[must_use]
    pub const fn states(mut self) -> Self {
        self.states = configuration::state_keys;
        self
    }

    /// And the way to the providers.
    #[must_use]
    pub const fn http(mut self) -> Self {
        self.http = |p| Box::new(Fetch::new(p.bindings.clone(), p.configuration.clone(), p.log.clone()));
        self
    }

    /// And the connections' gates.
    #[must_use]
    pub const fn gate(mut self) -> Self {
        self.gate = |p| Box::new(Gates::new(p.bindings.clone(), p.log.clone()));
        self
    }

    /// And the doorbell.
    #[must_use]
    pub const fn queue(mut self) -> Self {
        self.queue = |p| Box::new(WritesQueue::new(p.bindings.clone(), p.log.clone()));
        self
    }

    /// And the cache of facts about CRM accounts.
    #[must_use]
    pub const fn cache(mut self) -> Self {
        self.cache = |p| Box::new(Facts::new(p.bindings.clone()));
        self
    }

    /// And the queue of health checks, instead of the doorbell.
    #[must_use]
    pub const fn checks(mut self) -> Self {
        self.queue = |p| Box::new(ChecksQueue::new(p.bindings.clone(), p.log.clone()));
        self
    }

    /// And data points of what it logs, where a dataset is bound.
    #[must_use]
    pub const fn meter(mut self) -> Self {
        self.meter = |p| meter::open(&p.bindings);
        self
    }

    /// And signatures by a JWKS.
    #[must_use]
    pub const fn signatures(mut self) -> Self {
        self.signatures = |p| Box::new(Jwks::new(p.bindings.clone(), p.configuration.clone(), p.log.clone()));
        self
    }
}

/// Every port that was not named.
struct Unnamed;

#[async_trait(?Send)]
impl Http for Unnamed {
    async fn send(&self, _: Request) -> Answer {
        Err(NoAnswer::NotSent)
    }
}

#[async_trait(?Send)]
impl Gate for Unnamed {
    async fn admit(&self, _: &ConnectionKey, _: Ask) -> Result<Admission, GateRefusal> {
        Err(GateRefusal::Unavailable)
    }

    async fn report(&self, _: &ConnectionKey, _: Report) {}

    async fn forget(&self, _: &ConnectionKey) {}
}

#[async_trait(?Send)]
impl Queue for Unnamed {
    async fn ring(&self, _: Vec<Doorbell>, _: u32) -> Result<(), QueueUnavailable> {
        Err(QueueUnavailable)
    }
}

#[async_trait(?Send)]
impl Cache for Unnamed {
    async fn get(&self, _: &str) -> Option<String> {
        None
    }

    async fn put(&self, _: &str, _: &str, _: u32) {}
}

#[async_trait(?Send)]
impl Signatures for Unnamed {
    async fn verify(&self, _: &Unverified) -> Result<bool, KeysUnavailable> {
        Err(KeysUnavailable)
    }
}
