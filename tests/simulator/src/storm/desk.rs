//! One request, from its beginning to its end or death: its time, its ports, and how they fail it.

use super::database::Shard;
use super::fault::{Fault, Kind, Site};
use super::place::Place;
use super::planted::{self, Bug};
use super::time::never;
use async_trait::async_trait;
use crypto::jwt::Unverified;
use flows::World;
use flows::world::{Cache, Clock, KeysUnavailable, Log, Queue, QueueUnavailable, Shards, Signatures};
use model::Timestamp;
use model::doorbell::Doorbell;
use model::health::CheckRound;
use std::cell::Cell;
use std::rc::Rc;
use store::Db;

/// The ports of one request.
pub struct Desk {
    /// Where.
    pub place: Rc<Place>,
    /// On every log line.
    pub id: String,
    /// What dies together.
    pub group: u64,
    /// What is going on, for the table of coverage.
    pub what: Cell<&'static str>,
    /// On whose behalf.
    pub tenant: Option<usize>,
    /// Nothing that changes a CRM may leave.
    pub is_dry: bool,
    /// A gate's own.
    pub gate: Option<String>,
    skew_ms: i64,
    began_ms: i64,
    shards: [Shard; 2],
}

/// A queue's consumer and a cron run for fifteen minutes at most, and nobody waits longer for an answer.
const LIFE_MS: i64 = 15 * 60_000;

impl Desk {
    /// A request begins.
    pub fn open(place: &Rc<Place>, what: &'static str, tenant: Option<usize>) -> Rc<Self> {
        Self::begin(place, what, tenant, None)
    }

    /// An instance of a gate begins.
    pub fn of_gate(place: &Rc<Place>, name: &str) -> Rc<Self> {
        Self::begin(place, "refresh", None, Some(name.to_owned()))
    }

    fn begin(place: &Rc<Place>, what: &'static str, tenant: Option<usize>, gate: Option<String>) -> Rc<Self> {
        let group = place.time.number();
        let skew_ms = match place.fault(Site::Clock) {
            Some(Fault { kind, extent_ms, .. }) => {
                place.coverage.borrow_mut().note(kind, what);
                if kind == Kind::ClockAhead { 3 * extent_ms } else { -3 * extent_ms }
            }
            None => 0,
        };
        Rc::new_cyclic(|desk| Self {
            id: format!("{}{group}", if gate.is_some() { "gate_" } else { "req_" }),
            group,
            what: Cell::new(what),
            tenant,
            is_dry: place.is_dry.get(),
            gate,
            skew_ms,
            began_ms: place.time.now_ms(),
            shards: [0, 1].map(|index| Shard { desk: desk.clone(), index }),
            place: Rc::clone(place),
        })
    }

    /// This request's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.place.time.now_ms() + self.skew_ms)
    }

    /// The platform ends it; a gate lives on.
    pub fn is_out_of_time(&self) -> bool {
        self.gate.is_none() && self.place.time.now_ms() > self.began_ms + LIFE_MS
    }

    /// What a flow gets.
    pub fn world(&self) -> World<'_> {
        let leaks = self.is_dry && self.place.bug == Some(Bug::DryRunLeaks);
        if leaks {
            planted::bend();
        }
        let is_dry = self.is_dry && !leaks;
        World {
            now: self.now(),
            clock: self,
            request_id: self.id.clone(),
            directory: &self.shards[0],
            shards: self,
            http: self,
            queue: self,
            gate: self,
            cache: self,
            signatures: self,
            random: &self.place.random,
            keys: if self.gate.is_some() { &self.place.gate_keys } else { &self.place.keys },
            settings: if is_dry { &self.place.dry_settings } else { &self.place.settings },
            log: self,
        }
    }

    /// Notes that a fault met this request.
    pub fn met(&self, fault: Fault) {
        self.place.coverage.borrow_mut().note(fault.kind, self.what.get());
        self.place.tell(|| format!("{} ** {} ({})", self.id, fault.kind.label(), self.what.get()));
    }

    /// Everything of this request ends here.
    pub async fn crash<T>(&self) -> T {
        self.place.time.kill(self.group);
        if let Some(name) = &self.gate {
            let mut gates = self.place.gates.borrow_mut();
            if gates.get(name).is_some_and(|gate| gate.group == self.group) {
                gates.remove(name);
            }
        }
        never().await
    }

    /// A call's way there or back.
    pub async fn travel(&self, from_ms: i64, to_ms: i64) {
        let ms = self.place.chance.between(from_ms, to_ms);
        self.place.time.sleep(ms).await;
    }
}

