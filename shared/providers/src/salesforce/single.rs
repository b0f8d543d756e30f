//! One write in one call: the person is looked for, made when there is nobody, and the task tied to whom it is, all in one
//! composite.
//!
//! Composites have no condition, but a part whose reference leads nowhere does not run, and neither does what refers to it.
//! `a` is the organisation's one row, left out by its `OFFSET` when a lead was found; `b` the same when a contact was. So the
//! new lead, whose key begins with `b`'s id, is made only when nobody was found, and exactly one of the tasks can be:
//!
//! | part | runs when |
//! | --- | --- |
//! | `l` the lead | always |
//! | `a` | always; has its row when there is no lead |
//! | `c` the contact | `a` has its row |
//! | `b` | `a` has its row; has one itself when there is no contact |
//! | `n` the new lead | `b` has its row |
//! | `ul`, `uc` changes, `tl`, `tc`, `tn` tasks | `l`, `c`, `n` found or made somebody |
//!
//! Whatever an org refuses of this, less happens, never more; then people are asked for in a call of their own. That an org
//! takes it is shown by the probe, without writing. References to numbers: Salesforce's REST guide, Composite Subrequest.

use super::composite::{self, Part};
use super::people::{literal, new_lead, row_id};
use super::plan::{ALONE, UNTIED, needs_person, needs_task};
use super::read::{Reading, Refused};
use super::records::{self, IsContact};
use super::{errors, keys};
use crate::encode;
use crate::hostile;
use crate::http::{Answer, Effect, Method, Request};
use crate::lot::{Lot, Person};
use model::Timestamp;
use model::mechanisms::RecordKind;
use model::write::{MECHANISM_GONE_CODE, WriteOutcome};
use serde_json::Value;

/// The only open entry, when it can go in one call.
pub(super) fn candidate(lot: &Lot) -> Option<usize> {
    let mut open = lot.entries.iter().enumerate().filter(|(_, entry)| entry.outcome.is_none());
    let (at, entry) = open.next()?;
    let fits = keys::is_one_call(lot)
        && keys::field(lot, RecordKind::Lead).is_some()
        && (!needs_task(entry) || keys::field(lot, RecordKind::Task).is_some())
        && keys::has_prefix(lot, entry.email())
        && needs_person(entry)
        && entry.stage.person == Person::Unresolved
        && entry.stage.marks & ALONE == 0
        && !entry.is_unproven();
    (fits && open.next().is_none()).then_some(at)
}

/// The questions and gates.
pub(super) fn gates(leads: &str, contacts: &str) -> Vec<Value> {
    vec![
        composite::query(&format!("SELECT Id FROM Lead WHERE {leads} ORDER BY CreatedDate, Id LIMIT 1"), "l"),
        composite::query("SELECT Id FROM Organization LIMIT 1 OFFSET @{l.totalSize}", "a"),
        // Every contact has a last name, and none has this one: it makes the query depend on the gate.
        composite::query(
            &format!(
                "SELECT Id FROM Contact WHERE {contacts} AND LastName != '@{{a.records[0].Id}}' ORDER BY CreatedDate, Id LIMIT 1"
            ),
            "c",
        ),
        composite::query(
            "SELECT Id FROM Organization WHERE Id = '@{a.records[0].Id}' LIMIT 1 OFFSET @{c.totalSize}",
            "b",
        ),
    ]
}

/// The call.
pub(super) fn request(lot: &Lot, at: usize, instance: &str) -> Option<Request> {
    let entry = lot.entries.get(at)?;
    let email = entry.email();
    let field = keys::field(lot, RecordKind::Lead)?;
    let (address, key) = (literal(email), literal(&keys::of_person(lot, email)));
    let mut parts = gates(
        &format!("IsConverted = false AND (Email = {address} OR {field} = {key})"),
        &format!("Email = {address}"),
    );
    let lead = format!("sobjects/Lead/{field}/@{{b.records[0].Id}}-{}", encode::component(email));
    parts.push(composite::part(Method::Patch, &lead, "n", Some(Value::Object(new_lead(lot, &[at])?))));
    for (person, object, found, change) in
        [(Person::Lead(String::new()), "Lead", "l", "ul"), (Person::Contact(String::new()), "Contact", "c", "uc")]
    {
        let given = records::given_fields(entry.write.contact.as_ref(), &person);
        if !given.is_empty() {
            let path = format!("sobjects/{object}/@{{{found}.records[0].Id}}");
            parts.push(composite::part(Method::Patch, &path, change, Some(Value::Object(given))));
        }
    }
    if needs_task(entry) {
        let path = format!("sobjects/Task/{}/{}", keys::field(lot, RecordKind::Task)?, keys::of_write(entry));
        let tie = if entry.stage.marks & UNTIED == 0 { IsContact::Yes } else { IsContact::No };
        for (reference, who, is_contact) in [
            ("tl", "@{l.records[0].Id}", IsContact::No),
            ("tc", "@{c.records[0].Id}", tie),
            ("tn", "@{n.id}", IsContact::No),
        ] {
            let fields = records::task(entry, who, is_contact)?;
            parts.push(composite::part(Method::Patch, &path, reference, Some(Value::Object(fields))));
        }
    }
    Some(composite::request(instance, &parts, Effect::Idempotent))
}

