//! Many writes and opportunities at Salesforce, against the stand-in: few calls, each record by itself, nothing twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::org::{person, task};
use given::stand_in::StandIn;
use given::{NOW, answer, entry, failure, named, names};
use model::Crm::Salesforce;
use model::WriteId;
use model::curated::CuratedWrite;
use providers::http::Body;
use providers::lot::Entry;
use providers::{Provider, provider};
use serde_json::{Value, json};

/// Orgs with and without our field.
fn orgs() -> [Value; 5] {
    [
        json!({"salesforce_key_field": "unique"}),
        json!({}),
        json!({"salesforce_key_fields": {"Task": "unique"}}),
        json!({"salesforce_key_fields": {"Lead": "unique"}}),
        json!({"salesforce_key_field": "unique", "salesforce_refuses_number_references": true}),
    ]
}

fn email(n: usize) -> String {
    format!("person{n:03}@customer-of-acme.example.com")
}

fn deal(number: usize, deal_id: &str, stage: &str, known: Option<&str>) -> Entry {
    let write = json!({"crm": "salesforce", "action": "upsert_deal", "object_type": "deal", "object_id": deal_id,
        "source_event_id": format!("ev_{number}"), "deal": {"deal_id": deal_id, "name": format!("Deal {deal_id}"),
        "stage": stage, "amount": "1250.50", "close_date": "2026-12-31T23:00:00Z"}});
    let write = CuratedWrite::from_json(&write).unwrap();
    let id = WriteId::of(Salesforce, &format!("key{number:03}")).unwrap();
    Entry { deal_external_id: known.map(str::to_owned), ..Entry::new(id, write, NOW.plus_secs(-60)) }
}

#[test]
fn a_thousand_outcomes_are_at_most_a_tenth_of_a_call_each() {
    for switches in orgs().into_iter().take(2) {
        let mut org = StandIn::new(&switches);
        let before = org.calls.len();
        for lot in 0..10 {
            let entries = (0..100).map(|n| named(task(100 * lot + n, &email(100 * lot + n)), "Ada")).collect();
            assert_eq!(names(&org.carry(entries, 4)), ["applied"; 100]);
        }
        let calls = org.calls.len() - before;
        assert!(calls <= 40, "{switches}: {calls}");
        assert_eq!((org.records("Lead").len(), org.records("Task").len()), (1_000, 1_000));
    }
}

#[test]
fn known_and_new_people_and_several_of_one_go_together() {
    for switches in orgs() {
        let mut org = StandIn::new(&switches);
        let (lead, contact) = (org.lead(&email(0)), org.contact(&email(1)));
        let entries = vec![
            named(task(0, &email(0)), "Ada"),
            named(task(1, &email(1)), "Bob"),
            task(2, &email(2)),
            person(3, &email(2)),
            entry(Salesforce, 4, "create_weekly_rollup", &email(1)),
            task(5, &email(2)),
            task(6, &email(0)),
        ];
        let lot = org.carry(entries, 2);
        assert_eq!(names(&lot), ["applied"; 7], "{switches}");
        let who: Vec<&String> =
            lot.entries.iter().map(|e| e.external_ids.get("lead").or(e.external_ids.get("contact")).unwrap()).collect();
        assert_eq!((who[0], who[6], who[1], who[4]), (&lead, &lead, &contact, &contact));
        assert!(who[2] == who[3] && who[3] == who[5] && who[2] != &lead);
        let tasks = org.records("Task");
        for (entry, who) in lot.entries.iter().zip(who) {
            let Some(id) = entry.external_ids.get("task") else { continue };
            let task = tasks.iter().find(|task| task["Id"] == id.as_str()).unwrap();
            assert_eq!(task["WhoId"], who.as_str());
            assert!(task["Description"].as_str().unwrap().contains(&entry.marker()));
        }
        let rollup = tasks.iter().find(|task| task["Subject"] == "Weekly deal summary").unwrap();
        assert_eq!((&rollup["Status"], tasks.len(), org.records("Lead").len()), (&json!("Completed"), 6, 2));
    }
}

