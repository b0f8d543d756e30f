//! HubSpot's batch endpoints: contacts by upsert, tasks, notes and deals by upsert or create (providers reference 1.5 to 1.8).
//!
//! Contacts go without trace ids ("partial upserts are not supported when using email"), so one bad contact refuses all of
//! them and nothing is written: the lot is then split by halves. The rest goes with a trace id each, and the good ones land.

use super::errors;
use super::hosts;
use super::labels;
use super::records::{self, Made};
use super::tie::ALL_TIED;
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request, Response};
use crate::json::{self, object, text};
use crate::lot::{Call, Entry, Lot};
use model::Timestamp;
use model::mechanisms::Mechanism;
use model::write::{ErrorClass, Failure, MECHANISM_GONE_CODE, WriteOutcome};
use serde_json::{Map, Value};

/// The upsert of these entries' contacts, by e-mail: each address once, later entries' properties over earlier ones'.
pub(super) fn contacts_request(lot: &Lot, positions: &[usize]) -> Request {
    let mut contacts: Vec<(&str, Map<String, Value>)> = Vec::new();
    for contact in lot.at(positions).filter_map(|entry| entry.write.contact.as_ref()) {
        let properties = records::contact_properties(contact);
        match contacts.iter_mut().find(|(email, _)| email.eq_ignore_ascii_case(&contact.email)) {
            // Not `extend`, which would bring a sort along.
            Some((_, merged)) => properties.into_iter().for_each(|(name, value)| {
                merged.insert(name, value);
            }),
            None => contacts.push((&contact.email, properties)),
        }
    }
    let mut inputs = Vec::new();
    for (email, properties) in contacts {
        inputs.push(keyed_input(email, "email", properties));
    }
    post("contacts/batch/upsert", inputs, Effect::Idempotent)
}

fn keyed_input(key: &str, field: &str, properties: Map<String, Value>) -> Value {
    object(&mut [("id", text(key)), ("idProperty", text(field)), ("properties", Value::Object(properties))])
}

/// Gives each entry its contact's id. Results come shuffled; an address may be known to HubSpot as a contact's further one
/// only, and then the result carries another: such entries are asked for again in halves, and a single one is alone.
pub(super) fn read_contacts(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        return lot.refuse_or_split(&call.entries, &errors::classify(answer, call.request.effect, now));
    };
    let results = hostile::list(&body, "results");
    let mut addresses = Vec::with_capacity(results.len());
    for result in results {
        addresses.push(addresses_of(result));
    }
    let mut unmatched = Vec::new();
    for &at in &call.entries {
        let Some(email) = lot.entries.get(at).map(Entry::email) else { continue };
        let place = addresses.iter().position(|of_one| of_one.iter().any(|one| one.eq_ignore_ascii_case(email)));
        let result = place.and_then(|place| results.get(place));
        match result.and_then(|r| Some((hostile::id(r.get("id"))?, r))) {
            Some((id, result)) => contact_found(lot, at, &id, result),
            None => unmatched.push(at),
        }
    }
    if unmatched.is_empty() {
        return;
    }
    if call.entries.len() > 1 {
        return lot.split(&unmatched);
    }
    let only = results.first().filter(|_| results.len() == 1);
    match (only.and_then(|r| Some((hostile::id(r.get("id"))?, r))), hostile::list(&body, "errors").first()) {
        (Some((id, result)), _) => {
            for at in unmatched {
                contact_found(lot, at, &id, result);
            }
        }
        (None, Some(item)) => lot.refuse_or_split(&unmatched, &errors::classify_item(response, item, now)),
        (None, None) => lot.fail(&unmatched, &failure::unreadable(response, call.request.effect)),
    }
}

fn contact_found(lot: &mut Lot, at: usize, id: &str, result: &Value) {
    lot.each(&[at], |entry| {
        entry.external_ids.insert("contact".to_owned(), id.to_owned());
        entry.response = Some(hostile::kept(result));
        entry.stage.group = 0;
    });
}

/// A contact's addresses: its own, and further ones (`;` between them). HubSpot lower-cases addresses.
fn addresses_of(result: &Value) -> Vec<&str> {
    let Some(properties) = result.get("properties") else { return Vec::new() };
    let mut addresses = vec![hostile::text(properties, "email").unwrap_or_default().trim()];
    if let Some(further) = hostile::text(properties, "hs_additional_emails") {
        addresses.extend(further.split(';').map(str::trim));
    }
    addresses
}

