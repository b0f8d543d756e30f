//! Looking for what earlier, unanswered tries may have made: the contacts' tasks or notes, compared by our marker (providers
//! reference 1.14, way D), for many entries in one call.
//!
//! Associations are listed directly, not by the search index, which lags. The proof is as good as that list: that it shows
//! a record as soon as its create was answered is not confirmed by HubSpot, which is why flows wait before they look.
//! Record ids do not grow strictly with time (recorded ones do not), so all of a contact's records are compared.

use super::batch::{has_marker, success};
use super::records::Engagement;
use super::{errors, hosts};
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Body, Effect, Method, Request, Response};
use crate::lot::{Call, Entry, Look, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::{Value, json};

/// Pages listed and records compared of one contact at most: what fits in one try's calls.
const PAGES_MAX: u8 = 3;
const RECORDS_MAX: usize = 1_500;
/// Records compared per call: the largest batch.
const COMPARE_MAX: usize = 100;

/// Entries of this kind whose contact's records are to be listed.
pub(super) fn is_listing(entry: &Entry, engagement: Engagement) -> bool {
    is_for(entry, engagement) && matches!(entry.stage.look, Look::Ahead | Look::Listing { .. })
}

/// Entries of this kind whose listed records are to be compared.
pub(super) fn is_comparing(entry: &Entry, engagement: Engagement) -> bool {
    is_for(entry, engagement) && matches!(entry.stage.look, Look::Comparing { .. })
}

fn is_for(entry: &Entry, engagement: Engagement) -> bool {
    entry.is_unproven() && Engagement::of(entry.write.action) == Some(engagement)
}

/// The tasks or notes of these entries' contacts, a page of each (2026-03 documentation: `after` goes beside the `id`).
pub(super) fn list_request(lot: &Lot, positions: &[usize], engagement: Engagement) -> Request {
    let mut inputs: Vec<Value> = Vec::new();
    for entry in lot.at(positions) {
        let Some(contact) = entry.external_ids.get("contact") else { continue };
        let input = match &entry.stage.look {
            Look::Listing { after, .. } => json!({"id": contact, "after": after}),
            _ => json!({"id": contact}),
        };
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    let url = hosts::associations(&format!("contacts/{}/batch/read", engagement.path()));
    Request::new(Method::Post, url, Body::Json(json!({"inputs": inputs}).to_string()), Effect::Reads)
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
        let list = hostile::list(&body, "results")
            .iter()
            .find(|list| hostile::id(list.pointer("/from/id")) == Some(contact.clone()));
        let error = hostile::list(&body, "errors").iter().find(|error| is_about(error, &contact));
        match (list, error) {
            (Some(list), _) => listed(lot, at, list),
            (None, Some(error)) if is_none_found(error) => listed(lot, at, &Value::Null),
            (None, Some(error)) => lot.fail(&[at], &errors::classify_item(response, error, now)),
            (None, None) => unmentioned.push(at),
        }
    }
    match (unmentioned.len(), hostile::list(&body, "errors").first()) {
        (0, _) => {}
        // Alone, the answer can only be about this one.
        (1, Some(error)) if call.entries.len() == 1 && !is_none_found(error) => {
            lot.fail(&unmentioned, &errors::classify_item(response, error, now));
        }
        (1, _) if call.entries.len() == 1 => listed_nothing(lot, &unmentioned),
        _ => lot.split(&unmentioned),
    }
}

fn listed_nothing(lot: &mut Lot, positions: &[usize]) {
    for &at in positions {
        listed(lot, at, &Value::Null);
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

/// Takes in one contact's page.
fn listed(lot: &mut Lot, at: usize, list: &Value) {
    // `toObjectId` in the dated and v4 shape, `id` in v3's.
    let rows = hostile::list(list, "to").iter().take(RECORDS_MAX);
    let page: Vec<String> =
        rows.filter_map(|row| hostile::id(row.get("toObjectId").or_else(|| row.get("id")))).collect();
    let after = list.pointer("/paging/next/after").and_then(|after| match after {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty() && text.len() <= 256),
        other => other.as_u64().map(|number| number.to_string()),
    });
    lot.each(&[at], |entry| {
        let (mut ids, pages) = match std::mem::take(&mut entry.stage.look) {
            Look::Listing { ids, pages, .. } => (ids, pages.saturating_add(1)),
            _ => (Vec::new(), 1),
        };
        ids.extend(page.iter().cloned());
        entry.stage.group = 0;
        entry.stage.look = match &after {
            Some(after) if pages < PAGES_MAX && ids.len() < RECORDS_MAX => {
                Look::Listing { ids, pages, after: after.clone() }
            }
            _ => comparing(ids, after.is_none()),
        };
    });
}

fn comparing(mut ids: Vec<String>, all: bool) -> Look {
    // Newest last, roughly: they are compared from the end, where ours most likely is.
    ids.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    ids.dedup();
    let cut = ids.len().saturating_sub(RECORDS_MAX);
    let all = all && cut == 0;
    if ids.is_empty() && all { Look::Over } else { Look::Comparing { ids: ids.split_off(cut), all } }
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
pub(super) fn compare_request(lot: &Lot, positions: &[usize], engagement: Engagement) -> (Request, Vec<usize>) {
    let (asked, included) = to_compare(lot, positions);
    let inputs: Vec<Value> = asked.iter().map(|id| json!({"id": id})).collect();
    let body = json!({"properties": [engagement.body_property()], "inputs": inputs});
    (super::batch::post(&format!("{}/batch/read", engagement.path()), &body, Effect::Reads), included)
}

/// Compares: found is applied, the end of all of a contact's records is proof that there is none.
pub(super) fn read_compare(lot: &mut Lot, call: &Call, engagement: Engagement, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        return lot.fail(&call.entries, &errors::classify(answer, Effect::Reads, now));
    };
    // Without the list this is not an answer to the question, and no proof of absence.
    let Some(results) = body.get("results").and_then(Value::as_array) else {
        return lot.fail(&call.entries, &failure::unreadable(response, Effect::Reads));
    };
    let (asked, _) = to_compare(lot, &call.entries);
    let mut unfinished = Vec::new();
    for &at in &call.entries {
        lot.each(&[at], |entry| {
            let ours = results.iter().find(|record| has_marker(record, entry, engagement));
            if let Some((id, record)) = ours.and_then(|r| Some((hostile::id(r.get("id"))?, r))) {
                entry.external_ids.insert(engagement.key().to_owned(), id);
                entry.response = Some(hostile::kept(record));
                entry.outcome = Some(WriteOutcome::Applied);
                return;
            }
            if let Look::Comparing { ids, all } = &mut entry.stage.look {
                ids.retain(|id| !asked.contains(id));
                match (ids.is_empty(), *all) {
                    (true, true) => entry.stage.look = Look::Over,
                    (true, false) => unfinished.push(at),
                    (false, _) => {}
                }
            }
        });
    }
    lot.fail(&unfinished, &too_long(response, now));
}

fn too_long(response: &Response, now: Timestamp) -> WriteOutcome {
    let words = "the contact has more tasks or notes than can be looked through for an earlier try's record";
    Verdict::new(ErrorClass::UnknownOutcome, "history_too_long", words).outcome(Some(response.status), None, now)
}
