//! Verifying a workspace's audit trail: every sealed event is read back in order, and the first link that does not hold is
//! named.
//!
//! What is proven, for whoever trusts the key: of the events up to the end of the chain none was changed, removed, moved or
//! slipped in since they were sealed. What is not: see docs/security.md.

use crate::authenticate::Caller;
use crate::seal_audit::{fields, sealed_end};
use crate::{Error, Tenant, World};
use crypto::Keyring;
use crypto::audit_chain::{self, BEFORE_THE_FIRST, HeadError};
use model::Timestamp;
use serde::Serialize;
use store::audit_chain::{Head, Stored, has_number, select_after, select_head};
use store::db::nth;

/// Events read in one round trip.
pub(crate) const EVENTS_PER_PAGE: u32 = 1_000;
/// Round trips of one request.
const PAGES_PER_REQUEST: u32 = 50;

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A field of the event is not what was sealed.
    Tampered,
    /// The event with this number is not there any more.
    Removed,
    /// The event with this number stands at another place.
    Reordered,
    /// An event that was never sealed stands among sealed ones.
    Inserted,
    /// The end of the chain does not carry our MAC: it was written by somebody else.
    HeadForged,
    /// The end of the chain is gone, although events are sealed.
    HeadMissing,
    /// The key that sealed the end is not configured.
    HeadKeyUnknown,
}

impl Fault {
    /// The word for it in the API and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tampered => "tampered",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
            Self::Inserted => "inserted",
            Self::HeadForged => "head_forged",
            Self::HeadMissing => "head_missing",
            Self::HeadKeyUnknown => "head_key_unknown",
        }
    }
}

/// The first link that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// What is wrong.
    pub fault: Fault,
    /// The number that is missing or does not hold; of the end, the end's.
    pub seq: u32,
    /// The event that stands there.
    pub event_id: Option<String>,
    /// When that event says it was.
    pub at: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// `intact`, `broken`, or `unfinished`: go on at `cursor`.
    pub status: &'static str,
    /// Sealed events that were found good, this time.
    pub verified: u32,
    /// The number of the last event sealed.
    pub sealed: u32,
    /// Younger events that no seal covers yet, up to a page of them.
    pub unsealed: u32,
    /// The first broken link.
    pub broken: Option<Broken>,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Verifies the caller's workspace, from the beginning or a cursor.
pub async fn verify_audit(
    world: &World<'_>,
    caller: &Caller,
    keys: &Keyring,
    cursor: Option<&str>,
) -> Result<Verification, Error> {
    caller.require_admin()?;
    let from = match cursor {
        Some(text) => Place::read(text)
            .ok_or(Error::Parameter { name: "cursor", rule: "must be the `cursor` of the answer before" })?,
        None => Place::beginning(),
    };
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    verify(&tenant, keys, from, PAGES_PER_REQUEST).await
}

/// The last link that was found good.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    seq: u32,
    hash: String,
    at: Timestamp,
    id: String,
}

impl Place {
    pub(crate) fn beginning() -> Self {
        Self { seq: 0, hash: BEFORE_THE_FIRST.to_owned(), at: Timestamp(0), id: String::new() }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (seq, hash, at, id) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let place = Self { seq: seq.parse().ok()?, hash: hash.into(), at: Timestamp(at.parse().ok()?), id: id.into() };
        parts.next().is_none().then_some(place)
    }

    fn text(&self) -> String {
        format!("{}.{}.{}.{}", self.seq, self.hash, self.at.0, self.id)
    }
}

/// Verifies a chain from a place on, at most so many pages of it.
pub(crate) async fn verify(
    tenant: &Tenant<'_>,
    keys: &Keyring,
    from: Place,
    pages_max: u32,
) -> Result<Verification, Error> {
    let mut place = from;
    let mut verification =
        Verification { status: "intact", verified: 0, sealed: 0, unsealed: 0, broken: None, cursor: None };
    for _ in 0..pages_max {
        let batch =
            vec![select_head(&tenant.scope), select_after(&tenant.scope, (place.at, &place.id), EVENTS_PER_PAGE)];
        let outcomes = tenant.db.batch(batch).await?;
        let head: Option<Head> = nth(&outcomes, 0)?.first()?;
        let events: Vec<Stored> = nth(&outcomes, 1)?.rows()?;
        verification.sealed = head.as_ref().map_or(0, |head| head.seq);
        if let Some(fault) = of_the_end(tenant, keys, head.as_ref(), &events) {
            let seq = verification.sealed;
            return Ok(verification.broken_at(Broken { fault, seq, event_id: None, at: None }));
        }
        let begun = place.seq;
        let walked = walk(tenant, head.as_ref(), &events, &mut place);
        verification.verified += place.seq - begun;
        match walked {
            Walked::Broken(fault, event) => {
                let broken = name(tenant, fault, place.seq + 1, event).await?;
                return Ok(verification.broken_at(broken));
            }
            Walked::Ended(unsealed) => {
                verification.unsealed = unsealed;
                return Ok(verification);
            }
            Walked::On => {}
        }
    }
    verification.status = "unfinished";
    verification.cursor = Some(place.text());
    Ok(verification)
}

