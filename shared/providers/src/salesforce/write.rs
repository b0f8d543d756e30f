//! What a lot needs next at Salesforce: whom the addresses belong to, then leads, contacts and tasks together, where an
//! earlier try is in doubt after a look.
//!
//! `plan` says what goes in one composite; this file says when, and reads what came of it. Where Salesforce refuses the
//! merged fields of several entries, they are tried in halves.

use super::composite::{self, PARTS_MAX};
use super::plan::{Plan, needs_person, needs_task, person_of, same_person};
use super::{errors, hosts, ids, records, soql};
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request, Response};
use crate::lot::{Call, Entry, Look, Lot, Person};
use model::Timestamp;
use model::curated::Action;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::Value;

const LOOKUP: u8 = 1;
const LOOK: u8 = 2;
const WRITE: u8 = 3;

/// The next request, or `None` when every entry has an outcome.
pub(super) fn next_call(lot: &mut Lot) -> Option<Call> {
    settle(lot);
    let Some(instance) = lot.connection.instance_url.as_deref().and_then(hosts::instance_url) else {
        let all: Vec<usize> = (0..lot.entries.len()).collect();
        lot.fail(&all, &no_instance().outcome(None, None, Timestamp(0)));
        return None;
    };
    let unresolved = lot.next_group(|entry| needs_person(entry) && entry.stage.person == Person::Unresolved);
    if !unresolved.is_empty() {
        let (request, entries) = soql::lookup(lot, &unresolved, &instance);
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
    let (request, entries) = soql::look(lot, &doubtful, &instance);
    Some(call(request, entries, LOOK))
}

/// One lookup of all people, composites of so many parts, and a look where an earlier try is in doubt.
pub(super) fn expected_calls(lot: &Lot) -> u32 {
    let open = || lot.entries.iter().filter(|entry| entry.outcome.is_none());
    let any = |is: &dyn Fn(&Entry) -> bool| u32::from(open().any(is));
    // People who share an address share a part: fewer calls than this are possible, more are not.
    let parts: usize = open().map(|entry| usize::from(needs_person(entry)) + usize::from(needs_task(entry))).sum();
    // A person and its task are not separated: one place of a composite may stay empty.
    let composites = u32::try_from(parts.div_ceil(PARTS_MAX - 1)).unwrap_or(u32::MAX);
    any(&needs_person) + composites + any(&Entry::is_unproven)
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
    match call.kind {
        LOOKUP => soql::read_lookup(lot, &call.entries, answer, now),
        LOOK => soql::read_look(lot, &call.entries, answer, now),
        _ => read_write(lot, call, answer, now),
    }
    settle(lot);
}

/// The requests as they would be sent if the org knew none of the people and accepted all of it.
pub(super) fn dry_run(lot: &Lot) -> Vec<Request> {
    let mut lot = lot.clone();
    let mut requests = Vec::new();
    while let Some(call) = next_call(&mut lot) {
        match call.kind {
            LOOKUP => lot.each(&call.entries, |entry| entry.stage.person = Person::Absent),
            LOOK => lot.each(&call.entries, |entry| entry.stage.look = Look::Over),
            _ => {
                let plan = Plan::of(&lot, &call.entries);
                for (positions, key) in plan.people.iter().map(|p| (p, "lead")).chain([(&plan.tasks, "task")]) {
                    lot.each(positions, |entry| {
                        entry.external_ids.insert(key.to_owned(), format!("@{{{key}}}"));
                    });
                }
            }
        }
        requests.push(call.request);
    }
    requests
}

/// Gives an outcome to what has nothing left to do, and ends doubts that cannot be.
fn settle(lot: &mut Lot) {
    for entry in lot.entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
        if entry.write.action == Action::UpsertDeal {
            let verdict =
                Verdict::new(ErrorClass::Mapping, "deals_not_supported", "deals are not written to Salesforce yet");
            entry.outcome = Some(verdict.outcome(None, None, entry.accepted_at));
            continue;
        }
        if records::wants_task(entry.write.action) && records::subject(entry).is_none() {
            let verdict =
                Verdict::new(ErrorClass::Mapping, "invalid_write", "the write lacks the part its action needs");
            entry.outcome = Some(verdict.outcome(None, None, entry.accepted_at));
            continue;
        }
        let person = entry.stage.person.clone();
        if let Some((key, id)) = found(&person) {
            // Nothing to change about the person: finding them was the step.
            if needs_person(entry) && records::given_fields(entry.write.contact.as_ref(), &person).is_empty() {
                entry.external_ids.insert(key.to_owned(), id.to_owned());
            }
        }
        if !needs_person(entry) && !needs_task(entry) {
            entry.outcome = Some(WriteOutcome::Applied);
        }
        // A task is made with or after its person: where there is nobody, there is no task. And a person who was looked
        // up is not created twice.
        let resolved = !needs_person(entry) || person != Person::Unresolved;
        if person == Person::Absent || (resolved && !needs_task(entry)) {
            entry.stage.look = Look::Over;
        }
    }
}

