//! Deals at HubSpot: checked against the pipelines, made once, changed by their id.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::portal::{accept, deal, keyed, path, pipelines, task};
use given::{NOW, answer, body, doubtful, failure, json_answer, lost, lot, names, next, run, step};
use model::Crm::Hubspot;
use model::write::ErrorClass;
use providers::http::Effect;
use providers::lot::{Entry, Lot};
use providers::{Provider, provider};
use serde_json::{Value, json};

fn staged(mut entry: Entry, stage: &str, pipeline: Option<&str>) -> Entry {
    let deal = entry.write.deal.as_mut().unwrap();
    stage.clone_into(&mut deal.stage);
    deal.pipeline = pipeline.map(str::to_owned);
    entry
}

fn known(mut entry: Entry, id: &str) -> Entry {
    entry.deal_external_id = Some(id.to_owned());
    entry
}

fn read(lot: &mut Lot) {
    let call = next(lot);
    provider(Hubspot).read_call(lot, &call, &accept(&call.request), NOW);
}

#[test]
fn a_deal_is_made_by_its_own_key_and_tied_to_its_contact() {
    let mut lot = keyed(lot(Hubspot, vec![deal(1, Some("ada@example.com"))]));
    assert_eq!(provider(Hubspot).expected_calls(&lot), 4);
    let sent = run(&mut lot, 4, accept);
    let paths: Vec<String> = sent.iter().map(path).collect();
    assert_eq!(
        paths,
        [
            "GET /crm/pipelines/2026-03/deals",
            "POST /crm/objects/2026-03/contacts/batch/upsert",
            "POST /crm/objects/2026-03/deals/batch/upsert",
            "PUT /crm/objects/2026-03/deals/500/associations/default/contacts/100",
        ]
    );
    let input = body(&sent[2])["inputs"][0].clone();
    assert_eq!(input["id"], "cx_1:d_1", "the deal's key, whichever write it is");
    assert_eq!(
        input["properties"],
        json!({"dealname": "Deal 1", "dealstage": "contractsent", "pipeline": "default", "conduit_write_key": "cx_1:d_1"}),
        "the pipeline is the one that has the stage"
    );
    assert_eq!(json!(lot.entries[0].external_ids), json!({"contact": "100", "deal": "500"}));
}

#[test]
fn keys_of_deals_differ_where_only_case_does() {
    let key = |id: &str| {
        let mut entry = deal(1, None);
        id.clone_into(&mut entry.write.deal.as_mut().unwrap().deal_id);
        let mut lot = keyed(lot(Hubspot, vec![entry]));
        read(&mut lot);
        body(&next(&mut lot).request)["inputs"][0]["id"].as_str().unwrap().to_lowercase()
    };
    let keys: std::collections::BTreeSet<String> = ["ab", "Ab", "aB", "^ab", "^Ab", "A^b"].map(key).into();
    assert_eq!(keys.len(), 6, "{keys:?}");
}

#[test]
fn without_the_property_a_deal_is_created_with_everything_in_it() {
    let mut lot = lot(Hubspot, vec![deal(1, Some("ada@example.com"))]);
    let sent = run(&mut lot, 3, accept);
    assert_eq!((path(&sent[2]).as_str(), sent[2].effect), ("POST /crm/objects/2026-03/deals", Effect::Creates));
    let created = body(&sent[2]);
    assert_eq!(created["properties"]["description"], "[conduit:wr_hkey001]");
    assert_eq!(created["associations"][0]["types"][0]["associationTypeId"], 3);
    // Without a person there is nothing to tie it to.
    let mut lot = given::lot(Hubspot, vec![deal(1, None)]);
    assert_eq!(body(&run(&mut lot, 2, accept)[1])["associations"], json!([]));
}

#[test]
fn a_deal_whose_id_is_known_is_changed_and_nothing_else() {
    for is_keyed in [false, true] {
        let entries = vec![known(deal(1, None), "901"), known(deal(2, None), "902")];
        let mut lot = lot(Hubspot, entries);
        if is_keyed {
            lot = keyed(lot);
        }
        let sent = run(&mut lot, 2, accept);
        assert_eq!(
            (path(&sent[1]).as_str(), sent[1].effect),
            ("POST /crm/objects/2026-03/deals/batch/update", Effect::Idempotent)
        );
        let input = body(&sent[1])["inputs"][1].clone();
        assert_eq!((&input["id"], input.get("idProperty")), (&json!("902"), None));
        assert!(input["properties"].get("description").is_none(), "people's words stay");
        assert_eq!(lot.entries[1].external_ids["deal"], "902");
    }
    // One that is no longer there is named by its id alone.
    let mut lot = lot(Hubspot, vec![known(deal(1, None), "901"), known(deal(2, None), "902")]);
    read(&mut lot);
    step(
        &mut lot,
        &json_answer(
            207,
            &json!({"results": [{"id": "901", "properties": {}}], "errors": [{"status": "error", "category": "OBJECT_NOT_FOUND",
                "message": "Could not get some DEAL objects, they may be deleted or not exist. Check that ids are valid.",
                "context": {"ids": ["902"]}}]}),
        ),
    );
    assert_eq!(names(&lot), ["applied", "rejected"]);
}

