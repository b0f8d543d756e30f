//! Lots at a HubSpot that lets tasks, notes and deals have our unique property: upserts that may be repeated, then the
//! associations, which may be repeated too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::portal::{accept, contact, keyed, path, rollup, task, tied};
use given::{NOW, answer, body, doubtful, failure, json_answer, lost, lot, names, next, run, step};
use model::Crm::Hubspot;
use model::write::{ErrorClass, MECHANISM_GONE_CODE};
use providers::http::{Answer, Effect, Request};
use providers::lot::{Entry, Lot};
use providers::{Provider, provider};
use serde_json::{Value, json};

fn with_deal(mut entry: Entry, id: &str) -> Entry {
    entry.deal_external_id = Some(id.to_owned());
    entry
}

fn paths(sent: &[Request]) -> Vec<String> {
    sent.iter().map(path).collect()
}

#[test]
fn one_task_is_an_upsert_by_our_property_and_the_association_after_it() {
    let mut lot = keyed(lot(Hubspot, vec![task(1, "ada@example.com")]));
    assert_eq!(provider(Hubspot).expected_calls(&lot), 3);
    let sent = run(&mut lot, 3, accept);
    assert_eq!(
        paths(&sent),
        [
            "POST /crm/objects/2026-03/contacts/batch/upsert",
            "POST /crm/objects/2026-03/tasks/batch/upsert",
            "PUT /crm/objects/2026-03/tasks/500/associations/default/contacts/100",
        ]
    );
    assert!(sent.iter().all(|request| request.effect == Effect::Idempotent), "every step may be repeated");
    let input = body(&sent[1])["inputs"][0].clone();
    for named in [&input["id"], &input["objectWriteTraceId"], &input["properties"]["conduit_write_key"]] {
        assert_eq!(named, "wr_hkey001");
    }
    assert_eq!(input["idProperty"], "conduit_write_key");
    assert!(input.get("associations").is_none(), "an upsert takes none");
    assert_eq!(names(&lot), ["applied"]);
    assert_eq!(json!(lot.entries[0].external_ids), json!({"contact": "100", "task": "500"}));
}

#[test]
fn a_hundred_outcomes_are_three_calls_and_four_with_deals() {
    for (with_deals, calls) in [(false, 3), (true, 4)] {
        let entries = (0..100).map(|n| {
            let entry = task(n, &format!("p{n}@example.com"));
            if with_deals { with_deal(entry, &format!("9{n:02}")) } else { entry }
        });
        let mut lot = keyed(lot(Hubspot, entries.collect()));
        let sent = run(&mut lot, calls, accept);
        assert_eq!((sent.len(), names(&lot)), (calls, vec!["applied"; 100]));
        assert_eq!(path(&sent[2]), "POST /crm/associations/2026-03/tasks/contacts/batch/associate/default");
        assert_eq!(body(&sent[2])["inputs"][7], json!({"from": {"id": "507"}, "to": {"id": "107"}}));
        if with_deals {
            assert_eq!(path(&sent[3]), "POST /crm/associations/2026-03/tasks/deals/batch/associate/default");
            assert_eq!(body(&sent[3])["inputs"][7], json!({"from": {"id": "507"}, "to": {"id": "907"}}));
        }
    }
}

#[test]
fn a_lost_answer_is_repeated_and_an_association_is_never_forgotten() {
    // Whatever is lost, and however often: the same call again, and in the end one upsert key and both ends tied.
    for lost_at in 0..4 {
        for given in [lost(), answer(502, "<html>"), answer(201, "{\"results\":"), answer(423, "{}"), answer(429, "{}")]
        {
            let mut lot = keyed(lot(Hubspot, vec![with_deal(task(1, "ada@example.com"), "9")]));
            for _ in 0..lost_at {
                let call = next(&mut lot);
                provider(Hubspot).read_call(&mut lot, &call, &accept(&call.request), NOW);
            }
            let before = step(&mut lot, &given);
            // The record is tied to nobody yet, and its key is only good while the portal has our property: perhaps it is there.
            let perhaps = lost_at == 1 && !matches!(&given, Ok(response) if matches!(response.status, 423 | 429));
            assert_eq!(names(&lot), [if perhaps { "unknown" } else { "retry_after" }], "{given:?}");
            // The next try begins anew, with the ids that are known.
            let mut again = task(1, "ada@example.com");
            again.in_doubt = perhaps;
            again.deal_external_id = Some("9".to_owned());
            again.external_ids.clone_from(&lot.entries[0].external_ids);
            let mut lot = keyed(given::lot(Hubspot, vec![again]));
            let sent = run(&mut lot, 4, accept);
            assert!(sent.contains(&before.request), "{:?}", paths(&sent));
            let ties = [
                "PUT /crm/objects/2026-03/tasks/500/associations/default/contacts/100",
                "PUT /crm/objects/2026-03/tasks/500/associations/default/deals/9",
            ];
            assert!(ties.iter().all(|tie| paths(&sent).iter().any(|path| path == tie)), "{:?}", paths(&sent));
            assert_eq!(names(&lot), ["applied"]);
        }
    }
}

