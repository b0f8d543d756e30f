//! What an insert, an update, an upsert and a delete must satisfy, and their effect.
//!
//! Not their envelopes: `sobjects.rs`, `collections.rs`, `composite.rs`. Source: Salesforce's object and REST
//! references; which code says that a Lead's task may not have a `WhatId` is the likely one.

use crate::Env;
use crate::clock;
use crate::config::DuplicateRules;
use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::id;
use crate::salesforce::org::{Org, Record};
use crate::salesforce::schema::{self, KEY_FIELD, Kind, Object};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Who writes, and how.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// The user's id.
    pub user: String,
    /// `Sforce-Duplicate-Rule-Header: allowSave=true`
    pub allow_save: bool,
    /// Epoch seconds of `If-Unmodified-Since`.
    pub unmodified_since: Option<i64>,
}

/// What an upsert came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upserted {
    /// Id, and whether it is new.
    One(String, bool),
    /// More than one record has the value; nothing was written.
    Many(Vec<String>),
}

/// The object of that name.
pub fn object(org: &Org, name: &str, env: &Env<'_>) -> Outcome<Object> {
    find(org, name, env).ok_or_else(Refusal::not_found)
}

/// The object of that name, as the organisation has it.
pub fn find(org: &Org, name: &str, env: &Env<'_>) -> Option<Object> {
    Object::find(name).map(|object| object.with_key(env.switches.key_field(&org.number, object.name)))
}

fn locked(env: &mut Env<'_>, id: &str) -> Outcome<()> {
    if env.switches.salesforce_locked_rows == 0 {
        return Ok(());
    }
    env.switches.salesforce_locked_rows -= 1;
    Err(Refusal::new(
        "UNABLE_TO_LOCK_ROW",
        format!("unable to obtain exclusive access to this record or 1 records: {id}"),
    ))
}

/// The fields of a body, checked one by one; null clears.
fn read_fields(object: &Object, body: &Map<String, Value>) -> Outcome<BTreeMap<String, Value>> {
    let mut fields = BTreeMap::new();
    for (name, value) in body.iter().filter(|(name, _)| *name != "attributes") {
        let field = object.field(name).ok_or_else(|| Refusal::no_column(name, object.name))?;
        if !field.writable {
            let message = format!(
                "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is read/write for your profile or permission set.",
                field.name
            );
            return Err(Refusal::new("INVALID_FIELD_FOR_INSERT_UPDATE", message).about(&[field.name]));
        }
        let empty = value.is_null() || value.as_str() == Some("");
        fields.insert(field.name.to_owned(), if empty { Value::Null } else { schema::accept(field, value)? });
    }
    Ok(fields)
}