#[test]
fn a_bad_record_stops_only_itself() {
    for switches in orgs() {
        let mut org = StandIn::new(&switches);
        let mut entries: Vec<Entry> = (0..40).map(|n| task(n, &email(n))).collect();
        entries[7].write.contact.as_mut().unwrap().job_title = Some("x".repeat(129));
        entries[30].write.task.as_mut().unwrap().subject = "s".repeat(256);
        let known = org.lead(&email(20));
        org.convert(&known);
        let lot = org.carry(entries, 5);
        let expected: Vec<&str> = (0..40).map(|n| if n == 7 || n == 30 { "rejected" } else { "applied" }).collect();
        assert_eq!(names(&lot), expected, "{switches}");
        for at in [7, 30] {
            assert_eq!(failure(lot.entries[at].outcome.as_ref().unwrap()).code, "STRING_TOO_LONG");
        }
        // The bad lead is not there; the bad task's person is.
        assert_eq!((org.records("Lead").len(), org.records("Task").len()), (1 + 40 - 2, 38), "{switches}");
    }
}

#[test]
fn an_org_that_takes_no_references_into_lists_costs_one_call_more() {
    for switches in orgs() {
        let mut org = StandIn::new(&switches);
        org.switch(&json!({"salesforce_refuses_list_references": true}));
        let entries = (0..30).map(|n| task(n, &email(n))).collect();
        assert_eq!(names(&org.carry(entries, 3)), ["applied"; 30], "{switches}");
        assert_eq!((org.records("Lead").len(), org.records("Task").len()), (30, 30));
    }
    // And one that refuses the whole call for it.
    let mut org = StandIn::new(&json!({}));
    org.fault(json!({"match": {"path_contains": "composite", "body_contains": "@{n["}, "status": 400, "code": "JSON_PARSER_ERROR"}));
    let entries = (0..30).map(|n| task(n, &email(n))).collect();
    assert_eq!(names(&org.carry(entries, 4)), ["applied"; 30]);
    assert_eq!((org.records("Lead").len(), org.records("Task").len()), (30, 30));
}

#[test]
fn locked_rows_are_sent_once_more_together_and_then_later() {
    let mut org = StandIn::new(&json!({"salesforce_locked_rows": 3}));
    let before = org.calls.len();
    let entries: Vec<Entry> = (0..10).map(|n| task(n, &email(n))).collect();
    assert_eq!(names(&org.carry(entries, 4)), ["applied"; 10]);
    assert!(org.calls.len() - before <= 4);
    org.switch(&json!({"salesforce_locked_rows": 1_000}));
    let lot = org.carry(vec![task(20, &email(20)), task(21, &email(21))], 4);
    assert_eq!(names(&lot), ["retry_after"; 2]);
    org.switch(&json!({"salesforce_locked_rows": 0}));
    assert_eq!(names(&org.again(lot, 3)), ["applied"; 2]);
    assert_eq!((org.records("Lead").len(), org.records("Task").len()), (12, 12));
}

#[test]
fn whatever_is_lost_of_a_lot_every_outcome_is_there_once() {
    let faults = [
        json!({"lose": "answer"}),
        json!({"lose": "request"}),
        json!({"status": 504, "after": true}),
        json!({"truncate": true}),
        json!({"status": 503}),
        json!({"status": 500, "after": true, "body": "html"}),
        json!({"commit_after_ms": 599_000}),
    ];
    for switches in orgs() {
        for fault in &faults {
            for nth in 0..3 {
                let mut org = StandIn::new(&switches);
                org.contact(&email(0));
                let mut hit = fault.clone();
                hit["match"] = json!({"skip": nth, "count": 1, "method": "POST"});
                org.fault(hit);
                // Twelve people, some with several writes.
                let entries = (0..20).map(|n| named(task(n, &email(n % 12)), "Ada")).collect();
                let mut lot = org.carry(entries, 8);
                for _ in 0..4 {
                    if names(&lot) == ["applied"; 20] {
                        break;
                    }
                    lot = org.again(lot, 8);
                }
                org.now_ms += 3_600_000;
                let about = format!("{switches} {fault} {nth}: {:?}", org.calls);
                assert_eq!(names(&lot), ["applied"; 20], "{about}");
                assert_eq!((org.records("Lead").len(), org.records("Task").len()), (11, 20), "{about}");
            }
        }
    }
}

