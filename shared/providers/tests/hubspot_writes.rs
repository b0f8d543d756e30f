//! Lots at HubSpot: which calls are made, what every answer does to every entry, and that nothing is created twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::portal::{accept, contact, path, rollup, task, upserted};
use given::{NOW, answer, body, doubtful, failure, json_answer, lost, lot, named, names, next, run, step};
use model::Crm::Hubspot;
use model::write::WriteOutcome;
use providers::http::{Effect, Method};
use providers::lot::{Entry, Lot};
use providers::{Provider, provider};
use serde_json::json;

#[test]
fn one_task_is_two_calls_with_everything_in_them() {
    let mut lot = lot(Hubspot, vec![named(task(1, "ada@example.com"), "Ada")]);
    let sent = run(&mut lot, 2, accept);
    assert_eq!(path(&sent[0]), "POST /crm/objects/2026-03/contacts/batch/upsert");
    assert_eq!(sent[0].effect, Effect::Idempotent);
    assert_eq!(
        body(&sent[0]),
        json!({"inputs": [{"id": "ada@example.com", "idProperty": "email",
               "properties": {"email": "ada@example.com", "firstname": "Ada"}}]})
    );
    assert_eq!(path(&sent[1]), "POST /crm/objects/2026-03/tasks");
    assert_eq!(sent[1].effect, Effect::Creates);
    assert_eq!(
        body(&sent[1]),
        json!({
            "properties": {
                "hs_timestamp": "2026-11-23T09:00:00.000Z", "hs_task_subject": "Call 1", "hs_task_status": "NOT_STARTED",
                "hs_task_type": "TODO", "hs_task_priority": "HIGH",
                "hs_task_body": "Line &lt;one&gt;<br>line &amp; two<br><br>[conduit:wr_hkey001]",
            },
            "associations": [{"to": {"id": "100"},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]}],
        })
    );
    let entry = &lot.entries[0];
    assert_eq!(entry.outcome, Some(WriteOutcome::Applied));
    assert_eq!(json!(entry.external_ids), json!({"contact": "100", "task": "500"}));
    assert_eq!(entry.response.as_ref().unwrap()["id"], "500");
}

#[test]
fn a_rollup_is_a_note_and_a_contact_is_one_call() {
    let mut lot = lot(Hubspot, vec![rollup(1, "ada@example.com")]);
    let sent = run(&mut lot, 2, accept);
    assert_eq!(path(&sent[1]), "POST /crm/objects/2026-03/notes");
    let note = body(&sent[1]);
    assert_eq!(note["properties"]["hs_timestamp"], "2026-11-16T00:00:00.000Z");
    assert_eq!(note["properties"]["hs_note_body"], "Two deals moved<br><br>[conduit:wr_hkey001]");
    assert_eq!(note["associations"][0]["types"][0]["associationTypeId"], 202);
    assert!(lot.entries[0].external_ids.contains_key("note"));
    let mut lot = given::lot(Hubspot, vec![contact(1, "ada@example.com")]);
    assert_eq!(run(&mut lot, 1, accept).len(), 1);
    assert_eq!(names(&lot), ["applied"]);
}

#[test]
fn a_hundred_writes_are_two_calls_whatever_the_order_of_results() {
    let entries = (0..100).map(|n| task(n, &format!("p{n}@example.com"))).collect();
    let mut lot = lot(Hubspot, entries);
    let sent = run(&mut lot, 2, accept);
    assert_eq!(path(&sent[1]), "POST /crm/objects/2026-03/tasks/batch/create");
    assert_eq!(body(&sent[1])["inputs"][7]["objectWriteTraceId"], "wr_hkey007");
    for (n, entry) in lot.entries.iter().enumerate() {
        assert_eq!(json!(entry.external_ids), json!({"contact": (100 + n).to_string(), "task": (500 + n).to_string()}));
    }
    // Of all kinds: one call for contacts, one for tasks, one for notes.
    let mixed = vec![
        task(1, "a@example.com"),
        rollup(2, "a@example.com"),
        contact(3, "b@example.com"),
        rollup(4, "c@example.com"),
        task(5, "c@example.com"),
    ];
    let mut lot = given::lot(Hubspot, mixed);
    assert_eq!(run(&mut lot, 3, accept).len(), 3);
    assert_eq!(names(&lot), ["applied"; 5]);
}

