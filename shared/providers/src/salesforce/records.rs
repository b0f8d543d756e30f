//! Our words as Salesforce's fields (providers reference 2.7).
//!
//! Every date in them is the write's own, never "now", so that a repeat is the same record.

use crate::lot::{Entry, Person};
use model::Timestamp;
use model::curated::{Action, Contact, Priority};
use serde_json::{Map, Value, json};

/// The subject of the task a weekly rollup becomes.
const ROLLUP_SUBJECT: &str = "Weekly deal summary";

/// The fields a write gives of a lead or contact that is there; what it does not give is left as it is, and nothing of it
/// is a stand-in. A contact's company is its account, which is not ours to change.
pub(super) fn given_fields(contact: Option<&Contact>, person: &Person) -> Map<String, Value> {
    let Some(contact) = contact else { return Map::new() };
    let company = if matches!(person, Person::Contact(_)) { &None } else { &contact.company };
    let fields = [
        ("FirstName", &contact.first_name),
        ("LastName", &contact.last_name),
        ("Company", company),
        ("Phone", &contact.phone),
        ("Title", &contact.job_title),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
    given.collect()
}

/// A new lead: what is given, and stand-ins from the e-mail address for the two fields Salesforce requires.
pub(super) fn new_lead(contact: &Contact, given: Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("Email".to_owned(), json!(contact.email));
    fields.insert("LastName".to_owned(), json!(contact.email_local()));
    fields.insert("Company".to_owned(), json!(contact.email_domain()));
    fields.extend(given);
    fields
}

/// Whether the write makes a task: both its tasks and its rollups are one.
pub(super) const fn wants_task(action: Action) -> bool {
    matches!(action, Action::CreateTask | Action::CreateWeeklyRollup)
}

/// The subject of the write's task, by which it is looked for.
pub(super) fn subject(entry: &Entry) -> Option<&str> {
    match entry.write.action {
        Action::UpsertContact | Action::UpsertDeal => None,
        Action::CreateTask => entry.write.task.as_ref().map(|task| task.subject.as_str()),
        Action::CreateWeeklyRollup => entry.write.rollup.as_ref().map(|_| ROLLUP_SUBJECT),
    }
}

/// The write's task, tied to the lead or contact. `None` when the write lacks that part.
pub(super) fn task(entry: &Entry, who: &str) -> Option<Value> {
    let subject = subject(entry)?;
    let (status, priority, day, text) = match (&entry.write.task, &entry.write.rollup) {
        (Some(task), _) => ("Not Started", task.priority, &task.due_at, task.text.as_deref()),
        (None, Some(rollup)) => ("Completed", None, &rollup.week_of, Some(rollup.text.as_str())),
        (None, None) => return None,
    };
    let marker = entry.marker();
    Some(json!({
        "Subject": subject,
        "Status": status,
        "Priority": priority_text(priority.unwrap_or(Priority::Medium)),
        // A day without a time: the field's time part is always midnight UTC.
        "ActivityDate": Timestamp::parse(day).map_or_else(|| day.clone(), Timestamp::day),
        "Description": text.map_or_else(|| marker.clone(), |text| format!("{text}\n\n{marker}")),
        "WhoId": who,
    }))
}

const fn priority_text(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "Low",
        Priority::Medium => "Normal",
        Priority::High => "High",
    }
}