impl Verification {
    fn broken_at(self, broken: Broken) -> Self {
        Self { status: "broken", broken: Some(broken), ..self }
    }
}

/// What is wrong with the end itself.
fn of_the_end(tenant: &Tenant<'_>, keys: &Keyring, head: Option<&Head>, events: &[Stored]) -> Option<Fault> {
    let Some(head) = head else {
        return events.iter().any(|event| event.seq.is_some()).then_some(Fault::HeadMissing);
    };
    match audit_chain::check(keys, &sealed_end(&tenant.scope, head), &head.mac) {
        Ok(()) => None,
        Err(HeadError::UnknownKey) => Some(Fault::HeadKeyUnknown),
        Err(HeadError::Forged) => Some(Fault::HeadForged),
    }
}

enum Walked<'a> {
    /// A link does not hold. `Removed` may turn out to be `Reordered`.
    Broken(Fault, Option<&'a Stored>),
    /// At the end of the chain, and so many events are behind it.
    Ended(u32),
    /// There are more events.
    On,
}

/// Follows the chain through a page of events.
fn walk<'a>(tenant: &Tenant<'_>, head: Option<&Head>, events: &'a [Stored], place: &mut Place) -> Walked<'a> {
    let (sealed, end) = head.map_or((0, BEFORE_THE_FIRST), |head| (head.seq, head.hash.as_str()));
    for (n, event) in events.iter().enumerate() {
        if place.seq == sealed {
            // Behind the end nothing has a number: an event that has one was moved here, or the end was set back.
            let behind = events.iter().skip(n);
            if let Some(moved) = behind.clone().find(|event| event.seq.is_some()) {
                return Walked::Broken(Fault::Reordered, Some(moved));
            }
            return ended(place, end, u32::try_from(behind.count()).unwrap_or(u32::MAX));
        }
        let expected = place.seq + 1;
        match event.seq {
            Some(seq) if seq == i64::from(expected) => {}
            Some(seq) if seq > i64::from(expected) => return Walked::Broken(Fault::Removed, Some(event)),
            Some(_) => return Walked::Broken(Fault::Reordered, Some(event)),
            None if event.hash.is_some() => return Walked::Broken(Fault::Tampered, Some(event)),
            None => return Walked::Broken(Fault::Inserted, Some(event)),
        }
        let hash = audit_chain::link(&place.hash, u64::from(expected), &fields(&tenant.scope, event));
        if event.hash.as_deref() != Some(&hash) {
            return Walked::Broken(Fault::Tampered, Some(event));
        }
        *place = Place { seq: expected, hash, at: event.at, id: event.id.clone() };
    }
    if events.len() >= EVENTS_PER_PAGE as usize {
        return Walked::On;
    }
    if place.seq < sealed {
        return Walked::Broken(Fault::Removed, None);
    }
    ended(place, end, 0)
}

/// The chain was followed to its end: the end must be what the MAC is of.
fn ended<'a>(place: &Place, end: &str, unsealed: u32) -> Walked<'a> {
    if place.hash == end { Walked::Ended(unsealed) } else { Walked::Broken(Fault::Tampered, None) }
}

/// Names the broken link. A number that is missing at its place and stands elsewhere was moved, not removed.
async fn name(tenant: &Tenant<'_>, fault: Fault, seq: u32, event: Option<&Stored>) -> Result<Broken, Error> {
    let fault = match fault {
        Fault::Removed if has_number(tenant.db, &tenant.scope, seq).await? => Fault::Reordered,
        fault => fault,
    };
    Ok(Broken { fault, seq, event_id: event.map(|event| event.id.clone()), at: event.map(|event| event.at.iso()) })
}
