//! Writes at HubSpot whose earlier try went unanswered: looked for before anything is created.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::portal::{accept, looked, path, task};
use given::{NOW, answer, body, doubtful, failure, json_answer, lost, lot, names, next, run, step};
use model::Crm::Hubspot;
use model::write::ErrorClass;
use providers::{Provider, provider};
use serde_json::{Value, json};

#[test]
fn what_is_in_doubt_is_looked_for_before_anything_is_created() {
    let entries = vec![
        doubtful(task(0, "found@example.com")),
        doubtful(task(1, "nothing@example.com")),
        doubtful(task(2, "others@example.com")),
        task(3, "fresh@example.com"),
    ];
    let mut lot = lot(Hubspot, entries);
    assert_eq!(provider(Hubspot).expected_calls(&lot), 6, "contacts, tasks, ties, and three to look");
    let sent = run(&mut lot, 8, |request| {
        // Contact ids are 100, 101, 102, 103 in order.
        let lists = json!({"100": [900, "901"], "102": [902]});
        let records =
            json!({"900": "[conduit:wr_hkey999]", "901": "text<br>[conduit:wr_hkey000]", "902": "by a person"});
        looked(request, &lists, &records).unwrap_or_else(|| accept(request))
    });
    let paths: Vec<String> = sent.iter().map(path).collect();
    assert_eq!(
        paths,
        [
            "POST /crm/objects/2026-03/contacts/batch/upsert",
            "POST /crm/objects/2026-03/tasks",
            "POST /crm/associations/2026-03/contacts/tasks/batch/read",
            "POST /crm/objects/2026-03/tasks/batch/read",
            "PUT /crm/objects/2026-03/tasks/901/associations/default/contacts/100",
            "POST /crm/objects/2026-03/tasks/search",
            "POST /crm/objects/2026-03/tasks/batch/create",
        ]
    );
    assert_eq!(names(&lot), ["applied"; 4]);
    assert_eq!(lot.entries[0].external_ids["task"], "901");
    assert_eq!(body(&sent[1])["properties"]["hs_task_subject"], "Call 3");
    let created = body(&sent[6])["inputs"].clone();
    assert_eq!(created[0]["properties"]["hs_task_subject"], "Call 1");
    assert_eq!(created[1]["properties"]["hs_task_subject"], "Call 2");
}

