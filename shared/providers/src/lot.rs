//! A lot: writes of one connection that go to the CRM together, and how far each has come.

use crate::http::Request;
use model::connection::ConnectionFacts;
use model::curated::CuratedWrite;
use model::write::{ExternalIds, WriteOutcome};
use model::{Crm, Timestamp, WriteId};
use serde_json::Value;

/// At most this many writes go together: HubSpot's batch size, and half of Salesforce's.
pub const ENTRIES_MAX: usize = 100;

/// One write in a lot.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose id, as text, is also the marker by which the CRM's record is found again.
    pub id: WriteId,
    /// What is to be done.
    pub write: CuratedWrite,
    /// What the CRM already has for this write, from this try or an earlier one: a step whose id is here is not repeated.
    pub external_ids: ExternalIds,
    /// How the adapter remembers where this entry stands within the lot; opaque to flows, fresh in every try.
    pub stage: u8,
    /// The CRM's own words on the last step that worked, kept as `response_json`.
    pub response: Option<Value>,
    /// Set once; an entry with an outcome takes no further part.
    pub outcome: Option<WriteOutcome>,
    /// An earlier try of this write may have reached the CRM: look before anything is created.
    pub in_doubt: bool,
    /// When the write was accepted: the fixed time its records carry, so that a repeat is the same record.
    pub accepted_at: Timestamp,
}

/// Writes of one connection, going together.
#[derive(Clone, Debug)]
pub struct Lot {
    /// Which CRM.
    pub crm: Crm,
    /// Where to.
    pub connection: ConnectionFacts,
    /// The writes, at most [`ENTRIES_MAX`].
    pub entries: Vec<Entry>,
}

impl Lot {
    /// Whether every entry has an outcome.
    pub fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.outcome.is_some())
    }
}

/// One request for some entries of a lot.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to send.
    pub request: Request,
    /// Positions of the entries it is about.
    pub entries: Vec<usize>,
    /// Which kind of call it is, for the adapter that made it.
    pub kind: u8,
    /// Counts against the provider's search budget instead of the ordinary one.
    pub is_search: bool,
}