/// Our unique property on records of this kind, where the portal takes one.
pub(super) fn unique_field(lot: &Lot, made: Made) -> Option<&str> {
    match lot.connection.mechanism(made.record_kind()) {
        Mechanism::UniqueField(field) => Some(field),
        _ => None,
    }
}

/// The request that makes these entries' records, by the connection's mechanism: an upsert by our unique property, or a create
/// with the associations in it; one alone by the plain endpoint.
pub(super) fn make_request(lot: &Lot, positions: &[usize], made: Made) -> Option<Request> {
    let path = made.path();
    let Some(field) = unique_field(lot, made) else {
        let mut inputs =
            json::each(lot, positions, &|entry| records::create_input(entry, made, labels::of(lot, entry, made)));
        if positions.len() == 1 {
            return Some(json::post(hosts::objects(path), &inputs.pop()?, Effect::Creates));
        }
        add_traces(&mut inputs, lot, positions);
        return Some(post(&[path, "/batch/create"].concat(), inputs, Effect::Creates));
    };
    let mut inputs = json::each(lot, positions, &|entry| {
        let key = records::write_key(entry, lot.connection.id.as_str());
        let mut properties = records::properties(entry, made)?;
        properties.insert(field.to_owned(), text(&key));
        Some(keyed_input(&key, field, properties))
    });
    add_traces(&mut inputs, lot, positions);
    Some(post(&[path, "/batch/upsert"].concat(), inputs, Effect::Idempotent))
}

/// The change of deals whose ids are known.
pub(super) fn patch_request(lot: &Lot, positions: &[usize]) -> Request {
    let mut inputs = json::each(lot, positions, &|entry| {
        let properties = Value::Object(records::properties(entry, Made::Deal)?);
        Some(object(&mut [("id", text(entry.deal_external_id.as_deref()?)), ("properties", properties)]))
    });
    add_traces(&mut inputs, lot, positions);
    post("deals/batch/update", inputs, Effect::Idempotent)
}

fn add_traces(inputs: &mut [Value], lot: &Lot, positions: &[usize]) {
    for (input, entry) in inputs.iter_mut().zip(lot.at(positions)) {
        if let Some(fields) = input.as_object_mut() {
            fields.insert("objectWriteTraceId".to_owned(), text(entry.id.as_str()));
        }
    }
}

/// Reads the answer of [`make_request`] or [`patch_request`]. What is in neither `results` nor `errors` may have been written.
///
/// `unsure` is what a lost answer counts as. A record that was made is in doubt then, also by an upsert: that it may be
/// repeated holds while the portal has our property and we know it, and the record is tied to nobody yet.
pub(super) fn read_made(lot: &mut Lot, call: &Call, made: Made, unsure: Effect, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        let outcome = about_the_property(lot, made, errors::classify(answer, unsure, now));
        return lot.fail_or_split(&call.entries, &outcome);
    };
    if body.get("results").is_none() && call.entries.len() == 1 {
        return match hostile::id(body.get("id")) {
            Some(id) => is_made(lot, &call.entries, made, call.request.effect, &id, &body),
            None => lot.fail(&call.entries, &failure::unreadable(response, unsure)),
        };
    }
    let field = unique_field(lot, made).map(str::to_owned);
    let mut results = Vec::new();
    for result in hostile::list(&body, "results") {
        results.push(Told::of(result, field.as_deref()));
    }
    for &at in &call.entries {
        let Some(entry) = lot.entries.get(at) else { continue };
        let key = records::write_key(entry, lot.connection.id.as_str());
        let result = Told::find(&results, entry, made, &key);
        let error = hostile::list(&body, "errors").iter().find(|error| is_error_of(error, entry));
        match (result.and_then(|r| Some((hostile::id(r.get("id"))?, r))), error) {
            (Some((id, result)), _) => is_made(lot, &[at], made, call.request.effect, &id, result),
            (None, Some(item)) => {
                let outcome = about_the_property(lot, made, errors::classify_item(response, item, now));
                lot.fail(&[at], &outcome);
            }
            (None, None) => lot.fail(&[at], &missing(response, &body, unsure, now)),
        }
    }
}

