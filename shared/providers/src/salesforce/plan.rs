//! What goes in one composite: changes of people and opportunities that are there, new leads, tasks of known people, tasks
//! of the new leads, new opportunities: five collections at most, whatever the number of writes.
//!
//! Entries with one address are one person, with their fields merged in order. A plan follows from the entries alone, so
//! reading the answer makes the same plan again.

use super::composite::{collection, record, request};
use super::records::{Fields, IsContact};
use super::{deals, keys, look, people, records};
use crate::http::{Effect, Method, Request};
use crate::lot::{Entry, Lot, Person};
use model::curated::Action;
use model::mechanisms::RecordKind;
use serde_json::{Value, json};

/// The record a write makes besides its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Task,
    Opportunity,
}

impl Made {
    pub(super) const fn of(action: Action) -> Option<Self> {
        match action {
            Action::UpsertContact => None,
            Action::CreateTask | Action::CreateWeeklyRollup => Some(Self::Task),
            Action::UpsertDeal => Some(Self::Opportunity),
        }
    }

    pub(super) const fn kind(self) -> RecordKind {
        match self {
            Self::Task => RecordKind::Task,
            Self::Opportunity => RecordKind::Deal,
        }
    }

    /// Our name for it among the external ids.
    pub(super) const fn key(self) -> &'static str {
        self.kind().as_str()
    }

    pub(super) const fn object(self) -> &'static str {
        match self {
            Self::Task => "Task",
            Self::Opportunity => "Opportunity",
        }
    }
}

/// Mark of an entry: nothing sent for it refers into a collection, which the org refused.
pub(super) const ALONE: u8 = 1;
/// Mark of an entry: a row was locked, and it was sent again at once.
pub(super) const LOCKED: u8 = 2;
/// Mark of an entry: the org refused the task's tie to the opportunity.
pub(super) const UNTIED: u8 = 4;

/// A record that is there and is changed.
pub(super) enum Change {
    /// The person of these entries.
    Person(String, Vec<usize>),
    /// The opportunity of this one.
    Deal(String, usize),
}

/// One composite.
#[derive(Default)]
pub(super) struct Plan {
    /// `u`: changes, by record.
    pub(super) changes: Vec<Change>,
    /// `n`: new leads, each with its entries.
    pub(super) leads: Vec<Vec<usize>>,
    /// `t`: tasks of people who are known.
    pub(super) tasks: Vec<usize>,
    /// `r`: tasks of new leads: the entry, and which of `leads`.
    pub(super) leads_tasks: Vec<(usize, usize)>,
    /// `o`: new opportunities.
    pub(super) deals: Vec<usize>,
}

impl Plan {
    pub(super) fn of(lot: &Lot, positions: &[usize]) -> Self {
        let mut plan = Self::default();
        for (&at, entry) in positions.iter().zip(lot.at(positions)) {
            if entry.write.action == Action::UpsertDeal {
                plan.add_deal(lot, at, entry);
            } else if !needs_person(entry) || plan.add_person(lot, at) {
                plan.add_task(lot, at, entry);
            }
        }
        plan
    }

    /// Writes of one deal come one after the other: the second changes what the first made.
    fn add_deal(&mut self, lot: &Lot, at: usize, entry: &Entry) {
        let is_same = |other: usize| {
            let other = lot.entries.get(other).and_then(|other| other.write.deal.as_ref());
            other.map(|deal| &deal.deal_id) == entry.write.deal.as_ref().map(|deal| &deal.deal_id)
        };
        let is_changed = |change: &Change| matches!(change, Change::Deal(_, other) if is_same(*other));
        if self.deals.iter().any(|&other| is_same(other)) || self.changes.iter().any(is_changed) {
            return;
        }
        match &entry.deal_external_id {
            Some(id) if self.changes(id) => {}
            Some(id) => self.changes.push(Change::Deal(id.clone(), at)),
            None => self.deals.push(at),
        }
    }