#[test]
fn a_search_asks_by_fixed_values_and_compares_the_marker() {
    let mut lot = lot(Hubspot, (0..4).map(|n| doubtful(task(n, &format!("p{n}@example.com")))).collect());
    for _ in 0..2 {
        let call = next(&mut lot);
        let given = looked(&call.request, &json!({}), &json!({})).unwrap_or_else(|| accept(&call.request));
        provider(Hubspot).read_call(&mut lot, &call, &given, NOW);
    }
    // All in one. One is found though no list showed it; others' records of the same time are not taken for ours.
    let hits = json!([
        {"id": "71", "properties": {"hs_task_body": "x [conduit:wr_hkey001]"}},
        {"id": "72", "properties": {"hs_task_body": "x [conduit:wr_hkey999]"}},
        {"id": "73", "properties": {"hs_task_body": null}}]);
    let due = model::Timestamp::parse("2026-11-23T09:00:00.000Z").unwrap().0.to_string();
    let narrow = |contact: &str| {
        json!({"filters": [
            {"propertyName": "hs_timestamp", "operator": "EQ", "value": due},
            {"propertyName": "associations.contact", "operator": "EQ", "value": contact}]})
    };
    let mut narrowed = lot.clone();
    let search = step(&mut lot, &json_answer(200, &json!({"total": 3, "results": hits})));
    assert!(search.is_search, "it has a budget of its own");
    let sent = body(&search.request);
    assert_eq!(
        sent["filterGroups"],
        json!([{"filters": [
            {"propertyName": "hs_timestamp", "operator": "BETWEEN", "value": due, "highValue": due},
            {"propertyName": "associations.contact", "operator": "IN", "values": ["100", "101", "102", "103"]}]}])
    );
    assert_eq!(sent["properties"], json!(["hs_task_body"]));
    assert_eq!(lot.entries[1].external_ids["task"], "71");
    let rest = run(&mut lot, 2, accept);
    assert_eq!(path(&rest[0]), "POST /crm/objects/2026-03/tasks/batch/create");
    assert_eq!(path(&rest[1]), "PUT /crm/objects/2026-03/tasks/71/associations/default/contacts/101");
    assert_eq!(names(&lot), ["applied"; 4]);
    // What may have been made by the property that is gone may be tied to nobody: among what was made since it was accepted.
    let mut older = narrowed.clone();
    (older.entries[0].doubt_is_older, older.entries[0].may_be_untied) = (true, true);
    let since = (older.entries[0].accepted_at.0 - 600_000).to_string();
    older.entries.truncate(2);
    let search = step(&mut older, &json_answer(200, &json!({"total": 0, "results": []})));
    let untied = json!({"filters": [
        {"propertyName": "hs_timestamp", "operator": "EQ", "value": due},
        {"propertyName": "hs_createdate", "operator": "GTE", "value": since}]});
    assert_eq!(body(&search.request)["filterGroups"], json!([untied, narrow("101")]));
    // A list refused as a filter, or more hits than one page has: three at a time, each by its own contact.
    let refused = json_answer(400, &json!({"category": "VALIDATION_ERROR"}));
    for given in [refused, json_answer(200, &json!({"total": 999, "results": []}))] {
        let mut lot = narrowed.clone();
        step(&mut lot, &given);
        assert!(lot.entries.iter().all(|entry| entry.outcome.is_none()));
        let search = step(&mut lot, &json_answer(200, &json!({"total": 0, "results": []})));
        let groups = body(&search.request)["filterGroups"].as_array().unwrap().clone();
        assert_eq!((groups.len(), &groups[0]), (3, &narrow("100")));
        run(&mut lot, 4, accept);
        assert_eq!(names(&lot), ["applied"; 4]);
    }
    // Alone, a refusal of the search proves nothing.
    narrowed.entries.truncate(1);
    step(&mut narrowed, &json_answer(400, &json!({"category": "VALIDATION_ERROR"})));
    assert_eq!(names(&narrowed), ["unknown"]);
}

#[test]
fn a_hundred_contacts_are_one_search_of_less_than_three_thousand_characters() {
    let mut lot = lot(Hubspot, (0..100).map(|n| doubtful(task(n, &format!("p{n}@example.com")))).collect());
    for (n, entry) in lot.entries.iter_mut().enumerate() {
        entry.external_ids.insert("contact".into(), (1_500_000_000_000_u64 + n as u64).to_string());
    }
    let list = next(&mut lot);
    provider(Hubspot).read_call(&mut lot, &list, &looked(&list.request, &json!({}), &json!({})).unwrap(), NOW);
    let search = next(&mut lot);
    assert_eq!(search.entries.len(), 100);
    assert!(body(&search.request).to_string().len() < 3_000, "HubSpot refuses more");
}

