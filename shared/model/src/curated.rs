//! Curated writes: the outcome a host product wants in its customer's CRM, and nothing more.
//!
//! In scope: the shape of a submitted write, its limits, and the refusal of anything that is not curated (raw e-mail
//! bodies, attachments). Out of scope: how a CRM calls it (`providers`), whether it was submitted before (`flows`).

use crate::mechanisms::RecordKind;
use crate::{Crm, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// At most this many writes in one request.
pub const WRITES_PER_REQUEST_MAX: usize = 100;
/// One write's JSON, in bytes. A hundred of them stay far below a Worker's 128 MB, parsed and queued.
pub const WRITE_BYTES_MAX: usize = 16_384;
/// A task's subject: Salesforce's `Subject` holds 255 characters.
pub const SUBJECT_CHARS_MAX: usize = 255;
/// A task's or rollup's text, in characters: within Salesforce's 32,000 and HubSpot's 65,536.
pub const TEXT_CHARS_MAX: usize = 10_000;
/// Names, ids and the like, in characters: Salesforce's `LastName` holds 80, `Company` 255, ours the smallest that fits both.
pub const NAME_CHARS_MAX: usize = 80;
/// A deal's name: Salesforce's `Opportunity.Name` holds 120.
pub const DEAL_NAME_CHARS_MAX: usize = 120;
/// Ids of the host product and the company name, in characters.
pub const REFERENCE_CHARS_MAX: usize = 255;

/// Field names that carry what must stay out of a CRM, wherever in a write they stand.
const RAW_FIELDS: [&str; 14] = [
    "raw",
    "raw_body",
    "body_raw",
    "body_html",
    "body_text",
    "html_body",
    "text_body",
    "email_body",
    "message_body",
    "mime",
    "headers",
    "attachment",
    "attachments",
    "raw_email",
];

/// One curated write, as submitted. Field order is part of the fingerprint: add new fields at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CuratedWrite {
    /// The CRM it goes to.
    pub crm: Crm,
    /// What is to be done.
    pub action: Action,
    /// The host product's kind of object the outcome is about, such as `thread` or `meeting`.
    pub object_type: String,
    /// That object's id in the host product.
    pub object_id: String,
    /// The event in the host product that caused this write; the same event never writes twice.
    pub source_event_id: String,
    /// The person the outcome is about; only a deal may be without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// The task, when `action` is `create_task`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The weekly rollup, when `action` is `create_weekly_rollup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollup: Option<Rollup>,
    /// The deal, when `action` is `upsert_deal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deal: Option<Deal>,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Create or update the contact (HubSpot) or the lead or contact (Salesforce).
    UpsertContact,
    /// That, then a task tied to it.
    CreateTask,
    /// That, then a weekly rollup tied to it: a note (HubSpot) or a `Weekly deal summary` task (Salesforce).
    CreateWeeklyRollup,
    /// Create the deal (HubSpot) or opportunity (Salesforce), or change the one that is known for it.
    UpsertDeal,
}

impl Action {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpsertContact => "upsert_contact",
            Self::CreateTask => "create_task",
            Self::CreateWeeklyRollup => "create_weekly_rollup",
            Self::UpsertDeal => "upsert_deal",
        }
    }
}

/// A person. E-mail is the identity in both CRMs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Lower-cased and trimmed.
    pub email: String,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Family name. Salesforce requires one: the e-mail's local part stands in when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Company. Salesforce requires one of a lead: the e-mail's domain stands in when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// Telephone number, as people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Job title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_title: Option<String>,
}

/// A task to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// One line.
    pub subject: String,
    /// When it is due, ISO-8601; a write's own time, so that a repeat is the same task.
    pub due_at: String,
    /// Curated text, plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How urgent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

/// A task's urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// HubSpot `LOW`, Salesforce `Low`.
    Low,
    /// HubSpot `MEDIUM`, Salesforce `Normal`.
    Medium,
    /// HubSpot `HIGH`, Salesforce `High`.
    High,
}

/// A week's summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollup {
    /// A day in the week it sums up, ISO-8601; places it on the timeline.
    pub week_of: String,
    /// Curated text, plain.
    pub text: String,
}

/// A deal of the host product, by the CRM's own words for its stage and pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deal {
    /// Its id in the host product.
    pub deal_id: String,
    /// HubSpot `dealname`, Salesforce `Name`.
    pub name: String,
    /// HubSpot's internal id of the stage, Salesforce's `StageName`.
    pub stage: String,
    /// HubSpot's internal id of the pipeline. Salesforce has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// A decimal number as text, such as `1250.50`, so that nothing is rounded on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// ISO-8601. Salesforce requires one of a new opportunity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_date: Option<String>,
}

