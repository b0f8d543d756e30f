//! One customer's `HubSpot` account: its records with the search index's view of them, its unique values, its own
//! properties and its associations.
//!
//! Not the rules of what may be written (`writes.rs`), nor anything of HTTP.

use crate::clock;
use crate::hubspot::kind::{self, Kind};
use crate::hubspot::properties::Definition;
use crate::limits::Limiter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Property values; what is absent is null.
pub type Values = BTreeMap<String, String>;

/// A record, and what the search index still believes about it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// Unique in the portal.
    pub id: u64,
    /// Now.
    pub state: State,
    /// Earlier states that the index may still show, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<State>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Creation and updates.
    pub writes: u32,
}

/// A record's content at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Values.
    pub values: Values,
    /// Epoch milliseconds.
    pub updated_at: i64,
    /// When the index learns of it.
    pub visible_at: i64,
    /// Archived.
    pub archived: bool,
}

impl Record {
    /// What the search index shows at a time.
    pub fn indexed(&self, now_ms: i64) -> Option<&State> {
        std::iter::once(&self.state).chain(self.stale.iter().rev()).find(|state| state.visible_at <= now_ms)
    }

    /// The value of a property, the computed ones included.
    pub fn value(&self, kind: Kind, state: &State, name: &str) -> Option<String> {
        match name {
            "hs_object_id" => Some(self.id.to_string()),
            _ if name == kind.created_property() && !state.values.contains_key(name) => {
                Some(clock::hubspot(self.created_at))
            }
            _ if name == kind.modified_property() => Some(clock::hubspot(state.updated_at)),
            "hs_email_domain" => state.values.get("email")?.split_once('@').map(|(_, domain)| domain.to_owned()),
            "hs_task_is_completed" => {
                state.values.get("hs_task_status").map(|status| (status == "COMPLETED").to_string())
            }
            _ => state.values.get(name).cloned(),
        }
    }

    fn change(&mut self, now_ms: i64, lag_ms: i64, change: impl FnOnce(&mut State)) {
        if let Some(shown) = self.stale.iter().rposition(|state| state.visible_at <= now_ms) {
            self.stale.drain(..shown);
        }
        if self.state.visible_at <= now_ms {
            self.stale.clear();
        }
        self.stale.push(self.state.clone());
        if lag_ms == 0 {
            self.stale.clear();
        }
        change(&mut self.state);
        self.state.updated_at = now_ms;
        self.state.visible_at = now_ms + lag_ms;
    }
}

/// The records of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// By id.
    pub records: BTreeMap<u64, Record>,
    /// Property, then lower-case value, then record.
    unique: BTreeMap<String, BTreeMap<String, u64>>,
}

/// An association type given to a pair of records: category and id.
pub type Spec = (String, u32);

/// How two records are tied, in one direction.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tie {
    /// Its types.
    pub types: BTreeSet<Spec>,
    /// When lists begin to show it, in epoch milliseconds.
    pub listed_at: i64,
}

/// A label a customer made for associations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Label {
    /// From.
    pub from: Kind,
    /// To.
    pub to: Kind,
    /// Type id, unique in the portal.
    pub type_id: u32,
    /// For people.
    pub text: String,
    /// The type id of the way back.
    pub inverse_id: u32,
}

/// An account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Portal {
    tables: BTreeMap<Kind, Table>,
    links: BTreeMap<u64, BTreeMap<Kind, BTreeMap<u64, Tie>>>,
    /// The customer's own properties.
    pub own: BTreeMap<Kind, BTreeMap<String, Definition>>,
    /// The customer's own labels.
    pub labels: Vec<Label>,
    /// Rate limits.
    pub limiter: Limiter,
    last_id: u64,
}

impl Portal {
    /// The records of a kind.
    pub fn table(&mut self, kind: Kind) -> &mut Table {
        self.tables.entry(kind).or_default()
    }

    /// Every record with its kind.
    pub fn records(&self) -> impl Iterator<Item = (Kind, &Record)> {
        self.tables.iter().flat_map(|(kind, table)| table.records.values().map(|record| (*kind, record)))
    }

    /// A record that is not archived.
    pub fn living(&self, kind: Kind, id: u64) -> Option<&Record> {
        self.record(kind, id).filter(|record| !record.state.archived)
    }

    /// A record, archived or not.
    pub fn record(&self, kind: Kind, id: u64) -> Option<&Record> {
        self.tables.get(&kind)?.records.get(&id)
    }

