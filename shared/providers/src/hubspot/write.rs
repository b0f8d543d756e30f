//! What a lot needs next at HubSpot: contacts, then tasks and notes, where an earlier try is in doubt after a look.

use super::records::Engagement;
use super::{batch, look};
use crate::failure::Verdict;
use crate::http::{Answer, Request};
use crate::lot::{Call, Entry, Look, Lot};
use model::Timestamp;
use model::curated::Action;
use model::write::{ErrorClass, WriteOutcome};

const UPSERT: u8 = 1;
/// The rest is of tasks, or with this bit of notes.
const NOTES: u8 = 0x80;
const LIST: u8 = 2;
const COMPARE: u8 = 3;
const CREATE: u8 = 4;

const fn kind(step: u8, engagement: Engagement) -> u8 {
    match engagement {
        Engagement::Task => step,
        Engagement::Note => step | NOTES,
    }
}

/// The next request, or `None` when every entry has an outcome.
///
/// What can be created is created before others are looked for: a flow that stops after some calls has come further.
pub(super) fn next_call(lot: &mut Lot) -> Option<Call> {
    settle(lot);
    let contacts = lot.next_group(|entry| !entry.has("contact"));
    if !contacts.is_empty() {
        return Some(call(batch::upsert_request(lot, &contacts), contacts, UPSERT));
    }
    for engagement in Engagement::ALL {
        let is_ready = |entry: &Entry| Engagement::of(entry.write.action) == Some(engagement) && !entry.is_unproven();
        let ready = lot.next_group(is_ready);
        if !ready.is_empty() {
            let request = batch::create_request(lot, &ready, engagement)?;
            return Some(call(request, ready, kind(CREATE, engagement)));
        }
    }
    for engagement in Engagement::ALL {
        let listing = lot.next_group(|entry| look::is_listing(entry, engagement));
        if !listing.is_empty() {
            return Some(call(look::list_request(lot, &listing, engagement), listing, kind(LIST, engagement)));
        }
        let comparing = lot.next_group(|entry| look::is_comparing(entry, engagement));
        if !comparing.is_empty() {
            let (request, entries) = look::compare_request(lot, &comparing, engagement);
            return Some(call(request, entries, kind(COMPARE, engagement)));
        }
    }
    None
}

/// One call for all contacts, one for all tasks, one for all notes; two more where an earlier try is in doubt.
pub(super) fn expected_calls(lot: &Lot) -> u32 {
    let open = || lot.entries.iter().filter(|entry| entry.outcome.is_none());
    let any = |is: &dyn Fn(&Entry) -> bool| u32::from(open().any(is));
    let mut calls = any(&|entry| !entry.has("contact"));
    for engagement in Engagement::ALL {
        let is_of = |entry: &Entry| Engagement::of(entry.write.action) == Some(engagement);
        calls += any(&is_of) + 2 * any(&|entry| is_of(entry) && entry.is_unproven());
    }
    calls
}

/// Reads the answer of a call made by [`next_call`].
pub(super) fn read_call(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let engagement = if call.kind & NOTES == 0 { Engagement::Task } else { Engagement::Note };
    match call.kind & !NOTES {
        UPSERT => batch::read_upsert(lot, call, answer, now),
        LIST => look::read_list(lot, call, answer, now),
        COMPARE => look::read_compare(lot, call, engagement, answer, now),
        _ => batch::read_create(lot, call, engagement, answer, now),
    }
    settle(lot);
}

/// The requests as they would be sent if the CRM knew none of it and accepted all of it.
pub(super) fn dry_run(lot: &Lot) -> Vec<Request> {
    let mut lot = lot.clone();
    let mut requests = Vec::new();
    while let Some(call) = next_call(&mut lot) {
        lot.each(&call.entries, |entry| {
            let mut learn = |key: &str| {
                entry.external_ids.insert(key.to_owned(), format!("@{{{key}}}"));
            };
            match (call.kind & !NOTES, Engagement::of(entry.write.action)) {
                (UPSERT, _) => learn("contact"),
                (LIST | COMPARE, _) | (_, None) => entry.stage.look = Look::Over,
                (_, Some(engagement)) => learn(engagement.key()),
            }
        });
        requests.push(call.request);
    }
    requests
}

fn call(request: Request, entries: Vec<usize>, kind: u8) -> Call {
    Call { request, entries, kind, is_search: false, cached: None }
}

/// Gives an outcome to what has nothing left to do.
fn settle(lot: &mut Lot) {
    for entry in lot.entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
        if entry.write.action == Action::UpsertDeal {
            let verdict =
                Verdict::new(ErrorClass::Mapping, "deals_not_supported", "deals are not written to HubSpot yet");
            entry.outcome = Some(verdict.outcome(None, None, entry.accepted_at));
            continue;
        }
        let engagement = Engagement::of(entry.write.action);
        if entry.has(engagement.map_or("contact", Engagement::key)) {
            entry.outcome = Some(WriteOutcome::Applied);
            continue;
        }
        let part_is_there = match engagement {
            None => true,
            Some(Engagement::Task) => entry.write.task.is_some(),
            Some(Engagement::Note) => entry.write.rollup.is_some(),
        };
        if !part_is_there {
            let verdict =
                Verdict::new(ErrorClass::Mapping, "invalid_write", "the write lacks the part its action needs");
            entry.outcome = Some(verdict.outcome(None, None, entry.accepted_at));
        }
        if engagement.is_none() {
            // An upsert by e-mail may be repeated: nothing of it can be in doubt.
            entry.stage.look = Look::Over;
        }
    }
}