/// Why a submitted write is refused. Display says what to do; nothing of the write's content is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field that carries a raw message or an attachment.
    #[error(
        "`{0}` is not curated content: send an outcome in `task.text` or `rollup.text`, never a raw message or attachment"
    )]
    NotCurated(String),
    /// More than [`WRITE_BYTES_MAX`].
    #[error("a write may be {WRITE_BYTES_MAX} bytes of JSON at most: shorten its text")]
    TooLarge,
    /// Not the shape of a write.
    #[error("the write does not have the documented shape: {0}")]
    Shape(String),
    /// Not an e-mail address.
    #[error("`contact.email` must be one plain e-mail address such as `ada@example.com`")]
    Email,
    /// Empty, too long or with control characters.
    #[error("`{field}` must be 1 to {max} characters without control characters")]
    Text {
        /// Where.
        field: &'static str,
        /// The most it may hold.
        max: usize,
    },
    /// Not a time.
    #[error("`{0}` must be an ISO-8601 time such as `2026-11-20T09:00:00Z`")]
    Time(&'static str),
    /// Not an amount.
    #[error("`deal.amount` must be a decimal number as text, such as `1250.50`")]
    Amount,
    /// Only a deal may be without a person.
    #[error("`contact` must be there, unless `action` is `upsert_deal`")]
    NoContact,
    /// The part that belongs to the action is absent, or another action's is present.
    #[error("`{action}` takes exactly this part besides `contact`: {part}")]
    Part {
        /// The action.
        action: &'static str,
        /// What must be there.
        part: &'static str,
    },
}

impl Refusal {
    /// The stable code of the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotCurated(_) => "not_curated",
            Self::TooLarge => "payload_too_large",
            Self::Shape(_) | Self::NoContact | Self::Part { .. } => "invalid_write",
            Self::Email => "invalid_email",
            Self::Text { .. } => "invalid_text",
            Self::Time(_) => "invalid_time",
            Self::Amount => "invalid_amount",
        }
    }
}

impl CuratedWrite {
    /// Reads and checks one submitted write, trimming text and lower-casing the e-mail, so that equal writes are equal.
    pub fn from_json(value: &Value) -> Result<Self, Refusal> {
        if let Some(field) = raw_field(value) {
            return Err(Refusal::NotCurated(field));
        }
        // The length of the compact form: spaces a caller put in do not count.
        if value.to_string().len() > WRITE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut write: Self = serde::Deserialize::deserialize(value).map_err(|e| Refusal::Shape(shape(&e)))?;
        write.normalise()?;
        Ok(write)
    }

    fn normalise(&mut self) -> Result<(), Refusal> {
        text(&mut self.object_type, "object_type", NAME_CHARS_MAX)?;
        text(&mut self.object_id, "object_id", REFERENCE_CHARS_MAX)?;
        text(&mut self.source_event_id, "source_event_id", REFERENCE_CHARS_MAX)?;
        match &mut self.contact {
            Some(contact) => contact.normalise()?,
            None if self.action == Action::UpsertDeal => {}
            None => return Err(Refusal::NoContact),
        }
        match (self.action, &mut self.task, &mut self.rollup, &mut self.deal) {
            (Action::UpsertContact, None, None, None) => Ok(()),
            (Action::CreateTask, Some(task), None, None) => task.normalise(),
            (Action::CreateWeeklyRollup, None, Some(rollup), None) => rollup.normalise(),
            (Action::UpsertDeal, None, None, Some(deal)) => deal.normalise(),
            (action, ..) => Err(Refusal::Part {
                action: action.as_str(),
                part: match action {
                    Action::UpsertContact => "none",
                    Action::CreateTask => "`task`",
                    Action::CreateWeeklyRollup => "`rollup`",
                    Action::UpsertDeal => "`deal`",
                },
            }),
        }
    }

    /// The record of the CRM it is about: writes of one target keep their order.
    pub fn target(&self) -> (RecordKind, &str) {
        match (&self.deal, &self.contact) {
            (Some(deal), _) => (RecordKind::Deal, &deal.deal_id),
            (None, Some(contact)) => (RecordKind::Contact, &contact.email),
            (None, None) => (RecordKind::Contact, ""),
        }
    }
}