#[test]
fn one_address_is_upserted_once_with_later_properties_over_earlier() {
    let mut second = named(task(2, "ada@example.com"), "Ada Maria");
    second.write.contact.as_mut().unwrap().phone = Some("+1".into());
    let first = named(task(1, "ada@example.com"), "Ada");
    let mut lot = lot(Hubspot, vec![first, second, contact(3, "bob@example.com")]);
    let call = step(&mut lot, &upserted(&[("8", "BOB@example.com"), ("7", "Ada@Example.com")]));
    let inputs = body(&call.request)["inputs"].clone();
    assert_eq!(inputs.as_array().unwrap().len(), 2);
    assert_eq!(inputs[0]["properties"], json!({"email": "ada@example.com", "firstname": "Ada Maria", "phone": "+1"}));
    let ids: Vec<_> = lot.entries.iter().map(|entry| entry.external_ids["contact"].as_str()).collect();
    assert_eq!(ids, ["7", "7", "8"]);
}

#[test]
fn a_further_address_finds_its_contact_under_another_one() {
    let mut lot = lot(Hubspot, vec![contact(1, "old@example.com"), contact(2, "bob@example.com")]);
    step(
        &mut lot,
        &json_answer(
            200,
            &json!({"results": [
                {"id": "7", "properties": {"email": "new@example.com", "hs_additional_emails": "x@example.com;old@example.com"}},
                {"id": "8", "properties": {"email": "bob@example.com"}}]}),
        ),
    );
    assert_eq!(lot.entries[0].external_ids["contact"], "7");
    // Without that property it is asked for again, alone, and then the only result is its own.
    let mut lot = given::lot(Hubspot, vec![contact(1, "old@example.com"), contact(2, "bob@example.com")]);
    step(&mut lot, &upserted(&[("7", "new@example.com"), ("8", "bob@example.com")]));
    let call = step(&mut lot, &upserted(&[("7", "new@example.com")]));
    assert_eq!(call.entries, [0]);
    assert_eq!(lot.entries[0].external_ids["contact"], "7");
    assert_eq!(names(&lot), ["applied"; 2]);
}

#[test]
fn a_poison_record_is_isolated_and_the_others_land() {
    for poison in [vec![0], vec![37], vec![99], vec![3, 4, 80]] {
        let entries = (0..100).map(|n| contact(n, &format!("p{n}@example.com"))).collect();
        let mut lot = lot(Hubspot, entries);
        let bad: Vec<String> = poison.iter().map(|n| format!("p{n}@example.com")).collect();
        let sent = run(&mut lot, 15 * poison.len(), |request| {
            let inputs = body(request)["inputs"].as_array().unwrap().clone();
            if inputs.iter().any(|input| bad.iter().any(|b| *b == input["id"])) {
                return json_answer(400, &json!({"category": "VALIDATION_ERROR", "message": "Email is invalid"}));
            }
            accept(request)
        });
        for (n, entry) in lot.entries.iter().enumerate() {
            let rejected = matches!(entry.outcome, Some(WriteOutcome::Rejected(_)));
            assert_eq!(rejected, poison.contains(&n), "{n} after {} calls", sent.len());
        }
    }
}

#[test]
fn every_try_settles_some_even_when_all_are_refused() {
    let mut lot = lot(Hubspot, (0..100).map(|n| contact(n, &format!("p{n}@example.com"))).collect());
    for _ in 0..24 {
        step(&mut lot, &json_answer(400, &json!({"category": "VALIDATION_ERROR"})));
    }
    assert!(lot.entries.iter().filter(|entry| entry.outcome.is_some()).count() >= 8, "{:?}", names(&lot));
    assert_eq!(names(&lot)[0], "rejected");
}

