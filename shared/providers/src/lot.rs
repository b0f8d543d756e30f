//! A lot: writes of one connection that go to the CRM together, and how far each has come.
//!
//! A failed call leaves an entry's [`Stage`] where it was: a flow that clears the outcome (after refreshing the token, say)
//! gets the same call from `next_call` again.

use crate::http::Request;
use model::connection::ConnectionFacts;
use model::curated::CuratedWrite;
use model::write::{Doubt, ErrorClass, ExternalIds, Failure, WriteOutcome};
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
    /// How the adapter remembers where this entry stands within the lot; opaque to flows, [`Stage::default`] in every try.
    pub stage: Stage,
    /// The CRM's own words on the last step that worked, kept as `response_json`.
    pub response: Option<Value>,
    /// Set once; an entry with an outcome takes no further part.
    pub outcome: Option<WriteOutcome>,
    /// An earlier try of this write may have reached the CRM: look before anything is created. True from the first
    /// `Unknown` on, whatever came after, until the write is final: a refused token in between proves nothing.
    pub in_doubt: bool,
    /// In doubt, and an earlier try may have used another mechanism than the connection has now: whatever it has, our marker
    /// is looked for first. It is in every record for that reason, but for a deal that was made by a field.
    pub doubt_is_older: bool,
    /// Such a doubt, of a connection that had been probed before: the field it may have been made by is perhaps gone, and
    /// where a record is tied after it was made, this one perhaps to nobody.
    pub may_be_untied: bool,
    /// What the deal is in this CRM account: the write's own, or that of the thread it is about. None: it has none there.
    pub deal_external_id: Option<String>,
    /// When the write was accepted: the fixed time its records carry, so that a repeat is the same record.
    pub accepted_at: Timestamp,
}

impl Entry {
    /// A write that was never tried.
    pub fn new(id: WriteId, write: CuratedWrite, accepted_at: Timestamp) -> Self {
        Self {
            id,
            write,
            external_ids: ExternalIds::new(),
            stage: Stage::default(),
            response: None,
            outcome: None,
            in_doubt: false,
            doubt_is_older: false,
            may_be_untied: false,
            deal_external_id: None,
            accepted_at,
        }
    }

    /// The line in a task's or note's text by which it is found again where the CRM has no field of ours.
    pub fn marker(&self) -> String {
        format!("[conduit:{}]", self.id)
    }

    /// The address of the person it is about; empty where it is about nobody.
    pub(crate) fn email(&self) -> &str {
        self.write.contact.as_ref().map_or("", |contact| contact.email.as_str())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.external_ids.contains_key(key)
    }

    /// An earlier try may have reached the CRM, and nothing has shown yet whether it did. Whoever has a mechanism that makes a
    /// look needless leaves this as it is: until its answer comes, nobody knows.
    pub(crate) fn is_unproven(&self) -> bool {
        self.in_doubt && self.stage.look != Look::Over
    }

    /// What is known of earlier tries by now.
    pub fn doubt(&self) -> Doubt {
        match (self.in_doubt, self.is_unproven()) {
            (false, _) => Doubt::None,
            (true, true) => Doubt::Open,
            (true, false) => Doubt::Disproved,
        }
    }
}

/// An adapter's memory of one entry between two calls of a lot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// Entries of one group go together; a group refused as a whole becomes two ([`Lot::split`]).
    pub(crate) group: u16,
    /// The look for what an earlier try may have left.
    pub(crate) look: Look,
    /// Salesforce: whom the e-mail belongs to.
    pub(crate) person: Person,
    /// HubSpot: the associations that were made in this try, a bit each. They are not among the external ids, since a record
    /// may be there without them after a crash: each try that is not sure makes them again.
    pub(crate) ties: u8,
    /// Salesforce: what was tried for this entry already (bits of `salesforce::plan`).
    pub(crate) marks: u8,
}

