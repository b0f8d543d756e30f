//! HubSpot's batch endpoints: contacts by upsert, tasks and notes by create (providers reference 1.5, 1.6).
//!
//! Upserts go without trace ids ("partial upserts are not supported when using email"), so one bad contact refuses all of
//! them and nothing is written: the lot is then split by halves. Creates go with a trace id each, and the good ones land.

use super::errors;
use super::hosts;
use super::records::{self, Engagement};
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Body, Effect, Method, Request, Response};
use crate::lot::{Call, Entry, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::{Map, Value, json};

/// The upsert of these entries' contacts, by e-mail: each address once, later entries' properties over earlier ones'.
pub(super) fn upsert_request(lot: &Lot, positions: &[usize]) -> Request {
    let mut contacts: Vec<(&str, Map<String, Value>)> = Vec::new();
    for entry in lot.at(positions) {
        let Some(contact) = &entry.write.contact else { continue };
        let properties = records::contact_properties(contact);
        match contacts.iter_mut().find(|(email, _)| email.eq_ignore_ascii_case(&contact.email)) {
            Some((_, merged)) => merged.extend(properties),
            None => contacts.push((&contact.email, properties)),
        }
    }
    let inputs: Vec<Value> = contacts
        .into_iter()
        .map(|(email, properties)| json!({"id": email, "idProperty": "email", "properties": properties}))
        .collect();
    post("contacts/batch/upsert", &json!({"inputs": inputs}), Effect::Idempotent)
}

/// Gives each entry its contact's id. Results come shuffled; an address may be known to HubSpot as a contact's further one
/// only, and then the result carries another: such entries are asked for again in halves, and a single one is alone.
pub(super) fn read_upsert(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        return lot.fail_or_split(&call.entries, &errors::classify(answer, call.request.effect, now));
    };
    let results = hostile::list(&body, "results");
    let mut unmatched = Vec::new();
    for &at in &call.entries {
        let Some(contact) = lot.entries.get(at).and_then(|entry| entry.write.contact.as_ref()) else { continue };
        let email = contact.email.clone();
        match results.iter().find(|result| is_of(result, &email)).and_then(|r| Some((hostile::id(r.get("id"))?, r))) {
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
        (None, Some(item)) => lot.fail(&unmatched, &errors::classify_item(response, item, now)),
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

/// Whether a contact has this address, as its own or as a further one (`;` between them). HubSpot lower-cases addresses.
fn is_of(result: &Value, email: &str) -> bool {
    let Some(properties) = result.get("properties") else { return false };
    let further = hostile::text(properties, "hs_additional_emails").unwrap_or_default();
    let own = hostile::text(properties, "email").unwrap_or_default();
    std::iter::once(own).chain(further.split(';')).any(|one| one.trim().eq_ignore_ascii_case(email))
}

/// The create of these entries' tasks or notes: one alone by the plain endpoint, several as a batch with a trace id each.
pub(super) fn create_request(lot: &Lot, positions: &[usize], engagement: Engagement) -> Option<Request> {
    let path = engagement.path();
    let mut inputs: Vec<Value> = lot.at(positions).filter_map(|entry| create_input(entry, engagement)).collect();
    if positions.len() == 1 {
        return Some(post(path, &inputs.pop()?, Effect::Creates));
    }
    for (input, entry) in inputs.iter_mut().zip(lot.at(positions)) {
        if let Some(fields) = input.as_object_mut() {
            fields.insert("objectWriteTraceId".to_owned(), json!(entry.id));
        }
    }
    Some(post(&format!("{path}/batch/create"), &json!({"inputs": inputs}), Effect::Creates))
}

fn create_input(entry: &Entry, engagement: Engagement) -> Option<Value> {
    records::engagement_input(entry, engagement, entry.external_ids.get("contact")?)
}

/// Reads a plain create's or a batch's answer. What is in neither `results` nor `errors` may have been written.
pub(super) fn read_create(lot: &mut Lot, call: &Call, engagement: Engagement, answer: &Answer, now: Timestamp) {
    let Some((response, body)) = success(answer) else {
        return lot.fail_or_split(&call.entries, &errors::classify(answer, call.request.effect, now));
    };
    if body.get("results").is_none() && call.entries.len() == 1 {
        return match hostile::id(body.get("id")) {
            Some(id) => created(lot, &call.entries, engagement, &id, &body),
            None => lot.fail(&call.entries, &failure::unreadable(response, call.request.effect)),
        };
    }
    for &at in &call.entries {
        let Some(entry) = lot.entries.get(at) else { continue };
        let result = hostile::list(&body, "results").iter().find(|result| is_result_of(result, entry, engagement));
        let error = hostile::list(&body, "errors").iter().find(|error| is_error_of(error, entry));
        match (result.and_then(|r| Some((hostile::id(r.get("id"))?, r))), error) {
            (Some((id, result)), _) => created(lot, &[at], engagement, &id, result),
            (None, Some(item)) => lot.fail(&[at], &errors::classify_item(response, item, now)),
            (None, None) => lot.fail(&[at], &missing(response, &body, now)),
        }
    }
}

/// Neither written nor refused, as far as the answer says.
fn missing(response: &Response, body: &Value, now: Timestamp) -> WriteOutcome {
    let verdict = Verdict::new(
        ErrorClass::UnknownOutcome,
        "missing_in_answer",
        "HubSpot's batch answer says nothing about this record",
    );
    verdict.outcome(Some(response.status), errors::correlation_id(response, Some(body)), now)
}

fn created(lot: &mut Lot, positions: &[usize], engagement: Engagement, id: &str, result: &Value) {
    lot.each(positions, |entry| {
        entry.external_ids.insert(engagement.key().to_owned(), id.to_owned());
        entry.response = Some(hostile::kept(result));
        entry.outcome = Some(WriteOutcome::Applied);
    });
}

/// The trace id is optional in results; the marker in the text is not.
fn is_result_of(result: &Value, entry: &Entry, engagement: Engagement) -> bool {
    hostile::text(result, "objectWriteTraceId") == Some(entry.id.as_str()) || has_marker(result, entry, engagement)
}

/// Whether a record carries this write's marker.
pub(super) fn has_marker(record: &Value, entry: &Entry, engagement: Engagement) -> bool {
    let text = record.get("properties").and_then(|p| hostile::text(p, engagement.body_property()));
    text.is_some_and(|text| text.contains(&entry.marker()))
}

fn is_error_of(error: &Value, entry: &Entry) -> bool {
    let context = error.get("context").unwrap_or(&Value::Null);
    hostile::list(context, "objectWriteTraceId").iter().any(|id| id.as_str() == Some(entry.id.as_str()))
}

pub(super) fn post(path: &str, body: &Value, effect: Effect) -> Request {
    Request::new(Method::Post, hosts::objects(path), Body::Json(body.to_string()), effect)
}

/// A 2xx answer with a JSON object.
pub(super) fn success(answer: &Answer) -> Option<(&Response, Value)> {
    let response = answer.as_ref().ok().filter(|response| response.is_success())?;
    Some((response, response.json().filter(Value::is_object)?))
}