    /// All records of a kind in order of creation.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        self.tables.get(&kind).into_iter().flat_map(|table| table.records.values())
    }

    /// Whether values of this property are unique.
    pub fn is_unique(&self, kind: Kind, name: &str) -> bool {
        (kind == Kind::Contacts && name == "email")
            || self.own.get(&kind).and_then(|own| own.get(name)).is_some_and(|own| own.has_unique_value)
    }

    /// Whose a unique value is.
    pub fn owner_of(&self, kind: Kind, name: &str, value: &str) -> Option<u64> {
        self.tables.get(&kind)?.unique.get(name)?.get(&value.to_lowercase()).copied()
    }

    /// Makes a record.
    pub fn create(&mut self, kind: Kind, values: Values, now_ms: i64, lag_ms: i64) -> u64 {
        self.last_id += 1;
        let id = 1_500_000_000_000 + self.last_id;
        self.index(kind, id, &values);
        let state = State { values, updated_at: now_ms, visible_at: now_ms + lag_ms, archived: false };
        let record = Record { id, state, stale: Vec::new(), created_at: now_ms, writes: 1 };
        self.table(kind).records.insert(id, record);
        id
    }

    /// Changes a record. An empty value clears.
    pub fn update(&mut self, kind: Kind, id: u64, changes: &Values, now_ms: i64, lag_ms: i64) {
        let Some(record) = self.table(kind).records.get_mut(&id) else { return };
        let before = record.state.values.clone();
        record.writes += 1;
        record.change(now_ms, lag_ms, |state| {
            for (name, value) in changes {
                if value.is_empty() {
                    state.values.remove(name);
                } else {
                    state.values.insert(name.clone(), value.clone());
                }
            }
        });
        let after = record.state.values.clone();
        self.unindex(kind, id, &before);
        self.index(kind, id, &after);
    }

    /// Archives a record; its unique values become free. Says whether there was one.
    pub fn archive(&mut self, kind: Kind, id: u64, now_ms: i64, lag_ms: i64) -> bool {
        let Some(record) = self.table(kind).records.get_mut(&id).filter(|record| !record.state.archived) else {
            return false;
        };
        record.change(now_ms, lag_ms, |state| state.archived = true);
        let values = record.state.values.clone();
        self.unindex(kind, id, &values);
        self.unlink_all(id);
        true
    }

    fn unique_values(&self, kind: Kind, values: &Values) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = values
            .iter()
            .filter(|(name, _)| self.is_unique(kind, name))
            .map(|(name, value)| (name.clone(), value.to_lowercase()))
            .collect();
        // An additional address is as much the contact's own as the primary one.
        if let (Kind::Contacts, Some(more)) = (kind, values.get("hs_additional_emails")) {
            found.extend(
                more.split(';')
                    .filter(|mail| !mail.is_empty())
                    .map(|mail| ("email".to_owned(), mail.trim().to_lowercase())),
            );
        }
        found
    }

    fn index(&mut self, kind: Kind, id: u64, values: &Values) {
        for (name, value) in self.unique_values(kind, values) {
            self.table(kind).unique.entry(name).or_default().entry(value).or_insert(id);
        }
    }

    fn unindex(&mut self, kind: Kind, id: u64, values: &Values) {
        for (name, value) in self.unique_values(kind, values) {
            if let Some(owners) = self.table(kind).unique.get_mut(&name)
                && owners.get(&value) == Some(&id)
            {
                owners.remove(&value);
            }
        }
    }

    /// The type id of the way back, if this type leads from one kind to the other.
    pub fn way_back(&self, from: Kind, to: Kind, spec: &Spec) -> Option<Spec> {
        if spec.0 == "HUBSPOT_DEFINED" {
            let (target, back) = kind::association_target(from, spec.1)?;
            return (target == to).then(|| (spec.0.clone(), back));
        }
        let label = self.labels.iter().find(|label| label.type_id == spec.1 && label.from == from && label.to == to)?;
        Some((spec.0.clone(), label.inverse_id))
    }

    /// Ties two records, both ways. Idempotent. A labelled tie brings the unlabelled one with it. A new tie is in lists from
    /// `listed_at` on.
    pub fn link(&mut self, from: (Kind, u64), to: (Kind, u64), spec: &Spec, listed_at: i64) {
        let Some(back) = self.way_back(from.0, to.0, spec) else { return };
        self.tie(from.1, to, spec.clone(), listed_at);
        self.tie(to.1, from, back, listed_at);
        for (one, other) in [(from, to), (to, from)] {
            if let Some((unlabelled, _)) = kind::association_types(one.0, other.0) {
                self.tie(one.1, other, ("HUBSPOT_DEFINED".to_owned(), unlabelled), listed_at);
            }
        }
    }

    fn tie(&mut self, from: u64, to: (Kind, u64), spec: Spec, listed_at: i64) {
        let others = self.links.entry(from).or_default().entry(to.0).or_default();
        others.entry(to.1).or_insert_with(|| Tie { listed_at, ..Tie::default() }).types.insert(spec);
    }

    /// Unties two records altogether.
    pub fn unlink(&mut self, from: (Kind, u64), to: (Kind, u64)) {
        for (one, other) in [(from, to), (to, from)] {
            if let Some(others) = self.links.get_mut(&one.1).and_then(|kinds| kinds.get_mut(&other.0)) {
                others.remove(&other.1);
            }
        }
    }

    /// Takes some types from a tie, both ways.
    pub fn unlabel(&mut self, from: (Kind, u64), to: (Kind, u64), spec: &Spec) {
        let back = self.way_back(from.0, to.0, spec);
        for (one, other, gone) in [(from, to, Some(spec.clone())), (to, from, back)] {
            let ties = self
                .links
                .get_mut(&one.1)
                .and_then(|kinds| kinds.get_mut(&other.0))
                .and_then(|ties| ties.get_mut(&other.1));
            if let (Some(ties), Some(gone)) = (ties, gone) {
                ties.types.remove(&gone);
            }
        }
    }

    fn unlink_all(&mut self, id: u64) {
        for (_, others) in self.links.remove(&id).unwrap_or_default() {
            for other in others.into_keys() {
                for kinds in self.links.get_mut(&other).into_iter().flat_map(BTreeMap::values_mut) {
                    kinds.remove(&id);
                }
            }
        }
    }

    /// What a record is tied to, of one kind, in order of id.
    pub fn linked(&self, from: u64, to: Kind) -> impl Iterator<Item = (u64, &Tie)> {
        self.links.get(&from).and_then(|kinds| kinds.get(&to)).into_iter().flatten().map(|(id, tie)| (*id, tie))
    }
}