#[test]
fn a_task_is_tied_to_the_opportunity_of_a_contact_and_a_leads_says_that_it_is_not() {
    for switches in orgs() {
        let mut org = StandIn::new(&switches);
        let account =
            org.create("Opportunity", &json!({"Name": "D", "StageName": "Prospecting", "CloseDate": "2026-12-31"}));
        let gone =
            org.create("Opportunity", &json!({"Name": "G", "StageName": "Prospecting", "CloseDate": "2026-12-31"}));
        org.delete("Opportunity", &gone);
        org.contact(&email(0));
        org.lead(&email(1));
        for (who, deal, tied, left_out) in [
            (0, &account, true, false),
            (1, &account, false, true),
            (0, &gone, false, true),
            (2, &account, false, true),
        ] {
            let entry = Entry { deal_external_id: Some(deal.clone()), ..task(org.records("Task").len(), &email(who)) };
            let lot = org.carry(vec![entry], 4);
            assert_eq!(names(&lot), ["applied"], "{switches} {who}");
            let id = &lot.entries[0].external_ids["task"];
            let task = org.records("Task").into_iter().find(|task| task["Id"] == id.as_str()).unwrap();
            assert_eq!(task["WhatId"] == deal.as_str(), tied, "{switches} {who}");
            assert_eq!(lot.entries[0].response.as_ref().unwrap()["left_out"] == "WhatId", left_out, "{switches} {who}");
        }
        // The same in a lot.
        let all = (10..16).map(|n| Entry {
            deal_external_id: Some(if n % 2 == 0 { account.clone() } else { gone.clone() }),
            ..task(n, &email(0))
        });
        assert_eq!(names(&org.carry(all.collect(), 3)), ["applied"; 6]);
        let tied = org.records("Task").iter().filter(|task| task["WhatId"] == account.as_str()).count();
        assert_eq!((tied, org.records("Task").len()), (4, 10));
    }
}

#[test]
fn an_opportunity_is_made_once_and_changed_afterwards() {
    for switches in orgs() {
        let mut org = StandIn::new(&switches);
        // Two writes of one new deal in one lot: the second changes what the first makes.
        let lot = org.carry(
            vec![
                deal(1, "d1", "Prospecting", None),
                deal(2, "d2", "Prospecting", None),
                deal(3, "d1", "Closed Won", None),
            ],
            3,
        );
        assert_eq!(names(&lot), ["applied"; 3], "{switches}");
        let id = lot.entries[0].external_ids["deal"].clone();
        assert_eq!(lot.entries[2].external_ids["deal"], id);
        let found = org.records("Opportunity");
        let one = found.iter().find(|deal| deal["Id"] == id.as_str()).unwrap();
        assert_eq!(
            (found.len(), &one["StageName"], &one["Amount"], &one["CloseDate"]),
            (2, &json!("Closed Won"), &json!(1250.5), &json!("2026-12-31"))
        );
        assert!(one["Description"].as_str().unwrap().contains(&lot.entries[0].marker()));
        // Known: changed; its text is left to the people.
        org.change("Opportunity", &id, &json!({"Description": "mine"}));
        let lot = org.carry(vec![deal(4, "d1", "Prospecting", Some(&id))], 2);
        let one = org.records("Opportunity").into_iter().find(|deal| deal["Id"] == id.as_str()).unwrap();
        assert_eq!(
            (names(&lot), &one["StageName"], &one["Description"]),
            (vec!["applied"], &json!("Prospecting"), &json!("mine"))
        );
    }
}

