//! Association types, as the portal lists them (providers reference 1.9): what a record is tied by where it is made with its
//! associations in it. Where they are made afterwards HubSpot takes its default, and nobody asks.
//!
//! A portal's list is a fact of the account: it is asked for once a day and otherwise answered from a cache. What HubSpot
//! defines has the same number in every portal that was ever seen, so a list that cannot be had holds nothing up.

use super::records::Made;
use super::tie::Partner;
use super::{batch, hosts};
use crate::hostile;
use crate::http::{Answer, Request};
use crate::json::{object, text};
use crate::lot::{Cached, Call, Entry, Lot};
use serde_json::{Map, Value};

/// Lists hardly ever change.
const TTL_SECS: u32 = 86_400;

/// One kind of tie.
struct Tie {
    made: Made,
    partner: Partner,
    /// Its list in a cache, and in the lot's memory.
    name: &'static str,
    /// The number of the unlabelled type (the direction matters: 203 and 201 are the reverse of the first two), by
    /// HubSpot's documentation.
    documented: u16,
}

const fn tie(made: Made, partner: Partner, name: &'static str, documented: u16) -> Tie {
    Tie { made, partner, name, documented }
}

const TIES: [Tie; 5] = [
    tie(Made::Task, Partner::Contact, "labels:tasks:contacts", 204),
    tie(Made::Task, Partner::Deal, "labels:tasks:deals", 216),
    tie(Made::Note, Partner::Contact, "labels:notes:contacts", 202),
    tie(Made::Note, Partner::Deal, "labels:notes:deals", 214),
    tie(Made::Deal, Partner::Contact, "labels:deals:contacts", 3),
];

/// The call for a list that these entries' creates need and the lot does not have. `kind` makes a call's kind of its place.
pub(super) fn next_call(lot: &Lot, positions: &[usize], made: Made, kind: impl Fn(u8) -> u8) -> Option<Call> {
    let is_needed = |tie: &Tie| {
        tie.made == made
            && lot.learnt.labels.get(tie.name).is_none()
            && lot.at(positions).any(|entry| tie.partner.of(entry).is_some())
    };
    let place = TIES.iter().position(is_needed)?;
    let tie = TIES.get(place)?;
    let url = hosts::associations(&[made.path(), "/", tie.partner.path(), "/labels"].concat());
    let cached = Cached { name: tie.name, ttl_secs: TTL_SECS, afresh: false };
    Some(Call {
        request: Request::get(url),
        entries: positions.to_vec(),
        kind: kind(u8::try_from(place).unwrap_or_default()),
        is_search: false,
        cached: Some(cached),
    })
}

/// Keeps the number of the unlabelled type; where the list does not tell it, the documented one.
pub(super) fn read(lot: &mut Lot, place: u8, answer: &Answer) {
    let Some(tie) = TIES.get(usize::from(place)) else { return };
    let body = batch::success(answer).map(|(_, body)| body);
    let listed = body.as_ref().and_then(|body| hostile::list(body, "results").iter().find_map(unlabelled));
    learn(lot, tie, listed.unwrap_or_else(|| tie.documented.into()));
}

fn learn(lot: &mut Lot, tie: &Tie, number: u64) {
    if !lot.learnt.labels.is_object() {
        lot.learnt.labels = Value::Object(Map::new());
    }
    if let Some(labels) = lot.learnt.labels.as_object_mut() {
        labels.insert(tie.name.to_owned(), number.into());
    }
}

/// `{"category":"HUBSPOT_DEFINED","typeId":204,"label":null}`
fn unlabelled(row: &Value) -> Option<u64> {
    let is_plain = row.get("label").is_none_or(Value::is_null);
    let is_defined = hostile::text(row, "category") == Some("HUBSPOT_DEFINED");
    row.get("typeId").and_then(Value::as_u64).filter(|_| is_plain && is_defined)
}

/// What a dry run assumes: that the portal has what HubSpot documents.
pub(super) fn assume(lot: &mut Lot) {
    for tie in &TIES {
        learn(lot, tie, tie.documented.into());
    }
}

/// The associations of a record that is about to be made.
pub(super) fn of(lot: &Lot, entry: &Entry, made: Made) -> Vec<Value> {
    let mut associations = Vec::new();
    for tie in TIES.iter().filter(|tie| tie.made == made) {
        let Some(id) = tie.partner.of(entry) else { continue };
        let number = lot.learnt.labels.get(tie.name).cloned().unwrap_or_else(|| tie.documented.into());
        let kind = object(&mut [("associationCategory", text("HUBSPOT_DEFINED")), ("associationTypeId", number)]);
        let to = object(&mut [("id", text(id))]);
        associations.push(object(&mut [("to", to), ("types", Value::Array(vec![kind]))]));
    }
    associations
}
