//! What the tests start from: lots, answers, and a run of calls against answers written by hand.
#![allow(dead_code, clippy::unnecessary_wraps, reason = "every test file uses some of it; answers are results")]

pub mod org;
pub mod portal;
pub mod stand_in;

use model::connection::ConnectionFacts;
use model::curated::CuratedWrite;
use model::write::{Failure, WriteOutcome};
use model::{ConnectionId, Crm, Secret, Timestamp, WriteId};
use providers::http::{Answer, Body, NoAnswer, Request, Response};
use providers::lot::{Call, Entry, Lot};
use providers::{Provider, provider};
use serde_json::{Value, json};

pub const NOW: Timestamp = Timestamp(1_795_176_000_000);

pub fn answer(status: u16, body: &str) -> Answer {
    answer_with(status, &[], body)
}

pub fn answer_with(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    Ok(Response {
        status,
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        body: Secret::new(body.as_bytes().to_vec()),
    })
}

pub fn json_answer(status: u16, body: &Value) -> Answer {
    answer(status, &body.to_string())
}

pub const fn lost() -> Answer {
    Err(NoAnswer::Lost)
}

/// A write of this action for this address; the number tells entries apart.
pub fn entry(crm: Crm, number: usize, action: &str, email: &str) -> Entry {
    let mut write = json!({
        "crm": crm, "action": action, "object_type": "thread", "object_id": format!("th_{number}"),
        "source_event_id": format!("ev_{number}"), "contact": {"email": email},
    });
    match action {
        "create_task" => {
            write["task"] = json!({"subject": format!("Call {number}"), "due_at": "2026-11-23T09:00:00Z",
                "text": "Line <one>\nline & two", "priority": "high"});
        }
        "create_weekly_rollup" => {
            write["rollup"] = json!({"week_of": "2026-11-16T00:00:00Z", "text": "Two deals moved"});
        }
        "upsert_deal" => {
            write["deal"] =
                json!({"deal_id": format!("d_{number}"), "name": format!("Deal {number}"), "stage": "contractsent"});
        }
        _ => {}
    }
    let write = CuratedWrite::from_json(&write).unwrap();
    Entry::new(WriteId::of(crm, &format!("key{number:03}")).unwrap(), write, NOW.plus_secs(-60))
}

pub fn named(mut entry: Entry, first: &str) -> Entry {
    entry.write.contact.as_mut().unwrap().first_name = Some(first.to_owned());
    entry
}

pub fn doubtful(mut entry: Entry) -> Entry {
    entry.in_doubt = true;
    entry
}

pub fn lot(crm: Crm, entries: Vec<Entry>) -> Lot {
    let instance_url = (crm == Crm::Salesforce).then(|| "https://acme.my.salesforce.com".to_owned());
    let id = ConnectionId::parse("cx_1").unwrap();
    let external_account_id = "4242".to_owned();
    let facts = ConnectionFacts { id, external_account_id, instance_url, mechanisms: None };
    let mut lot = Lot::new(crm, facts, entries);
    if crm == Crm::Hubspot {
        // As the cache has them after the first lot.
        lot.learnt.labels = json!({"labels:tasks:contacts": 204, "labels:tasks:deals": 216, "labels:notes:contacts": 202,
            "labels:notes:deals": 214, "labels:deals:contacts": 3});
    }
    lot
}

pub fn body(request: &Request) -> Value {
    match &request.body {
        Body::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("not JSON: {other:?}"),
    }
}

/// The next call, which must be there, checked for what every call must keep.
pub fn next(lot: &mut Lot) -> Call {
    let call = provider(lot.crm).next_call(lot).expect("a call is due");
    let again = provider(lot.crm).next_call(lot).expect("the same call is due until its answer is read");
    assert_eq!((&call.request, &call.entries), (&again.request, &again.entries));
    assert!(call.request.bearer.is_none() && call.request.url.starts_with("https://"), "{}", call.request.url);
    assert!(!call.entries.is_empty());
    call
}

/// Sends the next call against this answer and gives it back.
pub fn step(lot: &mut Lot, answer: &Answer) -> Call {
    let call = next(lot);
    provider(lot.crm).read_call(lot, &call, answer, NOW);
    call
}

/// Sends every call the lot still has against what `respond` answers; a lot never needs more than `most`.
pub fn run(lot: &mut Lot, most: usize, mut respond: impl FnMut(&Request) -> Answer) -> Vec<Request> {
    let mut sent = Vec::new();
    while let Some(call) = provider(lot.crm).next_call(lot) {
        assert!(sent.len() < most, "no end after {most} calls: {:?}", lot.entries);
        let answer = respond(&call.request);
        provider(lot.crm).read_call(lot, &call, &answer, NOW);
        sent.push(call.request);
    }
    assert!(lot.is_settled(), "{:?}", lot.entries);
    sent
}

/// `applied`, `rejected`, `retry_after`, `unauthorized` or `unknown`.
pub fn name(outcome: Option<&WriteOutcome>) -> &'static str {
    match outcome {
        None => "none",
        Some(WriteOutcome::Applied) => "applied",
        Some(WriteOutcome::Rejected(_)) => "rejected",
        Some(WriteOutcome::RetryAfter(_)) => "retry_after",
        Some(WriteOutcome::Unauthorized(_)) => "unauthorized",
        Some(WriteOutcome::Unknown(_)) => "unknown",
    }
}

pub fn names(lot: &Lot) -> Vec<&'static str> {
    lot.entries.iter().map(|entry| name(entry.outcome.as_ref())).collect()
}

pub fn failure(outcome: &WriteOutcome) -> Failure {
    providers::failure::of(outcome.clone()).expect("a failing outcome")
}
