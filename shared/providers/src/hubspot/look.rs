//! Looking for what earlier, unanswered tries may have made: first the contacts' tasks or notes, compared by our marker
//! (providers reference 1.14, way D), for many entries in one call; then the search index (`search`).
//!
//! Both must agree before anything is created again. Lists of associations are not the index, but that they show a record as
//! soon as its create was answered is not confirmed; the index is known to lag. Nor is what an answer leaves out proof of
//! anything: every record that was asked for must come back, or be named as missing.
//! Record ids do not grow strictly with time (recorded ones do not), so all of a contact's records are compared.

use super::batch::{has_marker, success};
use super::records::Made;
use super::{errors, hosts};
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request, Response};
use crate::json::{self, object, text};
use crate::lot::{Call, Entry, Look, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::Value;

/// Pages listed and records compared of one contact at most: what fits in one try's calls.
const PAGES_MAX: u8 = 3;
const RECORDS_MAX: usize = 1_500;
/// Records compared per call: the largest batch.
const COMPARE_MAX: usize = 100;

/// Entries of this kind whose contact's records are to be listed.
pub(super) fn is_listing(entry: &Entry, made: Made) -> bool {
    is_for(entry, made) && matches!(entry.stage.look, Look::Ahead | Look::Listing { .. })
}

/// Entries of this kind whose listed records are to be compared.
pub(super) fn is_comparing(entry: &Entry, made: Made) -> bool {
    is_for(entry, made) && matches!(entry.stage.look, Look::Comparing { .. })
}

/// Entries of this kind that are to be searched for: what has a contact after its records were listed and compared, what
/// has none at once.
pub(super) fn is_searching(entry: &Entry, made: Made) -> bool {
    is_for(entry, made) && matches!(entry.stage.look, Look::Searching { .. })
}

fn is_for(entry: &Entry, made: Made) -> bool {
    entry.is_unproven() && Made::of(entry.write.action) == Some(made) && !entry.has(made.key())
}

/// Begins the look: a record that is tied to no contact is in no contact's list.
pub(super) fn begin(entry: &mut Entry) {
    if entry.stage.look == Look::Ahead && entry.write.contact.is_none() {
        entry.stage.look = Look::SEARCHING;
    }
}

/// The tasks or notes of these entries' contacts, a page of each (2026-03 documentation: `after` goes beside the `id`).
pub(super) fn list_request(lot: &Lot, positions: &[usize], made: Made) -> Request {
    let mut inputs: Vec<Value> = Vec::new();
    for entry in lot.at(positions) {
        let Some(contact) = entry.external_ids.get("contact") else { continue };
        let input = match &entry.stage.look {
            Look::Listing { after, .. } => object(&mut [("id", text(contact)), ("after", text(after))]),
            _ => object(&mut [("id", text(contact))]),
        };
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    let url = hosts::associations(&format!("contacts/{}/batch/read", made.path()));
    json::post(url, &object(&mut [("inputs", Value::Array(inputs))]), Effect::Reads)
}

/// Reads the lists. A contact without any is an error of its own in a 207, `NO_ASSOCIATIONS_FOUND`, and not a failure.
pub(super) fn read_list(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer).filter(|(_, body)| body.get("results").is_some_and(Value::is_array))
    else {
        return lot.fail(&call.entries, &errors::classify(answer, Effect::Reads, now));
    };
    let mut unmentioned = Vec::new();
    for &at in &call.entries {
        let Some(contact) = lot.entries.get(at).and_then(|entry| entry.external_ids.get("contact")).cloned() else {
            continue;
        };
        let lists: Vec<&Value> = hostile::list(&body, "results")
            .iter()
            .filter(|list| hostile::id(list.pointer("/from/id")).as_ref() == Some(&contact))
            .collect();
        let error = hostile::list(&body, "errors").iter().find(|error| is_about(error, &contact));
        match (lists.is_empty(), error) {
            (false, _) => listed(lot, at, &lists, response, now),
            (true, Some(error)) if is_none_found(error) => listed(lot, at, &[], response, now),
            (true, Some(error)) => lot.fail(&[at], &errors::classify_item(response, error, now)),
            (true, None) => unmentioned.push(at),
        }
    }
    match (unmentioned.len(), hostile::list(&body, "errors").first()) {
        (0, _) => {}
        // Alone, the answer can only be about this one.
        (1, Some(error)) if call.entries.len() == 1 && !is_none_found(error) => {
            lot.fail(&unmentioned, &errors::classify_item(response, error, now));
        }
        (1, _) if call.entries.len() == 1 => {
            for at in unmentioned {
                listed(lot, at, &[], response, now);
            }
        }
        _ => lot.split(&unmentioned),
    }
}

fn is_about(error: &Value, contact: &str) -> bool {
    let context = error.get("context").unwrap_or(&Value::Null);
    let ids = ["fromObjectId", "id", "ids"].into_iter().flat_map(|key| hostile::list(context, key));
    ids.into_iter().any(|id| hostile::id(Some(id)).as_deref() == Some(contact))
}

fn is_none_found(error: &Value) -> bool {
    hostile::text(error, "subCategory").is_some_and(|sub| sub.ends_with("NO_ASSOCIATIONS_FOUND"))
}

/// Takes in one contact's page. A row without an id that can be read may be the one: then nothing is proven.
fn listed(lot: &mut Lot, at: usize, lists: &[&Value], response: &Response, now: Timestamp) {
    let rows: Vec<&Value> = lists.iter().flat_map(|list| hostile::list(list, "to")).collect();
    // `toObjectId` in the dated and v4 shape, `id` in v3's.
    let id_of = |row: &&Value| hostile::id(row.get("toObjectId").or_else(|| row.get("id")));
    let page: Vec<String> = rows.iter().take(RECORDS_MAX).filter_map(id_of).collect();
    if page.len() < rows.len() {
        return lot.fail(&[at], &no_proof(response, "incomplete_answer", LEFT_OUT, now));
    }
    let after = lists.iter().find_map(|list| match list.pointer("/paging/next/after")? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty() && text.len() <= 256),
        other => other.as_u64().map(|number| number.to_string()),
    });
    lot.each(&[at], |entry| {
        let (mut ids, pages) = match std::mem::take(&mut entry.stage.look) {
            Look::Listing { ids, pages, .. } => (ids, pages.saturating_add(1)),
            _ => (Vec::new(), 1),
        };
        for id in &page {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        entry.stage.group = 0;
        entry.stage.look = match &after {
            Some(after) if pages < PAGES_MAX && ids.len() < RECORDS_MAX => {
                Look::Listing { ids, pages, after: after.clone() }
            }
            _ => comparing(ids, after.is_none()),
        };
    });
}

