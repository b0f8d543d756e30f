//! Looking for what an earlier, unanswered try may have made: the contact's tasks or notes, compared by our marker
//! (providers reference 1.14, way D).
//!
//! Associations are listed directly, not by the search index, which lags. The proof is as good as that list: that it shows
//! a record as soon as its create was answered is not confirmed by HubSpot, which is why flows wait before they look.

use super::batch::{self, has_marker, success};
use super::errors;
use super::hosts;
use super::records::Engagement;
use crate::encode;
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request};
use crate::lot::{Entry, Look, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::{Value, json};

/// The largest page of associations.
const LIST_PAGE: usize = 500;
/// Pages listed at most: 2,000 tasks of one contact.
const PAGES_MAX: u8 = 4;
/// Records compared per call: the largest batch.
const READ_PAGE: usize = 100;

/// The next request of the look for one entry, and whether it lists (true) or compares.
pub(super) fn request(entry: &Entry, engagement: Engagement) -> Option<(Request, Step)> {
    let contact = entry.external_ids.get("contact")?;
    let path = engagement.path();
    match &entry.stage.look {
        Look::Ahead => Some((list_request(contact, path, ""), Step::List)),
        Look::Listing { after, .. } => Some((list_request(contact, path, after), Step::List)),
        Look::Comparing { ids, .. } => {
            let newest = ids.get(ids.len().saturating_sub(READ_PAGE)..).unwrap_or_default();
            let inputs: Vec<Value> = newest.iter().map(|id| json!({"id": id})).collect();
            let body = json!({"properties": [engagement.body_property()], "inputs": inputs});
            Some((batch::post(&format!("{path}/batch/read"), &body, Effect::Reads), Step::Compare))
        }
        Look::Over => None,
    }
}

/// Which of the look's two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    List,
    Compare,
}

fn list_request(contact: &str, path: &str, after: &str) -> Request {
    let mut url = hosts::objects(&format!("contacts/{contact}/associations/{path}?limit={LIST_PAGE}"));
    if !after.is_empty() {
        url.push_str("&after=");
        url.push_str(&encode::component(after));
    }
    Request::get(url)
}

/// Reads a page of the contact's records.
pub(super) fn read_list(lot: &mut Lot, at: usize, answer: &Answer, now: Timestamp) {
    let Some((_, body)) = success(answer) else {
        return lot.fail(&[at], &errors::classify(answer, Effect::Reads, now));
    };
    // `toObjectId` in the dated and v4 shape, `id` in v3's.
    let page = hostile::list(&body, "results").iter();
    let page = page.filter_map(|r| hostile::id(r.get("toObjectId").or_else(|| r.get("id")))).take(LIST_PAGE);
    let after = body.pointer("/paging/next/after");
    let after = after.and_then(|after| after.as_str().map(str::to_owned).or_else(|| Some(after.as_u64()?.to_string())));
    let after = after.filter(|after| !after.is_empty() && after.len() <= 256);
    let page: Vec<String> = page.collect();
    lot.each(&[at], |entry| {
        let (mut ids, pages) = match std::mem::take(&mut entry.stage.look) {
            Look::Listing { ids, pages, .. } => (ids, pages.saturating_add(1)),
            _ => (Vec::new(), 1),
        };
        ids.extend(page.iter().cloned());
        entry.stage.look = match &after {
            Some(after) if pages < PAGES_MAX => Look::Listing { ids, pages, after: after.clone() },
            _ => comparing(ids, after.is_none()),
        };
    });
}

/// Ids grow with time, so the newest records, among which ours most likely is, are the last ones.
fn comparing(mut ids: Vec<String>, all: bool) -> Look {
    ids.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    ids.dedup();
    if ids.is_empty() && all { Look::Over } else { Look::Comparing { ids, all } }
}

/// Compares a page of records: found is applied, the end of all of them is proof that there is none.
pub(super) fn read_compare(lot: &mut Lot, at: usize, engagement: Engagement, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        return lot.fail(&[at], &errors::classify(answer, Effect::Reads, now));
    };
    // Without the list this is not an answer to the question, and no proof of absence.
    let Some(results) = body.get("results").and_then(Value::as_array) else {
        return lot.fail(&[at], &failure::unreadable(response, Effect::Reads));
    };
    let mut unfinished = false;
    lot.each(&[at], |entry| {
        let ours = results.iter().find(|record| has_marker(record, entry, engagement));
        if let Some((id, record)) = ours.and_then(|r| Some((hostile::id(r.get("id"))?, r))) {
            entry.external_ids.insert(engagement.key().to_owned(), id);
            entry.response = Some(hostile::kept(record));
            entry.outcome = Some(WriteOutcome::Applied);
            return;
        }
        if let Look::Comparing { ids, all } = &mut entry.stage.look {
            ids.truncate(ids.len().saturating_sub(READ_PAGE));
            unfinished = ids.is_empty() && !*all;
            if ids.is_empty() && *all {
                entry.stage.look = Look::Over;
            }
        }
    });
    if unfinished {
        let verdict = Verdict::new(
            ErrorClass::UnknownOutcome,
            "history_too_long",
            "the contact has more tasks or notes than can be looked through for an earlier try's record",
        );
        lot.fail(&[at], &verdict.outcome(None, None, now));
    }
}
