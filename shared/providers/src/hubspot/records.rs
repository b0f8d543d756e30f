//! Our words as HubSpot's properties (providers reference 1.6 to 1.8).
//!
//! Every time in them is the write's own, never "now", so that a repeat is the same record.

use crate::json::{object, text};
use crate::lot::Entry;
use model::curated::{Action, Contact, Deal, Priority};
use model::mechanisms::RecordKind;
use serde_json::{Map, Value};

/// What a write makes besides the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Task,
    Note,
    Deal,
}

impl Made {
    pub(super) const ALL: [Self; 3] = [Self::Task, Self::Note, Self::Deal];

    /// That of an action.
    pub(super) const fn of(action: Action) -> Option<Self> {
        match action {
            Action::UpsertContact => None,
            Action::CreateTask => Some(Self::Task),
            Action::CreateWeeklyRollup => Some(Self::Note),
            Action::UpsertDeal => Some(Self::Deal),
        }
    }

    pub(super) const fn record_kind(self) -> RecordKind {
        match self {
            Self::Task => RecordKind::Task,
            Self::Note => RecordKind::Note,
            Self::Deal => RecordKind::Deal,
        }
    }

    /// Its key among the external ids.
    pub(super) const fn key(self) -> &'static str {
        self.record_kind().as_str()
    }

    /// Its name in paths.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::Note => "notes",
            Self::Deal => "deals",
        }
    }

    /// The property that holds its text, and with it our marker.
    pub(super) const fn marker_property(self) -> &'static str {
        match self {
            Self::Task => "hs_task_body",
            Self::Note => "hs_note_body",
            Self::Deal => "description",
        }
    }

    /// A property every portal has, whose group ours is put into.
    pub(super) const fn neighbour(self) -> &'static str {
        match self {
            Self::Task => "hs_task_subject",
            Self::Note => "hs_note_body",
            Self::Deal => "dealname",
        }
    }
}

/// Whom and what the write's record is to be tied to: the contact's and the deal's id, as far as there are any.
pub(super) fn partners(entry: &Entry) -> [Option<&str>; 2] {
    let contact = entry.external_ids.get("contact").map(String::as_str);
    let is_deal = entry.write.action == Action::UpsertDeal;
    [contact, entry.deal_external_id.as_deref().filter(|_| !is_deal)]
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
    properties.insert("email".to_owned(), text(&contact.email));
    for (name, value) in optional {
        if let Some(value) = value {
            properties.insert(name.to_owned(), text(value));
        }
    }
    properties
}

/// The properties of a write's task, note or deal. `None` when the write lacks that part.
pub(super) fn properties(entry: &Entry, made: Made) -> Option<Map<String, Value>> {
    let mut properties = Map::new();
    let mut put = |name: &str, value: &str| {
        properties.insert(name.to_owned(), text(value));
    };
    match made {
        Made::Task => {
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
        Made::Note => {
            let rollup = entry.write.rollup.as_ref()?;
            put("hs_timestamp", &rollup.week_of);
            put("hs_note_body", &body(Some(&rollup.text), entry));
        }
        Made::Deal => {
            let Deal { name, stage, pipeline, amount, close_date, .. } = entry.write.deal.as_ref()?;
            put("dealname", name);
            put("dealstage", stage);
            for (property, value) in [("pipeline", pipeline), ("amount", amount), ("closedate", close_date)] {
                if let Some(value) = value {
                    put(property, value);
                }
            }
        }
    }
    Some(properties)
}

/// The create input of a write's record, with its associations. A deal has no text of ours to hold the marker: it is its
/// description, which people may change afterwards.
pub(super) fn create_input(entry: &Entry, made: Made, associations: Vec<Value>) -> Option<Value> {
    let mut properties = properties(entry, made)?;
    if made == Made::Deal {
        properties.insert(made.marker_property().to_owned(), text(&entry.marker()));
    }
    let properties = Value::Object(properties);
    Some(object(&mut [("properties", properties), ("associations", Value::Array(associations))]))
}

/// The value of our unique property: a task's or note's is the write's id. A deal's is the deal's own, so that every write
/// about it is about one record; with the connection's id, because a portal may be connected to several workspaces. HubSpot
/// compares such values without regard to case, our ids have regard: capitals are marked.
pub(super) fn write_key(entry: &Entry, connection_id: &str) -> String {
    let Some(deal) = &entry.write.deal else { return entry.id.to_string() };
    let mut key = format!("{connection_id}:");
    for c in deal.deal_id.chars() {
        if c == '^' || c.is_uppercase() {
            key.push('^');
        }
        key.push(c);
    }
    key
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
