//! What came of a composite: every record's result to its entry, what is worth another call at once, and who is in doubt.

use super::plan::{ALONE, Change, LOCKED, Plan, UNTIED, is_contact, needs_person, person_of, same_person};
use super::records::IsContact;
use super::write::found;
use super::{composite, errors, ids};
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Response};
use crate::lot::{Call, Entry, Lot, Person};
use model::Timestamp;
use model::write::{ErrorClass, Failure, WriteOutcome};
use serde_json::{Value, json};

/// An answer being read.
pub(super) struct Reading<'a> {
    pub(super) response: &'a Response,
    pub(super) body: &'a Value,
    pub(super) now: Timestamp,
}

/// Why a part or a record of it did not come to be.
pub(super) enum Refused {
    /// Not run, because of another part.
    Halted,
    Failed(WriteOutcome),
}

impl<'a> Reading<'a> {
    pub(super) fn unreadable(&self, effect: Effect) -> WriteOutcome {
        failure::unreadable(self.response, effect)
    }

    /// The result of a part that stands alone.
    pub(super) fn part(&self, reference: &str, effect: Effect) -> Result<&'a Value, Refused> {
        self.judge(composite::find(self.body, reference), effect)
    }

    /// The result of a collection's record, in the order they were sent.
    fn record(&self, reference: &str, nth: usize, effect: Effect) -> Result<&'a Value, Refused> {
        match composite::find(self.body, reference) {
            Some(part) if part.is_success() => self.judge(part.result(nth), effect),
            part => self.judge(part, effect),
        }
    }

    /// The id of a record that was made, in the form a composite answers, and what is kept of its result.
    fn made(&self, step: Result<&'a Value, Refused>) -> Result<(String, Value), Refused> {
        let result = step?;
        match hostile::text(result, "id").and_then(ids::to_18) {
            Some(id) => Ok((id, hostile::kept(result))),
            None => Err(Refused::Failed(self.unreadable(Effect::Creates))),
        }
    }

    fn judge(&self, part: Option<composite::Part<'a>>, effect: Effect) -> Result<&'a Value, Refused> {
        match part {
            None => Err(Refused::Failed(self.unreadable(effect))),
            Some(part) if part.is_success() => Ok(part.body),
            Some(part) if errors::is_halted(part.body) => Err(Refused::Halted),
            Some(part) => {
                Err(Refused::Failed(errors::classify_part(self.response, part.status, part.body, effect, self.now)))
            }
        }
    }
}

/// Reads the answer of a [`Plan`]'s composite.
pub(super) fn write(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let plan = Plan::of(lot, &call.entries);
    let Some((response, body)) = answer.as_ref().ok().and_then(|r| Some((r, composite::body(r)?))) else {
        let effect = if plan.creates() { Effect::Creates } else { Effect::Idempotent };
        let outcome = errors::classify(answer, effect, now);
        // It may be the reference into a collection that is not taken: once without.
        if matches!(&outcome, WriteOutcome::Rejected(why) if why.class == ErrorClass::Mapping)
            && !plan.leads_tasks.is_empty()
        {
            return lot.each(&call.entries, |entry| entry.stage.marks |= ALONE);
        }
        for members in &plan.leads {
            keep_others_away(lot, members, &outcome);
        }
        return lot.fail_or_split(&call.entries, &outcome);
    };
    let reading = Reading { response, body: &body, now };
    // Records that were made first: a failure of the person must not make them forgotten.
    for (nth, &at) in plan.tasks.iter().enumerate() {
        task_step(lot, at, &reading, reading.record("t", nth, Effect::Creates));
    }
    let not_taken = whole_part_failed(&body, "r");
    for (nth, &(at, _)) in plan.leads_tasks.iter().enumerate() {
        match reading.record("r", nth, Effect::Creates) {
            // Left for the next call, with the lead's id itself: whether one of the leads failed, or the reference.
            Err(Refused::Halted) => {}
            Err(Refused::Failed(WriteOutcome::Rejected(why))) if not_taken && why.class == ErrorClass::Mapping => {}
            step => task_step(lot, at, &reading, step),
        }
    }
    for (nth, change) in plan.changes.iter().enumerate() {
        let step = reading.record("u", nth, Effect::Idempotent);
        match change {
            Change::Person(_, members) => person_step(lot, members, &reading, step, &person_of(lot, members)),
            Change::Deal(id, at) => deal_step(lot, *at, &reading, step, Some(id)),
        }
    }
    for (nth, members) in plan.leads.iter().enumerate() {
        person_step(lot, members, &reading, reading.record("n", nth, Effect::Creates), &Person::Absent);
    }
    for (nth, &at) in plan.deals.iter().enumerate() {
        deal_step(lot, at, &reading, reading.record("o", nth, Effect::Creates), None);
    }
}

fn whole_part_failed(body: &Value, reference: &str) -> bool {
    composite::find(body, reference).is_some_and(|part| !part.is_success())
}

