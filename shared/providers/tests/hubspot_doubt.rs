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
use providers::provider;
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
    let sent = run(&mut lot, 6, |request| {
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
            "POST /crm/objects/2026-03/tasks",
            "POST /crm/objects/2026-03/tasks/batch/read",
            "POST /crm/objects/2026-03/tasks",
        ]
    );
    assert_eq!(names(&lot), ["applied"; 4]);
    assert_eq!(lot.entries[0].external_ids["task"], "901");
    let created: Vec<Value> = [1, 3, 5].map(|at| body(&sent[at])["properties"]["hs_task_subject"].clone()).to_vec();
    assert_eq!(created, ["Call 3", "Call 1", "Call 2"]);
}

#[test]
fn a_hundred_in_doubt_are_looked_for_together() {
    let mut lot = lot(Hubspot, (0..100).map(|n| doubtful(task(n, &format!("p{n}@example.com")))).collect());
    let sent = run(&mut lot, 4, |request| {
        // Every contact has one task; the even ones are ours.
        let lists: serde_json::Map<_, _> = (0..100).map(|n| ((100 + n).to_string(), json!([1_000 + n]))).collect();
        let records: serde_json::Map<_, _> =
            (0..100).step_by(2).map(|n| ((1_000 + n).to_string(), json!(format!("[conduit:wr_hkey{n:03}]")))).collect();
        looked(request, &Value::Object(lists), &Value::Object(records)).unwrap_or_else(|| accept(request))
    });
    assert_eq!(sent.len(), 4);
    assert_eq!(body(&sent[3])["inputs"].as_array().unwrap().len(), 50, "only what is not there is created");
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
    // A failed contact step keeps the doubt, too; a refused token is passed on.
    for (given, expected) in
        [(answer(429, "{}"), "unknown"), (answer(400, "{}"), "unknown"), (answer(401, "{}"), "unauthorized")]
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
    for (last, expected, calls) in [(None, "applied", 19), (Some("more"), "unknown", 18)] {
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