fn found(person: &Person) -> Option<(&'static str, &str)> {
    match person {
        Person::Lead(id) => Some(("lead", id)),
        Person::Contact(id) => Some(("contact", id)),
        Person::Unresolved | Person::Absent => None,
    }
}

fn read_write(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let plan = Plan::of(lot, &call.entries);
    let Some((response, body)) = answer.as_ref().ok().and_then(|r| Some((r, composite::body(r)?))) else {
        let outcome = errors::classify(answer, call.request.effect, now);
        for members in &plan.people {
            keep_others_away(lot, members, &outcome);
        }
        return lot.fail_or_split(&call.entries, &outcome);
    };
    // Tasks that were made first: a failure of the person must not make them forgotten.
    let tasks: Vec<(usize, TaskStep)> =
        plan.tasks.iter().map(|&at| (at, read_task(lot, at, response, &body, now))).collect();
    let mut told = Vec::new();
    for members in &plan.people {
        if !read_person(lot, members, response, &body, now) {
            told.extend(members);
        }
    }
    for (at, step) in tasks {
        match step {
            TaskStep::Made => {}
            // Because its person failed, and that is said already.
            TaskStep::Halted if told.contains(&at) => {}
            TaskStep::Halted => lot.fail(&[at], &halted(response, now)),
            TaskStep::Failed(outcome) => lot.fail(&[at], &outcome),
        }
    }
}

/// What became of a task's part.
enum TaskStep {
    Made,
    Halted,
    Failed(WriteOutcome),
}

fn halted(response: &Response, now: Timestamp) -> WriteOutcome {
    let verdict = Verdict::new(ErrorClass::Transient, "PROCESSING_HALTED", "another part of the same call failed");
    verdict.outcome(Some(response.status), None, now)
}

/// Keeps the id of a task that was made.
fn read_task(lot: &mut Lot, at: usize, response: &Response, body: &Value, now: Timestamp) -> TaskStep {
    let Some(part) = composite::find(body, &format!("t{at}")) else {
        return TaskStep::Failed(failure::unreadable(response, Effect::Creates));
    };
    if !part.is_success() {
        if errors::is_halted(part.body) {
            return TaskStep::Halted;
        }
        let outcome = errors::classify_part(response, part.status, part.body, Effect::Creates, now);
        return TaskStep::Failed(outcome);
    }
    let Some(id) = hostile::text(part.body, "id").and_then(ids::to_18) else {
        return TaskStep::Failed(failure::unreadable(response, Effect::Creates));
    };
    lot.each(&[at], |entry| {
        entry.external_ids.insert("task".to_owned(), id.clone());
        entry.response = Some(hostile::kept(part.body));
    });
    TaskStep::Made
}

/// Keeps the id of the person for everybody with the address; `false` when the step failed.
fn read_person(lot: &mut Lot, members: &[usize], response: &Response, body: &Value, now: Timestamp) -> bool {
    let Some(&first) = members.first() else { return true };
    let person = person_of(lot, members);
    let effect = if found(&person).is_some() { Effect::Idempotent } else { Effect::Creates };
    let part = composite::find(body, &format!("p{first}"));
    let made = part.filter(composite::Part::is_success).and_then(|part| match &person {
        // An update answers 204 without a body.
        Person::Lead(_) | Person::Contact(_) => Some(person.clone()),
        Person::Absent | Person::Unresolved => hostile::text(part.body, "id").and_then(ids::to_18).map(Person::Lead),
    });
    let Some(made) = made else {
        let outcome = match part.filter(|part| !part.is_success()) {
            Some(part) => errors::classify_part(response, part.status, part.body, effect, now),
            None => failure::unreadable(response, effect),
        };
        keep_others_away(lot, members, &outcome);
        lot.fail_or_split(members, &outcome);
        return false;
    };
    let result = part.map(|part| part.body).filter(|body| body.is_object());
    for at in all_of_person(lot, first) {
        lot.each(&[at], |entry| {
            entry.stage.person = made.clone();
            let Some((key, id)) = found(&made).filter(|_| members.contains(&at)) else { return };
            entry.external_ids.insert(key.to_owned(), id.to_owned());
            entry.stage.group = 0;
            if let Some(result) = result.filter(|_| !entry.has("task")) {
                entry.response = Some(hostile::kept(result));
            }
        });
    }
    true
}

/// Every entry of the lot that waits for the same person, itself included.
fn all_of_person(lot: &Lot, first: usize) -> Vec<usize> {
    let waits = |at: &usize| lot.entries.get(*at).is_some_and(needs_person) && same_person(lot, first, *at);
    (0..lot.entries.len()).filter(waits).collect()
}

/// When a lead may have been made, nobody else with its address may make one: all of them are in doubt.
fn keep_others_away(lot: &mut Lot, members: &[usize], outcome: &WriteOutcome) {
    let creates = found(&person_of(lot, members)).is_none();
    if let (true, WriteOutcome::Unknown(_), Some(&first)) = (creates, outcome, members.first()) {
        let all = all_of_person(lot, first);
        lot.fail(&all, outcome);
    }
}