#[test]
fn a_doubt_is_settled_by_repeating_unless_it_is_of_another_mechanism() {
    let mut lot = keyed(lot(Hubspot, vec![doubtful(task(1, "ada@example.com"))]));
    assert_eq!(run(&mut lot, 3, accept).len(), 3, "no look");
    let mut older = doubtful(task(1, "ada@example.com"));
    older.doubt_is_older = true;
    let mut lot = keyed(given::lot(Hubspot, vec![older]));
    let sent = run(&mut lot, 5, |request| {
        given::portal::looked(request, &json!({}), &json!({})).unwrap_or_else(|| accept(request))
    });
    assert_eq!(
        paths(&sent)[1..4],
        [
            "POST /crm/associations/2026-03/contacts/tasks/batch/read",
            "POST /crm/objects/2026-03/tasks/search",
            "POST /crm/objects/2026-03/tasks/batch/upsert",
        ]
    );
}

#[test]
fn a_poison_record_stops_only_itself_and_results_come_in_any_order() {
    let entries: Vec<Entry> = (0..4).map(|n| task(n, &format!("p{n}@example.com"))).collect();
    let mut lot = keyed(lot(Hubspot, entries));
    let call = next(&mut lot);
    provider(Hubspot).read_call(&mut lot, &call, &accept(&call.request), NOW);
    // By trace id, by our property in another case of the answer, and by the marker; one is refused, none is left out.
    step(
        &mut lot,
        &json_answer(
            207,
            &json!({"status": "COMPLETE", "numErrors": 1,
                "results": [
                    {"id": "503", "new": true, "properties": {"hs_task_body": "x [conduit:wr_hkey003]"}},
                    {"id": "500", "new": false, "objectWriteTraceId": "wr_hkey000"},
                    {"id": "502", "new": true, "properties": {"conduit_write_key": "wr_hkey002"}}],
                "errors": [{"status": "error", "category": "VALIDATION_ERROR", "message": "bad",
                    "context": {"objectWriteTraceId": ["wr_hkey001"]}}]}),
        ),
    );
    assert_eq!(names(&lot), ["none", "rejected", "none", "none"], "not applied before they are tied");
    let sent = run(&mut lot, 1, accept);
    let pairs: Vec<Value> = body(&sent[0])["inputs"].as_array().unwrap().clone();
    assert_eq!(pairs.len(), 3);
    assert_eq!(names(&lot), ["applied", "rejected", "applied", "applied"]);
    let ids: Vec<&str> = [0, 2, 3].map(|at: usize| lot.entries[at].external_ids["task"].as_str()).to_vec();
    assert_eq!(ids, ["500", "502", "503"]);
}