impl Contact {
    fn normalise(&mut self) -> Result<(), Refusal> {
        self.email = self.email.trim().to_ascii_lowercase();
        if !is_email(&self.email) {
            return Err(Refusal::Email);
        }
        for (value, field, max) in [
            (&mut self.first_name, "contact.first_name", NAME_CHARS_MAX),
            (&mut self.last_name, "contact.last_name", NAME_CHARS_MAX),
            (&mut self.company, "contact.company", REFERENCE_CHARS_MAX),
            (&mut self.phone, "contact.phone", NAME_CHARS_MAX),
            (&mut self.job_title, "contact.job_title", NAME_CHARS_MAX),
        ] {
            if let Some(value) = value {
                text(value, field, max)?;
            }
        }
        Ok(())
    }

    /// The part before the `@`.
    pub fn email_local(&self) -> &str {
        self.email.split('@').next().unwrap_or_default()
    }

    /// The part after the `@`.
    pub fn email_domain(&self) -> &str {
        self.email.split('@').nth(1).unwrap_or_default()
    }
}

impl Task {
    fn normalise(&mut self) -> Result<(), Refusal> {
        text(&mut self.subject, "task.subject", SUBJECT_CHARS_MAX)?;
        if let Some(value) = &mut self.text {
            lines(value, "task.text", TEXT_CHARS_MAX)?;
        }
        self.due_at = Timestamp::parse(self.due_at.trim()).ok_or(Refusal::Time("task.due_at"))?.iso();
        Ok(())
    }
}

impl Deal {
    fn normalise(&mut self) -> Result<(), Refusal> {
        text(&mut self.deal_id, "deal.deal_id", REFERENCE_CHARS_MAX)?;
        text(&mut self.name, "deal.name", DEAL_NAME_CHARS_MAX)?;
        text(&mut self.stage, "deal.stage", NAME_CHARS_MAX)?;
        if let Some(pipeline) = &mut self.pipeline {
            text(pipeline, "deal.pipeline", NAME_CHARS_MAX)?;
        }
        if let Some(amount) = &mut self.amount {
            *amount = amount.trim().to_owned();
            if !is_amount(amount) {
                return Err(Refusal::Amount);
            }
        }
        if let Some(date) = &mut self.close_date {
            *date = Timestamp::parse(date.trim()).ok_or(Refusal::Time("deal.close_date"))?.iso();
        }
        Ok(())
    }
}

impl Rollup {
    fn normalise(&mut self) -> Result<(), Refusal> {
        lines(&mut self.text, "rollup.text", TEXT_CHARS_MAX)?;
        self.week_of = Timestamp::parse(self.week_of.trim()).ok_or(Refusal::Time("rollup.week_of"))?.iso();
        Ok(())
    }
}

/// The first raw field at any depth, by name.
fn raw_field(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) => map
            .keys()
            .find(|key| RAW_FIELDS.contains(&key.to_ascii_lowercase().as_str()))
            .cloned()
            .or_else(|| map.values().find_map(raw_field)),
        Value::Array(items) => items.iter().find_map(raw_field),
        _ => None,
    }
}

/// serde's message names fields and expected types; cut it so that no long content of the write is repeated.
fn shape(error: &serde_json::Error) -> String {
    let message = error.to_string();
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        // These repeat the offending value, which may be personal data: keep what was expected.
        return message.split(", ").nth(1).unwrap_or("a field has the wrong type").to_owned();
    }
    message.chars().take(160).collect()
}

fn text(value: &mut String, field: &'static str, max: usize) -> Result<(), Refusal> {
    *value = value.trim().to_owned();
    let ok = !value.is_empty() && value.chars().count() <= max && !value.chars().any(char::is_control);
    if ok { Ok(()) } else { Err(Refusal::Text { field, max }) }
}

/// As [`text`], but newlines and tabs may stand in it.
fn lines(value: &mut String, field: &'static str, max: usize) -> Result<(), Refusal> {
    *value = value.trim().to_owned();
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let ok = !value.is_empty() && value.chars().count() <= max && !value.chars().any(control);
    if ok { Ok(()) } else { Err(Refusal::Text { field, max }) }
}

/// `-12`, `0.5`, `1250.50`: at most 15 digits before the point and 4 after it.
fn is_amount(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str, max| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    all(whole, 15) && all(part, 4)
}

/// One address as both CRMs accept it: ASCII, one `@`, a dotted domain, no quoting, 254 characters at most (RFC 5321).
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_ok = (1..=64).contains(&local.len())
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_ok = domain.contains('.') && domain.split('.').all(label_ok);
    text.len() <= 254 && local_ok && domain_ok
}

#[cfg(test)]
mod tests {
    use super::{CuratedWrite, Refusal};
    use serde_json::{Value, json};

