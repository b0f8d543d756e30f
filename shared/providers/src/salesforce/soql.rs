//! The two questions a lot asks Salesforce, as SOQL (providers reference 2.4): who has these e-mail addresses, and is the
//! task of an earlier, unanswered try there.
//!
//! SOQL reads committed rows, without an index that lags: what it does not find was not there when it was asked.

use super::composite::{self, Part};
use super::{errors, hosts, ids, records};
use crate::encode;
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Method, Request, Response};
use crate::lot::{Entry, Look, Lot, Person};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::Value;

/// A `WHERE` clause holds 4,000 characters.
const WHERE_CHARS_MAX: usize = 3_900;
/// A URL and its headers hold 16,384 bytes.
const URL_BYTES_MAX: usize = 14_000;
/// Leads and contacts are two queries, and a composite takes five.
const CHUNKS_MAX: usize = 2;
/// How far the CRM's clock may be behind ours.
const CLOCK_SECS: i64 = 600;

/// A text literal: the backslash first, or the quote's own would be doubled.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn query_path(soql: &str) -> String {
    format!("query?q={}", encode::component(soql))
}

/// The addresses of these entries, in lists that fit one query each, and the positions whose address is in them.
fn chunks(lot: &Lot, positions: &[usize]) -> (Vec<Vec<String>>, Vec<usize>) {
    let mut chunks: Vec<Vec<String>> = Vec::new();
    let (mut room, mut included) = (0, Vec::new());
    for (&at, entry) in positions.iter().zip(lot.at(positions)) {
        let email = entry.email().to_ascii_lowercase();
        if !chunks.iter().any(|chunk| chunk.contains(&email)) {
            let cost = literal(&email).len() + 1;
            if cost > room {
                if chunks.len() == CHUNKS_MAX {
                    continue;
                }
                chunks.push(Vec::new());
                room = WHERE_CHARS_MAX;
            }
            room = room.saturating_sub(cost);
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(email);
            }
        }
        included.push(at);
    }
    (chunks, included)
}

/// One call for the leads and contacts of as many of these entries as fit; with the positions it is about.
pub(super) fn lookup(lot: &Lot, positions: &[usize], instance: &str) -> (Request, Vec<usize>) {
    let (chunks, included) = chunks(lot, positions);
    let mut parts = Vec::new();
    for (nth, emails) in chunks.iter().enumerate() {
        let emails: Vec<String> = emails.iter().map(|email| literal(email)).collect();
        let emails = emails.join(",");
        // Oldest first, so that of several with one address the same is taken every time.
        for (name, object, only) in [("lead", "Lead", "IsConverted = false AND "), ("contact", "Contact", "")] {
            let soql = format!(
                "SELECT Id, Email, CreatedDate FROM {object} WHERE {only}Email IN ({emails}) ORDER BY CreatedDate, Id"
            );
            parts.push(composite::part(Method::Get, &query_path(&soql), &format!("{name}{nth}"), None));
        }
    }
    (composite::request(instance, &parts, Effect::Reads), included)
}

/// A query's answer: its records, and whether they are all.
struct Rows<'a> {
    records: &'a [Value],
    done: bool,
}

impl<'a> Rows<'a> {
    /// One odd fixture has `done: true` beside a next page: `done` is what counts. Anything else than `true` is "not all".
    fn of(body: &'a Value) -> Option<Self> {
        let records = body.get("records")?.as_array()?;
        Some(Self { records, done: body.get("done").and_then(Value::as_bool) == Some(true) })
    }

    /// The id and row of the first (oldest) record with this address.
    fn first_of(&self, email: &str) -> Option<(String, &'a Value)> {
        let is_it = |row: &&Value| hostile::text(row, "Email").is_some_and(|e| e.trim().eq_ignore_ascii_case(email));
        let row = self.records.iter().find(is_it)?;
        Some((row_id(row)?, row))
    }
}