#[test]
fn all_or_nothing_answers_are_split_until_the_bad_one_is_alone() {
    for poison in [vec![0], vec![99], vec![3, 71]] {
        let bad: Vec<String> = poison.iter().map(|n| format!("wr_hkey{n:03}")).collect();
        let mut lot = keyed(lot(Hubspot, (0..100).map(|n| task(n, &format!("p{n}@example.com"))).collect()));
        run(&mut lot, 40, |request| {
            let refused = request.url.ends_with("tasks/batch/upsert")
                && body(request)["inputs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|input| bad.iter().any(|b| *b == input["id"]));
            if refused {
                return json_answer(400, &json!({"category": "VALIDATION_ERROR", "message": "no"}));
            }
            accept(request)
        });
        for (n, name) in names(&lot).into_iter().enumerate() {
            assert_eq!(name, if poison.contains(&n) { "rejected" } else { "applied" }, "{n}");
        }
    }
}

fn at_the_ties(count: usize) -> Lot {
    let mut lot = keyed(lot(Hubspot, (0..count).map(|n| task(n, &format!("p{n}@example.com"))).collect()));
    for _ in 0..2 {
        let call = next(&mut lot);
        provider(Hubspot).read_call(&mut lot, &call, &accept(&call.request), NOW);
    }
    lot
}

#[test]
fn an_association_counts_only_when_the_answer_names_it() {
    let naming = |pairs: &[(&str, &str)]| -> Vec<Value> { pairs.iter().flat_map(|(a, b)| tied(a, b)).collect() };
    let bad = json!({"status": "error", "category": "VALIDATION_ERROR", "subCategory": "crm.associations.INVALID_IDENTIFIER",
        "message": "101 is not a valid ID", "context": {"id": ["101"]}});
    // All three, of which the second is refused by its contact's id, and the third is not mentioned and asked for again.
    let mut lot = at_the_ties(3);
    step(&mut lot, &json_answer(207, &json!({"results": naming(&[("500", "100")]), "errors": [bad]})));
    assert_eq!(names(&lot), ["applied", "rejected", "none"]);
    let sent = run(&mut lot, 1, accept);
    assert_eq!(paths(&sent), ["PUT /crm/objects/2026-03/tasks/502/associations/default/contacts/102"]);
    // One direction is enough, whichever.
    for (from, to) in [("500", "100"), ("100", "500")] {
        let mut lot = at_the_ties(1);
        step(&mut lot, &json_answer(200, &json!({"results": [{"from": {"id": from}, "to": {"id": to}}]})));
        assert_eq!(names(&lot), ["applied"]);
    }
    let hostile: [(Answer, &str); 7] = [
        (json_answer(200, &json!({"results": []})), "retry_after"),
        (json_answer(200, &json!({"results": naming(&[("501", "100")])})), "retry_after"),
        (json_answer(200, &json!({"results": {"from": "500"}})), "retry_after"),
        (json_answer(200, &json!([])), "retry_after"),
        (answer(200, ""), "retry_after"),
        (json_answer(404, &json!({"category": "OBJECT_NOT_FOUND"})), "rejected"),
        (answer(401, "{}"), "unauthorized"),
    ];
    for (given, expected) in hostile {
        let mut lot = at_the_ties(1);
        step(&mut lot, &given);
        assert_eq!(names(&lot), [expected], "{given:?}");
        assert_eq!(lot.entries[0].external_ids["task"], "500", "what is known is kept");
    }
}

#[test]
fn a_record_in_neither_list_of_an_upsert_is_in_doubt() {
    let mut lot = keyed(lot(Hubspot, vec![task(0, "a@example.com"), task(1, "b@example.com")]));
    let call = next(&mut lot);
    provider(Hubspot).read_call(&mut lot, &call, &accept(&call.request), NOW);
    step(&mut lot, &json_answer(200, &json!({"results": [{"id": "500", "objectWriteTraceId": "wr_hkey000"}]})));
    assert_eq!(names(&lot), ["none", "unknown"]);
    let why = failure(lot.entries[1].outcome.as_ref().unwrap());
    assert_eq!((why.class, why.code.as_str()), (ErrorClass::UnknownOutcome, "missing_in_answer"));
}

#[test]
fn a_property_that_is_gone_is_not_the_writes_fault() {
    let gone = [
        json_answer(
            400,
            &json!({"category": "VALIDATION_ERROR",
            "message": "Unable to perform update/upsert by non-unique 0-27 property conduit_write_key in portal ID 4242"}),
        ),
        json_answer(
            400,
            &json!({"category": "VALIDATION_ERROR", "message": "Property values were not valid: [{}]",
            "errors": [{"code": "PROPERTY_DOESNT_EXIST", "message": "Property \"conduit_write_key\" does not exist"}]}),
        ),
        json_answer(
            207,
            &json!({"results": [], "errors": [
            {"message": "Property \"conduit_write_key\" does not exist", "context": {"objectWriteTraceId": ["wr_hkey000"]}},
            {"message": "Property \"conduit_write_key\" does not exist", "context": {"objectWriteTraceId": ["wr_hkey001"]}}]}),
        ),
    ];
    for given in gone {
        let mut lot = keyed(lot(Hubspot, vec![task(0, "a@example.com"), task(1, "b@example.com")]));
        let call = next(&mut lot);
        provider(Hubspot).read_call(&mut lot, &call, &accept(&call.request), NOW);
        step(&mut lot, &given);
        assert_eq!(names(&lot), ["unknown"; 2], "{given:?}");
        assert_eq!(failure(lot.entries[0].outcome.as_ref().unwrap()).code, MECHANISM_GONE_CODE);
    }
}

#[test]
fn notes_and_contacts_go_along_and_a_dry_run_shows_every_call() {
    let entries =
        || vec![task(0, "a@example.com"), with_deal(rollup(1, "b@example.com"), "9"), contact(2, "c@example.com")];
    let mut real = keyed(lot(Hubspot, entries()));
    let dry = provider(Hubspot).dry_run(real.clone());
    let sent = run(&mut real, 6, accept);
    assert_eq!(dry.len(), sent.len());
    assert_eq!(dry[0], sent[0]);
    assert_eq!(
        paths(&dry)[1..],
        [
            "POST /crm/objects/2026-03/tasks/batch/upsert",
            "POST /crm/objects/2026-03/notes/batch/upsert",
            "PUT /crm/objects/2026-03/tasks/@{task}/associations/default/contacts/@{contact}",
            "PUT /crm/objects/2026-03/notes/@{note}/associations/default/contacts/@{contact}",
            "PUT /crm/objects/2026-03/notes/@{note}/associations/default/deals/9",
        ]
    );
    assert_eq!(names(&real), ["applied"; 3]);
}