/// Who was found, or made, and by which parts.
enum Who {
    /// The person; the part that changed it; the part that made its task.
    Known(Person, &'static str, &'static str),
    /// The org does not take this way: nothing was written.
    Refused,
    /// Somebody had to be made, and was not; or the question could not be answered.
    Failed(WriteOutcome),
}

fn rows(part: Option<Part<'_>>) -> Option<&[Value]> {
    part.filter(Part::is_success).and_then(|part| part.rows()).map(|(rows, _)| rows)
}

/// What became of the people. `Err` is the outcome when nothing can be said of them.
fn who(reading: &Reading<'_>) -> Who {
    let found = |reference| composite::find(reading.body, reference);
    let refused = |reference: &'static str| match reading.part(reference, Effect::Reads) {
        // An answer with holes tells nothing of what ran.
        _ if found(reference).is_none() => Who::Failed(reading.unreadable(Effect::Creates)),
        Err(Refused::Failed(WriteOutcome::Rejected(failure))) if failure.code != MECHANISM_GONE_CODE => Who::Refused,
        Err(Refused::Halted) | Ok(_) => Who::Refused,
        Err(Refused::Failed(outcome)) => Who::Failed(outcome),
    };
    let Some(leads) = rows(found("l")) else { return refused("l") };
    if let Some(id) = leads.first().and_then(|row| row_id(row, "Id")) {
        return Who::Known(Person::Lead(id), "ul", "tl");
    }
    if !leads.is_empty() || rows(found("a")).is_none_or(<[Value]>::is_empty) {
        return refused("a");
    }
    let Some(contacts) = rows(found("c")) else { return refused("c") };
    if let Some(id) = contacts.first().and_then(|row| row_id(row, "Id")) {
        return Who::Known(Person::Contact(id), "uc", "tc");
    }
    if !contacts.is_empty() || rows(found("b")).is_none_or(<[Value]>::is_empty) {
        return refused("b");
    }
    match reading.part("n", Effect::Creates) {
        Ok(made) => match row_id(made, "id") {
            Some(id) => Who::Known(Person::Lead(id), "n", "tn"),
            None => Who::Failed(reading.unreadable(Effect::Creates)),
        },
        // A lead of ours that was converted, and whose contact has another address by now: asked for in a call of its own,
        // the lead tells its contact.
        Err(Refused::Failed(WriteOutcome::Rejected(failure))) if failure.code == "CANNOT_UPDATE_CONVERTED_LEAD" => {
            Who::Refused
        }
        Err(Refused::Halted) => Who::Refused,
        Err(Refused::Failed(outcome)) => Who::Failed(outcome),
    }
}

/// Reads the answer: the entry has an outcome, or is tried in two calls.
pub(super) fn read(lot: &mut Lot, at: usize, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = answer.as_ref().ok().and_then(|r| Some((r, composite::body(r)?))) else {
        return match errors::classify(answer, Effect::Creates, now) {
            // Refused as a whole, nothing of it ran.
            WriteOutcome::Rejected(failure) if failure.class != model::write::ErrorClass::Auth => {
                keys::use_two_calls(lot);
            }
            outcome => lot.fail(&[at], &outcome),
        };
    };
    let reading = Reading { response, body: &body, now };
    let (person, change, task) = match who(&reading) {
        Who::Known(person, change, task) => (person, change, task),
        Who::Refused => return keys::use_two_calls(lot),
        Who::Failed(outcome) => return lot.fail(&[at], &outcome),
    };
    lot.each(&[at], |entry| entry.stage.person = person.clone());
    let Some(entry) = lot.entries.get(at) else { return };
    let given = records::given_fields(entry.write.contact.as_ref(), &person);
    // The task first: a failure of the person must not make it forgotten.
    if needs_task(entry) {
        super::read::task_step(lot, at, &reading, reading.part(task, Effect::Creates));
    }
    if change == "n" || given.is_empty() {
        let result = composite::find(&body, change).map_or(&Value::Null, |part| part.body);
        super::read::person_made(lot, &[at], &person, &hostile::kept(result));
    } else {
        let step = reading.part(change, Effect::Idempotent);
        super::read::person_step(lot, &[at], &reading, step, &person);
    }
}
