//! What goes in one composite: leads or contacts, and the tasks that refer to them.
//!
//! Entries with one address are one person, with their fields merged in order. A person and its task are in one call.

use super::composite::{self, PARTS_MAX};
use super::{records, soql};
use crate::hostile;
use crate::http::{Effect, Method, Request};
use crate::lot::{Entry, Lot, Person};
use serde_json::{Map, Value};

/// One composite: each person once, with the entries that share the address; then the tasks. It follows from the entries
/// alone, so reading the answer makes the same plan again.
pub(super) struct Plan {
    /// Entries of one address each; the first one's position names the part.
    pub(super) people: Vec<Vec<usize>>,
    /// Entries whose task is made.
    pub(super) tasks: Vec<usize>,
}

impl Plan {
    pub(super) fn of(lot: &Lot, positions: &[usize]) -> Self {
        let mut plan = Self { people: Vec::new(), tasks: Vec::new() };
        for (&at, entry) in positions.iter().zip(lot.at(positions)) {
            let room = PARTS_MAX.saturating_sub(plan.people.len() + plan.tasks.len());
            let mut parts = usize::from(needs_task(entry));
            if needs_person(entry) {
                let same = |people: &&mut Vec<usize>| people.first().is_some_and(|&first| same_person(lot, first, at));
                if let Some(people) = plan.people.iter_mut().find(same) {
                    people.push(at);
                } else {
                    parts += 1;
                    if parts > room {
                        continue;
                    }
                    plan.people.push(vec![at]);
                }
            }
            if needs_task(entry) && parts <= room {
                plan.tasks.push(at);
            }
        }
        plan
    }

    /// Everybody it is about, in order.
    pub(super) fn entries(&self) -> Vec<usize> {
        let mut entries: Vec<usize> = self.people.iter().flatten().chain(&self.tasks).copied().collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    pub(super) fn request(&self, lot: &Lot, instance: &str) -> Request {
        let people = self.people.iter().filter_map(|members| person_part(lot, members));
        let tasks = self.tasks.iter().filter_map(|&at| {
            let entry = lot.entries.get(at)?;
            let who = soql::who(entry).map(str::to_owned).or_else(|| self.reference_of(at))?;
            Some(composite::part(Method::Post, "sobjects/Task", &format!("t{at}"), Some(records::task(entry, &who)?)))
        });
        let parts: Vec<Value> = people.chain(tasks).collect();
        let creates = parts.iter().any(|part| hostile::text(part, "method") == Some("POST"));
        composite::request(instance, &parts, if creates { Effect::Creates } else { Effect::Idempotent })
    }

    /// `@{p3.id}`: the lead made by an earlier part.
    fn reference_of(&self, at: usize) -> Option<String> {
        let people = self.people.iter().find(|people| people.contains(&at))?;
        Some(format!("@{{p{}.id}}", people.first()?))
    }
}

pub(super) fn same_person(lot: &Lot, one: usize, other: usize) -> bool {
    match (lot.entries.get(one), lot.entries.get(other)) {
        (Some(one), Some(other)) => one.email().eq_ignore_ascii_case(other.email()),
        _ => false,
    }
}

/// Whom these entries' address belongs to.
pub(super) fn person_of(lot: &Lot, members: &[usize]) -> Person {
    let mut people = lot.at(members).map(|entry| &entry.stage.person);
    people.find(|person| matches!(person, Person::Lead(_) | Person::Contact(_))).cloned().unwrap_or(Person::Absent)
}

/// A new lead, or the changes of the one or the contact that is there.
fn person_part(lot: &Lot, members: &[usize]) -> Option<Value> {
    let person = person_of(lot, members);
    let mut fields = Map::new();
    for entry in lot.at(members) {
        fields.extend(records::given_fields(entry.write.contact.as_ref(), &person));
    }
    let (method, path, fields) = match &person {
        Person::Lead(id) => (Method::Patch, format!("sobjects/Lead/{id}"), fields),
        Person::Contact(id) => (Method::Patch, format!("sobjects/Contact/{id}"), fields),
        Person::Absent | Person::Unresolved => {
            let contact = lot.at(members).next()?.write.contact.as_ref()?;
            (Method::Post, "sobjects/Lead".to_owned(), records::new_lead(contact, fields))
        }
    };
    Some(composite::part(method, &path, &format!("p{}", members.first()?), Some(Value::Object(fields))))
}

/// The person step is still to be done.
pub(super) fn needs_person(entry: &Entry) -> bool {
    !entry.has("lead") && !entry.has("contact")
}

/// The task is still to be made.
pub(super) fn needs_task(entry: &Entry) -> bool {
    records::wants_task(entry.write.action) && !entry.has("task")
}