/// How far the look for an earlier try's record has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not begun.
    #[default]
    Ahead,
    /// HubSpot: the contact's records are being listed; where the next page begins.
    Listing { ids: Vec<String>, pages: u8, after: String },
    /// HubSpot: listed records still to be compared; `all` is false when there are more than are listed.
    Comparing { ids: Vec<String>, all: bool },
    /// HubSpot: the search index is to be asked; with many others in one search, or with a few.
    Searching { wide: bool },
    /// Nothing was found, or nothing could be there.
    Over,
}

impl Look {
    pub(crate) const SEARCHING: Self = Self::Searching { wide: true };
}

/// What Salesforce has under an e-mail address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Person {
    /// Not asked yet.
    #[default]
    Unresolved,
    /// Neither lead nor contact.
    Absent,
    /// An unconverted lead.
    Lead(String),
    /// A contact.
    Contact(String),
}

/// Writes of one connection, going together.
#[derive(Clone, Debug)]
pub struct Lot {
    /// Which CRM.
    pub crm: Crm,
    /// Where to.
    pub connection: ConnectionFacts,
    /// The writes, at most [`ENTRIES_MAX`], in the order they were accepted.
    pub entries: Vec<Entry>,
    /// What the adapter learnt of the account in this try, such as its pipelines; empty at first.
    pub learnt: Learnt,
}

/// What an account has that does not change from write to write. Filled by calls that name a [`Call::cached`].
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// The pipelines of deals with their stages, as the adapter keeps them; null until asked.
    pub pipelines: Value,
    /// The association types or labels, as the adapter keeps them; null until asked.
    pub labels: Value,
}

impl Lot {
    /// A lot that goes to the CRM for the first time in this try.
    pub fn new(crm: Crm, connection: ConnectionFacts, entries: Vec<Entry>) -> Self {
        Self { crm, connection, entries, learnt: Learnt::default() }
    }

