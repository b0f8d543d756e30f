//! The objects and fields of an organisation, and the check of a value against its field.
//!
//! Standard objects only, and the one custom field a Conduit administrator may make. Source: Salesforce's object
//! reference; lengths and defaults where documented.

use crate::clock;
use crate::config::KeyField;
use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::id;
use serde_json::{Value, json};

/// The external id field.
pub const KEY_FIELD: &str = "Conduit_Key__c";

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The record's id.
    Id,
    /// So many characters.
    Text(usize),
    /// Long text: not filterable.
    LongText(usize),
    /// An address.
    Email,
    /// One of these, or anything when the picklist is not restricted.
    Picklist,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A day.
    Date,
    /// A moment.
    DateTime,
    /// The id of a record of one of these.
    Reference(&'static [&'static str]),
}

use Kind::{Bool, Date, DateTime, Email, Id, LongText, Number, Picklist, Reference, Text};

/// A field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// API name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Whether callers may set it.
    pub writable: bool,
}

const fn rw(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, writable: true }
}

const fn ro(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, writable: false }
}

const USER: &[&str] = &["User"];

const SYSTEM: &[Field] = &[
    ro("Id", Id),
    ro("IsDeleted", Bool),
    ro("CreatedDate", DateTime),
    ro("CreatedById", Reference(USER)),
    ro("LastModifiedDate", DateTime),
    ro("LastModifiedById", Reference(USER)),
    ro("SystemModstamp", DateTime),
];

const PERSON: &[Field] = &[
    rw("Salutation", Picklist),
    rw("FirstName", Text(40)),
    rw("LastName", Text(80)),
    ro("Name", Text(121)),
    rw("Title", Text(128)),
    rw("Email", Email),
    rw("Phone", Text(40)),
    rw("MobilePhone", Text(40)),
    rw("Fax", Text(40)),
    rw("LeadSource", Picklist),
    rw("Description", LongText(32_000)),
    rw("OwnerId", Reference(USER)),
];

const LEAD: &[Field] = &[
    rw("Company", Text(255)),
    rw("Status", Picklist),
    rw("Industry", Picklist),
    rw("Rating", Picklist),
    rw("Website", Text(255)),
    rw("Street", LongText(255)),
    rw("City", Text(40)),
    rw("State", Text(80)),
    rw("PostalCode", Text(20)),
    rw("Country", Text(80)),
    rw("AnnualRevenue", Number),
    rw("NumberOfEmployees", Number),
    ro("IsConverted", Bool),
    ro("ConvertedDate", Date),
    ro("ConvertedAccountId", Reference(&["Account"])),
    ro("ConvertedContactId", Reference(&["Contact"])),
    ro("ConvertedOpportunityId", Reference(&["Opportunity"])),
    ro("MasterRecordId", Reference(&["Lead"])),
];

const CONTACT: &[Field] = &[
    rw("AccountId", Reference(&["Account"])),
    rw("ReportsToId", Reference(&["Contact"])),
    rw("Department", Text(80)),
    rw("HomePhone", Text(40)),
    rw("Birthdate", Date),
    rw("MailingStreet", LongText(255)),
    rw("MailingCity", Text(40)),
    rw("MailingState", Text(80)),
    rw("MailingPostalCode", Text(20)),
    rw("MailingCountry", Text(80)),
    ro("MasterRecordId", Reference(&["Contact"])),
];

const ACCOUNT: &[Field] = &[
    rw("Name", Text(255)),
    rw("Type", Picklist),
    rw("Industry", Picklist),
    rw("Phone", Text(40)),
    rw("Website", Text(255)),
    rw("AccountSource", Picklist),
    rw("BillingCity", Text(40)),
    rw("BillingCountry", Text(80)),
    rw("Description", LongText(32_000)),
    rw("AnnualRevenue", Number),
    rw("NumberOfEmployees", Number),
    rw("ParentId", Reference(&["Account"])),
    rw("OwnerId", Reference(USER)),
    ro("MasterRecordId", Reference(&["Account"])),
];

const OPPORTUNITY: &[Field] = &[
    rw("Name", Text(120)),
    rw("StageName", Picklist),
    rw("CloseDate", Date),
    rw("AccountId", Reference(&["Account"])),
    rw("Amount", Number),
    rw("Probability", Number),
    rw("Type", Picklist),
    rw("LeadSource", Picklist),
    rw("NextStep", Text(255)),
    rw("Description", LongText(32_000)),
    rw("OwnerId", Reference(USER)),
    ro("IsClosed", Bool),
    ro("IsWon", Bool),
];

