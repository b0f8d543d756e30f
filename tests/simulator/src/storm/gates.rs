//! The gates: the real keeper of each connection, in an instance that can be evicted, killed, or met twice.

use super::desk::Desk;
use super::fault::{Kind, Site};
use super::place::{Kept, Place};
use super::planted::{self, Bug};
use super::time::Slot;
use async_trait::async_trait;
use flows::World;
use flows::gate::{Admission, Ask, Gate, GateRefusal, Limit, Report};
use flows::gate_keeper::{GateKeeper, Host, Task};
use model::connection::ConnectionKey;
use std::rc::Rc;

/// A live instance.
pub struct GateObject {
    /// What it does.
    pub keeper: GateKeeper,
    /// What dies with it.
    pub group: u64,
}

struct Instance {
    desk: Rc<Desk>,
    kept: Kept,
}

fn name(connection: &ConnectionKey) -> String {
    format!("{}:{}", connection.workspace_id, connection.crm)
}

/// The instance that answers now.
fn instance(place: &Rc<Place>, connection: &ConnectionKey) -> (GateKeeper, u64) {
    let name = name(connection);
    if let Some(gate) = place.gates.borrow().get(&name) {
        return (gate.keeper.clone(), gate.group);
    }
    let kept = Rc::clone(place.kept.borrow_mut().entry(name.clone()).or_default());
    let desk = Desk::of_gate(place, &name);
    let group = desk.group;
    let keeper = GateKeeper::new(Rc::new(Instance { desk, kept }), connection.clone());
    place.gates.borrow_mut().insert(name, GateObject { keeper: keeper.clone(), group });
    (keeper, group)
}

/// Loses its memory, and everything it was doing ends.
pub fn evict(place: &Place, connection: &str) {
    if let Some(gate) = place.gates.borrow_mut().remove(connection) {
        place.time.kill(gate.group);
    }
}

/// Asks an instance that does not know of the one that was there, which goes on with what it was doing.
pub async fn ask_twin(place: &Rc<Place>, connection: &ConnectionKey, ask: Ask) {
    drop(place.gates.borrow_mut().remove(&name(connection)));
    let (keeper, group) = instance(place, connection);
    let (slot, filler) = Slot::new();
    place.time.spawn(group, async move { filler.fill(keeper.admit(&ask).await) });
    slot.wait().await;
}

#[async_trait(?Send)]
impl Gate for Desk {
    async fn admit(&self, connection: &ConnectionKey, ask: Ask) -> Result<Admission, GateRefusal> {
        let fault = self.place.fault(Site::Gate);
        self.travel(1, 20).await;
        if let Some(fault) = fault {
            self.met(fault);
            match fault.kind {
                Kind::GateUnreachable => return Err(GateRefusal::Unavailable),
                // The old instance goes on with what it was doing.
                Kind::GateTwin => drop(self.place.gates.borrow_mut().remove(&name(connection))),
                Kind::GateEvicted => {
                    let (place, gate, ms) = (Rc::clone(&self.place), name(connection), fault.extent_ms);
                    self.place.time.spawn(0, async move {
                        place.time.sleep(ms).await;
                        evict(&place, &gate);
                    });
                }
                _ => {}
            }
        }
        let (keeper, group) = instance(&self.place, connection);
        let (slot, filler) = Slot::new();
        let calls = ask.calls + ask.searches;
        self.place.time.spawn(group, async move { filler.fill(keeper.admit(&ask).await) });
        let answer = slot.wait().await;
        if calls > 0 && matches!(answer, Some(Ok(_))) {
            self.must_not_be_before_its_time(&name(connection), group);
        }
        self.travel(1, 20).await;
        if fault.is_some_and(|fault| fault.kind == Kind::GateAnswerLost) {
            return Err(GateRefusal::Unavailable);
        }
        answer.unwrap_or(Err(GateRefusal::Unavailable))
    }

    async fn report(&self, connection: &ConnectionKey, report: Report) {
        let fault = self.place.fault(Site::Report);
        self.travel(1, 20).await;
        if let Some(fault) = fault {
            return self.met(fault);
        }
        let (keeper, group) = instance(&self.place, connection);
        if let (Some(Limit::Window | Limit::Daily), Some(secs)) = (report.refused, retry_after_secs(&report)) {
            let until_ms = self.place.time.now_ms() + secs * 1_000;
            self.place.book.borrow_mut().waits.insert(name(connection), (group, until_ms));
        }
        if self.place.bug == Some(Bug::RateLimitIgnored) {
            planted::bend();
        } else {
            keeper.report(&report);
        }
    }

    async fn forget(&self, connection: &ConnectionKey) {
        let fault = self.place.fault(Site::Forget);
        self.travel(1, 20).await;
        match fault {
            Some(fault) => self.met(fault),
            None => instance(&self.place, connection).0.forget(),
        }
    }
}

impl Desk {
    /// An instance that was told when to come again lets nobody through before.
    fn must_not_be_before_its_time(&self, gate: &str, group: u64) {
        let told = self.place.book.borrow().waits.get(gate).copied();
        // Clocks differ by up to three seconds each.
        let too_early = |until_ms: i64| self.place.time.now_ms() + 6_500 < until_ms;
        if told.is_some_and(|(of, until_ms)| of == group && too_early(until_ms)) {
            self.place.wrong("10 a limit that the CRM told is not kept", gate);
        }
    }
}

fn retry_after_secs(report: &Report) -> Option<i64> {
    report.limits.iter().find(|(name, _)| name == "retry-after")?.1.trim().parse().ok()
}

#[async_trait(?Send)]
impl Host for Instance {
    fn world(&self) -> World<'_> {
        self.desk.world()
    }

    async fn sleep(&self, ms: u32) {
        self.desk.place.time.sleep(i64::from(ms)).await;
    }

    fn spawn(&self, task: Task) {
        self.desk.place.time.spawn(self.desk.group, task);
    }

    fn recall(&self, name: &'static str) -> Option<String> {
        self.kept.borrow().get(name).cloned()
    }

    fn remember(&self, name: &'static str, line: Option<&str>) {
        if let Some(line) = line {
            self.desk.place.must_not_tell_a_token("a gate's storage", line);
        }
        let mut kept = self.kept.borrow_mut();
        match line {
            Some(line) => kept.insert(name, line.to_owned()),
            None => kept.remove(name),
        };
    }
}