fn row_id(row: &Value) -> Option<String> {
    hostile::text(row, "Id").and_then(ids::to_18)
}

/// What the lookup says of one address.
enum Found<'a> {
    Person(Person, &'a Value),
    Nobody,
    /// There are more rows than came: ask for fewer addresses.
    Cut,
}

fn decide<'a>(leads: &Rows<'a>, contacts: &Rows<'a>, email: &str) -> Found<'a> {
    match (leads.first_of(email), contacts.first_of(email)) {
        (Some((id, row)), _) => Found::Person(Person::Lead(id), row),
        (None, _) if !leads.done => Found::Cut,
        (None, Some((id, row))) => Found::Person(Person::Contact(id), row),
        (None, None) if contacts.done => Found::Nobody,
        (None, None) => Found::Cut,
    }
}

/// Reads the lookup: each entry learns whom its address belongs to. A lead wins over a contact.
pub(super) fn read_lookup(lot: &mut Lot, positions: &[usize], answer: &Answer, now: Timestamp) {
    let Some((response, body)) = answer.as_ref().ok().and_then(|r| Some((r, composite::body(r)?))) else {
        return lot.fail(positions, &errors::classify(answer, Effect::Reads, now));
    };
    let (chunks, _) = chunks(lot, positions);
    let mut cut = Vec::new();
    for (nth, emails) in chunks.iter().enumerate() {
        let of_chunk = |at: &&usize| {
            let email = lot.entries.get(**at).map(|entry| entry.email().to_ascii_lowercase());
            email.is_some_and(|email| emails.contains(&email))
        };
        let members: Vec<usize> = positions.iter().filter(of_chunk).copied().collect();
        let (leads, contacts) =
            (composite::find(&body, &format!("lead{nth}")), composite::find(&body, &format!("contact{nth}")));
        match rows(response, leads, now).and_then(|leads| Ok((leads, rows(response, contacts, now)?))) {
            Ok((leads, contacts)) => cut.extend(resolve(lot, &members, &leads, &contacts)),
            Err(WriteOutcome::Rejected(failure)) if failure.code == "MALFORMED_QUERY" => {
                lot.fail_or_split(&members, &WriteOutcome::Rejected(failure));
            }
            // Other refusals are of the object or the user, the same for every address.
            Err(outcome) => lot.fail(&members, &outcome),
        }
    }
    if cut.len() > 1 {
        lot.split(&cut);
    } else {
        lot.fail(&cut, &failure::unreadable(response, Effect::Reads));
    }
}

fn rows<'a>(response: &Response, part: Option<Part<'a>>, now: Timestamp) -> Result<Rows<'a>, WriteOutcome> {
    let part = part.ok_or_else(|| failure::unreadable(response, Effect::Reads))?;
    if !part.is_success() {
        return Err(errors::classify_part(response, part.status, part.body, Effect::Reads, now));
    }
    Rows::of(part.body).ok_or_else(|| failure::unreadable(response, Effect::Reads))
}

/// Tells the members what was found; answers those about whom nothing can be said.
fn resolve(lot: &mut Lot, members: &[usize], leads: &Rows<'_>, contacts: &Rows<'_>) -> Vec<usize> {
    let mut cut = Vec::new();
    for &at in members {
        lot.each(&[at], |entry| match decide(leads, contacts, entry.email()) {
            Found::Person(person, row) => {
                entry.stage.person = person;
                entry.stage.group = 0;
                entry.response = Some(hostile::kept(row));
            }
            Found::Nobody => {
                entry.stage.person = Person::Absent;
                entry.stage.group = 0;
            }
            Found::Cut => cut.push(at),
        });
    }
    cut
}

