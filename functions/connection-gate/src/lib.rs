//! The Durable Object of one connection, `ConnectionGate`: messages to its [`GateKeeper`], and a weekly alarm that keeps
//! the grant of an idle connection alive.
//!
//! Nothing is decided here. What is stored in the object: whose gate it is, for the alarm; and what the keeper keeps, sealed
//! tokens the database has not taken yet, the request budget and a session's learned life.

#![expect(missing_docs, reason = "the constructor and methods that `durable_object` generates have none")]

mod host;

use edge::gate::{self, Call, Message, Verdict};
use edge::log::Lines;
use flows::gate::GateRefusal;
use flows::gate_keeper::GateKeeper;
use flows::world::Log;
use host::ObjectHost;
use model::connection::ConnectionKey;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

const CONNECTION: &str = "connection";
const DAY_MS: i64 = 86_400_000;
/// An alarm that could not do its work comes again after this long.
const AGAIN_MS: i64 = DAY_MS / 4;

/// The object.
#[durable_object(alarm)]
pub struct ConnectionGate {
    state: Rc<State>,
    env: Env,
    keeper: RefCell<Option<GateKeeper>>,
    armed: Cell<bool>,
}

impl DurableObject for ConnectionGate {
    fn new(state: State, env: Env) -> Self {
        edge::log::on_panic(host::WORKER);
        Self { state: Rc::new(state), env, keeper: RefCell::default(), armed: Cell::new(false) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        // Not `json()`, which brings a second deserializer.
        let Some(message) = model::json::read::<Message>(&request.text().await?) else {
            return Response::error("this is no message for a gate", 400);
        };
        // A message for another connection would be answered with this one's token.
        if self.state.id().name() != Some(gate::name(&message.connection)) {
            return Response::error("this is another connection's gate", 403);
        }
        let Some(keeper) = self.keeper(&message.connection) else {
            return Response::from_json(&Verdict::Unavailable);
        };
        self.arm(&message.connection);
        match message.call {
            Call::Admit(ask) => {
                let verdict = Verdict::from(keeper.admit(&ask).await);
                let lines = Lines::new(host::WORKER, message.request_id);
                let key = &message.connection;
                let fields = [
                    ("crm", key.crm.as_str()),
                    ("workspace_id", key.workspace_id.as_str()),
                    ("outcome", verdict.as_str()),
                    ("calls", &ask.calls.to_string()),
                ];
                lines.event("gate_asked", &fields);
                Response::from_json(&verdict)
            }
            Call::Report(report) => {
                keeper.report(&report);
                Response::empty()
            }
            Call::Forget => {
                keeper.forget();
                Response::empty()
            }
        }
    }

    /// At least once and seldom late. Armed again first: an alarm that fails seven times is gone for good.
    async fn alarm(&self) -> Result<Response> {
        if let Some(connection) =
            host::recall(&self.state, CONNECTION).and_then(|text| model::json::read::<ConnectionKey>(&text))
        {
            let _ = self.state.storage().set_alarm(next_alarm_ms(&connection)).await;
            let kept = match self.keeper(&connection) {
                Some(keeper) => keeper.keep_alive().await,
                None => Err(GateRefusal::Unavailable),
            };
            // What goes wrong is in the log and on the connection. What passes by itself is not left for a week.
            if kept == Err(GateRefusal::Unavailable) {
                let _ = self.state.storage().set_alarm(AGAIN_MS).await;
            }
        }
        Response::empty()
    }
}

impl ConnectionGate {
    /// The keeper of this connection; a new one when the workspace moved to another shard.
    fn keeper(&self, connection: &ConnectionKey) -> Option<GateKeeper> {
        let mut slot = self.keeper.borrow_mut();
        if slot.as_ref().is_none_or(|keeper| keeper.key() != connection) {
            let host = ObjectHost::open(&self.env, &self.state, connection)?;
            *slot = Some(GateKeeper::new(Rc::new(host), connection.clone()));
            self.armed.set(false);
        }
        slot.clone()
    }

    /// Once in an instance's life: remembers whose gate it is, and sets the alarm unless one is set. Nobody waits for it.
    fn arm(&self, connection: &ConnectionKey) {
        if self.armed.replace(true) {
            return;
        }
        let (state, connection) = (Rc::clone(&self.state), connection.clone());
        self.state.wait_until(async move {
            // Failing costs nothing: the next instance tries again.
            let _ = remember(&state, &connection).await;
        });
    }
}

async fn remember(state: &State, connection: &ConnectionKey) -> Result<()> {
    host::remember(state, CONNECTION, Some(&serde_json::to_string(connection)?));
    let storage = state.storage();
    if storage.get_alarm().await?.is_none() {
        storage.set_alarm(next_alarm_ms(connection)).await?;
    }
    Ok(())
}

/// In a week, at an hour of the connection's own: not all of them at once. Milliseconds from now.
fn next_alarm_ms(connection: &ConnectionKey) -> i64 {
    let spread = gate::name(connection).bytes().fold(0_i64, |sum, byte| (sum * 31 + i64::from(byte)) % DAY_MS);
    7 * DAY_MS + spread
}