#[test]
fn an_unknown_stage_or_pipeline_is_refused_by_the_names_of_those_there_are() {
    for (stage, pipeline, code, valid) in [
        ("contractsent", None, None, ""),
        ("contractsent", Some("default"), None, ""),
        ("77011", None, None, ""),
        ("77011", Some("default"), Some("unknown_stage"), "it has: contractsent, closedwon"),
        ("nowhere", None, Some("unknown_stage"), "there are: contractsent, closedwon, 77011"),
        ("gone", Some("default"), Some("unknown_stage"), "it has: contractsent, closedwon"),
        ("77021", None, Some("unknown_stage"), "there are: contractsent, closedwon, 77011"),
        ("contractsent", Some("nowhere"), Some("unknown_pipeline"), "there are: default, 77001"),
        ("77021", Some("77002"), Some("unknown_pipeline"), "there are: default, 77001"),
    ] {
        let mut lot = lot(Hubspot, vec![staged(deal(1, None), stage, pipeline)]);
        let sent = run(&mut lot, 3, accept);
        match code {
            None => assert_eq!((names(&lot), sent.len()), (vec!["applied"], 2), "{stage} {pipeline:?}"),
            Some(code) => {
                let why = failure(lot.entries[0].outcome.as_ref().unwrap());
                assert_eq!((why.class, why.code.as_str()), (ErrorClass::Mapping, code), "{stage} {pipeline:?}");
                assert!(why.detail.ends_with(valid), "{}", why.detail);
            }
        }
    }
}

#[test]
fn before_a_cached_answer_refuses_a_write_the_portal_is_asked() {
    let stale = json_answer(200, &json!({"results": [{"id": "default", "stages": [{"id": "old"}]}]}));
    let mut lot = lot(Hubspot, vec![deal(1, None), staged(deal(2, None), "nowhere", None), task(3, "a@example.com")]);
    let first = step(&mut lot, &stale);
    let cached = first.cached.unwrap();
    assert_eq!((cached.name, cached.afresh, &first.entries), ("pipelines", false, &vec![0, 1]));
    assert_eq!(names(&lot), ["none"; 3]);
    let second = step(&mut lot, &pipelines());
    assert!(second.cached.unwrap().afresh);
    assert_eq!(names(&lot), ["none", "rejected", "none"]);
    run(&mut lot, 4, accept);
    assert_eq!(names(&lot), ["applied", "rejected", "applied"]);
}

#[test]
fn pipelines_that_cannot_be_read_wait_and_hidden_ones_are_hubspots_to_check() {
    for (given, expected) in [
        (lost(), "retry_after"),
        (answer(500, "<html>"), "retry_after"),
        (answer(429, "{}"), "retry_after"),
        (answer(401, "{}"), "unauthorized"),
        (answer(200, "<html>"), "retry_after"),
        (json_answer(200, &json!({"results": null})), "retry_after"),
        (json_answer(404, &json!({"category": "OBJECT_NOT_FOUND"})), "none"),
        (json_answer(403, &json!({"category": "MISSING_SCOPES"})), "none"),
    ] {
        let mut lot = lot(Hubspot, vec![deal(1, None), task(2, "a@example.com")]);
        step(&mut lot, &given);
        assert_eq!(names(&lot), [expected, "none"], "{given:?}");
        if expected == "unauthorized" {
            // With a new token it is asked again.
            let mut again = lot.clone();
            again.entries[0].outcome = None;
            assert_eq!(path(&next(&mut again).request), "GET /crm/pipelines/2026-03/deals");
        }
        // The task goes its own way; where the pipelines are hidden the deal goes, too, as it was given.
        let sent = run(&mut lot, 3, accept);
        let deals: Vec<Value> = sent.iter().filter(|r| path(r).ends_with("/deals")).map(body).collect();
        assert_eq!(deals.len(), usize::from(expected == "none"));
        assert!(deals.iter().all(|deal| deal["properties"].get("pipeline").is_none()));
    }
}

