//! Our words as Salesforce's fields (providers reference 2.7).
//!
//! Every date in them is the write's own, never "now", so that a repeat is the same record. Every text passes [`plain`].

use crate::lot::{Entry, Person};
use model::Timestamp;
use model::curated::{Action, Contact, Priority};
use serde_json::{Map, Value, json};

/// The subject of the task a weekly rollup becomes.
const ROLLUP_SUBJECT: &str = "Weekly deal summary";

/// A record's fields.
pub(super) type Fields = Map<String, Value>;

/// Text that a composite leaves as it is: `@{` would begin a reference, and there is no way to escape it.
pub(super) fn plain(text: &str) -> Value {
    Value::String(text.replace("@{", "@ {"))
}

/// The fields a write gives of a lead or contact that is there; what it does not give is left as it is, and nothing of it
/// is a stand-in. A contact's company is its account, which is not ours to change.
pub(super) fn given_fields(contact: Option<&Contact>, person: &Person) -> Fields {
    let Some(contact) = contact else { return Map::new() };
    let company = if matches!(person, Person::Contact(_)) { &None } else { &contact.company };
    let mut fields = Map::new();
    for (name, value) in [
        ("FirstName", &contact.first_name),
        ("LastName", &contact.last_name),
        ("Company", company),
        ("Phone", &contact.phone),
        ("Title", &contact.job_title),
    ] {
        if let Some(value) = value {
            fields.insert(name.to_owned(), plain(value));
        }
    }
    fields
}

/// A new lead: what is given, and stand-ins from the e-mail address for the two fields Salesforce requires.
pub(super) fn new_lead(contact: &Contact, given: Fields) -> Fields {
    let mut fields = Map::new();
    fields.insert("Email".to_owned(), json!(contact.email));
    fields.insert("LastName".to_owned(), plain(contact.email_local()));
    fields.insert("Company".to_owned(), json!(contact.email_domain()));
    fields.extend(given);
    fields
}

/// Whether the write makes a task: both its tasks and its rollups are one.
pub(super) const fn wants_task(action: Action) -> bool {
    matches!(action, Action::CreateTask | Action::CreateWeeklyRollup)
}

/// What the record the write makes is called: a task's subject, an opportunity's name. By it the record is looked for.
pub(super) fn title(entry: &Entry) -> Option<String> {
    let title = match entry.write.action {
        Action::UpsertContact => None,
        Action::CreateTask => entry.write.task.as_ref().map(|task| task.subject.as_str()),
        Action::CreateWeeklyRollup => entry.write.rollup.as_ref().map(|_| ROLLUP_SUBJECT),
        Action::UpsertDeal => entry.write.deal.as_ref().map(|deal| deal.name.as_str()),
    };
    title.map(|text| text.replace("@{", "@ {"))
}

/// The write's task, tied to the lead or contact, and to the opportunity where there is one and the person is a contact:
/// Salesforce relates a lead's task to nothing else. `None` when the write lacks that part.
pub(super) fn task(entry: &Entry, who: &str, is_contact: IsContact) -> Option<Fields> {
    let (status, priority, day, text) = match (&entry.write.task, &entry.write.rollup) {
        (Some(task), _) => ("Not Started", task.priority, &task.due_at, task.text.as_deref()),
        (None, Some(rollup)) => ("Completed", None, &rollup.week_of, Some(rollup.text.as_str())),
        (None, None) => return None,
    };
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("Subject", json!(title(entry)?));
    put("Status", json!(status));
    put("Priority", json!(priority_text(priority.unwrap_or(Priority::Medium))));
    put("ActivityDate", date(day));
    put("Description", described(text, entry));
    put("WhoId", json!(who));
    if let (IsContact::Yes, Some(deal)) = (is_contact, &entry.deal_external_id) {
        put("WhatId", json!(deal));
    }
    Some(fields)
}

/// Whether the person is a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsContact {
    Yes,
    No,
}

/// A day without a time: the time part of a date is always midnight UTC.
fn date(at: &str) -> Value {
    json!(Timestamp::parse(at).map_or_else(|| at.to_owned(), Timestamp::day))
}

/// The text with our marker, by which the record is found again where the org has no field of ours.
fn described(text: Option<&str>, entry: &Entry) -> Value {
    let marker = entry.marker();
    text.map_or_else(|| json!(marker), |text| plain(&format!("{text}\n\n{marker}")))
}

/// A decimal number as JSON's, which has no zeros in front.
fn number(text: &str) -> Option<Value> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let digits = digits.trim_start_matches('0');
    let zero = if digits.is_empty() || digits.starts_with('.') { "0" } else { "" };
    serde_json::from_str(&[sign, zero, digits].concat()).ok()
}

/// The write's opportunity; `stage` as the org spells it. A new one carries the marker.
pub(super) fn opportunity(entry: &Entry, stage: &str) -> Fields {
    let mut fields = Map::new();
    let Some(deal) = &entry.write.deal else { return fields };
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("Name", plain(&deal.name));
    put("StageName", plain(stage));
    // A currency is a double in Salesforce: nothing is lost that it could hold.
    if let Some(amount) = deal.amount.as_deref().and_then(number) {
        put("Amount", amount);
    }
    if let Some(day) = &deal.close_date {
        put("CloseDate", date(day));
    }
    if entry.deal_external_id.is_none() {
        put("Description", described(None, entry));
    }
    fields
}

const fn priority_text(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "Low",
        Priority::Medium => "Normal",
        Priority::High => "High",
    }
}

#[cfg(test)]
mod tests {
    use super::number;
    use serde_json::json;

    #[test]
    fn every_amount_is_a_number() {
        for (text, expected) in [
            ("1250.50", json!(1250.5)),
            ("0", json!(0)),
            ("000", json!(0)),
            ("007.5", json!(7.5)),
            ("-00.25", json!(-0.25)),
            ("-12", json!(-12)),
            ("999999999999999.9999", json!(999_999_999_999_999.999_9)),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
    }
}
