//! What a lot needs next at Salesforce.
//!
//! One write alone goes in one call where the org allows it (`single`). Otherwise people are asked for (`people`), and leads,
//! contacts, tasks and opportunities written together (`plan`); what an earlier try may have made is looked for first
//! (`look`). A record that is refused stops only itself; a call that is refused as a whole is tried in halves.

use super::plan::{Plan, needs_deal, needs_person, needs_task};
use super::{deals, hosts, look, people, read, records, single};
use crate::failure::Verdict;
use crate::http::{Answer, Request};
use crate::lot::{Call, Entry, Look, Lot, Person};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};

const LOOKUP: u8 = 1;
const LOOK: u8 = 2;
const WRITE: u8 = 3;
const SINGLE: u8 = 4;
const STAGES: u8 = 5;

/// About so many addresses fit one look-up.
const LOOKUP_ENTRIES: usize = 90;

/// The next request, or `None` when every entry has an outcome.
pub(super) fn next_call(lot: &mut Lot) -> Option<Call> {
    settle(lot);
    let Some(instance) = lot.connection.instance_url.as_deref().and_then(hosts::instance_url) else {
        let all: Vec<usize> = (0..lot.entries.len()).collect();
        lot.fail(&all, &no_instance().outcome(None, None, Timestamp(0)));
        return None;
    };
    if let Some(call) = deals::next_call(lot, &instance, STAGES) {
        return Some(call);
    }
    let lot: &Lot = lot;
    // By the key, one call for all of them spares what would be written for those that are there.
    let keyed = lot.next_group(|entry| entry.is_unproven() && look::by_key(lot, entry));
    if !keyed.is_empty() {
        let (request, entries) = look::request(lot, &keyed, &instance);
        return Some(call(request, entries, LOOK));
    }
    if let Some(at) = single::candidate(lot) {
        return Some(call(single::request(lot, at, &instance)?, vec![at], SINGLE));
    }
    let unresolved = lot.next_group(|entry| needs_person(entry) && entry.stage.person == Person::Unresolved);
    if !unresolved.is_empty() {
        let (request, entries) = people::lookup(lot, &unresolved, &instance);
        return Some(call(request, entries, LOOKUP));
    }
    // What can be written is written before others are looked for: a flow that stops after some calls has come further.
    let ready = lot.next_group(|entry| !entry.is_unproven());
    if !ready.is_empty() {
        let plan = Plan::of(lot, &ready);
        let entries = plan.entries();
        return (!entries.is_empty()).then(|| call(plan.request(lot, &instance), entries, WRITE));
    }
    let doubtful = lot.next_group(Entry::is_unproven);
    if doubtful.is_empty() {
        return None;
    }
    let (request, entries) = look::request(lot, &doubtful, &instance);
    Some(call(request, entries, LOOK))
}

/// One call for one write; otherwise the look-ups of so many addresses, one for everything written, and a look where an
/// earlier try is in doubt.
pub(super) fn expected_calls(lot: &Lot) -> u32 {
    if single::candidate(lot).is_some() {
        return 1;
    }
    let count = |is: &dyn Fn(&Entry) -> bool| lot.entries.iter().filter(|e| e.outcome.is_none() && is(e)).count();
    let lookups = count(&|entry| needs_person(entry)).div_ceil(LOOKUP_ENTRIES);
    let once = [count(&|_| true), count(&|entry| entry.is_unproven()), count(&needs_deal)];
    let once = once.into_iter().filter(|&count| count > 0).count();
    u32::try_from(lookups + once).unwrap_or(u32::MAX)
}

/// Why nothing can be sent.
pub(super) fn no_instance() -> Verdict {
    let words = "the connection has no instance URL of Salesforce's: reconnect it";
    Verdict::new(ErrorClass::Auth, "instance_url_refused", words)
}

fn call(request: Request, entries: Vec<usize>, kind: u8) -> Call {
    Call { request, entries, kind, is_search: false, cached: None }
}

/// Reads the answer of a call made by [`next_call`].
pub(super) fn read_call(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    match (call.kind, call.entries.first()) {
        (LOOKUP, _) => people::read_lookup(lot, &call.entries, answer, now),
        (LOOK, _) => look::read(lot, &call.entries, answer, now),
        (STAGES, _) => deals::read(lot, call, answer, now),
        (SINGLE, Some(&at)) => single::read(lot, at, answer, now),
        _ => read::write(lot, call, answer, now),
    }
    settle(lot);
}

/// The requests as they would be sent if the org knew none of the people and accepted all of it.
pub(super) fn dry_run(mut lot: Lot) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some(call) = next_call(&mut lot) {
        lot.each(&call.entries, |entry| match call.kind {
            LOOKUP => entry.stage.person = Person::Absent,
            LOOK => entry.stage.look = Look::Over,
            STAGES => {}
            _ => {
                for key in ["lead", "task", "deal"] {
                    entry.external_ids.insert(key.to_owned(), format!("@{{{key}}}"));
                }
            }
        });
        if call.kind == STAGES {
            deals::assume(&mut lot);
        }
        requests.push(call.request);
    }
    requests
}

/// Gives an outcome to what has nothing left to do, and ends doubts that cannot be.
fn settle(lot: &mut Lot) {
    lot.keep_deals_in_order();
    for at in 0..lot.entries.len() {
        let Some(verdict) = lot.entries.get(at).map(|entry| refusal(lot, entry)) else { continue };
        lot.each(&[at], |entry| {
            if let Some(verdict) = &verdict {
                entry.outcome = Some(verdict.clone().outcome(None, None, entry.accepted_at));
                return;
            }
            let person = entry.stage.person.clone();
            if let Some((key, id)) = found(&person) {
                // Nothing to change about the person: finding them was the step.
                if needs_person(entry) && records::given_fields(entry.write.contact.as_ref(), &person).is_empty() {
                    entry.external_ids.insert(key.to_owned(), id.to_owned());
                }
            }
            if !needs_person(entry) && !needs_task(entry) && !needs_deal(entry) {
                entry.outcome = Some(WriteOutcome::Applied);
            }
            // A task is made with or after its person: where there is nobody, there is no task. And a person who was looked
            // up is not created twice, nor is a deal that is known.
            let is_change = needs_deal(entry) && entry.deal_external_id.is_some();
            let resolved = !needs_deal(entry) && (!needs_person(entry) || person != Person::Unresolved);
            if person == Person::Absent || is_change || (resolved && !needs_task(entry)) {
                entry.stage.look = Look::Over;
            }
        });
    }
}

/// Why an entry is not sent at all.
fn refusal(lot: &Lot, entry: &Entry) -> Option<Verdict> {
    let lacks_person = needs_person(entry) && entry.write.contact.is_none();
    let lacks_part = (needs_task(entry) || needs_deal(entry)) && records::title(entry).is_none();
    if lacks_person || lacks_part {
        let words = "the write lacks the part its action needs";
        return Some(Verdict::new(ErrorClass::Mapping, "invalid_write", words));
    }
    deals::refusal(lot, entry)
}

pub(super) fn found(person: &Person) -> Option<(&'static str, &str)> {
    match person {
        Person::Lead(id) => Some(("lead", id)),
        Person::Contact(id) => Some(("contact", id)),
        Person::Unresolved | Person::Absent => None,
    }
}