#[test]
fn absence_is_proven_by_both_witnesses_or_not_at_all() {
    let listed = |ids: Value| json_answer(200, &json!({"results": [{"from": {"id": "7"}, "to": ids}]}));
    let record = |id: &str, text: &str| json!({"id": id, "properties": {"hs_task_body": text}});
    let gone = json!({"category": "OBJECT_NOT_FOUND", "message": "Could not get some TASK objects", "context": {"ids": ["901"]}});
    let empty = json!({"total": 0, "results": []});
    let two = json!([{"toObjectId": 900}, {"toObjectId": "901"}]);
    let ours = "[conduit:wr_hkey001]";
    let many: Vec<Value> = (0..200).map(|n| record(&n.to_string(), "x")).collect();
    // What the records' reads answer, one after the other, and what the search does; whether it is created again.
    for (reads, search, expected) in [
        // Whole and empty.
        (vec![json!({"results": [record("900", "x"), record("901", "y")]})], empty.clone(), "created"),
        // One is left out, and then comes; or is named as deleted.
        (
            vec![json!({"results": [record("900", "x")]}), json!({"results": [record("901", ours)]})],
            empty.clone(),
            "found",
        ),
        (
            vec![json!({"results": [record("900", "x")]}), json!({"results": [record("901", "y")]})],
            empty.clone(),
            "created",
        ),
        (vec![json!({"results": [record("900", "x")], "errors": [gone]})], empty.clone(), "created"),
        // One is left out for good: no proof.
        (vec![json!({"results": [record("900", "x")]}), json!({"results": []})], empty.clone(), "unknown"),
        (vec![json!({"results": []})], empty.clone(), "unknown"),
        // Others than asked for, or without what was asked for.
        (vec![json!({"results": [record("1", "x"), record("2", "y")]})], empty.clone(), "unknown"),
        (vec![json!({"results": [{"id": "900"}, {"id": "901", "properties": {}}]})], empty.clone(), "unknown"),
        // The list lagged, the index knows it.
        (vec![], json!({"total": 1, "results": [record("555", ours)]}), "found"),
        (vec![], empty.clone(), "created"),
        // The index shows a part of its hits, or says nothing readable.
        (vec![], json!({"total": 201, "results": many}), "unknown"),
        (vec![], json!({"total": 2, "results": [record("5", "x")]}), "unknown"),
        (vec![], json!({"results": []}), "unknown"),
        (vec![], json!({"total": 0}), "unknown"),
        (vec![], json!({"total": 1, "results": [{"id": "5"}]}), "unknown"),
        (vec![], json!({"total": 0, "results": [{"id": "5", "properties": {}}]}), "unknown"),
        // Ours, under an id that cannot be read.
        (vec![], json!({"total": 1, "results": [record("5/x", ours)]}), "unknown"),
        (vec![json!({"results": [record("", ours), record("901", "y")]})], empty.clone(), "unknown"),
        (vec![], json!({"total": "0", "results": []}), "unknown"),
    ] {
        let mut lot = lot(Hubspot, vec![doubtful(task(1, "a@example.com"))]);
        lot.entries[0].external_ids.insert("contact".into(), "7".into());
        step(&mut lot, &listed(if reads.is_empty() { json!([]) } else { two.clone() }));
        let mut reads_left = reads.iter();
        let sent = run(&mut lot, 6, |request| {
            if request.url.ends_with("/tasks/batch/read") {
                return json_answer(200, reads_left.next().expect("a read"));
            }
            if request.url.ends_with("/search") { json_answer(200, &search) } else { accept(request) }
        });
        let created = sent.iter().any(|request| path(request) == "POST /crm/objects/2026-03/tasks");
        assert_eq!(names(&lot), [if expected == "unknown" { "unknown" } else { "applied" }], "{reads:?} {search}");
        assert_eq!(created, expected == "created", "{reads:?} {search}");
    }
}

#[test]
fn a_list_counts_when_every_row_of_it_can_be_read() {
    let ours = |id: &str| {
        json_answer(200, &json!({"results": [{"id": id, "properties": {"hs_task_body": "[conduit:wr_hkey001]"}}]}))
    };
    let from = json!({"id": "7"});
    for (lists, expected) in [
        (json!([{"from": from, "to": [{"toObjectId": 900}, {"toObjectId": null}]}]), "unknown"),
        (json!([{"from": from, "to": [{"toObjectId": "9/1"}]}]), "unknown"),
        (json!([{"from": from, "to": vec![json!({"toObjectId": 1}); 1_501]}]), "unknown"),
        // One contact in two parts: both are read.
        (json!([{"from": from, "to": []}, {"from": from, "to": [{"id": "900"}]}]), "none"),
    ] {
        let mut lot = lot(Hubspot, vec![doubtful(task(1, "a@example.com"))]);
        lot.entries[0].external_ids.insert("contact".into(), "7".into());
        step(&mut lot, &json_answer(200, &json!({"results": lists})));
        assert_eq!(names(&lot), [expected], "{lists:.100}");
        if expected == "none" {
            step(&mut lot, &ours("900"));
            assert_eq!(lot.entries[0].external_ids["task"], "900");
        }
    }
}

