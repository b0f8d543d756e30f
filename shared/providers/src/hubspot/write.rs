//! What a lot needs next at HubSpot: contacts, then a look where a try is in doubt, then tasks, then notes.

use super::records::Engagement;
use super::{batch, look};
use crate::failure::Verdict;
use crate::http::{Answer, Request};
use crate::lot::{Call, Entry, Look, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};

const UPSERT: u8 = 1;
const LIST: u8 = 2;
const COMPARE: u8 = 3;
const CREATE_TASKS: u8 = 4;
const CREATE_NOTES: u8 = 5;

/// The next request, or `None` when every entry has an outcome.
pub(super) fn next_call(lot: &mut Lot) -> Option<Call> {
    settle(lot);
    let contacts = lot.next_group(|entry| !entry.has("contact"));
    if !contacts.is_empty() {
        return Some(call(batch::upsert_request(lot, &contacts), contacts, UPSERT));
    }
    if let Some(&at) = lot.next_group(Entry::is_unproven).first() {
        let entry = lot.entries.get(at)?;
        let (request, step) = look::request(entry, Engagement::of(entry.write.action)?)?;
        return Some(call(request, vec![at], if step == look::Step::List { LIST } else { COMPARE }));
    }
    for engagement in Engagement::ALL {
        let ready = lot.next_group(|entry| Engagement::of(entry.write.action) == Some(engagement));
        if !ready.is_empty() {
            let request = batch::create_request(lot, &ready, engagement)?;
            return Some(call(
                request,
                ready,
                if engagement == Engagement::Task { CREATE_TASKS } else { CREATE_NOTES },
            ));
        }
    }
    None
}

/// Reads the answer of a call made by [`next_call`].
pub(super) fn read_call(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let first = call.entries.first().copied().unwrap_or_default();
    match call.kind {
        UPSERT => batch::read_upsert(lot, call, answer, now),
        LIST => look::read_list(lot, first, answer, now),
        COMPARE => {
            let engagement = lot.entries.get(first).and_then(|entry| Engagement::of(entry.write.action));
            look::read_compare(lot, first, engagement.unwrap_or(Engagement::Task), answer, now);
        }
        CREATE_NOTES => batch::read_create(lot, call, Engagement::Note, answer, now),
        _ => batch::read_create(lot, call, Engagement::Task, answer, now),
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
            match (call.kind, Engagement::of(entry.write.action)) {
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
    Call { request, entries, kind, is_search: false }
}

/// Gives an outcome to what has nothing left to do.
fn settle(lot: &mut Lot) {
    for entry in lot.entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
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