/// Newest last, roughly: they are compared from the end, where ours most likely is.
fn comparing(mut ids: Vec<String>, all: bool) -> Look {
    let cut = ids.len().saturating_sub(RECORDS_MAX);
    let all = all && cut == 0;
    if ids.is_empty() && all { Look::SEARCHING } else { Look::Comparing { ids: ids.split_off(cut), all } }
}

/// The next records to compare: the first entries' first, as many as fit, and the positions they are of.
fn to_compare(lot: &Lot, positions: &[usize]) -> (Vec<String>, Vec<usize>) {
    let (mut asked, mut included): (Vec<String>, Vec<usize>) = (Vec::new(), Vec::new());
    for (&at, entry) in positions.iter().zip(lot.at(positions)) {
        let Look::Comparing { ids, .. } = &entry.stage.look else { continue };
        let new: Vec<&String> = ids.iter().rev().filter(|id| !asked.contains(id)).collect();
        let room = COMPARE_MAX.saturating_sub(asked.len());
        if room == 0 && !new.is_empty() {
            continue;
        }
        let new: Vec<String> = new.into_iter().take(room).cloned().collect();
        asked.extend(new);
        included.push(at);
    }
    (asked, included)
}

/// One batch of records with their text.
pub(super) fn compare_request(lot: &Lot, positions: &[usize], made: Made) -> (Request, Vec<usize>) {
    let (asked, included) = to_compare(lot, positions);
    let mut inputs = Vec::new();
    for id in &asked {
        inputs.push(object(&mut [("id", text(id))]));
    }
    let properties = Value::Array(vec![text(made.marker_property())]);
    let body = object(&mut [("properties", properties), ("inputs", Value::Array(inputs))]);
    let url = hosts::objects(&[made.path(), "/batch/read"].concat());
    (json::post(url, &body, Effect::Reads), included)
}