#[test]
fn nothing_more_is_sent_of_an_opportunity_whose_making_is_open() {
    let mut lot = given::lot(Salesforce, vec![deal(1, "d1", "Prospecting", None), deal(2, "d1", "Closed Won", None)]);
    let mut made = 0;
    while let Some(call) = provider(Salesforce).next_call(&mut lot) {
        let is_making = matches!(&call.request.body, Body::Json(text) if text.contains("Deal d1"));
        made += u32::from(is_making);
        let given = if is_making { given::lost() } else { answer(403, "[{\"errorCode\":\"FORBIDDEN\"}]") };
        provider(Salesforce).read_call(&mut lot, &call, &given, NOW);
    }
    assert_eq!((made, names(&lot)), (1, vec!["unknown", "retry_after"]));
}

#[test]
fn a_stage_the_org_does_not_have_is_told_with_those_it_has() {
    let mut org = StandIn::new(&json!({}));
    for stage in ["Nope", "Needs Analysis"] {
        let lot = org.carry(vec![deal(1, "d1", stage, None), deal(2, "d2", "Qualification", None)], 4);
        let why = failure(lot.entries[0].outcome.as_ref().unwrap());
        assert_eq!((names(&lot), why.code.as_str()), (vec!["rejected", "applied"], "unknown_stage"), "{stage}");
        assert!(
            why.detail.ends_with("Prospecting, Qualification, Negotiation/Review, Closed Won, Closed Lost"),
            "{}",
            why.detail
        );
    }
    // Who may not see the stages sends what was given; whose answer is lost asks again.
    let mut org = StandIn::new(&json!({}));
    org.fault(json!({"match": {"path_contains": "query", "count": 1}, "status": 400, "code": "INVALID_TYPE"}));
    assert_eq!(names(&org.carry(vec![deal(1, "d1", "Anything", None)], 2)), ["applied"]);
    org.fault(json!({"match": {"path_contains": "query", "count": 1}, "lose": "answer"}));
    let lot = org.carry(vec![deal(2, "d2", "Prospecting", None)], 2);
    assert_eq!(names(&lot), ["retry_after"]);
    assert_eq!(names(&org.again(lot, 2)), ["applied"]);
    assert_eq!(org.records("Opportunity").len(), 2);
}

#[test]
fn a_deal_whose_answer_was_lost_is_there_once() {
    for switches in orgs() {
        for fault in [json!({"lose": "answer"}), json!({"lose": "request"}), json!({"commit_after_ms": 599_000})] {
            let mut org = StandIn::new(&switches);
            let mut hit = fault.clone();
            hit["match"] = json!({"count": 1, "method": "POST"});
            org.fault(hit);
            let lot = org.carry(vec![deal(1, "d1", "Prospecting", None), deal(2, "d2", "Prospecting", None)], 3);
            assert_eq!(names(&lot), ["unknown"; 2], "{switches} {fault}");
            let lot = org.again(lot, 4);
            assert_eq!((names(&lot), org.records("Opportunity").len()), (vec!["applied"; 2], 2), "{switches} {fault}");
        }
    }
}

#[test]
fn a_doubt_older_than_the_field_is_settled_by_the_marker() {
    let mut org = StandIn::new(&json!({}));
    org.fault(json!({"match": {"path_contains": "composite", "skip": 1, "count": 1}, "lose": "answer"}));
    let lot = org.carry((0..3).map(|n| task(n, &email(n))).collect(), 2);
    assert_eq!(names(&lot), ["unknown"; 3]);
    org.switch(&json!({"salesforce_key_field": "unique"}));
    org.probe();
    let mut lot = lot;
    lot.entries.iter_mut().for_each(|entry| entry.doubt_is_older = true);
    let lot = org.again(lot, 4);
    assert_eq!((names(&lot), org.records("Task").len(), org.records("Lead").len()), (vec!["applied"; 3], 3, 3));
}