#[async_trait(?Send)]
impl Queue for Desk {
    async fn ring(&self, doorbells: Vec<Doorbell>, delay_secs: u32) -> Result<(), QueueUnavailable> {
        let fault = self.place.fault(Site::Queue);
        self.travel(1, 20).await;
        for doorbell in &doorbells {
            let text = serde_json::to_string(doorbell).unwrap_or_default();
            self.place.must_not_tell_a_token("a queue message", &text);
        }
        let (mut wait_ms, mut copies) = (i64::from(delay_secs) * 1_000, 1);
        let mut said = Ok(());
        if let Some(fault) = fault {
            self.met(fault);
            match fault.kind {
                Kind::RingRefused => return Err(QueueUnavailable),
                Kind::RingTakenUnsaid => said = Err(QueueUnavailable),
                Kind::RingLost => return Ok(()),
                Kind::RingTwice => copies = 2,
                _ => wait_ms += fault.extent_ms * 600,
            }
        }
        for doorbell in doorbells {
            for _ in 0..copies {
                super::deeds::deliver(&self.place, doorbell.clone(), wait_ms + self.place.chance.between(0, 1_500));
            }
        }
        said
    }

    async fn check(&self, rounds: Vec<(CheckRound, u32)>) -> Result<(), QueueUnavailable> {
        let fault = self.place.fault(Site::Queue);
        self.travel(1, 20).await;
        if let Some(fault) = fault {
            self.met(fault);
            return Err(QueueUnavailable);
        }
        for (round, delay_secs) in rounds {
            super::deeds::check_later(&self.place, round, i64::from(delay_secs) * 1_000);
        }
        Ok(())
    }
}

impl Clock for Desk {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
}

/// Facts for a while; now and then they are gone sooner.
#[async_trait(?Send)]
impl Cache for Desk {
    async fn get(&self, key: &str) -> Option<String> {
        self.travel(1, 10).await;
        let now_ms = self.place.time.now_ms();
        let kept =
            self.place.cache.borrow().get(key).filter(|(until, _)| *until > now_ms).map(|(_, text)| text.clone());
        kept.filter(|_| !self.place.chance.percent(10))
    }

    async fn put(&self, key: &str, value: &str, ttl_secs: u32) {
        self.travel(1, 10).await;
        self.place.must_not_tell_a_token("the cache", value);
        let until = self.place.time.now_ms() + i64::from(ttl_secs) * 1_000;
        self.place.cache.borrow_mut().insert(key.to_owned(), (until, value.to_owned()));
    }
}

impl Shards for Desk {
    fn open(&self, name: &str) -> Option<&dyn Db> {
        match name {
            "DB" => Some(&self.shards[0]),
            crate::SHARD => Some(&self.shards[1]),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        vec!["DB".to_owned(), crate::SHARD.to_owned()]
    }
}

#[async_trait(?Send)]
impl Signatures for Desk {
    async fn verify(&self, _: &Unverified) -> Result<bool, KeysUnavailable> {
        Err(KeysUnavailable)
    }
}

impl Log for Desk {
    fn event(&self, name: &'static str, fields: &[(&'static str, &str)]) {
        for (field, value) in fields {
            self.place.must_not_tell_a_token(&format!("log {name}.{field}"), value);
        }
        self.place.tell(|| {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {name} {}", self.id, fields.join(" "))
        });
    }
}
