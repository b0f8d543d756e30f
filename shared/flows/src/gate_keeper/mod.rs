//! The gate of one connection: the only owner of its opened access token, and the only one that refreshes it.
//!
//! Held by the Durable Object, by native tests and by the simulator, through [`Host`]. A refresh is one future that every
//! caller waits for: a Durable Object does not serialise around a fetch, so the slot is explicit. The same future is also
//! given to the host to run to its end, so that callers who leave do not lose the answer to a call that was made.
//!
//! In scope: who waits for what, and what is remembered. Out of scope: what to do next (`model::refresh`), the refresh
//! itself (`refresh_token`), the wire (`edge::gate`).

mod fail;
mod permits;
mod renew;
mod settle;

use crate::World;
use crate::gate::{Admission, Ask, GateRefusal, Purpose, Report};
use crate::open_token::Held;
use crate::refresh_token::Unsaved;
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use model::Timestamp;
use model::budget::Budget;
use model::connection::ConnectionKey;
use model::line::Line;
use model::refresh::{Need, USABLE_MARGIN_SECS};
use std::cell::RefCell;
use std::rc::Rc;

/// A caller looks at the outcome of at most this many flights: its own need may differ from that of the one it joined.
const FLIGHTS_MAX: u32 = 3;

/// What a gate lives in. Owned, not borrowed, because a refresh outlives the request that began it.
#[async_trait(?Send)]
pub trait Host {
    /// The world at this moment. Each call has its own time and request id; `queue` and `gate` are not used.
    fn world(&self) -> World<'_>;

    /// Waits.
    async fn sleep(&self, ms: u32);

    /// Runs a task to its end, whoever waits for it.
    fn spawn(&self, task: Task);

