//! The simulation's gates: the real gate keeper of every connection, over the simulation's own ports.
//!
//! What a Durable Object gives a gate is given here: a memory that survives an eviction, and time to wait in, which simply
//! passes.

use crate::ports::Ports;
use async_trait::async_trait;
use flows::gate::{Admission, Ask, Gate, GateRefusal, Report};
use flows::gate_keeper::{GateKeeper, Host, Task};
use flows::{Keys, Settings, World};
use model::connection::ConnectionKey;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// All gates there are.
pub struct Gates {
    place: Rc<Place>,
    keepers: RefCell<BTreeMap<String, GateKeeper>>,
    kept: RefCell<BTreeMap<String, Rc<Kept>>>,
}

/// What one object keeps beyond the life of its instances.
type Kept = RefCell<BTreeMap<&'static str, String>>;

struct Place {
    ports: Rc<Ports>,
    keys: Keys,
    settings: Settings,
}

struct Instance {
    place: Rc<Place>,
    name: String,
    kept: Rc<Kept>,
}

impl Gates {
    pub(crate) fn new(ports: &Rc<Ports>, keys: Keys, settings: Settings) -> Self {
        let place = Rc::new(Place { ports: Rc::clone(ports), keys, settings });
        Self { place, keepers: RefCell::default(), kept: RefCell::default() }
    }

    /// Every gate loses its memory, and keeps what it stored.
    pub fn evict(&self) {
        self.keepers.borrow_mut().clear();
    }

    /// Everything that gates stored: no token may stand in it.
    pub fn stored(&self) -> Vec<String> {
        self.kept.borrow().values().flat_map(|kept| kept.borrow().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn keeper(&self, connection: &ConnectionKey) -> GateKeeper {
        let name = format!("{}:{}", connection.workspace_id, connection.crm);
        let keeper = || {
            let kept = Rc::clone(self.kept.borrow_mut().entry(name.clone()).or_default());
            let instance = Instance { place: Rc::clone(&self.place), name: name.clone(), kept };
            GateKeeper::new(Rc::new(instance), connection.clone())
        };
        self.keepers.borrow_mut().entry(name.clone()).or_insert_with(keeper).clone()
    }
}

#[async_trait(?Send)]
impl Gate for Gates {
    async fn admit(&self, connection: &ConnectionKey, ask: Ask) -> Result<Admission, GateRefusal> {
        self.keeper(connection).admit(&ask).await
    }

    async fn report(&self, connection: &ConnectionKey, report: Report) {
        self.keeper(connection).report(&report);
    }

    async fn forget(&self, connection: &ConnectionKey) {
        self.keeper(connection).forget();
    }
}

#[async_trait(?Send)]
impl Host for Instance {
    fn world(&self) -> World<'_> {
        let ports = &self.place.ports;
        World {
            now: ports.now(),
            clock: &**ports,
            request_id: format!("gate:{}", self.name),
            directory: &ports.db,
            shards: &**ports,
            http: &**ports,
            queue: &**ports,
            gate: &NoGate,
            cache: &**ports,
            signatures: &**ports,
            random: &ports.random,
            keys: &self.place.keys,
            settings: &self.place.settings,
            log: &**ports,
        }
    }

    async fn sleep(&self, ms: u32) {
        let ports = &self.place.ports;
        ports.set_now(ports.now().plus_ms(i64::from(ms)));
    }

    /// There is one caller at a time, and it waits.
    fn spawn(&self, task: Task) {
        drop(task);
    }

    fn recall(&self, name: &'static str) -> Option<String> {
        self.kept.borrow().get(name).cloned()
    }

    fn remember(&self, name: &'static str, line: Option<&str>) {
        let mut kept = self.kept.borrow_mut();
        match line {
            Some(line) => kept.insert(name, line.to_owned()),
            None => kept.remove(name),
        };
    }
}

/// A gate does not ask a gate.
struct NoGate;

#[async_trait(?Send)]
impl Gate for NoGate {
    async fn admit(&self, _: &ConnectionKey, _: Ask) -> Result<Admission, GateRefusal> {
        Err(GateRefusal::Unavailable)
    }

    async fn report(&self, _: &ConnectionKey, _: Report) {}

    async fn forget(&self, _: &ConnectionKey) {}
}