/// One query for the tasks of as many of these entries as fit; with the positions it is about. `Description`, which holds
/// the marker, cannot be filtered by, so person, subject and time narrow it and the marker decides.
pub(super) fn look(lot: &Lot, positions: &[usize], instance: &str) -> (Request, Vec<usize>) {
    let base = "SELECT Id, Description FROM Task WHERE ";
    let (mut people, mut subjects, mut included) = (Vec::new(), Vec::new(), Vec::new());
    let mut since = Timestamp(i64::MAX);
    let (mut chars, mut bytes) = (100_usize, instance.len().saturating_add(300));
    for (&at, entry) in positions.iter().zip(lot.at(positions)) {
        let (Some(who), Some(subject)) = (who(entry), records::subject(entry)) else { continue };
        let (who, subject) = (literal(who), literal(subject));
        let new: Vec<&String> = [(&people, &who), (&subjects, &subject)]
            .into_iter()
            .filter(|(l, t)| !l.contains(*t))
            .map(|(_, t)| t)
            .collect();
        chars += new.iter().map(|text| text.chars().count() + 1).sum::<usize>();
        bytes += new.iter().map(|text| encode::component(text).len() + 3).sum::<usize>();
        if (chars > WHERE_CHARS_MAX || bytes > URL_BYTES_MAX) && !included.is_empty() {
            break;
        }
        for (list, text) in [(&mut people, who), (&mut subjects, subject)] {
            if !list.contains(&text) {
                list.push(text);
            }
        }
        since = since.min(entry.accepted_at);
        included.push(at);
    }
    let since = since.plus_secs(-CLOCK_SECS).iso();
    let (people, subjects) = (people.join(","), subjects.join(","));
    let soql = format!("{base}CreatedDate >= {since} AND WhoId IN ({people}) AND Subject IN ({subjects})");
    (Request::get(format!("{instance}{}", hosts::data_path(&query_path(&soql)))), included)
}

/// Reads the look: found tasks are the entries' own, the end of all rows is proof that there is none.
pub(super) fn read_look(lot: &mut Lot, positions: &[usize], answer: &Answer, now: Timestamp) {
    let response = match answer {
        Ok(response) if response.is_success() => response,
        _ => return lot.fail(positions, &errors::classify(answer, Effect::Reads, now)),
    };
    let body = response.json().unwrap_or(Value::Null);
    let Some(rows) = Rows::of(&body) else {
        return lot.fail(positions, &failure::unreadable(response, Effect::Reads));
    };
    let mut cut = Vec::new();
    for &at in positions {
        lot.each(&[at], |entry| {
            let marker = entry.marker();
            let is_ours = |row: &&Value| hostile::text(row, "Description").is_some_and(|text| text.contains(&marker));
            match rows.records.iter().find(is_ours).and_then(|row| Some((row_id(row)?, row))) {
                Some((id, row)) => {
                    entry.external_ids.insert("task".to_owned(), id);
                    entry.response = Some(hostile::kept(row));
                    entry.stage.look = Look::Over;
                }
                None if rows.done => entry.stage.look = Look::Over,
                None => cut.push(at),
            }
            entry.stage.group = 0;
        });
    }
    if cut.len() > 1 {
        lot.split(&cut);
    } else {
        let words = "the person has more tasks of this subject than can be looked through for an earlier try's";
        let verdict = Verdict::new(ErrorClass::UnknownOutcome, "history_too_long", words);
        lot.fail(&cut, &verdict.outcome(Some(response.status), None, now));
    }
}

/// The lead or contact a write's task belongs to, when it is known.
pub(super) fn who(entry: &Entry) -> Option<&str> {
    let known = entry.external_ids.get("lead").or_else(|| entry.external_ids.get("contact"));
    known.map(String::as_str).or(match &entry.stage.person {
        Person::Lead(id) | Person::Contact(id) => Some(id),
        Person::Unresolved | Person::Absent => None,
    })
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_literal_cannot_be_left() {
        for (text, expected) in [
            ("o'neil@example.com", r"'o\'neil@example.com'"),
            (r"\' OR Id != null --", r"'\\\' OR Id != null --'"),
            (r"a\", r"'a\\'"),
            ("", "''"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }
}
