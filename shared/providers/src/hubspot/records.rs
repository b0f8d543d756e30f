//! Our words as HubSpot's properties (providers reference 1.6, 1.8).
//!
//! Every time in them is the write's own, never "now", so that a repeat is the same record.

use crate::lot::Entry;
use model::curated::{Action, Contact, Priority};
use serde_json::{Map, Value, json};

/// What is tied to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engagement {
    Task,
    Note,
}

impl Engagement {
    pub(super) const ALL: [Self; 2] = [Self::Task, Self::Note];

    /// What a write makes besides the contact.
    pub(super) const fn of(action: Action) -> Option<Self> {
        match action {
            Action::UpsertContact | Action::UpsertDeal => None,
            Action::CreateTask => Some(Self::Task),
            Action::CreateWeeklyRollup => Some(Self::Note),
        }
    }

    /// Its key among the external ids.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Note => "note",
        }
    }

    /// Its name in paths.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::Note => "notes",
        }
    }

    /// The property that holds its text, and with it our marker.
    pub(super) const fn body_property(self) -> &'static str {
        match self {
            Self::Task => "hs_task_body",
            Self::Note => "hs_note_body",
        }
    }

    /// The id of the association from it to a contact (the direction matters: 203 and 201 are the reverse ones).
    const fn to_contact(self) -> u16 {
        match self {
            Self::Task => 204,
            Self::Note => 202,
        }
    }
}

/// The contact's properties that the write gives; what it does not give is left as it is.
pub(super) fn contact_properties(contact: &Contact) -> Map<String, Value> {
    let optional = [
        ("firstname", &contact.first_name),
        ("lastname", &contact.last_name),
        ("company", &contact.company),
        ("phone", &contact.phone),
        ("jobtitle", &contact.job_title),
    ];
    let mut properties = Map::new();
    properties.insert("email".to_owned(), json!(contact.email));
    for (name, value) in optional {
        if let Some(value) = value {
            properties.insert(name.to_owned(), json!(value));
        }
    }
    properties
}

/// The create input of a write's task or note, tied to the contact. `None` when the write lacks that part.
pub(super) fn engagement_input(entry: &Entry, engagement: Engagement, contact_id: &str) -> Option<Value> {
    let mut properties = Map::new();
    let mut put = |name: &str, value: &str| {
        properties.insert(name.to_owned(), json!(value));
    };
    match engagement {
        Engagement::Task => {
            let task = entry.write.task.as_ref()?;
            put("hs_timestamp", &task.due_at);
            put("hs_task_subject", &task.subject);
            put("hs_task_body", &body(task.text.as_deref(), entry));
            put("hs_task_status", "NOT_STARTED");
            put("hs_task_type", "TODO");
            // Without a priority the portal's own default stands; `NONE` is not confirmed as a value.
            if let Some(priority) = task.priority {
                put("hs_task_priority", priority_text(priority));
            }
        }
        Engagement::Note => {
            let rollup = entry.write.rollup.as_ref()?;
            put("hs_timestamp", &rollup.week_of);
            put("hs_note_body", &body(Some(&rollup.text), entry));
        }
    }
    Some(json!({
        "properties": properties,
        "associations": [{
            "to": {"id": contact_id},
            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": engagement.to_contact()}],
        }],
    }))
}

const fn priority_text(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "LOW",
        Priority::Medium => "MEDIUM",
        Priority::High => "HIGH",
    }
}

/// Plain text as the HTML both bodies are shown as, and our marker on a line of its own. 10,000 characters become 50,000 at
/// most; HubSpot takes 65,536.
fn body(text: Option<&str>, entry: &Entry) -> String {
    let marker = entry.marker();
    let Some(text) = text else { return marker };
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let html = html.replace("\r\n", "\n").replace(['\n', '\r'], "<br>");
    format!("{html}<br><br>{marker}")
}
