//! What a gate lives in: the object's bindings, its timers, and the promise that a refresh runs to its end.

use async_trait::async_trait;
use edge::log::Lines;
use edge::{Ports, Uses};
use flows::World;
use flows::gate_keeper::{Host, Task};
use flows::world::Log;
use js_sys::{Array, Function, Reflect};
use model::connection::ConnectionKey;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Delay, Env, State};

/// The object's synchronous key-value storage (`ctx.storage.kv`), which `worker` does not wrap: unlike the asynchronous one
/// it cannot be overtaken between a read and a write.
fn memory(state: &State, method: &str, arguments: &[JsValue]) -> Option<JsValue> {
    let storage = state.storage();
    let kv = Reflect::get(storage.as_raw(), &"kv".into()).ok()?;
    let method: Function = Reflect::get(&kv, &method.into()).ok()?.dyn_into().ok()?;
    method.apply(&kv, &arguments.iter().collect::<Array>()).ok()
}

/// What is kept under a name. As text: `State::storage` reads through a second deserializer, 8 KB gzip of it.
pub fn recall(state: &State, name: &str) -> Option<String> {
    memory(state, "get", &[name.into()])?.as_string()
}

/// Keeps a line under a name, or nothing any more; `None` when the storage refused. Written at once; what leaves the object
/// afterwards (an answer, a fetch) waits until it is on disk.
pub fn remember(state: &State, name: &str, line: Option<&str>) -> Option<()> {
    match line {
        Some(line) => memory(state, "put", &[name.into(), line.into()]),
        None => memory(state, "delete", &[name.into()]),
    }
    .map(|_| ())
}

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
        match Ports::open(env, &log, Uses::NONE.http().tokens().meter()) {
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

    fn recall(&self, name: &'static str) -> Option<String> {
        recall(&self.state, name)
    }

    fn remember(&self, name: &'static str, line: Option<&str>) {
        if remember(&self.state, name, line).is_none() {
            self.ports.world().log.event("gate_memory_lost", &[("code", name)]);
        }
    }
}
