//! Curated writes: the outcome a host product wants in its customer's CRM, and nothing more.
//!
//! In scope: the shape of a submitted write, its limits, and why one is refused; `check` reads and checks them. Out of scope:
//! how a CRM calls it (`providers`), whether it was submitted before (`flows`).

mod check;

use crate::Crm;
use crate::mechanisms::RecordKind;
use serde::{Deserialize, Serialize};

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
    /// The part before the `@`.
    pub fn email_local(&self) -> &str {
        self.email.split('@').next().unwrap_or_default()
    }

    /// The part after the `@`.
    pub fn email_domain(&self) -> &str {
        self.email.split('@').nth(1).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