#[test]
fn a_partial_create_is_read_by_trace_id_and_by_marker() {
    let mut lot = lot(Hubspot, (0..4).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    let call = next(&mut lot);
    provider(Hubspot).read_call(&mut lot, &call, &accept(&call.request), NOW);
    let create = step(
        &mut lot,
        &json_answer(
            207,
            &json!({"status": "COMPLETE", "numErrors": 1,
                "results": [
                    {"id": "502", "properties": {"hs_task_body": "x<br>[conduit:wr_hkey002]"}},
                    {"id": "500", "objectWriteTraceId": "wr_hkey000", "properties": {}}],
                "errors": [{"status": "error", "category": "VALIDATION_ERROR", "message": "bad",
                    "context": {"objectWriteTraceId": ["wr_hkey001"]}}]}),
        ),
    );
    assert_eq!(create.entries, [0, 1, 2, 3]);
    // The fourth is in neither list: perhaps written.
    assert_eq!(names(&lot), ["applied", "rejected", "applied", "unknown"]);
    assert_eq!(lot.entries[2].external_ids["task"], "502");
    assert_eq!(failure(lot.entries[3].outcome.as_ref().unwrap()).code, "missing_in_answer");
}

#[test]
fn what_is_lost_in_each_step_is_unknown_only_where_something_may_be_made() {
    for (given, upsert, create) in [
        (lost(), "retry_after", "unknown"),
        (answer(502, "<html>"), "retry_after", "unknown"),
        (answer(524, ""), "retry_after", "unknown"),
        (answer(201, "{\"id\":"), "retry_after", "unknown"),
        (json_answer(201, &json!({})), "retry_after", "unknown"),
        (json_answer(201, &json!({"id": "../1"})), "retry_after", "unknown"),
        (answer(423, "{}"), "retry_after", "retry_after"),
        (answer(429, "{}"), "retry_after", "retry_after"),
        (answer(401, "{}"), "unauthorized", "unauthorized"),
        (answer(400, "{}"), "rejected", "rejected"),
        (Err(providers::http::NoAnswer::NotSent), "retry_after", "retry_after"),
    ] {
        let mut at_upsert = lot(Hubspot, vec![task(1, "ada@example.com")]);
        step(&mut at_upsert, &given);
        assert_eq!(names(&at_upsert), [upsert], "{given:?}");
        let mut at_create = lot(Hubspot, vec![task(1, "ada@example.com")]);
        step(&mut at_create, &upserted(&[("7", "ada@example.com")]));
        step(&mut at_create, &given);
        assert_eq!(names(&at_create), [create], "{given:?}");
        assert_eq!(at_create.entries[0].external_ids["contact"], "7", "what is known is kept");
    }
}

#[test]
fn a_step_whose_id_is_known_is_not_repeated() {
    let known = |mut entry: Entry, ids: &[&str]| {
        entry.external_ids = ids.iter().map(|key| ((*key).to_owned(), "7".to_owned())).collect();
        entry
    };
    let mut lot = lot(
        Hubspot,
        vec![
            known(task(1, "a@example.com"), &["contact", "task"]),
            known(contact(2, "b@example.com"), &["contact"]),
            known(task(3, "c@example.com"), &["contact"]),
        ],
    );
    let sent = run(&mut lot, 2, accept);
    assert_eq!(path(&sent[0]), "POST /crm/objects/2026-03/tasks");
    // A record without its association would be half an effect: what is not certain is made again, and is nothing new then.
    assert_eq!(path(&sent[1]), "PUT /crm/objects/2026-03/tasks/7/associations/default/contacts/7");
    assert_eq!(names(&lot), ["applied"; 3]);
}

#[test]
fn a_refused_token_leaves_the_same_call_to_be_sent_again() {
    let mut lot = lot(Hubspot, vec![task(1, "a@example.com"), task(2, "b@example.com")]);
    let call = step(&mut lot, &answer(401, "{}"));
    assert_eq!(names(&lot), ["unauthorized"; 2]);
    lot.entries.iter_mut().for_each(|entry| entry.outcome = None);
    assert_eq!(next(&mut lot).request, call.request);
}

#[test]
fn a_dry_run_is_the_calls_with_places_for_what_is_not_known() {
    let mut lot = lot(Hubspot, vec![named(task(1, "ada@example.com"), "Ada")]);
    let dry = provider(Hubspot).dry_run(lot.clone());
    let sent = run(&mut lot, 2, accept);
    assert_eq!(dry[0], sent[0]);
    assert_eq!(dry[1].url, sent[1].url);
    assert_eq!(body(&dry[1])["associations"][0]["to"]["id"], "@{contact}");
    assert_eq!(body(&dry[1])["properties"], body(&sent[1])["properties"]);
    let many: Lot = given::lot(Hubspot, (0..100).map(|n| rollup(n, &format!("p{n}@example.com"))).collect());
    assert_eq!(provider(Hubspot).dry_run(many.clone()).len(), 2);
    assert_eq!(provider(Hubspot).expected_calls(&many), 2, "and so many permits are asked for");
    let mixed = given::lot(
        Hubspot,
        vec![task(1, "a@example.com"), rollup(2, "a@example.com"), doubtful(task(3, "b@example.com"))],
    );
    assert_eq!(provider(Hubspot).expected_calls(&mixed), 7, "contacts, tasks, notes, three to look, one to tie");
    assert!(provider(Hubspot).dry_run(many.clone()).iter().all(|request| request.method == Method::Post));
    assert!(many.entries.iter().all(|entry| entry.outcome.is_none()), "a dry run changes nothing");
}

#[test]
fn a_write_without_its_part_is_rejected_before_anything_is_sent() {
    let mut broken = task(1, "a@example.com");
    broken.write.task = None;
    let mut lot = lot(Hubspot, vec![broken]);
    assert!(provider(Hubspot).next_call(&mut lot).is_none());
    assert_eq!(names(&lot), ["rejected"]);
}
