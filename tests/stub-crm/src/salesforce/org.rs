//! One customer's organisation: its records, the look-ups by indexed fields, and transactions that can be undone.
//!
//! Not the rules of what may be written (`write.rs`), nor anything of HTTP.

use crate::clock;
use crate::salesforce::id;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Fields whose values are indexed.
pub const INDEXED: &[&str] = &["Email", "Conduit_Key__c", "WhoId", "WhatId", "AccountId"];

/// The stages a new organisation has: name, whether active, probability.
pub const STAGES: &[(&str, bool, u8)] = &[
    ("Prospecting", true, 10),
    ("Qualification", true, 10),
    ("Negotiation/Review", true, 90),
    ("Needs Analysis", false, 20),
    ("Closed Won", true, 100),
    ("Closed Lost", true, 0),
];

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 18 characters.
    pub id: String,
    /// What callers and rules set; null is absent.
    pub fields: BTreeMap<String, Value>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub modified_at: i64,
    /// In the bin.
    pub deleted: bool,
    /// Creation and updates.
    pub writes: u32,
}

/// The records of one object.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Table {
    records: BTreeMap<String, Record>,
    /// Field, then lower-case value, then records that are not deleted.
    index: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// A query that was not read to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cursor {
    /// Names it in the URL.
    pub locator: String,
    /// All rows, rendered.
    pub rows: Vec<Value>,
}

/// An organisation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Org {
    tables: BTreeMap<String, Table>,
    /// What to put back if the transaction fails: object, id, record before.
    #[serde(default, skip)]
    undo: Option<Vec<(String, String, Option<Record>)>>,
    /// Open queries, oldest first.
    pub cursors: VecDeque<Cursor>,
    /// API calls of the last 24 hours (here: since the beginning).
    pub used: u64,
    /// `1` for the first organisation: by it switches name one.
    #[serde(default)]
    pub number: String,
    serial: u64,
}

impl Record {
    /// A field's value, the computed ones included; null when there is none.
    pub fn value(&self, name: &str, user: &str) -> Value {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str);
        match name {
            "Id" => json!(self.id),
            "IsDeleted" => json!(self.deleted),
            "CreatedDate" => json!(clock::salesforce(self.created_at)),
            "LastModifiedDate" | "SystemModstamp" => json!(clock::salesforce(self.modified_at)),
            "CreatedById" | "LastModifiedById" => json!(user),
            "Name" if self.fields.contains_key("LastName") => {
                json!([text("FirstName"), text("LastName")].into_iter().flatten().collect::<Vec<_>>().join(" "))
            }
            "IsClosed" | "IsWon" if !self.fields.contains_key(name) => {
                let state = text("Status").or_else(|| text("StageName")).unwrap_or_default();
                json!(state == "Completed" || state == "Closed Won" || (name == "IsClosed" && state == "Closed Lost"))
            }
            "IsHighPriority" => json!(text("Priority") == Some("High")),
            "IsConverted" | "IsReminderSet" | "IsPrimary" if !self.fields.contains_key(name) => json!(false),
            _ => self.fields.get(name).cloned().unwrap_or(Value::Null),
        }
    }
}

impl Org {
    /// An empty one.
    pub fn numbered(number: u64) -> Self {
        Self { number: number.to_string(), ..Self::default() }
    }

    /// A record, deleted or not.
    pub fn record(&self, object: &str, id: &str) -> Option<&Record> {
        self.tables.get(object)?.records.get(id)
    }

    /// A record that is not deleted.
    pub fn living(&self, object: &str, id: &str) -> Option<&Record> {
        self.record(object, id).filter(|record| !record.deleted)
    }

    /// All records of an object, deleted or not, in order of id.
    pub fn of_object(&self, object: &str) -> impl Iterator<Item = &Record> {
        self.tables.get(object).into_iter().flat_map(|table| table.records.values())
    }

    /// Every record with its object.
    pub fn records(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.tables.iter().flat_map(|(object, table)| table.records.values().map(|record| (object.as_str(), record)))
    }

    /// The living records with this value in an indexed field.
    pub fn with_value(&self, object: &str, field: &str, value: &str) -> Vec<String> {
        let index = self.tables.get(object).and_then(|table| table.index.get(field));
        index.and_then(|index| index.get(&value.to_lowercase())).into_iter().flatten().cloned().collect()
    }

    /// A new record's id.
    pub fn next_id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        id::make(prefix, self.serial)
    }

    /// Puts a record into its place and the index in order.
    pub fn put(&mut self, object: &str, record: Record) {
        let id = record.id.clone();
        let before = self.replace(object, &id, Some(record));
        if let Some(undo) = &mut self.undo {
            undo.push((object.to_owned(), id, before));
        }
    }

    fn replace(&mut self, object: &str, id: &str, record: Option<Record>) -> Option<Record> {
        let table = self.tables.entry(object.to_owned()).or_default();
        let before = table.records.remove(id);
        if let Some(before) = &before {
            for (field, value) in indexed_values(before) {
                if let Some(ids) = table.index.get_mut(field).and_then(|index| index.get_mut(&value)) {
                    ids.remove(id);
                }
            }
        }
        if let Some(record) = record {
            for (field, value) in indexed_values(&record) {
                table.index.entry(field.to_owned()).or_default().entry(value).or_default().insert(id.to_owned());
            }
            table.records.insert(id.to_owned(), record);
        }
        before
    }

    /// Begins a transaction. One inside another is part of it.
    pub fn begin(&mut self) -> bool {
        let outermost = self.undo.is_none();
        self.undo.get_or_insert_default();
        outermost
    }

    /// Ends a transaction that `begin` said was the outermost.
    pub fn end(&mut self, keep: bool) {
        for (object, id, before) in self.undo.take().into_iter().flatten().rev() {
            if !keep {
                self.replace(&object, &id, before);
            }
        }
    }

    /// Renders a record with these fields.
    pub fn render(object: &str, record: &Record, fields: &[&str], user: &str, base: &str) -> Value {
        let mut out = Map::new();
        out.insert(
            "attributes".into(),
            json!({"type": object, "url": format!("{base}/sobjects/{object}/{}", record.id)}),
        );
        for field in fields {
            out.insert((*field).to_owned(), record.value(field, user));
        }
        Value::Object(out)
    }
}

fn indexed_values(record: &Record) -> impl Iterator<Item = (&'static str, String)> {
    let living = !record.deleted;
    INDEXED.iter().filter(move |_| living).filter_map(|field| {
        let text = record.fields.get(*field)?.as_str()?;
        Some((*field, text.to_lowercase()))
    })
}