#[test]
fn a_hundred_in_doubt_are_looked_for_together() {
    let mut lot = lot(Hubspot, (0..100).map(|n| doubtful(task(n, &format!("p{n}@example.com")))).collect());
    let sent = run(&mut lot, 6, |request| {
        // Every contact has one task; the even ones are ours.
        let lists: serde_json::Map<_, _> = (0..100).map(|n| ((100 + n).to_string(), json!([1_000 + n]))).collect();
        let records: serde_json::Map<_, _> =
            (0..100).step_by(2).map(|n| ((1_000 + n).to_string(), json!(format!("[conduit:wr_hkey{n:03}]")))).collect();
        looked(request, &Value::Object(lists), &Value::Object(records)).unwrap_or_else(|| accept(request))
    });
    // Contacts, list, compare; the ties of what was found; a search; one create for the rest.
    assert_eq!(sent.len(), 6);
    let created = sent.iter().find(|request| request.url.ends_with("/tasks/batch/create")).unwrap();
    assert_eq!(body(created)["inputs"].as_array().unwrap().len(), 50, "only what is not there is created");
    assert_eq!(names(&lot), ["applied"; 100]);
}

#[test]
fn a_failed_look_never_leads_to_a_create() {
    for given in [
        lost(),
        answer(429, "{}"),
        answer(500, "{}"),
        answer(404, "{}"),
        answer(400, "{}"),
        answer(200, "<html>"),
        json_answer(200, &json!({"status": "COMPLETE"})),
        json_answer(200, &json!({"results": {"from": 1}})),
    ] {
        for listed in [false, true] {
            let mut lot = lot(Hubspot, vec![doubtful(task(1, "a@example.com"))]);
            lot.entries[0].external_ids.insert("contact".into(), "7".into());
            if listed {
                let call = next(&mut lot);
                let list = looked(&call.request, &json!({"7": [900]}), &json!({})).unwrap();
                provider(Hubspot).read_call(&mut lot, &call, &list, NOW);
            }
            step(&mut lot, &given);
            assert_eq!(names(&lot), ["unknown"], "{given:?}");
            assert_eq!(failure(lot.entries[0].outcome.as_ref().unwrap()).class, ErrorClass::UnknownOutcome);
        }
    }
    // A failed contact step keeps the doubt, too, unless the person is refused for good: nobody could ever look then. A
    // refused token is passed on.
    for (given, expected) in
        [(answer(429, "{}"), "unknown"), (answer(400, "{}"), "rejected"), (answer(401, "{}"), "unauthorized")]
    {
        let mut lot = lot(Hubspot, vec![doubtful(task(1, "a@example.com"))]);
        step(&mut lot, &given);
        assert_eq!(names(&lot), [expected]);
    }
}

#[test]
fn a_long_history_is_read_to_its_end_or_stays_unknown() {
    // Three pages of 500: read to the end, newest first, then created.
    let page = |from: usize, after: Option<&str>| {
        let to: Vec<Value> = (from..from + 500).map(|id| json!({"toObjectId": id})).collect();
        let mut list = json!({"from": {"id": "7"}, "to": to});
        if let Some(after) = after {
            list["paging"] = json!({"next": {"after": after}});
        }
        json_answer(200, &json!({"results": [list]}))
    };
    for (last, expected, calls) in [(None, "applied", 20), (Some("more"), "unknown", 18)] {
        let mut lot = lot(Hubspot, vec![doubtful(task(1, "a@example.com"))]);
        lot.entries[0].external_ids.insert("contact".into(), "7".into());
        let mut pages = 0;
        let sent = run(&mut lot, 24, |request| {
            if request.url.contains("/associations/") {
                let after = body(request)["inputs"][0]["after"].clone();
                assert_eq!(after, [json!(null), json!("p1"), json!("p2")][pages]);
                pages += 1;
                return page(1_000 * pages, [Some("p1"), Some("p2"), last][pages - 1]);
            }
            looked(request, &json!({}), &json!({})).unwrap_or_else(|| accept(request))
        });
        assert_eq!((names(&lot)[0], sent.len()), (expected, calls));
    }
}