    /// Whether every entry has an outcome.
    pub fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.outcome.is_some())
    }

    /// Positions of the entries without an outcome that `wants` picks, of the highest group among them.
    ///
    /// The highest is the deepest and earliest half: single entries are settled one after the other, so that a flow that
    /// stops after some calls has always come further.
    pub(crate) fn next_group(&self, wants: impl Fn(&Entry) -> bool) -> Vec<usize> {
        self.group_of(&wants)
    }

    /// Not generic, so that it is in a Worker once.
    fn group_of(&self, wants: &dyn Fn(&Entry) -> bool) -> Vec<usize> {
        let picked = || self.entries.iter().enumerate().filter(|(_, e)| e.outcome.is_none() && wants(e));
        let Some(group) = picked().map(|(_, e)| e.stage.group).max() else { return Vec::new() };
        picked().filter(|(_, e)| e.stage.group == group).map(|(at, _)| at).take(ENTRIES_MAX).collect()
    }

    /// The entries at these positions, as far as they exist.
    pub(crate) fn at<'a>(&'a self, positions: &'a [usize]) -> impl Iterator<Item = &'a Entry> {
        positions.iter().filter_map(|&at| self.entries.get(at))
    }

    /// Calls `change` on every entry at these positions that has no outcome yet.
    pub(crate) fn each(&mut self, positions: &[usize], mut change: impl FnMut(&mut Entry)) {
        self.change(positions, &mut change);
    }

    /// Not generic, so that it is in a Worker once.
    fn change(&mut self, positions: &[usize], change: &mut dyn FnMut(&mut Entry)) {
        for &at in positions {
            if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.outcome.is_none()) {
                change(entry);
            }
        }
    }

    /// An earlier write of the entry's deal is still under way.
    pub(crate) fn waits_for_deal(&self, entry: &Entry) -> bool {
        let before = self.entries.iter().take_while(|other| other.id != entry.id);
        before.into_iter().any(|other| other.outcome.is_none() && is_same_deal(other, entry))
    }

    /// Writes of one deal keep their order: a later one changes what an earlier one made, and does not go while what became of
    /// that one is open. One that was refused for good stands in nobody's way.
    pub(crate) fn keep_deals_in_order(&mut self) {
        for at in 0..self.entries.len() {
            let (before, rest) = self.entries.split_at(at);
            let Some(entry) = rest.first().filter(|entry| entry.outcome.is_none()) else { continue };
            let is_open = |other: &&Entry| !matches!(other.outcome, Some(WriteOutcome::Rejected(_)));
            let Some(earlier) = before.iter().rev().filter(|other| is_same_deal(other, entry)).find(is_open) else {
                continue;
            };
            let made = earlier.external_ids.get("deal").cloned();
            let outcome = match &earlier.outcome {
                Some(WriteOutcome::RetryAfter(failure) | WriteOutcome::Unknown(failure)) => {
                    Some(WriteOutcome::RetryAfter(Failure { class: ErrorClass::Transient, ..failure.clone() }))
                }
                Some(WriteOutcome::Unauthorized(failure)) => Some(WriteOutcome::Unauthorized(failure.clone())),
                _ => None,
            };
            if let Some(outcome) = outcome {
                self.fail(&[at], &outcome);
            }
            self.each(&[at], |entry| {
                if let Some(made) = &made {
                    entry.deal_external_id.get_or_insert_with(|| made.clone());
                }
            });
        }
    }

    /// Sends the two halves of these entries separately from now on, so that one bad entry stops only itself.
    ///
    /// Groups are the nodes of a binary tree (0; 2, 1; 6, 5, 4, 3; …), of which the earlier half has the higher number: a
    /// hundred entries are single after 7 splits, in group 254 at most.
    pub(crate) fn split(&mut self, positions: &[usize]) {
        let half = positions.len().div_ceil(2);
        for (nth, &at) in positions.iter().enumerate() {
            let side = if nth < half { 2 } else { 1 };
            self.each(&[at], |entry| entry.stage.group = entry.stage.group.saturating_mul(2).saturating_add(side));
        }
    }

    /// Gives these entries a failing outcome. An entry that is in doubt stays in doubt, whatever failed: `unknown` is left
    /// by proof only. A refused token is passed on as such, because the flow acts on it within the try.
    pub(crate) fn fail(&mut self, positions: &[usize], outcome: &WriteOutcome) {
        self.each(positions, |entry| {
            let doubtful = entry.is_unproven();
            entry.outcome = Some(match outcome.clone() {
                WriteOutcome::RetryAfter(mut failure) | WriteOutcome::Rejected(mut failure) if doubtful => {
                    failure.class = ErrorClass::UnknownOutcome;
                    WriteOutcome::Unknown(failure)
                }
                other => other,
            });
        });
    }

    /// As [`Lot::fail`], but a refusal of the content of several entries isolates the bad one instead: by halves.
    pub(crate) fn fail_or_split(&mut self, positions: &[usize], outcome: &WriteOutcome) {
        match outcome {
            WriteOutcome::Rejected(failure)
                if positions.len() > 1 && matches!(failure.class, ErrorClass::Mapping | ErrorClass::Conflict) =>
            {
                self.split(positions);
            }
            _ => self.fail(positions, outcome),
        }
    }

    /// As [`Lot::fail_or_split`], for a step before any look: an entry whose person is refused for good is refused, in doubt or
    /// not. It would be at every further try, and nobody could ever look.
    pub(crate) fn refuse_or_split(&mut self, positions: &[usize], outcome: &WriteOutcome) {
        match outcome {
            WriteOutcome::Rejected(failure)
                if positions.len() == 1 && matches!(failure.class, ErrorClass::Mapping | ErrorClass::Conflict) =>
            {
                self.each(positions, |entry| entry.outcome = Some(outcome.clone()));
            }
            _ => self.fail_or_split(positions, outcome),
        }
    }
}

fn is_same_deal(one: &Entry, other: &Entry) -> bool {
    let (one, other) = (&one.write.deal, &other.write.deal);
    one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one.deal_id == other.deal_id)
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
    /// The answer is a fact of the account and not of its records: whoever sends may answer from a cache, and keeps a
    /// successful answer there.
    pub cached: Option<Cached>,
}

/// How an answer may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Names the fact within the account: `pipelines`.
    pub name: &'static str,
    /// How long it is believed, in seconds. KV keeps nothing for less than 60.
    pub ttl_secs: u32,
    /// What is in the cache was found wanting: ask the CRM, and keep the new answer.
    pub afresh: bool,
}
