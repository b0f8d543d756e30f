//! The properties `HubSpot` itself defines, as far as the stand-in has them, and the check of a value against its type.
//!
//! Not the customer's own properties: `properties.rs`. Names and types follow `HubSpot`'s object guides and recorded
//! property dumps; codes of value errors other than `PROPERTY_DOESNT_EXIST` are the likely ones.

use crate::clock;
use crate::hubspot::kind::Kind;

/// A property's type, with the options of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Up to 65,536 characters.
    Text,
    /// Text that must look like an e-mail address; kept in lower case.
    Email,
    /// A decimal number.
    Number,
    /// ISO-8601 or epoch milliseconds; kept as ISO-8601.
    DateTime,
    /// A date, or midnight UTC in milliseconds; kept as a date.
    Date,
    /// `true` or `false`.
    Bool,
    /// One of these.
    Options(&'static [&'static str]),
    /// Set by `HubSpot` only.
    ReadOnly,
}

use Shape::{Date, DateTime, Email, Number, Options, ReadOnly, Text};

const STAGES: &[&str] = &[
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
];
const LEAD_STATUS: &[&str] =
    &["NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED", "BAD_TIMING"];
/// A deal pipeline: id, label, stages with id, label and probability.
pub type Pipeline = (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str)]);
/// The deal pipelines: `HubSpot`'s own, and one a customer made (ids of own stages are numbers).
pub const DEAL_PIPELINES: &[Pipeline] = &[
    (
        "default",
        "Sales Pipeline",
        &[
            ("appointmentscheduled", "Appointment Scheduled", "0.2"),
            ("qualifiedtobuy", "Qualified To Buy", "0.4"),
            ("presentationscheduled", "Presentation Scheduled", "0.6"),
            ("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
            ("contractsent", "Contract Sent", "0.9"),
            ("closedwon", "Closed Won", "1.0"),
            ("closedlost", "Closed Lost", "0.0"),
        ],
    ),
    (
        "77001",
        "Renewals",
        &[("77011", "Up for renewal", "0.5"), ("77012", "Renewed", "1.0"), ("77013", "Lapsed", "0.0")],
    ),
];
const STAGE_IDS: &[&str] = &[
    "appointmentscheduled",
    "qualifiedtobuy",
    "presentationscheduled",
    "decisionmakerboughtin",
    "contractsent",
    "closedwon",
    "closedlost",
    "77011",
    "77012",
    "77013",
];

const COMMON: &[(&str, Shape)] = &[
    ("hs_object_id", ReadOnly),
    ("hs_object_source", ReadOnly),
    ("hs_object_source_id", ReadOnly),
    ("hs_object_source_label", ReadOnly),
    ("hs_unique_creation_key", ReadOnly),
    ("hs_created_by_user_id", ReadOnly),
    ("hs_updated_by_user_id", ReadOnly),
    ("hs_merged_object_ids", ReadOnly),
    ("hs_lastmodifieddate", ReadOnly),
    ("hs_createdate", ReadOnly),
    ("hubspot_owner_id", Number),
];

const CONTACTS: &[(&str, Shape)] = &[
    ("email", Email),
    ("firstname", Text),
    ("lastname", Text),
    ("phone", Text),
    ("mobilephone", Text),
    ("fax", Text),
    ("company", Text),
    ("jobtitle", Text),
    ("website", Text),
    ("address", Text),
    ("city", Text),
    ("state", Text),
    ("zip", Text),
    ("country", Text),
    ("industry", Text),
    ("salutation", Text),
    ("message", Text),
    ("hs_language", Text),
    ("hs_timezone", Text),
    ("hs_linkedin_url", Text),
    ("hs_additional_emails", Text),
    ("associatedcompanyid", Number),
    ("annualrevenue", Text),
    ("numemployees", Text),
    ("lifecyclestage", Options(STAGES)),
    ("hs_lead_status", Options(LEAD_STATUS)),
    ("createdate", ReadOnly),
    ("lastmodifieddate", ReadOnly),
    ("hs_all_contact_vids", ReadOnly),
    ("hs_email_domain", ReadOnly),
    ("hs_full_name_or_email", ReadOnly),
    ("hs_is_contact", ReadOnly),
    ("notes_last_updated", ReadOnly),
    ("notes_last_contacted", ReadOnly),
    ("num_notes", ReadOnly),
];

const COMPANIES: &[(&str, Shape)] = &[
    ("name", Text),
    ("domain", Text),
    ("website", Text),
    ("phone", Text),
    ("address", Text),
    ("city", Text),
    ("state", Text),
    ("zip", Text),
    ("country", Text),
    ("industry", Text),
    ("description", Text),
    ("numberofemployees", Number),
    ("annualrevenue", Number),
    ("lifecyclestage", Options(STAGES)),
    ("createdate", ReadOnly),
];

const DEALS: &[(&str, Shape)] = &[
    ("dealname", Text),
    ("dealstage", Options(STAGE_IDS)),
    ("pipeline", Options(&["default", "77001"])),
    ("amount", Number),
    ("closedate", DateTime),
    ("dealtype", Options(&["newbusiness", "existingbusiness"])),
    ("description", Text),
    ("deal_currency_code", Text),
    ("hs_priority", Options(&["low", "medium", "high"])),
    ("hs_next_step", Text),
    ("closed_lost_reason", Text),
    ("closed_won_reason", Text),
    ("createdate", DateTime),
    ("hs_is_closed", ReadOnly),
    ("hs_is_closed_won", ReadOnly),
    ("hs_deal_stage_probability", ReadOnly),
    ("num_associated_contacts", ReadOnly),
];

const TICKETS: &[(&str, Shape)] = &[
    ("subject", Text),
    ("content", Text),
    ("hs_pipeline", Options(&["0"])),
    ("hs_pipeline_stage", Options(&["1", "2", "3", "4"])),
    ("hs_ticket_category", Text),
    ("hs_ticket_priority", Options(&["LOW", "MEDIUM", "HIGH", "URGENT"])),
    ("createdate", ReadOnly),
];

const TASKS: &[(&str, Shape)] = &[
    ("hs_timestamp", DateTime),
    ("hs_task_subject", Text),
    ("hs_task_body", Text),
    ("hs_task_status", Options(&["NOT_STARTED", "IN_PROGRESS", "WAITING", "COMPLETED", "DEFERRED"])),
    ("hs_task_priority", Options(&["NONE", "LOW", "MEDIUM", "HIGH"])),
    ("hs_task_type", Options(&["EMAIL", "CALL", "TODO", "LINKED_IN", "LINKED_IN_CONNECT", "LINKED_IN_MESSAGE"])),
    ("hs_task_reminders", Text),
    ("hs_queue_membership_ids", Text),
    ("hs_attachment_ids", Text),
    ("hs_task_is_completed", ReadOnly),
    ("hs_body_preview", ReadOnly),
];

const NOTES: &[(&str, Shape)] =
    &[("hs_timestamp", DateTime), ("hs_note_body", Text), ("hs_attachment_ids", Text), ("hs_body_preview", ReadOnly)];

/// `HubSpot`'s own properties of a kind.
pub fn standard(kind: Kind) -> impl Iterator<Item = (&'static str, Shape)> {
    let own = match kind {
        Kind::Contacts => CONTACTS,
        Kind::Companies => COMPANIES,
        Kind::Deals => DEALS,
        Kind::Tickets => TICKETS,
        Kind::Tasks => TASKS,
        Kind::Notes => NOTES,
    };
    own.iter().chain(COMMON).copied()
}

/// The shape of a standard property.
pub fn standard_shape(kind: Kind, name: &str) -> Option<Shape> {
    standard(kind).find(|(known, _)| *known == name).map(|(_, shape)| shape)
}

/// A value as it is kept, or the code and the sentence of its refusal.
pub fn accept(name: &str, shape: Shape, value: &str) -> Result<String, (&'static str, String)> {
    match shape {
        ReadOnly => Err(("READ_ONLY_VALUE", format!("\"{name}\" is a read only property; its value cannot be set."))),
        Email => {
            let lower = value.trim().to_lowercase();
            let valid = lower.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty()
                    && domain.contains('.')
                    && !domain.starts_with('.')
                    && !domain.ends_with('.')
                    && !domain.contains('@')
            }) && !lower.contains(char::is_whitespace);
            valid.then_some(lower).ok_or(("INVALID_EMAIL", format!("Email address {value} is invalid")))
        }
        Text if value.chars().count() > 65_536 => Err((
            "PROPERTY_VALUE_TOO_LONG",
            format!("Property \"{name}\" is longer than the maximum of 65536 characters."),
        )),
        Text => Ok(value.to_owned()),
        Number => match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(value.to_owned()),
            _ => Err(("INVALID_DOUBLE", format!("{value} was not a valid number."))),
        },
        DateTime => {
            instant(value).map(clock::hubspot).ok_or(("INVALID_DATE", format!("{value} was not a valid date.")))
        }
        Date => match instant(value) {
            Some(ms) if ms.rem_euclid(86_400_000) == 0 => Ok(clock::date(ms)),
            _ => Err(("INVALID_DATE", format!("{value} is not midnight in UTC."))),
        },
        Shape::Bool => match value {
            "true" | "false" => Ok(value.to_owned()),
            _ => Err(("INVALID_BOOLEAN", format!("{value} was not a valid boolean."))),
        },
        Options(allowed) if allowed.contains(&value) => Ok(value.to_owned()),
        Options(allowed) => Err(("INVALID_OPTION", format!("{value} was not one of the allowed options: {allowed:?}"))),
    }
}

