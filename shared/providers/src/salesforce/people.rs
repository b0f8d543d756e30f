//! Whom e-mail addresses belong to, as SOQL (providers reference 2.4): an unconverted lead first, then a contact, the
//! oldest of several.
//!
//! A lead that we made is also found by its key: somebody may have changed its address since, or converted it.

use super::composite::{self, Part};
use super::records::Fields;
use super::{errors, ids, keys};
use crate::failure;
use crate::hostile;
use crate::http::{Answer, Effect, Request, Response};
use crate::lot::{Lot, Person};
use model::Timestamp;
use model::mechanisms::RecordKind;
use model::write::WriteOutcome;
use serde_json::Value;

/// A `WHERE` clause holds 4,000 characters.
pub(super) const WHERE_CHARS_MAX: usize = 3_900;
/// Leads and contacts are two queries, and a composite takes five.
const CHUNKS_MAX: usize = 2;

/// A text literal: the backslash first, or the quote's own would be doubled.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The addresses of one chunk's queries, as literals, and the keys of the leads we may have made for them.
#[derive(Default)]
struct Chunk {
    emails: Vec<String>,
    keys: Vec<String>,
    chars: usize,
}

/// The addresses of these entries, in lists that fit one query each; the positions whose address is in them, with which.
fn chunks(lot: &Lot, positions: &[usize]) -> (Vec<Chunk>, Vec<(usize, usize)>) {
    let keyed = keys::field(lot, RecordKind::Lead).is_some();
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut included = Vec::new();
    for (&at, entry) in positions.iter().zip(lot.at(positions)) {
        let email = literal(entry.email());
        if let Some(nth) = chunks.iter().position(|chunk| chunk.emails.contains(&email)) {
            included.push((at, nth));
            continue;
        }
        let key = keyed.then(|| literal(&keys::of_person(lot, entry.email())));
        let chars = email.len() + 1 + key.as_ref().map_or(0, |key| key.len() + 1);
        if chunks.last().is_none_or(|chunk| chunk.chars + chars > WHERE_CHARS_MAX) {
            if chunks.len() == CHUNKS_MAX {
                break;
            }
            chunks.push(Chunk::default());
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.emails.push(email);
            chunk.keys.extend(key);
            chunk.chars += chars;
        }
        included.push((at, chunks.len() - 1));
    }
    (chunks, included)
}

/// One call for the leads and contacts of as many of these entries as fit; with the positions it is about.
pub(super) fn lookup(lot: &Lot, positions: &[usize], instance: &str) -> (Request, Vec<usize>) {
    let (chunks, included) = chunks(lot, positions);
    let mut parts = Vec::new();
    for (nth, chunk) in chunks.iter().enumerate() {
        let emails = chunk.emails.join(",");
        let (also, or_key) = match keys::field(lot, RecordKind::Lead) {
            Some(field) => (
                format!(", IsConverted, ConvertedContactId, {field}"),
                format!(" OR {field} IN ({})", chunk.keys.join(",")),
            ),
            None => Default::default(),
        };
        let known = format!("(IsConverted = false AND Email IN ({emails})){or_key}");
        parts.push(composite::query(
            &format!("SELECT Id, Email, CreatedDate{also} FROM Lead WHERE {known} ORDER BY CreatedDate, Id"),
            &format!("lead{nth}"),
        ));
        parts.push(composite::query(
            &format!("SELECT Id, Email, CreatedDate FROM Contact WHERE Email IN ({emails}) ORDER BY CreatedDate, Id"),
            &format!("contact{nth}"),
        ));
    }
    (composite::request(instance, &parts, Effect::Reads), included.into_iter().map(|(at, _)| at).collect())
}

