//! The look for what an earlier, unanswered try may have made (providers reference 2.12): by our key where the org has the
//! field, by our marker otherwise.
//!
//! SOQL reads committed rows, without an index that lags: what it does not find was not there when it was asked. By the
//! key nothing more is needed, since an upsert by it makes no second one. By the marker, the earlier request must be over.

use super::people::{WHERE_CHARS_MAX, literal, row_id};
use super::plan::Made;
use super::{composite, errors, hosts, keys, records};
use crate::encode;
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request};
use crate::lot::{Entry, Look, Lot, Person};
use model::Timestamp;
use model::write::ErrorClass;
use serde_json::Value;

/// A URL and its headers hold 16,384 bytes.
const URL_BYTES_MAX: usize = 14_000;
/// How far the CRM's clock may be behind ours.
const CLOCK_SECS: i64 = 600;

/// Whether the entry's record is looked for by its key. Not where an earlier try may have made it without one.
pub(super) fn by_key(lot: &Lot, entry: &Entry) -> bool {
    let made = Made::of(entry.write.action);
    !entry.doubt_is_older && made.is_some_and(|made| keys::field(lot, made.kind()).is_some())
}

/// Entries are looked for together when they make the same object; the first one's is taken.
fn same_object<'a>(lot: &'a Lot, positions: &'a [usize]) -> impl Iterator<Item = (usize, &'a Entry)> {
    let made = |entry: &Entry| Made::of(entry.write.action);
    let first = lot.at(positions).next().and_then(made);
    positions.iter().copied().zip(lot.at(positions)).filter(move |(_, entry)| made(entry) == first)
}

/// One query for the records of as many of these entries as fit; with the positions it is about.
pub(super) fn request(lot: &Lot, positions: &[usize], instance: &str) -> (Request, Vec<usize>) {
    let first = lot.at(positions).next();
    let object = first.and_then(|entry| Made::of(entry.write.action)).map_or("Task", Made::object);
    let keyed = first.is_some_and(|entry| by_key(lot, entry));
    let (soql, included) = if keyed { by_keys(lot, positions, object) } else { by_marker(lot, positions, object) };
    (Request::get(format!("{instance}{}", hosts::data_path(&composite::query_path(&soql)))), included)
}

fn by_keys(lot: &Lot, positions: &[usize], object: &str) -> (String, Vec<usize>) {
    let kind = same_object(lot, positions).next().and_then(|(_, entry)| Made::of(entry.write.action));
    let field = kind.and_then(|made| keys::field(lot, made.kind())).unwrap_or(keys::KEY_FIELD);
    let (mut list, mut included) = (String::new(), Vec::new());
    for (at, entry) in same_object(lot, positions).filter(|(_, entry)| by_key(lot, entry)) {
        let key = literal(keys::of_write(entry));
        if list.len() + key.len() > WHERE_CHARS_MAX {
            break;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&key);
        included.push(at);
    }
    (format!("SELECT Id, {field} FROM {object} WHERE {field} IN ({list})"), included)
}

/// `Description`, which holds the marker, cannot be filtered by, so person, title and time narrow it and the marker decides.
fn by_marker(lot: &Lot, positions: &[usize], object: &str) -> (String, Vec<usize>) {
    let (mut people, mut titles, mut included) = (Vec::new(), Vec::new(), Vec::new());
    let mut since = Timestamp(i64::MAX);
    let (mut chars, mut bytes) = (100_usize, 400_usize);
    for (at, entry) in same_object(lot, positions).filter(|(_, entry)| !by_key(lot, entry)) {
        let Some(title) = records::title(entry) else { continue };
        let new = |list: &Vec<String>, text: String| (!list.contains(&text)).then_some(text);
        let person = who(entry).and_then(|who| new(&people, literal(who)));
        let title = new(&titles, literal(&title));
        for text in [&person, &title].into_iter().flatten() {
            chars += text.chars().count() + 1;
            bytes += encode::component(text).len() + 3;
        }
        if (chars > WHERE_CHARS_MAX || bytes > URL_BYTES_MAX) && !included.is_empty() {
            break;
        }
        people.extend(person);
        titles.extend(title);
        since = since.min(entry.accepted_at);
        included.push(at);
    }
    let since = since.plus_secs(-CLOCK_SECS).iso();
    let (people, titles) = (people.join(","), titles.join(","));
    let whose = if object == "Task" {
        format!("WhoId IN ({people}) AND Subject IN ({titles})")
    } else {
        format!("Name IN ({titles})")
    };
    (format!("SELECT Id, Description FROM {object} WHERE CreatedDate >= {since} AND {whose}"), included)
}

/// Reads the look: found records are the entries' own, the end of all rows is proof that there is none.
pub(super) fn read(lot: &mut Lot, positions: &[usize], answer: &Answer, now: Timestamp) {
    let response = match answer {
        Ok(response) if response.is_success() => response,
        _ => return lot.fail(positions, &errors::classify(answer, Effect::Reads, now)),
    };
    let body = response.json().unwrap_or(Value::Null);
    let Some((rows, done)) = composite::rows(&body) else {
        return lot.fail(positions, &failure::unreadable(response, Effect::Reads));
    };
    let mut cut = Vec::new();
    for &at in positions {
        let Some((entry, made)) = lot.entries.get(at).and_then(|e| Some((e, Made::of(e.write.action)?))) else {
            continue;
        };
        let field = keys::field(lot, made.kind()).filter(|_| by_key(lot, entry));
        let marker = entry.marker();
        let is_ours = |row: &&Value| match field {
            Some(field) => hostile::text(row, field).is_some_and(|key| key.eq_ignore_ascii_case(keys::of_write(entry))),
            None => hostile::text(row, "Description").is_some_and(|text| text.contains(&marker)),
        };
        let found = rows.iter().find(is_ours).and_then(|row| Some((row_id(row, "Id")?, hostile::kept(row))));
        if found.is_none() && !done {
            cut.push(at);
        }
        lot.each(&[at], |entry| {
            entry.stage.group = 0;
            if let Some((id, row)) = &found {
                entry.external_ids.insert(made.key().to_owned(), id.clone());
                entry.response = Some(row.clone());
                entry.stage.look = Look::Over;
            } else if done {
                entry.stage.look = Look::Over;
            }
        });
    }
    if cut.len() > 1 {
        lot.split(&cut);
    } else {
        let words = "there are more records of this title than can be looked through for an earlier try's";
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