/// Compares: what is found is there; when all of a contact's records were seen and none is ours, the index is asked.
pub(super) fn read_compare(lot: &mut Lot, call: &Call, made: Made, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        return lot.fail(&call.entries, &errors::classify(answer, Effect::Reads, now));
    };
    // Without the list this is not an answer to the question, and no proof of absence.
    let Some(results) = body.get("results").and_then(Value::as_array) else {
        return lot.fail(&call.entries, &failure::unreadable(response, Effect::Reads));
    };
    let seen = seen(&body, results);
    let (mut too_long, mut stuck) = (Vec::new(), Vec::new());
    for &at in &call.entries {
        lot.each(&[at], |entry| {
            if found(entry, made, results, response, now) {
                return;
            }
            let Look::Comparing { ids, all } = &mut entry.stage.look else { return };
            let before = ids.len();
            ids.retain(|id| !seen.contains(id));
            match (ids.is_empty(), *all) {
                (true, true) => entry.stage.look = Look::SEARCHING,
                (true, false) => too_long.push(at),
                (false, _) if ids.len() == before => stuck.push(at),
                (false, _) => {}
            }
        });
    }
    let words = "the contact has more tasks or notes than can be looked through for an earlier try's record";
    lot.fail(&too_long, &no_proof(response, "history_too_long", words, now));
    lot.fail(&stuck, &no_proof(response, "incomplete_answer", LEFT_OUT, now));
}

const LEFT_OUT: &str = "HubSpot left out records that were asked for, one of which may be an earlier try's";

/// The records an answer tells about: those in it that can be compared, and those it names as missing (which were deleted
/// since they were listed). One that is silently left out is asked for again.
fn seen(body: &Value, results: &[Value]) -> Vec<String> {
    let missing = hostile::list(body, "errors").iter().filter_map(|error| error.get("context"));
    let missing = missing.flat_map(|context| hostile::list(context, "ids")).filter_map(|id| hostile::id(Some(id)));
    results
        .iter()
        .filter(|record| is_whole(record))
        .filter_map(|record| hostile::id(record.get("id")))
        .chain(missing)
        .collect()
}

/// Whether a record came with its properties: without them it cannot be told whose it is.
pub(super) fn is_whole(record: &Value) -> bool {
    record.get("properties").and_then(Value::as_object).is_some_and(|properties| !properties.is_empty())
}

/// Takes an earlier try's record over, if it is among these. It is tied again: who can tell how far that try came.
pub(super) fn found(entry: &mut Entry, made: Made, records: &[Value], response: &Response, now: Timestamp) -> bool {
    let Some(record) = records.iter().find(|record| has_marker(record, entry, made)) else { return false };
    let Some(id) = hostile::id(record.get("id")) else {
        entry.outcome = Some(no_proof(response, "incomplete_answer", LEFT_OUT, now));
        return true;
    };
    entry.external_ids.insert(made.key().to_owned(), id);
    entry.response = Some(hostile::kept(record));
    entry.stage.look = Look::Over;
    entry.stage.group = 0;
    true
}

/// The look could not be brought to its end.
pub(super) fn no_proof(response: &Response, code: &str, words: &str, now: Timestamp) -> WriteOutcome {
    Verdict::new(ErrorClass::UnknownOutcome, code, words).outcome(Some(response.status), None, now)
}