/// Reads the lookup: each entry learns whom its address belongs to. A lead wins over a contact.
pub(super) fn read_lookup(lot: &mut Lot, positions: &[usize], answer: &Answer, now: Timestamp) {
    let Some((response, body)) = answer.as_ref().ok().and_then(|r| Some((r, composite::body(r)?))) else {
        return lot.fail(positions, &errors::classify(answer, Effect::Reads, now));
    };
    let (chunks, included) = chunks(lot, positions);
    let mut cut = Vec::new();
    for nth in 0..chunks.len() {
        let members: Vec<usize> = included.iter().filter(|(_, of)| *of == nth).map(|(at, _)| *at).collect();
        let rows = |name: &str| rows(response, composite::find(&body, &format!("{name}{nth}")), now);
        match rows("lead").and_then(|leads| Ok((leads, rows("contact")?))) {
            Ok((leads, contacts)) => cut.extend(resolve(lot, &members, &leads, &contacts)),
            Err(WriteOutcome::Rejected(failure)) if failure.code == "MALFORMED_QUERY" => {
                lot.fail_or_split(&members, &WriteOutcome::Rejected(failure));
            }
            // Other refusals are of the object, the field or the user, the same for every address.
            Err(outcome) => lot.fail(&members, &outcome),
        }
    }
    if cut.len() > 1 {
        lot.split(&cut);
    } else {
        lot.fail(&cut, &failure::unreadable(response, Effect::Reads));
    }
}

/// A query's rows, and whether they are all.
type Rows<'a> = (&'a [Value], bool);

fn rows<'a>(response: &Response, part: Option<Part<'a>>, now: Timestamp) -> Result<Rows<'a>, WriteOutcome> {
    let part = part.ok_or_else(|| failure::unreadable(response, Effect::Reads))?;
    if !part.is_success() {
        return Err(errors::classify_part(response, part.status, part.body, Effect::Reads, now));
    }
    part.rows().ok_or_else(|| failure::unreadable(response, Effect::Reads))
}

/// The 18-character id in a row.
pub(super) fn row_id(row: &Value, name: &str) -> Option<String> {
    hostile::text(row, name).and_then(ids::to_18)
}

fn has(row: &Value, name: &str, text: &str) -> bool {
    hostile::text(row, name).is_some_and(|found| found.trim().eq_ignore_ascii_case(text))
}

/// Tells the members what was found; answers those about whom nothing can be said.
fn resolve(lot: &mut Lot, members: &[usize], leads: &Rows<'_>, contacts: &Rows<'_>) -> Vec<usize> {
    let key_field = keys::field(lot, RecordKind::Lead).map(str::to_owned);
    let mut cut = Vec::new();
    for &at in members {
        let Some(email) = lot.entries.get(at).map(|entry| entry.email().to_owned()) else { continue };
        let key = key_field.as_deref().map(|field| (field, keys::of_person(lot, &email)));
        let is_keyed = |row: &&Value| key.as_ref().is_some_and(|(field, key)| has(row, field, key));
        let is_converted = |row: &&Value| row.get("IsConverted").and_then(Value::as_bool) == Some(true);
        let is_here = |row: &&Value| has(row, "Email", &email);
        let first = |rows: &Rows<'_>, is_it: &dyn Fn(&&Value) -> bool, id: &str| {
            rows.0.iter().find(is_it).and_then(|row| Some((row_id(row, id)?, hostile::kept(row))))
        };
        let lead = first(leads, &|row| !is_converted(row) && (is_here(row) || is_keyed(row)), "Id");
        let contact = first(contacts, &is_here, "Id");
        let converted = || first(leads, &|row| is_converted(row) && is_keyed(row), "ConvertedContactId");
        let found = match (lead, contact) {
            (Some((id, row)), _) => Some((Person::Lead(id), row)),
            (None, _) if !leads.1 => None,
            (None, Some((id, row))) => Some((Person::Contact(id), row)),
            (None, None) if contacts.1 => match converted() {
                Some((id, row)) => Some((Person::Contact(id), row)),
                None => Some((Person::Absent, Value::Null)),
            },
            (None, None) => None,
        };
        match found {
            Some((person, row)) => lot.each(&[at], |entry| {
                entry.stage.person = person.clone();
                entry.stage.group = 0;
                if row.is_object() {
                    entry.response = Some(row.clone());
                }
            }),
            None => cut.push(at),
        }
    }
    cut
}

/// The fields of a new lead without its key, for these entries of one person.
pub(super) fn new_lead(lot: &Lot, members: &[usize]) -> Option<Fields> {
    let contact = lot.at(members).next()?.write.contact.as_ref()?;
    Some(super::records::new_lead(contact, given(lot, members, &Person::Absent)))
}

/// What these entries of one person give of it, merged in order.
pub(super) fn given(lot: &Lot, members: &[usize], person: &Person) -> Fields {
    let mut fields = Fields::new();
    for entry in lot.at(members) {
        fields.extend(super::records::given_fields(entry.write.contact.as_ref(), person));
    }
    fields
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
