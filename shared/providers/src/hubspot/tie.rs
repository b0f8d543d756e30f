//! Tying records to their contact and deal, where the record was not made with its associations in it: after an upsert, and
//! after a look that found an earlier try's record (providers reference 1.9).
//!
//! Default associations need no type and change nothing when they are there already, so they are made again whenever it is
//! not certain that they were. A record without its associations is not an applied write.

use super::records::{self, Made};
use super::{batch, errors, hosts};
use crate::failure;
use crate::hostile;
use crate::http::{Answer, Body, Effect, Method, Request};
use crate::json::{self, object, text};
use crate::lot::{Call, Entry, Lot};
use model::Timestamp;
use serde_json::Value;

/// What a record is tied to; the number is the place in [`records::partners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partner {
    Contact = 0,
    Deal = 1,
}

impl Partner {
    pub(super) const ALL: [Self; 2] = [Self::Contact, Self::Deal];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Contact => "contacts",
            Self::Deal => "deals",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(super) fn of(self, entry: &Entry) -> Option<&str> {
        records::partners(entry).get(self as usize).copied().flatten()
    }
}

/// Whether a record that was made still has to be tied to this partner.
pub(super) fn is_open(entry: &Entry, made: Made, partner: Partner) -> bool {
    Made::of(entry.write.action) == Some(made)
        && entry.has(made.key())
        && entry.stage.ties & partner.bit() == 0
        && partner.of(entry).is_some()
}

/// Whether nothing is left to tie.
pub(super) fn is_done(entry: &Entry, made: Made) -> bool {
    !Partner::ALL.into_iter().any(|partner| is_open(entry, made, partner))
}

/// Every association is made: with the record itself, or as far as a dry run is concerned.
pub(super) const ALL_TIED: u8 = Partner::Contact.bit() | Partner::Deal.bit();

pub(super) fn mark(entry: &mut Entry, partner: Partner) {
    entry.stage.ties |= partner.bit();
    entry.stage.group = 0;
}

/// The call that ties these entries' records: one alone by the plain endpoint, up to a hundred as a batch.
pub(super) fn request(lot: &Lot, positions: &[usize], made: Made, partner: Partner) -> Request {
    let (path, to) = (made.path(), partner.path());
    let pairs: Vec<(&str, &str)> = lot.at(positions).filter_map(|entry| pair(entry, made, partner)).collect();
    if let [(id, other)] = pairs.as_slice() {
        let url = hosts::objects(&format!("{path}/{id}/associations/default/{to}/{other}"));
        return Request::new(Method::Put, url, Body::Empty, Effect::Idempotent);
    }
    let mut inputs = Vec::new();
    for (id, other) in pairs {
        let end = |id: &str| object(&mut [("id", text(id))]);
        inputs.push(object(&mut [("from", end(id)), ("to", end(other))]));
    }
    let url = hosts::associations(&format!("{path}/{to}/batch/associate/default"));
    json::post(url, &object(&mut [("inputs", Value::Array(inputs))]), Effect::Idempotent)
}

fn pair(entry: &Entry, made: Made, partner: Partner) -> Option<(&str, &str)> {
    Some((entry.external_ids.get(made.key())?, partner.of(entry)?))
}

/// Reads which pairs are tied. Both directions may be listed, or either.
pub(super) fn read(lot: &mut Lot, call: &Call, (made, partner): (Made, Partner), answer: &Answer, now: Timestamp) {
    let Some((response, body)) = batch::success(answer) else {
        let outcome = errors::classify(answer, Effect::Idempotent, now);
        let outcome = if partner == Partner::Deal { batch::without_deals(outcome) } else { outcome };
        return lot.fail_or_split(&call.entries, &outcome);
    };
    let refused = hostile::list(&body, "errors");
    let mut tied = Vec::new();
    for row in hostile::list(&body, "results") {
        tied.extend(ends(row));
    }
    let is_tied = |one: &str, other: &str| {
        let is = |from: &str, to: &str| from == one && to == other || from == other && to == one;
        tied.iter().any(|(from, to)| is(from, to))
    };
    let mut unmatched = Vec::new();
    for &at in &call.entries {
        let Some((one, other)) = lot.entries.get(at).and_then(|entry| pair(entry, made, partner)) else { continue };
        if is_tied(one, other) {
            lot.each(&[at], |entry| mark(entry, partner));
        } else if let Some(item) = refused.iter().find(|item| names(item, one) || names(item, other)) {
            lot.fail(&[at], &errors::classify_item(response, item, now));
        } else {
            unmatched.push(at);
        }
    }
    match (call.entries.len(), refused.first()) {
        _ if unmatched.is_empty() => {}
        // Alone, a refusal can only be about this one.
        (1, Some(item)) => lot.fail(&unmatched, &errors::classify_item(response, item, now)),
        (1, None) => lot.fail(&unmatched, &failure::unreadable(response, Effect::Idempotent)),
        _ => lot.split(&unmatched),
    }
}

/// The two records of a row.
fn ends(row: &Value) -> Option<(String, String)> {
    let end = |name: &str| hostile::id(row.get(name)?.get("id"));
    Some((end("from")?, end("to")?))
}

/// `context: {"id": ["9"]}` (recorded); other keys as a precaution.
fn names(item: &Value, id: &str) -> bool {
    let context = item.get("context").unwrap_or(&Value::Null);
    let ids = ["id", "ids", "fromObjectId", "toObjectId"].into_iter().flat_map(|key| hostile::list(context, key));
    ids.into_iter().any(|named| hostile::id(Some(named)).as_deref() == Some(id))
}
