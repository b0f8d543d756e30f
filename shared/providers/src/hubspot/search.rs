//! The last part of a look: the search index, asked for records with the write's own fixed values and compared by our marker.
//!
//! The index lags by seconds to a minute, without a bound; flows wait longer before they look. Together with the list of
//! associations (`look`) it is two witnesses that do not depend on each other. Deals, which may have no contact, have this one
//! only.

use super::batch::{success, unique_field};
use super::look::{found, is_whole, no_proof};
use super::records::Made;
use super::{errors, hosts};
use crate::failure;
use crate::http::{Answer, Effect, Request};
use crate::json::{self, object, text};
use crate::lot::{Call, Entry, Look, Lot};
use model::Timestamp;
use model::write::WriteOutcome;
use serde_json::Value;

/// Entries in one narrow search: three groups of two filters are within every published limit.
const GROUPS_MAX: usize = 3;
/// The largest page. More hits than that prove nothing.
const HITS_MAX: usize = 200;
/// HubSpot's clock is not further from ours than this.
const CLOCKS_DIFFER_SECS: i64 = 600;
/// Characters of contacts' ids in one wide search; a search may have 3,000 in all.
const IDS_CHARS_MAX: usize = 2_000;

/// One search for the first of these entries: for many tasks or notes at once by all their contacts, else for three.
///
/// That a filter on associations takes a list is not documented. A refusal, and more hits than one page has, lead to searches
/// for three.
pub(super) fn request(lot: &Lot, positions: &[usize], made: Made) -> (Request, Vec<usize>) {
    // With the property in place an upsert finds what is tied to nobody.
    let is_untied = |entry: &Entry| entry.may_be_untied && unique_field(lot, made).is_none();
    let is_wide = |entry: &Entry| entry.stage.look == Look::Searching { wide: true } && !is_untied(entry);
    let wide: Vec<usize> = positions.iter().copied().filter(|&at| lot.at(&[at]).any(is_wide)).collect();
    let (groups, asked) = if made != Made::Deal && wide.len() > GROUPS_MAX {
        wide_group(lot, &wide)
    } else {
        let asked: Vec<usize> = positions.iter().copied().take(GROUPS_MAX).collect();
        (json::each(lot, &asked, &|entry| Some(group(filters(entry, is_untied(entry))))), asked)
    };
    let body = object(&mut [
        ("filterGroups", Value::Array(groups)),
        ("properties", Value::Array(vec![text(made.marker_property())])),
        ("limit", Value::from(HITS_MAX)),
    ]);
    (json::post(hosts::objects(&[made.path(), "/search"].concat()), &body, Effect::Reads), asked)
}

fn group(filters: Vec<Value>) -> Value {
    object(&mut [("filters", Value::Array(filters))])
}

/// A filter; `EQ` and the like have one `value`.
fn filter(name: &str, operator: &str, value: (&str, Value)) -> Value {
    object(&mut [("propertyName", text(name)), ("operator", text(operator)), value])
}

fn wide_group(lot: &Lot, positions: &[usize]) -> (Vec<Value>, Vec<usize>) {
    let (mut contacts, mut asked, mut chars): (Vec<&str>, Vec<usize>, usize) = (Vec::new(), Vec::new(), 0);
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for (&at, entry) in positions.iter().zip(lot.at(positions)) {
        let (Some(contact), Some(at_ms)) = (entry.external_ids.get("contact"), fixed_time(entry)) else { continue };
        chars += contact.len() + 3;
        if chars > IDS_CHARS_MAX {
            break;
        }
        if !contacts.contains(&contact.as_str()) {
            contacts.push(contact);
        }
        (first, last) = (first.min(at_ms), last.max(at_ms));
        asked.push(at);
    }
    let mut between = filter("hs_timestamp", "BETWEEN", ("value", text(&first.to_string())));
    if let Some(fields) = between.as_object_mut() {
        fields.insert("highValue".to_owned(), text(&last.to_string()));
    }
    let contacts = Value::Array(contacts.into_iter().map(text).collect());
    (vec![group(vec![between, filter("associations.contact", "IN", ("values", contacts))])], asked)
}

/// The time a task or note has from its write, in epoch milliseconds.
fn fixed_time(entry: &Entry) -> Option<i64> {
    let (task, rollup) = (entry.write.task.as_ref(), entry.write.rollup.as_ref());
    let at = task.map(|task| &task.due_at).or_else(|| rollup.map(|rollup| &rollup.week_of))?;
    Timestamp::parse(at).map(|at| at.0)
}

/// A task or note by its time and contact, or, where it may be tied to nobody, by its time among what was made since the write
/// was accepted; a deal by its name. Words in a text are not relied upon: how the index takes our
/// marker apart is not documented.
fn filters(entry: &Entry, is_untied: bool) -> Vec<Value> {
    let equals = |name: &str, value: &str| filter(name, "EQ", ("value", text(value)));
    if let Some(deal) = &entry.write.deal {
        return vec![equals("dealname", &deal.name)];
    }
    let mut filters = Vec::new();
    if let Some(at) = fixed_time(entry) {
        filters.push(equals("hs_timestamp", &at.to_string()));
    }
    if is_untied {
        let since = entry.accepted_at.plus_secs(-CLOCKS_DIFFER_SECS).0;
        filters.push(filter("hs_createdate", "GTE", ("value", text(&since.to_string()))));
    } else if let Some(contact) = entry.external_ids.get("contact") {
        filters.push(equals("associations.contact", contact));
    }
    filters
}

/// Reads the hits: nothing of ours among all of them is the second witness.
pub(super) fn read(lot: &mut Lot, call: &Call, made: Made, answer: &Answer, now: Timestamp) {
    let is_wide = call.entries.len() > GROUPS_MAX;
    let Some((response, body)) = success(answer) else {
        return match errors::classify(answer, Effect::Reads, now) {
            WriteOutcome::Rejected(_) if is_wide => narrow(lot, &call.entries),
            outcome => lot.fail_or_split(&call.entries, &outcome),
        };
    };
    let total = body.get("total").and_then(Value::as_u64);
    let (Some(results), Some(total)) = (body.get("results").and_then(Value::as_array), total) else {
        return lot.fail(&call.entries, &failure::unreadable(response, Effect::Reads));
    };
    let compared = results.iter().filter(|record| is_whole(record)).count();
    let is_all = compared == results.len() && usize::try_from(total).is_ok_and(|total| compared >= total);
    let mut open = Vec::new();
    for &at in &call.entries {
        lot.each(&[at], |entry| {
            if found(entry, made, results, response, now) {
            } else if is_all {
                entry.stage.look = Look::Over;
                entry.stage.group = 0;
            } else {
                open.push(at);
            }
        });
    }
    if is_wide {
        return narrow(lot, &open);
    }
    if open.len() > 1 {
        return lot.split(&open);
    }
    let words = "the search for an earlier try's record has more hits than can be looked through";
    lot.fail(&open, &no_proof(response, "too_many_hits", words, now));
}

/// Searches for these by threes from now on.
fn narrow(lot: &mut Lot, positions: &[usize]) {
    lot.each(positions, |entry| entry.stage.look = Look::Searching { wide: false });
}
