//! Association types: as the portal lists them, and as documented where it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod given;

use given::portal::{accept, keyed, path, rollup, task};
use given::{answer, body, json_answer, lost, lot, next, run};
use model::Crm::Hubspot;
use providers::http::{Effect, Request};
use providers::lot::{Cached, Entry, Lot};
use serde_json::{Value, json};

/// A lot that nobody told of the portal's types, with a task about a deal, a note, and a task.
fn ignorant() -> Lot {
    let of_a_deal = Entry { deal_external_id: Some("77".to_owned()), ..task(1, "ada@example.com") };
    let mut lot = lot(Hubspot, vec![of_a_deal, rollup(2, "ada@example.com"), task(3, "eve@example.com")]);
    lot.learnt.labels = Value::Null;
    lot
}

fn is_list(request: &Request) -> bool {
    request.url.ends_with("/labels")
}

/// Every type that a record was made with, by the kind of record.
fn types_made_with(sent: &[Request]) -> Vec<(String, Vec<u64>)> {
    let made = sent.iter().filter(|request| request.effect == Effect::Creates);
    made.map(|request| {
        let body = body(request);
        let inputs = body["inputs"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        let ties = inputs.iter().flat_map(|input| input["associations"].as_array().unwrap().clone());
        let types = ties.map(|tie| tie["types"][0]["associationTypeId"].as_u64().unwrap()).collect();
        (path(request), types)
    })
    .collect()
}

#[test]
fn a_record_is_tied_by_the_types_that_the_portal_lists() {
    // A portal of another numbering than the documented one, with a label of its own and a primary type before the plain one.
    let list = |request: &Request| {
        let plain = if request.url.contains("/tasks/contacts/") { 9204 } else { 9000 };
        json_answer(
            200,
            &json!({"results": [
                {"category": "USER_DEFINED", "typeId": 36, "label": null},
                {"category": "HUBSPOT_DEFINED", "typeId": 1, "label": "Primary"},
                {"category": "HUBSPOT_DEFINED", "typeId": plain, "label": null},
            ]}),
        )
    };
    let mut lot = ignorant();
    let sent = run(&mut lot, 6, |request| if is_list(request) { list(request) } else { accept(request) });
    let lists: Vec<String> = sent.iter().filter(|request| is_list(request)).map(path).collect();
    let expected = ["tasks/contacts", "tasks/deals", "notes/contacts"];
    assert_eq!(lists, expected.map(|pair| format!("GET /crm/associations/2026-03/{pair}/labels")), "each once");
    assert_eq!(
        types_made_with(&sent),
        [
            ("POST /crm/objects/2026-03/tasks/batch/create".to_owned(), vec![9204, 9000, 9204]),
            ("POST /crm/objects/2026-03/notes".to_owned(), vec![9000]),
        ]
    );
}

#[test]
fn a_list_may_be_kept_for_a_day() {
    let mut lot = ignorant();
    given::step(&mut lot, &given::portal::upserted(&[("100", "ada@example.com"), ("101", "eve@example.com")]));
    let call = next(&mut lot);
    let cached = Cached { name: "labels:tasks:contacts", ttl_secs: 86_400, afresh: false };
    assert_eq!((is_list(&call.request), call.cached), (true, Some(cached)));
}

#[test]
fn without_the_list_a_record_is_tied_as_documented_and_nothing_waits() {
    let nonsense = json!({"results": [{"category": "HUBSPOT_DEFINED", "typeId": "x", "label": null}, 7, null]});
    let answers = [
        lost(),
        answer(503, "<html>"),
        answer(403, r#"{"category":"MISSING_SCOPES"}"#),
        answer(404, "{}"),
        answer(429, "{}"),
        answer(200, "[]"),
        json_answer(200, &nonsense),
        json_answer(200, &json!({"results": []})),
    ];
    for given in answers {
        let mut lot = ignorant();
        let sent = run(&mut lot, 6, |request| if is_list(request) { given.clone() } else { accept(request) });
        let types: Vec<Vec<u64>> = types_made_with(&sent).into_iter().map(|(_, types)| types).collect();
        assert_eq!(types, [vec![204, 216, 204], vec![202]], "{given:?}");
        assert_eq!(given::names(&lot), ["applied"; 3], "{given:?}");
    }
}

#[test]
fn where_records_are_tied_afterwards_nobody_asks() {
    let sent = run(&mut keyed(ignorant()), 9, accept);
    assert!(!sent.iter().any(is_list));
}
