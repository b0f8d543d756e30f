//! The gate port: the only way to a connection's access token and request budget.
//!
//! One gate per (workspace, CRM) exists (a Durable Object in production). Whoever calls a CRM asks it first, and tells it
//! afterwards what the CRM said of its limits and of the token. The gate's own behaviour is in `refresh_token` (the token)
//! and `model::budget` (the permits); this file is what its callers see.

use async_trait::async_trait;
use model::connection::{ConnectionFacts, ConnectionKey};
use model::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

pub use model::budget::{Limit, Purpose};

/// What a caller wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Ordinary calls it means to make.
    pub calls: u32,
    /// Search calls it means to make.
    pub searches: u32,
    /// Who waits.
    pub purpose: Purpose,
    /// The generation of a token that the CRM refused: the gate refreshes unless it already has a newer one.
    pub refused_generation: Option<u64>,
}

/// The permission to make the calls asked for.
#[derive(Clone, Debug)]
pub struct Admission {
    /// For [`providers::http::Request::with_bearer`].
    pub access_token: Secret<String>,
    /// Which token it is; named in [`Ask::refused_generation`] when the CRM refuses it.
    pub token_generation: u64,
    /// What adapters must know.
    pub facts: ConnectionFacts,
    /// The gate wants a report under this number, since the budget is tight or not known yet. Without one, only what is
    /// worth knowing is reported.
    pub permit: Option<u64>,
}

/// What the CRM said on the way: the headers that tell its limits, by lower-case name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`Admission::permit`]: what was not used of it is free again.
    pub permit: Option<u64>,
    /// Calls that were really made, out of those admitted.
    pub calls: u32,
    /// Searches that were really made.
    pub searches: u32,
    /// `(name, value)` of rate-limit headers of the last answer.
    pub limits: Vec<(String, String)>,
    /// The CRM refused a call for this limit.
    pub refused: Option<Limit>,
    /// When that limit ends, as far as known.
    pub not_before: Option<Timestamp>,
}

/// Why the gate does not let a caller through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    /// There is no connection, or it was disconnected.
    #[error("the workspace is not connected to this CRM")]
    NotConnected,
    /// The CRM no longer accepts the grant: a person must reconnect.
    #[error("the CRM no longer accepts this connection; reconnect it")]
    Reconnect,
    /// The budget is used up; come at this time, which is reserved for this caller.
    #[error("the CRM's request budget is used up for now")]
    Wait(Timestamp),
    /// The token endpoint, the database or the gate itself is not available.
    #[error("the connection's gate is not available for now")]
    Unavailable,
}

/// The gate of any connection.
#[async_trait(?Send)]
pub trait Gate {
    /// Asks for a token and permits in one request.
    async fn admit(&self, connection: &ConnectionKey, ask: Ask) -> Result<Admission, GateRefusal>;

    /// Tells what the CRM said. Losing a report costs accuracy, nothing else.
    async fn report(&self, connection: &ConnectionKey, report: Report);

    /// The connection was made, remade or ended: the gate forgets the token it holds in memory.
    async fn forget(&self, connection: &ConnectionKey);
}