const TASK: &[Field] = &[
    rw("WhoId", Reference(&["Lead", "Contact"])),
    rw("WhatId", Reference(&["Account", "Opportunity"])),
    rw("Subject", Text(255)),
    rw("ActivityDate", Date),
    rw("Status", Picklist),
    rw("Priority", Picklist),
    rw("Description", LongText(32_000)),
    rw("Type", Picklist),
    rw("TaskSubtype", Picklist),
    rw("IsReminderSet", Bool),
    rw("ReminderDateTime", DateTime),
    rw("OwnerId", Reference(USER)),
    ro("AccountId", Reference(&["Account"])),
    ro("IsClosed", Bool),
    ro("IsHighPriority", Bool),
    ro("WhoCount", Number),
    ro("WhatCount", Number),
];

const CONTACT_ROLE: &[Field] = &[
    rw("OpportunityId", Reference(&["Opportunity"])),
    rw("ContactId", Reference(&["Contact"])),
    rw("Role", Picklist),
    rw("IsPrimary", Bool),
];

const ORGANIZATION: &[Field] = &[ro("Name", Text(80)), ro("IsSandbox", Bool), ro("InstanceName", Text(10))];

const STAGE: &[Field] = &[
    ro("MasterLabel", Text(255)),
    ro("ApiName", Text(255)),
    ro("IsActive", Bool),
    ro("SortOrder", Number),
    ro("IsClosed", Bool),
    ro("IsWon", Bool),
    ro("DefaultProbability", Number),
];

const USERS: &[Field] = &[ro("Name", Text(121)), ro("Username", Text(80)), ro("Email", Email), ro("IsActive", Bool)];

/// Object, key prefix, fields, required fields.
type Entry = (&'static str, &'static str, &'static [&'static [Field]], &'static [&'static str]);

const OBJECTS: &[Entry] = &[
    ("Lead", "00Q", &[SYSTEM, PERSON, LEAD], &["LastName", "Company"]),
    ("Contact", "003", &[SYSTEM, PERSON, CONTACT], &["LastName"]),
    ("Account", "001", &[SYSTEM, ACCOUNT], &["Name"]),
    ("Opportunity", "006", &[SYSTEM, OPPORTUNITY], &["Name", "StageName", "CloseDate"]),
    ("Task", "00T", &[SYSTEM, TASK], &[]),
    ("OpportunityContactRole", "00K", &[SYSTEM, CONTACT_ROLE], &["OpportunityId", "ContactId"]),
    ("User", "005", &[SYSTEM, USERS], &[]),
    ("Organization", "00D", &[SYSTEM, ORGANIZATION], &[]),
    ("OpportunityStage", "01J", &[SYSTEM, STAGE], &[]),
];

/// An object of the organisation.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// API name.
    pub name: &'static str,
    /// The first three characters of its ids.
    pub prefix: &'static str,
    /// What a new record must have.
    pub required: &'static [&'static str],
    fields: &'static [&'static [Field]],
    key: KeyField,
}

impl Object {
    const fn from(entry: &Entry) -> Self {
        Self { name: entry.0, prefix: entry.1, fields: entry.2, required: entry.3, key: KeyField::Absent }
    }

    /// With our field as it stands, on the objects that can have it.
    #[must_use]
    pub fn with_key(self, key: KeyField) -> Self {
        let takes = matches!(self.name, "Lead" | "Task" | "Opportunity");
        Self { key: if takes { key } else { KeyField::Absent }, ..self }
    }

    /// By API name, in any case, without our field.
    pub fn find(name: &str) -> Option<Self> {
        OBJECTS.iter().find(|entry| entry.0.eq_ignore_ascii_case(name)).map(Self::from)
    }

    /// The object whose records have such ids.
    pub fn of_id(id: &str) -> Option<&'static str> {
        OBJECTS.iter().find(|entry| id.starts_with(entry.1)).map(|entry| entry.0)
    }

    /// All of them, without our field.
    pub fn all() -> impl Iterator<Item = Self> {
        OBJECTS.iter().map(Self::from)
    }

    /// Whether two records cannot have the same key.
    pub const fn has_unique_key(&self) -> bool {
        matches!(self.key, KeyField::Unique)
    }

    /// Whether callers may write it: what the organisation itself is made of they may not.
    pub fn is_writable(&self) -> bool {
        !matches!(self.name, "User" | "Organization" | "OpportunityStage")
    }

    /// Its fields.
    pub fn fields(&self) -> impl Iterator<Item = Field> + use<> {
        let key = self.key.is_visible().then_some(rw(KEY_FIELD, Text(255)));
        self.fields.iter().flat_map(|group| group.iter().copied()).chain(key)
    }

    /// One of them, by name in any case.
    pub fn field(&self, name: &str) -> Option<Field> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Whether a field is an external id.
    pub fn is_external_id(&self, name: &str) -> bool {
        self.key.is_visible() && name.eq_ignore_ascii_case(KEY_FIELD)
    }
}