fn check_references(org: &Org, object: &Object, fields: &BTreeMap<String, Value>) -> Outcome<()> {
    for (name, value) in fields {
        let (Some(Kind::Reference(targets)), Some(target)) =
            (object.field(name).map(|field| field.kind), value.as_str())
        else {
            continue;
        };
        let kind = Object::of_id(target).filter(|kind| targets.contains(kind));
        let Some(kind) = kind else {
            let message = format!("{name}: id value of incorrect type: {target}");
            return Err(Refusal::new("MALFORMED_ID", message).about(&[name]));
        };
        match org.record(kind, target) {
            Some(record) if record.deleted => {
                return Err(Refusal::new("ENTITY_IS_DELETED", "entity is deleted").about(&[name]));
            }
            Some(_) => {}
            None => {
                return Err(Refusal::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").about(&[name]));
            }
        }
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    if object.name == "Task" && text("WhoId").starts_with("00Q") && !text("WhatId").is_empty() {
        let message = "Related To ID: You can't relate a task to a lead and to another record";
        return Err(Refusal::new("FIELD_INTEGRITY_EXCEPTION", message).about(&["WhatId"]));
    }
    Ok(())
}

fn check_unique(org: &Org, object: &Object, own: Option<&str>, fields: &BTreeMap<String, Value>) -> Outcome<()> {
    let Some(key) = fields.get(KEY_FIELD).and_then(Value::as_str).filter(|_| object.has_unique_key()) else {
        return Ok(());
    };
    match org.with_value(object.name, KEY_FIELD, key).into_iter().find(|other| Some(other.as_str()) != own) {
        Some(other) => Err(taken(&other)),
        None => Ok(()),
    }
}

/// The key is another record's.
fn taken(other: &str) -> Refusal {
    let message = format!("duplicate value found: {KEY_FIELD} duplicates value on record with id: {other}");
    Refusal::new("DUPLICATE_VALUE", message)
}

/// Lead and Contact: a known e-mail is a duplicate, when the rules are on.
fn check_duplicates(
    org: &Org,
    object: &Object,
    fields: &BTreeMap<String, Value>,
    writer: &Writer,
    env: &Env<'_>,
) -> Outcome<()> {
    let allowed = match env.switches.salesforce_duplicate_rules {
        DuplicateRules::Off => return Ok(()),
        DuplicateRules::AllowSave => true,
        DuplicateRules::Block => false,
    };
    let email = fields.get("Email").and_then(Value::as_str);
    let Some(email) = email.filter(|_| matches!(object.name, "Lead" | "Contact")) else { return Ok(()) };
    let twins = org.with_value(object.name, "Email", email);
    let Some(twin) = twins.first().filter(|_| !(allowed && writer.allow_save)) else { return Ok(()) };
    let name = object.name;
    let message = "Use one of these records?";
    let duplicate = json!({"allowSave": allowed, "duplicateRule": format!("Standard_{name}_Duplicate_Rule"), "duplicateRuleEntityType": name,
        "errorMessage": message, "matchResults": [{"entityType": name, "errors": [], "matchEngine": "FuzzyMatchEngine",
            "matchRecords": [{"additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0,
                "record": {"attributes": {"type": name, "url": format!("/services/data/v67.0/sobjects/{name}/{twin}")}, "Id": twin}}],
            "rule": format!("Standard_{name}_Match_Rule_v1_0"), "size": twins.len(), "success": true}]});
    Err(Refusal { duplicate: Some(duplicate), ..Refusal::new("DUPLICATES_DETECTED", message) })
}

/// Makes a record.
pub fn insert(
    org: &mut Org,
    object: &Object,
    body: &Map<String, Value>,
    writer: &Writer,
    env: &mut Env<'_>,
) -> Outcome<String> {
    if !object.is_writable() {
        return Err(Refusal::new("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted"));
    }
    let mut fields = read_fields(object, body)?;
    fields.retain(|_, value| !value.is_null());
    let missing: Vec<&str> = object.required.iter().copied().filter(|name| !fields.contains_key(*name)).collect();
    if !missing.is_empty() {
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        return Err(Refusal::new("REQUIRED_FIELD_MISSING", message).about(&missing));
    }
    check_references(org, object, &fields)?;
    check_unique(org, object, None, &fields)?;
    check_duplicates(org, object, &fields, writer, env)?;
    locked(env, fields.get("WhoId").and_then(Value::as_str).unwrap_or("new"))?;
    let mut default = |name: &str, value: &str| {
        fields.entry(name.to_owned()).or_insert_with(|| json!(value));
    };
    match object.name {
        "Lead" => default("Status", "Open - Not Contacted"),
        "Task" => {
            default("Status", "Not Started");
            default("Priority", "Normal");
            default("TaskSubtype", "Task");
        }
        _ => {}
    }
    if object.field("OwnerId").is_some() {
        default("OwnerId", &writer.user);
    }
    let id = org.next_id(object.prefix);
    let record =
        Record { id: id.clone(), fields, created_at: env.now_ms, modified_at: env.now_ms, deleted: false, writes: 1 };
    org.put(object.name, record);
    Ok(id)
}

fn existing(org: &Org, object: &Object, id: &str) -> Outcome<Record> {
    let id = id::normal(id).ok_or_else(Refusal::not_found)?;
    match org.record(object.name, &id) {
        None => Err(Refusal::not_found()),
        Some(record) if record.deleted => Err(Refusal::new("ENTITY_IS_DELETED", "entity is deleted").status(404)),
        Some(record) => Ok(record.clone()),
    }
}

/// Changes a record.
pub fn update(
    org: &mut Org,
    object: &Object,
    id: &str,
    body: &Map<String, Value>,
    writer: &Writer,
    env: &mut Env<'_>,
) -> Outcome<String> {
    let mut record = existing(org, object, id)?;
    if record.fields.get("IsConverted") == Some(&json!(true)) {
        return Err(Refusal::new("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead"));
    }
    // HTTP dates have whole seconds.
    if writer.unmodified_since.is_some_and(|since| record.modified_at / 1000 > since) {
        return Err(Refusal::new("ENTITY_FAILED_IFLASTMODIFIED_ON_UPDATE", "The record was modified since").status(412));
    }
    let changes = read_fields(object, body)?;
    let cleared: Vec<&str> =
        object.required.iter().copied().filter(|name| changes.get(*name).is_some_and(Value::is_null)).collect();
    if !cleared.is_empty() {
        let message = format!("Required fields are missing: [{}]", cleared.join(", "));
        return Err(Refusal::new("REQUIRED_FIELD_MISSING", message).about(&cleared));
    }
    check_unique(org, object, Some(&record.id), &changes)?;
    locked(env, &record.id)?;
    record.fields.extend(changes);
    record.fields.retain(|_, value| !value.is_null());
    check_references(org, object, &record.fields)?;
    record.modified_at = env.now_ms;
    record.writes += 1;
    let id = record.id.clone();
    org.put(object.name, record);
    Ok(id)
}

/// Puts a record into the bin.
pub fn delete(org: &mut Org, object: &Object, id: &str, env: &mut Env<'_>) -> Outcome<String> {
    let mut record = existing(org, object, id)?;
    locked(env, &record.id)?;
    record.deleted = true;
    record.modified_at = env.now_ms;
    let id = record.id.clone();
    org.put(object.name, record);
    Ok(id)
}

/// Makes or changes the record with this external id.
pub fn upsert(
    org: &mut Org,
    object: &Object,
    field: &str,
    key: &str,
    body: &Map<String, Value>,
    writer: &Writer,
    env: &mut Env<'_>,
) -> Outcome<Upserted> {
    if !object.is_external_id(field) {
        if field.eq_ignore_ascii_case("Id") {
            return update(org, object, key, body, writer, env).map(|id| Upserted::One(id, false));
        }
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        return Err(Refusal::new("NOT_FOUND", message).status(404));
    }
    if body.keys().any(|name| name.eq_ignore_ascii_case(KEY_FIELD) || name.eq_ignore_ascii_case("Id")) {
        let message = format!("The {KEY_FIELD} field should not be specified in the sobject data.");
        return Err(Refusal::new("INVALID_FIELD", message).about(&[KEY_FIELD]));
    }
    match org.with_value(object.name, KEY_FIELD, key).as_slice() {
        [] => {
            let mut body = body.clone();
            body.insert(KEY_FIELD.to_owned(), json!(key));
            let id = insert(org, object, &body, writer, env)?;
            if env.switches.salesforce_key_races > 0 && object.has_unique_key() {
                // As if the record just made were the other request's.
                env.switches.salesforce_key_races -= 1;
                return Err(taken(&id));
            }
            Ok(Upserted::One(id, true))
        }
        [id] => update(org, object, &id.clone(), body, writer, env).map(|id| Upserted::One(id, false)),
        many => Ok(Upserted::Many(many.to_vec())),
    }
}

/// What converting a lead does, for tests: there is no REST call for it.
pub fn convert(org: &mut Org, id: &str, now_ms: i64) -> Option<String> {
    let mut lead = org.living("Lead", &id::normal(id)?)?.clone();
    let take = |name: &str| lead.fields.get(name).map(|value| (name.to_owned(), value.clone()));
    let fields = ["FirstName", "LastName", "Email", "Phone", "OwnerId"].into_iter().filter_map(take).collect();
    let contact = org.next_id("003");
    org.put(
        "Contact",
        Record { id: contact.clone(), fields, created_at: now_ms, modified_at: now_ms, deleted: false, writes: 1 },
    );
    lead.fields.insert("IsConverted".to_owned(), json!(true));
    lead.fields.insert("ConvertedContactId".to_owned(), json!(contact));
    lead.fields.insert("ConvertedDate".to_owned(), json!(clock::date(now_ms)));
    lead.modified_at = now_ms;
    org.put("Lead", lead);
    Some(contact)
}
