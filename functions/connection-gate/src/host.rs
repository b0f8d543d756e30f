//! What a gate lives in: the object's bindings, its timers, and the promise that a refresh runs to its end.

use async_trait::async_trait;
use edge::log::Lines;
use edge::{Ports, Uses};
use flows::World;
use flows::gate_keeper::{Host, Task};
use flows::world::Log;
use model::connection::ConnectionKey;
use std::rc::Rc;
use std::time::Duration;
use worker::{Delay, Env, State};

/// The name in log lines.
pub const WORKER: &str = "connection-gate";

/// One object's ports, kept as long as its keeper: all events of an object share its input and output.
pub struct ObjectHost {
    ports: Ports,
    state: Rc<State>,
}

impl ObjectHost {
    /// Opens what is bound; a refusal is logged. Log lines and audit events carry the gate's name as their request id: a
    /// refresh belongs to everybody who waits for it.
    pub fn open(env: &Env, state: &Rc<State>, connection: &ConnectionKey) -> Option<Self> {
        let log = Rc::new(Lines::new(WORKER, format!("gate:{}", edge::gate::name(connection))));
        match Ports::open(env, &log, Uses::NONE.http().tokens()) {
            Ok(ports) => Some(Self { ports, state: Rc::clone(state) }),
            Err(error) => {
                log.event("gate_misconfigured", &[("code", error.code())]);
                None
            }
        }
    }
}

#[async_trait(?Send)]
impl Host for ObjectHost {
    fn world(&self) -> World<'_> {
        self.ports.world()
    }

    async fn sleep(&self, ms: u32) {
        Delay::from(Duration::from_millis(u64::from(ms))).await;
    }

    fn spawn(&self, task: Task) {
        self.state.wait_until(task);
    }
}