    /// Whether this record is changed already: a collection takes each once.
    fn changes(&self, record: &str) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Person(id, _) | Change::Deal(id, _) if id == record))
    }

    /// `false` when the entry has to wait for a later call.
    fn add_person(&mut self, lot: &Lot, at: usize) -> bool {
        let is_same = |members: &[usize]| members.first().is_some_and(|&first| same_person(lot, first, at));
        for change in &mut self.changes {
            if let Change::Person(_, members) = change
                && is_same(members)
            {
                members.push(at);
                return true;
            }
        }
        if let Some(members) = self.leads.iter_mut().find(|members| is_same(members)) {
            members.push(at);
            return true;
        }
        match person_of(lot, &[at]) {
            Person::Lead(id) | Person::Contact(id) if self.changes(&id) => return false,
            Person::Lead(id) | Person::Contact(id) => self.changes.push(Change::Person(id, vec![at])),
            Person::Absent | Person::Unresolved => self.leads.push(vec![at]),
        }
        true
    }

    fn add_task(&mut self, lot: &Lot, at: usize, entry: &Entry) {
        if !needs_task(entry) {
            return;
        }
        let who = look::who(entry);
        if who.is_some() {
            // Records of one parent side by side: parallel chunks of them would lock one another out.
            let same = |&other: &usize| lot.entries.get(other).and_then(look::who) == who;
            let place = self.tasks.iter().rposition(same).map_or(self.tasks.len(), |last| last + 1);
            self.tasks.insert(place, at);
        } else if entry.stage.marks & ALONE == 0 {
            let lead = self.leads.iter().position(|members| members.contains(&at));
            self.leads_tasks.extend(lead.map(|lead| (at, lead)));
        }
    }

    /// Everybody it is about, in order.
    pub(super) fn entries(&self) -> Vec<usize> {
        let mut entries: Vec<usize> = Vec::new();
        let mut add = |positions: &[usize]| {
            for at in positions {
                if let Err(place) = entries.binary_search(at) {
                    entries.insert(place, *at);
                }
            }
        };
        for change in &self.changes {
            match change {
                Change::Person(_, members) => add(members),
                Change::Deal(_, at) => add(&[*at]),
            }
        }
        for members in &self.leads {
            add(members);
        }
        for &(at, _) in &self.leads_tasks {
            add(&[at]);
        }
        add(&self.tasks);
        add(&self.deals);
        entries
    }

    /// Whether it makes something.
    pub(super) const fn creates(&self) -> bool {
        !(self.leads.is_empty() && self.tasks.is_empty() && self.leads_tasks.is_empty() && self.deals.is_empty())
    }

    pub(super) fn request(&self, lot: &Lot, instance: &str) -> Request {
        let mut call = Composing { lot, parts: Vec::new(), creates: false };
        let mut records = Vec::new();
        for change in &self.changes {
            records.extend(changed(lot, change));
        }
        if !records.is_empty() {
            call.parts.push(collection(Method::Patch, "", "u", records));
        }
        let mut records = Vec::new();
        for members in &self.leads {
            let email = lot.at(members).next().map_or("", Entry::email);
            records.extend(people::new_lead(lot, members).map(|fields| (fields, keys::of_person(lot, email))));
        }
        call.create("n", RecordKind::Lead, "Lead", records);
        let mut records = Vec::new();
        for &at in &self.tasks {
            let Some(entry) = lot.entries.get(at) else { continue };
            records.extend(look::who(entry).and_then(|who| task(entry, who, is_contact(entry))));
        }
        call.create("t", RecordKind::Task, "Task", records);
        let mut records = Vec::new();
        for &(at, lead) in &self.leads_tasks {
            let who = format!("@{{n[{lead}].id}}");
            records.extend(lot.entries.get(at).and_then(|entry| task(entry, &who, IsContact::No)));
        }
        call.create("r", RecordKind::Task, "Task", records);
        let mut records = Vec::new();
        for &at in &self.deals {
            let Some(entry) = lot.entries.get(at) else { continue };
            let fields = deals::stage_name(lot, entry).map(|stage| records::opportunity(entry, &stage));
            records.extend(fields.map(|fields| (fields, keys::of_write(entry).to_owned())));
        }
        call.create("o", RecordKind::Deal, "Opportunity", records);
        request(instance, &call.parts, if call.creates { Effect::Creates } else { Effect::Idempotent })
    }
}

/// A composite being put together.
struct Composing<'a> {
    lot: &'a Lot,
    parts: Vec<Value>,
    /// Something is made without a key, so a repeat would make it again.
    creates: bool,
}

impl Composing<'_> {
    /// New records with their keys: upserted where the org has the field, created otherwise.
    fn create(&mut self, reference: &str, kind: RecordKind, object: &str, records: Vec<(Fields, String)>) {
        if records.is_empty() {
            return;
        }
        let field = keys::field(self.lot, kind);
        let mut all = Vec::new();
        for (mut fields, key) in records {
            if let Some(field) = field {
                fields.insert(field.to_owned(), json!(key));
            }
            all.push(record(object, fields));
        }
        let (method, path) = match field {
            Some(field) => (Method::Patch, ["/", object, "/", field].concat()),
            None => (Method::Post, String::new()),
        };
        self.creates |= field.is_none();
        self.parts.push(collection(method, &path, reference, all));
    }
}

fn task(entry: &Entry, who: &str, is_contact: IsContact) -> Option<(Fields, String)> {
    Some((records::task(entry, who, is_contact)?, keys::of_write(entry).to_owned()))
}

/// Whether the task's person is a contact who may be tied to an opportunity.
pub(super) fn is_contact(entry: &Entry) -> IsContact {
    let contact = entry.has("contact") || matches!(entry.stage.person, Person::Contact(_));
    if contact && entry.stage.marks & UNTIED == 0 { IsContact::Yes } else { IsContact::No }
}

fn changed(lot: &Lot, change: &Change) -> Option<Value> {
    let (object, id, mut fields) = match change {
        Change::Person(id, members) => {
            let person = person_of(lot, members);
            let object = if matches!(person, Person::Contact(_)) { "Contact" } else { "Lead" };
            (object, id, people::given(lot, members, &person))
        }
        Change::Deal(id, at) => {
            let entry = lot.entries.get(*at)?;
            ("Opportunity", id, records::opportunity(entry, &deals::stage_name(lot, entry)?))
        }
    };
    fields.insert("id".to_owned(), json!(id));
    Some(record(object, fields))
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

/// The person step is still to be done. An opportunity has none.
pub(super) fn needs_person(entry: &Entry) -> bool {
    entry.write.action != Action::UpsertDeal && !entry.has("lead") && !entry.has("contact")
}

/// The task is still to be made.
pub(super) fn needs_task(entry: &Entry) -> bool {
    records::wants_task(entry.write.action) && !entry.has("task")
}

/// The opportunity is still to be made or changed.
pub(super) fn needs_deal(entry: &Entry) -> bool {
    entry.write.action == Action::UpsertDeal && !entry.has("deal")
}