/// A time in ISO-8601 or in epoch milliseconds.
pub fn instant(value: &str) -> Option<i64> {
    value.parse().ok().or_else(|| clock::parse(value))
}

#[cfg(test)]
mod tests {
    use super::{Shape, accept};

    #[test]
    fn values_are_checked_and_normalised() {
        for (shape, value, kept) in [
            (Shape::Email, "Ada@X.Example", Ok("ada@x.example")),
            (Shape::Email, "ada@x", Err("INVALID_EMAIL")),
            (Shape::Email, "a b@x.example", Err("INVALID_EMAIL")),
            (Shape::DateTime, "0", Ok("1970-01-01T00:00:00.000Z")),
            (Shape::DateTime, "soon", Err("INVALID_DATE")),
            (Shape::Date, "86400000", Ok("1970-01-02")),
            (Shape::Date, "1", Err("INVALID_DATE")),
            (Shape::Number, "1.5", Ok("1.5")),
            (Shape::Number, "x", Err("INVALID_DOUBLE")),
            (Shape::Options(&["A"]), "a", Err("INVALID_OPTION")),
            (Shape::ReadOnly, "1", Err("READ_ONLY_VALUE")),
        ] {
            let got = accept("p", shape, value);
            assert_eq!(got.as_ref().map(String::as_str).map_err(|(code, _)| *code), kept, "{value}");
        }
    }
}