/// A JSON value as it is kept, or its refusal.
pub fn accept(field: Field, value: &Value) -> Outcome<Value> {
    let name = field.name;
    let wrong = |kind: &str| {
        Refusal::new(
            "JSON_PARSER_ERROR",
            format!("Cannot deserialize instance of {kind} from the value {value} of the field {name}"),
        )
    };
    match field.kind {
        Kind::Text(max) | LongText(max) => {
            let text = plain(value).ok_or_else(|| wrong("string"))?;
            let text = if matches!(field.kind, Text(_)) { text.trim().to_owned() } else { text };
            if text.chars().count() > max {
                let message = format!(
                    "{name}: data value too large: {} (max length={max})",
                    text.chars().take(80).collect::<String>()
                );
                return Err(Refusal::new("STRING_TOO_LONG", message).about(&[name]));
            }
            Ok(json!(text))
        }
        Picklist => plain(value).map(|text| json!(text)).ok_or_else(|| wrong("string")),
        Email => {
            let text = plain(value).ok_or_else(|| wrong("email"))?;
            let valid = text
                .split_once('@')
                .is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.') && !domain.contains('@'));
            if !valid || text.contains(char::is_whitespace) || text.len() > 80 {
                return Err(Refusal::new("INVALID_EMAIL_ADDRESS", format!("{name}: invalid email address: {text}"))
                    .about(&[name]));
            }
            Ok(json!(text.to_lowercase()))
        }
        Bool => value.as_bool().map(|yes| json!(yes)).ok_or_else(|| wrong("boolean")),
        Number => {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(|| wrong("double"))?;
            Ok(if value.is_number() { value.clone() } else { json!(number) })
        }
        Date => {
            let ms = value.as_str().and_then(clock::parse).ok_or_else(|| wrong("date"))?;
            Ok(json!(clock::date(ms)))
        }
        DateTime => {
            let ms = value.as_str().and_then(clock::parse).ok_or_else(|| wrong("datetime"))?;
            Ok(json!(clock::salesforce(ms)))
        }
        Id | Reference(_) => {
            let text = value.as_str().unwrap_or_default();
            let id = id::normal(text);
            id.map(|id| json!(id)).ok_or_else(|| {
                Refusal::new("MALFORMED_ID", format!("{name}: id value of incorrect type: {text}")).about(&[name])
            })
        }
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// How `describe` names a type.
pub fn type_name(kind: Kind) -> (&'static str, usize) {
    match kind {
        Id => ("id", 18),
        Text(max) => ("string", max),
        LongText(max) => ("textarea", max),
        Email => ("email", 80),
        Picklist => ("picklist", 255),
        Bool => ("boolean", 0),
        Number => ("double", 0),
        Date => ("date", 0),
        DateTime => ("datetime", 0),
        Reference(_) => ("reference", 18),
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Kind, Object, accept};
    use crate::config::KeyField;
    use serde_json::json;

    #[test]
    fn values_are_checked() {
        let field = |kind| Field { name: "F", kind, writable: true };
        for (kind, value, kept) in [
            (Kind::Text(3), json!("abc"), Ok(json!("abc"))),
            (Kind::Text(3), json!("abcd"), Err("STRING_TOO_LONG")),
            (Kind::Email, json!("Ada@X.Example"), Ok(json!("ada@x.example"))),
            (Kind::Email, json!("ada"), Err("INVALID_EMAIL_ADDRESS")),
            (Kind::Date, json!("2026-11-20T09:00:00Z"), Ok(json!("2026-11-20"))),
            (Kind::Date, json!("soon"), Err("JSON_PARSER_ERROR")),
            (Kind::Bool, json!("yes"), Err("JSON_PARSER_ERROR")),
            (Kind::Reference(&[]), json!("nonsense"), Err("MALFORMED_ID")),
        ] {
            assert_eq!(accept(field(kind), &value).map_err(|refusal| refusal.code), kept, "{value}");
        }
    }

    #[test]
    fn the_key_field_is_there_when_it_was_made() {
        for (key, object, there) in [
            (KeyField::Absent, "Task", false),
            (KeyField::NoAccess, "Task", false),
            (KeyField::Unique, "task", true),
            (KeyField::NotUnique, "Opportunity", true),
            (KeyField::Unique, "Contact", false),
        ] {
            assert_eq!(Object::find(object).unwrap().with_key(key).field("conduit_key__c").is_some(), there);
        }
        assert!(Object::find("Accout").is_none());
    }
}