    fn task() -> Value {
        json!({"crm":"hubspot","action":"create_task","object_type":"thread","object_id":"th_1","source_event_id":"evt_1",
               "contact":{"email":" Ada@Example.COM ","first_name":"Ada"},
               "task":{"subject":" Call back ","due_at":"2026-11-20T10:00:00+01:00"}})
    }

    fn with(path: &str, value: Value) -> Value {
        let mut write = task();
        let (head, last) = path.rsplit_once('/').unwrap();
        write.pointer_mut(head).unwrap().as_object_mut().unwrap().insert(last.to_owned(), value);
        write
    }

    fn deal(with: &Value) -> Value {
        let mut deal = json!({"deal_id":"d_1","name":"Big deal","stage":"contractsent","pipeline":"default"});
        deal.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        json!({"crm":"hubspot","action":"upsert_deal","object_type":"deal","object_id":"d_1","source_event_id":"evt_1","deal":deal})
    }

    #[test]
    fn a_deal_needs_no_person_and_its_amount_stays_exact() {
        let write =
            CuratedWrite::from_json(&deal(&json!({"amount": " 1250.50 ", "close_date": "2026-12-31"}))).unwrap();
        let deal = write.deal.as_ref().unwrap();
        assert_eq!(
            (deal.amount.as_deref(), deal.close_date.as_deref()),
            (Some("1250.50"), Some("2026-12-31T00:00:00.000Z"))
        );
        assert_eq!(write.target(), (crate::mechanisms::RecordKind::Deal, "d_1"));
        for amount in ["0", "-3.5", "999999999999999.9999"] {
            assert!(CuratedWrite::from_json(&deal_of(amount)).is_ok(), "{amount}");
        }
        for amount in ["", ".5", "5.", "1e3", "--1", "1234567890123456", "0.12345", "NaN"] {
            assert!(CuratedWrite::from_json(&deal_of(amount)).is_err(), "{amount}");
        }
    }

    fn deal_of(amount: &str) -> Value {
        deal(&json!({ "amount": amount }))
    }

    #[test]
    fn equal_writes_become_equal() {
        let write = CuratedWrite::from_json(&task()).unwrap();
        assert_eq!(write.contact.as_ref().unwrap().email, "ada@example.com");
        assert_eq!(write.task.as_ref().unwrap().subject, "Call back");
        assert_eq!(write.task.as_ref().unwrap().due_at, "2026-11-20T09:00:00.000Z");
        let again = CuratedWrite::from_json(&serde_json::to_value(&write).unwrap()).unwrap();
        assert_eq!(write, again);
    }

    #[test]
    fn each_bad_input_has_its_code() {
        for (write, code) in [
            (with("/raw_body", json!("From: ...")), "not_curated"),
            (with("/task/attachments", json!([])), "not_curated"),
            (with("/task/text", json!("x".repeat(20_000))), "payload_too_large"),
            (with("/task/text", json!("x".repeat(10_001))), "invalid_text"),
            (with("/task/subject", json!("")), "invalid_text"),
            (with("/task/subject", json!("a\nb")), "invalid_text"),
            (with("/task/due_at", json!("tomorrow")), "invalid_time"),
            (with("/contact/email", json!("ada@localhost")), "invalid_email"),
            (with("/contact/email", json!("ada@example.com, eve@example.com")), "invalid_email"),
            (with("/contact/email", json!("@example.com")), "invalid_email"),
            (with("/crm", json!("pipedrive")), "invalid_write"),
            (with("/colour", json!("red")), "invalid_write"),
            (with("/rollup", json!({"week_of":"2026-11-16","text":"x"})), "invalid_write"),
            (with("/task", Value::Null), "invalid_write"),
            (with("/contact", Value::Null), "invalid_write"),
            (with("/deal", json!({"deal_id":"d1","name":"Big","stage":"won"})), "invalid_write"),
            (deal(&json!({"amount": "1,000"})), "invalid_amount"),
            (deal(&json!({"amount": 12})), "invalid_write"),
            (deal(&json!({"close_date": "soon"})), "invalid_time"),
            (deal(&json!({"stage": ""})), "invalid_text"),
            (json!("not an object"), "invalid_write"),
        ] {
            assert_eq!(CuratedWrite::from_json(&write).map_err(|e| e.code()).err(), Some(code), "{write:.120}");
        }
    }

    #[test]
    fn a_refusal_never_repeats_personal_data() {
        let refusal = CuratedWrite::from_json(&with("/contact", json!("ada.lovelace@example.com"))).unwrap_err();
        assert!(matches!(refusal, Refusal::Shape(_)));
        assert!(!refusal.to_string().contains("ada.lovelace"), "{refusal}");
    }
}
