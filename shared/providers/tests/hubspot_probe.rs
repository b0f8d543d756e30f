//! The probe of a portal: which kinds of record take our unique property, told by reading it back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::{answer, body, json_answer, lost, lot};
use model::Crm::Hubspot;
use model::connection::ConnectionFacts;
use model::mechanisms::{Mechanism, Mechanisms, RecordKind};
use providers::http::{Answer, Method, Request};
use providers::hubspot::probe::WRITE_KEY;
use providers::probe::Probe;
use providers::{Provider, provider};
use serde_json::{Value, json};

fn facts() -> ConnectionFacts {
    lot(Hubspot, vec![]).connection
}

/// Probes a portal, at most twelve calls; answers what was sent and found.
fn probe(mut respond: impl FnMut(&Request) -> Answer) -> (Vec<Request>, Option<Mechanisms>) {
    let (mut probe, mut sent) = (Probe::new(), Vec::new());
    while let Some(request) = provider(Hubspot).probe_call(&mut probe, &facts()) {
        assert!(sent.len() < 12);
        let answer = respond(&request);
        provider(Hubspot).read_probe(&mut probe, &answer, &facts());
        sent.push(request);
    }
    (sent, probe.conclusion())
}

fn is_unique(found: &Mechanisms) -> [bool; 3] {
    let unique = Mechanism::UniqueField(WRITE_KEY.to_owned());
    [RecordKind::Task, RecordKind::Note, RecordKind::Deal].map(|kind| found.of(kind) == &unique)
}

fn not_there() -> Answer {
    json_answer(404, &json!({"category": "OBJECT_NOT_FOUND"}))
}

/// A portal whose properties are made by this policy: the status of a create, and whether it is unique afterwards.
fn portal(create: u16, unique: Value) -> impl FnMut(&Request) -> Answer {
    let mut made = Vec::new();
    move |request: &Request| {
        let path = request.url.split("/crm/properties/2026-03/").nth(1).unwrap().to_owned();
        match (request.method, path.split_once('/')) {
            (Method::Get, Some((kind, WRITE_KEY))) if made.contains(&kind.to_owned()) => {
                json_answer(200, &json!({"name": WRITE_KEY, "hasUniqueValue": unique}))
            }
            (Method::Get, Some((_, WRITE_KEY))) => not_there(),
            (Method::Get, Some((kind, _))) => {
                json_answer(200, &json!({"name": "x", "groupName": format!("{kind}_group")}))
            }
            (Method::Post, None) => {
                assert_eq!(body(request)["groupName"], format!("{path}_group"), "where its neighbour is");
                assert_eq!(
                    (&body(request)["name"], &body(request)["hasUniqueValue"]),
                    (&json!(WRITE_KEY), &json!(true))
                );
                if matches!(create, 201 | 409) {
                    made.push(path);
                }
                // What the answer to a create says is not believed.
                json_answer(create, &json!({"name": WRITE_KEY, "hasUniqueValue": true, "category": "X"}))
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn a_property_counts_when_reading_it_back_says_that_it_is_unique() {
    for (create, unique, expected, calls) in [
        (201, json!(true), true, 12),
        (409, json!(true), true, 12),
        (201, json!(false), false, 12),
        (201, json!(null), false, 12),
        (201, json!("true"), false, 12),
        (400, json!(true), false, 9),
        (403, json!(true), false, 9),
        (404, json!(true), false, 9),
    ] {
        let (sent, found) = probe(portal(create, unique));
        let found = found.expect("every answer is one to the question");
        assert_eq!((is_unique(&found), sent.len()), ([expected; 3], calls), "{create}");
        assert_eq!(found.of(RecordKind::Contact), &Mechanism::Upsert);
        assert!(sent.iter().all(|request| request.bearer.is_none()));
    }
}

#[test]
fn a_property_that_is_there_is_one_call_for_each_kind() {
    for (unique, expected) in [(true, true), (false, false)] {
        let (sent, found) = probe(|_| json_answer(200, &json!({"name": WRITE_KEY, "hasUniqueValue": unique})));
        assert_eq!((sent.len(), is_unique(&found.unwrap())), (3, [expected; 3]));
    }
}

#[test]
fn each_kind_is_told_apart() {
    let (_, found) = probe(|request| {
        let is_task = request.url.contains("/tasks/");
        let is_note = request.url.contains("/notes/");
        match (is_task, is_note) {
            (true, _) => json_answer(403, &json!({"category": "MISSING_SCOPES"})),
            (_, true) => json_answer(200, &json!({"hasUniqueValue": false})),
            _ => json_answer(200, &json!({"hasUniqueValue": true})),
        }
    });
    assert_eq!(is_unique(&found.unwrap()), [false, false, true]);
}

#[test]
fn what_is_no_answer_to_the_question_is_asked_again_another_time() {
    for given in [
        lost(),
        answer(401, "{}"),
        answer(423, "{}"),
        answer(429, "{}"),
        answer(477, "{}"),
        answer(500, "<html>"),
        answer(403, "<html>"),
        answer(200, "<html>"),
        answer(302, ""),
    ] {
        for at in 0..4 {
            let mut good = portal(201, json!(true));
            let mut count = 0;
            let (sent, found) = probe(|request| {
                count += 1;
                if count == at + 1 { given.clone() } else { good(request) }
            });
            assert_eq!((sent.len(), found), (at + 1, None), "{given:?} at {at}");
        }
    }
}
