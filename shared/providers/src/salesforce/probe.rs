//! What an org has of what we need (providers reference 2.5, 2.7, 2.12): our External Id field on tasks, leads and
//! opportunities, unique and writable by the user; and composites that do what `single` asks of them. Nothing is written.

use super::composite;
use super::keys::KEY_FIELD;
use super::people::row_id;
use super::{errors, hosts};
use crate::hostile;
use crate::http::{Answer, Effect, Request, Response};
use crate::probe::Probe;
use model::Timestamp;
use model::connection::ConnectionFacts;
use model::mechanisms::{Mechanism, RecordKind};
use model::write::WriteOutcome;
use serde_json::Value;

/// Object, what it is to us, and how many characters its keys have: a write's id 47, an address 254.
const OBJECTS: [(&str, RecordKind, u64); 3] =
    [("Task", RecordKind::Task, 64), ("Lead", RecordKind::Lead, 255), ("Opportunity", RecordKind::Deal, 64)];
/// The step after the objects.
const GATE: u8 = 3;
const DONE: u8 = 4;

/// The next question.
pub(super) fn next(probe: &mut Probe, facts: &ConnectionFacts) -> Option<Request> {
    let Some(instance) = facts.instance_url.as_deref().and_then(hosts::instance_url) else {
        probe.inconclusive = true;
        return None;
    };
    let is_keyed = |kind| matches!(probe.found.of(kind), Mechanism::UniqueField(_));
    match probe.step {
        step if step < GATE => {
            let (object, ..) = OBJECTS.get(usize::from(step))?;
            Some(Request::get(format!("{instance}{}", hosts::data_path(&format!("sobjects/{object}/describe")))))
        }
        // One call is for leads with a key: without it nothing would be asked of the composite.
        GATE if is_keyed(RecordKind::Lead) => Some(gate(&instance)),
        _ => None,
    }
}

/// The organisation's one row is there at offset 0, gone at offset 1, and what refers to the row that is gone is not run.
fn gate(instance: &str) -> Request {
    let parts = [
        composite::query("SELECT Id FROM Organization WHERE Id = null LIMIT 1", "nobody"),
        composite::query("SELECT Id FROM Organization LIMIT 1 OFFSET @{nobody.totalSize}", "open"),
        composite::query("SELECT Id FROM Organization WHERE Id = '@{open.records[0].Id}' LIMIT 1", "somebody"),
        composite::query("SELECT Id FROM Organization LIMIT 1 OFFSET @{somebody.totalSize}", "shut"),
        composite::query("SELECT Id FROM Organization WHERE Id = '@{shut.records[0].Id}' LIMIT 1", "behind"),
    ];
    composite::request(instance, &parts, Effect::Reads)
}

/// Reads an answer. A refusal is an answer, too: the user may not see the object, or the org does not take the composite.
pub(super) fn read(probe: &mut Probe, answer: &Answer, facts: &ConnectionFacts) {
    let body = answer.as_ref().ok().filter(|response| response.is_success()).and_then(Response::json);
    let Some(body) = body else {
        probe.inconclusive |=
            !matches!(errors::classify(answer, Effect::Reads, Timestamp(0)), WriteOutcome::Rejected(_));
        probe.step = if probe.inconclusive { DONE } else { probe.step.saturating_add(1) };
        return;
    };
    if probe.step == GATE {
        if is_gate_kept(&body, &facts.external_account_id) {
            probe.found.set(RecordKind::Contact, Mechanism::Upsert);
        }
    } else if let Some((_, kind, chars)) = OBJECTS.get(usize::from(probe.step))
        && let Some(field) = key_field(&body, *chars)
    {
        probe.found.set(*kind, Mechanism::UniqueField(field));
    }
    probe.step = probe.step.saturating_add(1);
}

/// The name of our field in a describe, when it is unique, long enough, and the user's to write. A package puts its prefix
/// before it.
fn key_field(describe: &Value, chars: u64) -> Option<String> {
    let is = |field: &Value, flag: &str| field.get(flag).and_then(Value::as_bool) == Some(true);
    let fits = |field: &&Value| {
        let name = hostile::text(field, "name").unwrap_or_default();
        let ours = name == KEY_FIELD || name.strip_suffix(KEY_FIELD).is_some_and(|prefix| prefix.ends_with("__"));
        ours && name.len() <= 60
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && ["externalId", "unique", "createable", "updateable"].iter().all(|flag| is(field, flag))
            && field.get("length").and_then(Value::as_u64).is_some_and(|length| length >= chars)
    };
    let field = hostile::list(describe, "fields").iter().find(fits)?;
    hostile::text(field, "name").map(str::to_owned)
}

fn is_gate_kept(body: &Value, org: &str) -> bool {
    let part = |reference| composite::find(body, reference);
    let rows = |reference| part(reference).filter(composite::Part::is_success).and_then(|part| part.rows());
    let is_empty = |reference| rows(reference).is_some_and(|(rows, _)| rows.is_empty());
    let is_org = |reference| {
        let row = rows(reference).and_then(|(rows, _)| rows.first());
        row.and_then(|row| row_id(row, "Id")).as_deref() == Some(org)
    };
    let behind = part("behind").is_some_and(|part| (400..500).contains(&part.status));
    is_empty("nobody") && is_org("open") && is_org("somebody") && is_empty("shut") && behind
}