    /// What was kept under a name, if it can be had.
    fn recall(&self, name: &'static str) -> Option<String>;

    /// Keeps a line under a name beyond this instance's life, before anything else leaves the host; `None` forgets it. Only
    /// sealed tokens and numbers are kept.
    fn remember(&self, name: &'static str, line: Option<&str>);
}

/// What a host runs to its end.
pub type Task = LocalBoxFuture<'static, ()>;

type Flight = Shared<LocalBoxFuture<'static, Result<(), GateRefusal>>>;

/// The gate of one connection. Clones share it.
#[derive(Clone)]
pub struct GateKeeper(Rc<Keeper>);

struct Keeper {
    host: Rc<dyn Host>,
    key: ConnectionKey,
    state: RefCell<State>,
}

/// Everything the gate remembers. No borrow of it is held across an await.
#[derive(Default)]
struct State {
    /// The opened token, until when it is handed out without looking at its row.
    held: Option<(Held, Timestamp)>,
    /// When the row last said so.
    read_at: Timestamp,
    /// What is held is of a connection that health checks gave up: for checks alone.
    for_checks: bool,
    /// A refusal that is repeated without looking, and until when.
    refusal: Option<(GateRefusal, Timestamp)>,
    /// The look at the row, the refresh, or the wait for one that is going on.
    flight: Option<Flight>,
    /// Grows with each `forget`: what a flight read before counts no more.
    epoch: u64,
    /// The refresh this gate began last, while its end is not stored.
    own: Option<OwnRefresh>,
    /// Tokens the database did not take yet.
    unsaved: Option<Unsaved>,
    /// The journal of an earlier instance was looked at.
    recalled: bool,
    /// The grant of this generation is dead, and the database may not know yet.
    dead: Option<Dead>,
    /// Refreshes that failed in a row.
    failures: u32,
    /// The token endpoint is not asked before.
    not_before: Timestamp,
    /// The calls the CRM allows.
    budget: Option<Budget>,
    /// Who waits for them.
    line: Line,
}

struct OwnRefresh {
    id: String,
    sent: bool,
}

#[derive(Clone)]
struct Dead {
    generation: u64,
    refresh_id: Option<String>,
    code: &'static str,
    provider_code: String,
}

/// What memory alone says to a caller.
enum Glance {
    Admit(Admission),
    Refuse(GateRefusal),
    Unsettled,
}

impl GateKeeper {
    /// The gate of a connection, knowing nothing yet.
    pub fn new(host: Rc<dyn Host>, key: ConnectionKey) -> Self {
        Self(Rc::new(Keeper { host, key, state: RefCell::default() }))
    }

    /// Whose gate it is.
    pub fn key(&self) -> &ConnectionKey {
        &self.0.key
    }

    /// Asks for a token and permits. Without a token nobody takes a permit.
    pub async fn admit(&self, ask: &Ask) -> Result<Admission, GateRefusal> {
        self.token(ask).await?;
        let permit = permits::permit(&self.0, ask).await?;
        // Waiting takes time: what is at hand now counts.
        match self.token(ask).await {
            Ok(admission) => Ok(Admission { permit, ..admission }),
            Err(refusal) => {
                self.0.give_back(permit);
                Err(refusal)
            }
        }
    }

    async fn token(&self, ask: &Ask) -> Result<Admission, GateRefusal> {
        for _ in 0..FLIGHTS_MAX {
            match self.0.glance(ask) {
                Glance::Admit(admission) => return Ok(admission),
                Glance::Refuse(refusal) => return Err(refusal),
                Glance::Unsettled => self.settled(need_of(ask)).await?,
            }
        }
        match self.0.glance(ask) {
            Glance::Admit(admission) => Ok(admission),
            Glance::Refuse(refusal) => Err(refusal),
            Glance::Unsettled => Err(GateRefusal::Unavailable),
        }
    }

    /// Takes note of what the CRM said.
    pub fn report(&self, report: &Report) {
        self.0.note(report);
    }

    /// Forgets everything read from the row: it was changed by a connect, a reconnect or a disconnect.
    pub fn forget(&self) {
        let mut state = self.0.state.borrow_mut();
        state.epoch = state.epoch.wrapping_add(1);
        state.held = None;
        state.refusal = None;
        state.failures = 0;
        state.not_before = Timestamp::default();
    }

    /// Refreshes a connection that nobody used for a week, and finishes what an earlier call could not.
    pub async fn keep_alive(&self) -> Result<(), GateRefusal> {
        self.settled(Need::KeepAlive).await
    }

    /// Joins the flight that is going on, or begins one.
    async fn settled(&self, need: Need) -> Result<(), GateRefusal> {
        let going_on = self.0.state.borrow().flight.clone();
        let flight = going_on.unwrap_or_else(|| self.take_off(need));
        flight.await
    }

    fn take_off(&self, need: Need) -> Flight {
        let keeper = Rc::clone(&self.0);
        let flight = async move {
            let outcome = keeper.settle(need).await;
            keeper.state.borrow_mut().flight = None;
            outcome
        }
        .boxed_local()
        .shared();
        self.0.state.borrow_mut().flight = Some(flight.clone());
        self.0.host.spawn(flight.clone().map(|_| ()).boxed_local());
        flight
    }
}

const fn need_of(ask: &Ask) -> Need {
    match (ask.refused_generation, ask.purpose) {
        (Some(generation), _) => Need::OtherThan(generation),
        (None, Purpose::Check) => Need::Check,
        (None, _) => Need::Token,
    }
}

impl Keeper {
    fn glance(&self, ask: &Ask) -> Glance {
        let now = self.host.world().now;
        let state = self.state.borrow();
        let is_check = ask.purpose == Purpose::Check;
        if let Some((refusal, _)) = state.refusal.as_ref().filter(|(_, until)| now < *until)
            && !(is_check && *refusal == GateRefusal::Reconnect)
        {
            return Glance::Refuse(refusal.clone());
        }
        if state.for_checks && !is_check {
            return Glance::Unsettled;
        }
        let Some((held, look_again_at)) = &state.held else { return Glance::Unsettled };
        let refused = ask.refused_generation == Some(held.generation);
        if refused || now >= *look_again_at || now >= held.expires_at.plus_secs(-USABLE_MARGIN_SECS) {
            return Glance::Unsettled;
        }
        Glance::Admit(Admission {
            access_token: held.access_token.clone(),
            token_generation: held.generation,
            facts: held.facts.clone(),
            permit: None,
        })
    }
}