#[test]
fn a_portal_without_the_deals_scopes_refuses_the_deal_and_stays_connected() {
    let scopes = json!({"category": "MISSING_SCOPES", "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": ["crm.objects.deals.write"]}});
    for is_keyed in [false, true] {
        let mut lot = lot(Hubspot, vec![deal(1, None)]);
        if is_keyed {
            lot = keyed(lot);
        }
        read(&mut lot);
        step(&mut lot, &json_answer(403, &scopes));
        assert_eq!(names(&lot), ["rejected"]);
        let why = failure(lot.entries[0].outcome.as_ref().unwrap());
        assert!(why.class == ErrorClass::Auth && why.detail.contains("crm.objects.deals.write"), "{why:?}");
    }
    // The tie of a task to a deal likewise; a contact's scope is the connection's.
    let mut tied = keyed(lot(Hubspot, vec![known(task(1, "a@example.com"), "9")]));
    for _ in 0..3 {
        read(&mut tied);
    }
    step(&mut tied, &json_answer(403, &scopes));
    assert_eq!(names(&tied), ["rejected"]);
    let mut task = given::lot(Hubspot, vec![task(1, "a@example.com")]);
    step(&mut task, &json_answer(403, &scopes));
    assert_eq!(names(&task), ["unauthorized"]);
}

#[test]
fn a_deal_in_doubt_is_searched_for_by_its_name_and_told_by_the_marker() {
    let hit = |text: &str| {
        json_answer(200, &json!({"total": 1, "results": [{"id": "77", "properties": {"description": text}}]}))
    };
    for (given, is_found) in [(hit("[conduit:wr_hkey001]"), true), (hit("another of that name"), false)] {
        let mut lot = lot(Hubspot, vec![doubtful(deal(1, None))]);
        read(&mut lot);
        let search = step(&mut lot, &given);
        assert!(search.is_search);
        assert_eq!(path(&search.request), "POST /crm/objects/2026-03/deals/search");
        assert_eq!(
            body(&search.request)["filterGroups"],
            json!([{"filters": [{"propertyName": "dealname", "operator": "EQ", "value": "Deal 1"}]}])
        );
        let sent = run(&mut lot, 1, accept);
        assert_eq!((sent.len(), names(&lot)[0]), (usize::from(!is_found), "applied"));
        assert_eq!(lot.entries[0].external_ids["deal"], if is_found { "77" } else { "500" });
    }
}

/// A second write of the same deal.
fn of_same_deal(number: usize, stage: &str) -> Entry {
    let mut entry = staged(deal(number, None), stage, None);
    "d_1".clone_into(&mut entry.write.deal.as_mut().unwrap().deal_id);
    entry
}

#[test]
fn two_writes_of_one_new_deal_are_one_record_that_the_second_changes() {
    for is_keyed in [true, false] {
        let both = || lot(Hubspot, vec![deal(1, None), of_same_deal(2, "77011"), deal(3, None)]);
        let mut lot = if is_keyed { keyed(both()) } else { both() };
        let sent = run(&mut lot, 4, accept);
        let made = body(&sent[1])["inputs"].as_array().unwrap().len();
        assert_eq!((made, sent.len()), (2, 3), "keyed {is_keyed}: the first of each deal, then the change");
        assert_eq!(path(&sent[2]), "POST /crm/objects/2026-03/deals/batch/update");
        assert_eq!(body(&sent[2])["inputs"][0]["id"], lot.entries[0].external_ids["deal"]);
        assert_eq!(lot.entries[1].external_ids["deal"], lot.entries[0].external_ids["deal"]);
    }
}

#[test]
fn nothing_more_is_sent_of_a_deal_whose_making_is_open() {
    for (given, second) in [
        (lost(), "retry_after"),
        (answer(502, "<html>"), "retry_after"),
        (answer(429, "{}"), "retry_after"),
        (answer(401, "{}"), "unauthorized"),
    ] {
        let mut lot = lot(Hubspot, vec![deal(1, None), of_same_deal(2, "77011")]);
        read(&mut lot);
        step(&mut lot, &given);
        assert_eq!(names(&lot)[1], second, "{given:?}");
        assert!(provider(Hubspot).next_call(&mut lot).is_none());
    }
    // Refused for good, it stands in nobody's way.
    let mut lot = lot(Hubspot, vec![deal(1, None), of_same_deal(2, "77011")]);
    read(&mut lot);
    step(&mut lot, &json_answer(400, &json!({"category": "VALIDATION_ERROR", "message": "no"})));
    assert_eq!(names(&lot), ["rejected", "none"]);
    assert_eq!(run(&mut lot, 1, accept).len(), 1);
}