/// A refusal that names our unique property is not about the write: the property is gone, or no longer unique. The write
/// goes again, by what a new probe finds; in doubt, because a lost answer of an earlier try was none while it had the property.
fn about_the_property(lot: &Lot, made: Made, outcome: WriteOutcome) -> WriteOutcome {
    let outcome = if made == Made::Deal { without_deals(outcome) } else { outcome };
    match (unique_field(lot, made), outcome) {
        (Some(field), WriteOutcome::Rejected(failure)) if failure.detail.contains(field) => {
            let code = MECHANISM_GONE_CODE.to_owned();
            WriteOutcome::Unknown(Failure { class: ErrorClass::UnknownOutcome, code, ..failure })
        }
        (_, outcome) => outcome,
    }
}

/// The scopes for deals are optional: without them the write is refused, and the connection is as good as before.
pub(super) fn without_deals(outcome: WriteOutcome) -> WriteOutcome {
    match outcome {
        WriteOutcome::Unauthorized(failure) if failure.code == "MISSING_SCOPES" => WriteOutcome::Rejected(failure),
        outcome => outcome,
    }
}

/// Neither written nor refused, as far as the answer says.
pub(super) fn missing(response: &Response, body: &Value, effect: Effect, now: Timestamp) -> WriteOutcome {
    let verdict = Verdict::new(
        failure::perhaps(effect),
        "missing_in_answer",
        "HubSpot's batch answer says nothing about this record",
    );
    verdict.outcome(Some(response.status), errors::correlation_id(response, Some(body)), now)
}

fn is_made(lot: &mut Lot, positions: &[usize], made: Made, effect: Effect, id: &str, result: &Value) {
    lot.each(positions, |entry| {
        entry.external_ids.insert(made.key().to_owned(), id.to_owned());
        entry.response = Some(hostile::kept(result));
        entry.stage.group = 0;
        // Creates carry their associations; upserts and changes cannot.
        if effect == Effect::Creates {
            entry.stage.ties = ALL_TIED;
        }
    });
}

/// A result and what tells whose it is, read once: a hundred entries look among a hundred of them.
struct Told<'a> {
    result: &'a Value,
    trace: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(result: &'a Value, field: Option<&str>) -> Self {
        let key = field.and_then(|field| hostile::text(result.get("properties")?, field));
        Self { result, trace: hostile::text(result, "objectWriteTraceId"), key }
    }

    /// The trace id is optional in results; our property, a patched deal's id and the marker in the text are not.
    fn find(results: &[Self], entry: &Entry, made: Made, key: &str) -> Option<&'a Value> {
        let by = |is: &dyn Fn(&Self) -> bool| results.iter().find(|told| is(told)).map(|told| told.result);
        let is_deal = |told: &Self| hostile::id(told.result.get("id")) == entry.deal_external_id;
        by(&|told| told.trace == Some(entry.id.as_str()))
            .or_else(|| by(&|told| told.key == Some(key)))
            .or_else(|| if made == Made::Deal && entry.deal_external_id.is_some() { by(&is_deal) } else { None })
            .or_else(|| by(&|told| has_marker(told.result, entry, made)))
    }
}

/// Whether a record carries this write's marker.
pub(super) fn has_marker(record: &Value, entry: &Entry, made: Made) -> bool {
    let text = record.get("properties").and_then(|p| hostile::text(p, made.marker_property()));
    text.is_some_and(|text| text.contains(&entry.marker()))
}

fn is_error_of(error: &Value, entry: &Entry) -> bool {
    let context = error.get("context").unwrap_or(&Value::Null);
    let names = |key: &str, id: Option<&str>| {
        hostile::list(context, key).iter().any(|item| item.as_str() == id && id.is_some())
    };
    // An unknown deal is told by its id alone.
    names("objectWriteTraceId", Some(entry.id.as_str())) || names("ids", entry.deal_external_id.as_deref())
}

/// A batch of these inputs.
pub(super) fn post(path: &str, inputs: Vec<Value>, effect: Effect) -> Request {
    json::post(hosts::objects(path), &object(&mut [("inputs", Value::Array(inputs))]), effect)
}

/// A 2xx answer with a JSON object.
pub(super) fn success(answer: &Answer) -> Option<(&Response, Value)> {
    let response = answer.as_ref().ok().filter(|response| response.is_success())?;
    Some((response, response.json().filter(Value::is_object)?))
}