/// What became of a record.
type Step<'a> = Result<&'a Value, Refused>;

/// Keeps the id of a task that was made, or says why there is none.
pub(super) fn task_step(lot: &mut Lot, at: usize, reading: &Reading<'_>, step: Step<'_>) {
    let (id, mut result) = match reading.made(step) {
        Ok(made) => made,
        Err(refused) => return refuse(lot, at, reading, refused),
    };
    let is_tied = |entry: &Entry| entry.deal_external_id.is_none() || is_contact(entry) == IsContact::Yes;
    if let (false, Some(fields)) = (lot.entries.get(at).is_none_or(is_tied), result.as_object_mut()) {
        fields.insert("left_out".to_owned(), json!("WhatId"));
    }
    lot.each(&[at], |entry| {
        entry.external_ids.insert("task".to_owned(), id.clone());
        entry.response = Some(result.clone());
    });
}

/// Keeps the id of the person for everybody with the address, or says why there is none. Nobody was known before: a new lead.
pub(super) fn person_step(lot: &mut Lot, members: &[usize], reading: &Reading<'_>, step: Step<'_>, known: &Person) {
    let made = match found(known) {
        Some(_) => step.map(|result| (known.clone(), hostile::kept(result))),
        None => reading.made(step).map(|(id, result)| (Person::Lead(id), result)),
    };
    match made {
        Ok((person, result)) => person_made(lot, members, &person, &result),
        Err(refused) => refuse_all(lot, members, reading, refused),
    }
}

/// Keeps the id of the person for everybody with the address.
pub(super) fn person_made(lot: &mut Lot, members: &[usize], person: &Person, result: &Value) {
    let Some(&first) = members.first() else { return };
    for at in all_of_person(lot, first) {
        lot.each(&[at], |entry| {
            entry.stage.person = person.clone();
            let Some((key, id)) = found(person).filter(|_| members.contains(&at)) else { return };
            entry.external_ids.insert(key.to_owned(), id.to_owned());
            entry.stage.group = 0;
            if result.is_object() && !entry.has("task") {
                entry.response = Some(result.clone());
            }
        });
    }
}

/// Keeps the id of the opportunity, or says why there is none.
fn deal_step(lot: &mut Lot, at: usize, reading: &Reading<'_>, step: Step<'_>, known: Option<&str>) {
    let made = match known {
        Some(id) => step.map(|result| (id.to_owned(), hostile::kept(result))),
        None => reading.made(step),
    };
    let (id, result) = match made {
        Ok(made) => made,
        Err(refused) => return refuse(lot, at, reading, refused),
    };
    lot.each(&[at], |entry| {
        entry.external_ids.insert("deal".to_owned(), id.clone());
        entry.response = Some(result.clone());
    });
}

/// Says why the record of one entry did not come to be, unless it is worth another call at once.
pub(super) fn refuse(lot: &mut Lot, at: usize, reading: &Reading<'_>, refused: Refused) {
    refuse_all(lot, &[at], reading, refused);
}

fn refuse_all(lot: &mut Lot, members: &[usize], reading: &Reading<'_>, refused: Refused) {
    let outcome = match refused {
        Refused::Failed(outcome) => outcome,
        Refused::Halted => {
            let words = "another part of the same call failed";
            Verdict::new(ErrorClass::Transient, "PROCESSING_HALTED", words).outcome(
                Some(reading.response.status),
                None,
                reading.now,
            )
        }
    };
    keep_others_away(lot, members, &outcome);
    let mut left = Vec::new();
    for &at in members {
        let again = lot.entries.get(at).map_or(0, |entry| worth_again(entry, &outcome));
        if again == 0 {
            left.push(at);
        } else {
            lot.each(&[at], |entry| entry.stage.marks |= again);
        }
    }
    lot.fail_or_split(&left, &outcome);
}

/// The mark under which an entry is sent once more in this try: locked rows are sent together with the others that met one,
/// apart from what locked them; a task whose opportunity was refused is tied to its person alone.
fn worth_again(entry: &Entry, outcome: &WriteOutcome) -> u8 {
    const LOCK: &str = "UNABLE_TO_LOCK_ROW";
    let mark = match outcome {
        WriteOutcome::RetryAfter(why) if why.code == LOCK || why.detail.contains(LOCK) => LOCKED,
        WriteOutcome::Rejected(why) if is_about_the_tie(entry, why) => UNTIED,
        _ => 0,
    };
    mark & !entry.stage.marks
}

fn is_about_the_tie(entry: &Entry, why: &Failure) -> bool {
    let codes = [
        "FIELD_INTEGRITY_EXCEPTION",
        "INVALID_CROSS_REFERENCE_KEY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "ENTITY_IS_DELETED",
        "MALFORMED_ID",
    ];
    entry.deal_external_id.is_some() && is_contact(entry) == IsContact::Yes && codes.contains(&why.code.as_str())
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
