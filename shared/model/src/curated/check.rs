//! Reading a submitted write: its size, its shape, its texts, times, amounts and addresses, each brought to one form, and the
//! refusal of anything that is not curated (raw e-mail bodies, attachments).

use super::{
    Action, Contact, CuratedWrite, DEAL_NAME_CHARS_MAX, Deal, NAME_CHARS_MAX, REFERENCE_CHARS_MAX, Refusal, Rollup,
    SUBJECT_CHARS_MAX, TEXT_CHARS_MAX, Task, WRITE_BYTES_MAX,
};
use crate::Timestamp;
use serde_json::Value;

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

impl CuratedWrite {
    /// Reads and checks one submitted write, trimming text and lower-casing the e-mail, so that equal writes are equal.
    pub fn from_json(value: &Value) -> Result<Self, Refusal> {
        if let Some(field) = raw_field(value) {
            return Err(Refusal::NotCurated(field));
        }
        // The length of the compact form: spaces a caller put in do not count.
        if crate::json::text(value).len() > WRITE_BYTES_MAX {
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
