//! One write at Salesforce, against the stand-in: one call where the org allows it, and never a second person.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::org::{LEAD, composite, halted, person, refused, task};
use given::stand_in::StandIn;
use given::{answer, failure, lost, named, names, step};
use model::Crm::Salesforce;
use providers::{Provider, provider};
use serde_json::{Value, json};

const TASK: &str = "00TXX0000000001AAA";
const ADA: &str = "ada.o'neil+x@example.com";

fn keyed() -> Value {
    json!({"salesforce_key_field": "unique"})
}

#[test]
fn the_probe_finds_what_the_org_has() {
    let all = |contact: &str, lead: &str, task: &str, deal: &str| json!({"contact": contact, "lead": lead, "task": task, "deal": deal});
    let (one, two, key) = ("upsert", "look_then_create", "unique_field");
    for (switches, calls, expected) in [
        (json!({}), 3, all(two, two, two, two)),
        (keyed(), 4, all(one, key, key, key)),
        (json!({"salesforce_key_field": "not_unique"}), 3, all(two, two, two, two)),
        (json!({"salesforce_key_field": "no_access"}), 3, all(two, two, two, two)),
        (json!({"salesforce_key_fields": {"Task": "unique"}}), 3, all(two, two, key, two)),
        (
            json!({"salesforce_key_field": "unique", "salesforce_key_fields": {"1/Task": "absent"}}),
            4,
            all(one, key, two, key),
        ),
        (
            json!({"salesforce_key_field": "unique", "salesforce_refuses_number_references": true}),
            4,
            all(two, key, key, key),
        ),
    ] {
        let mut org = StandIn::new(&switches);
        assert_eq!(org.mechanisms(), expected, "{switches}");
        assert_eq!(org.probe(), calls, "{switches}");
        assert!(org.records("Lead").is_empty() && org.records("Task").is_empty());
    }
}

#[test]
fn a_probe_that_was_not_answered_says_nothing() {
    for fault in [
        json!({"status": 503}),
        json!({"status": 401}),
        json!({"lose": "answer"}),
        json!({"truncate": true}),
        json!({"status": 403}),
    ] {
        let mut org = StandIn::new(&keyed());
        let mut hit = fault.clone();
        hit["match"] = json!({"path_contains": "Lead/describe"});
        org.fault(hit);
        org.probe();
        assert_eq!(org.mechanisms(), Value::Null, "{fault}");
    }
    // Who may not see the object has no field on it, and that is an answer.
    let mut org = StandIn::new(&keyed());
    org.fault(json!({"match": {"path_contains": "Lead/describe"}, "status": 404}));
    org.probe();
    assert_eq!(
        (&org.mechanisms()["lead"], &org.mechanisms()["task"]),
        (&json!("look_then_create"), &json!("unique_field"))
    );
}

/// What the org has before, whether the person is a lead afterwards, and how many leads there are.
#[test]
fn one_call_finds_or_makes_the_person_and_ties_the_task() {
    type Given = fn(&mut StandIn) -> String;
    let table: [(&str, Given, &str, usize); 7] = [
        ("nobody", |_| String::new(), "lead", 1),
        ("a lead", |org| org.lead(ADA), "lead", 1),
        ("a contact", |org| org.contact(ADA), "contact", 0),
        (
            "both: the lead wins",
            |org| {
                org.contact(ADA);
                org.lead(ADA)
            },
            "lead",
            1,
        ),
        (
            "two leads: the oldest",
            |org| {
                let first = org.lead(ADA);
                org.lead(ADA);
                first
            },
            "lead",
            2,
        ),
        (
            "a deleted lead is nobody",
            |org| {
                let id = org.lead(ADA);
                org.delete("Lead", &id);
                String::new()
            },
            "lead",
            1,
        ),
        (
            "a converted lead's contact",
            |org| {
                let id = org.lead(ADA);
                org.convert(&id);
                org.records("Contact")[0]["Id"].as_str().unwrap().to_owned()
            },
            "contact",
            1,
        ),
    ];
    for (what, given, kind, leads) in table {
        for first_name in [true, false] {
            let mut org = StandIn::new(&keyed());
            let known = given(&mut org);
            let before = org.calls.len();
            let entry = if first_name { named(task(1, ADA), "Ada") } else { task(1, ADA) };
            let lot = org.carry(vec![entry], 1);
            assert_eq!((org.calls.len() - before, names(&lot)), (1, vec!["applied"]), "{what}");
            let ids = &lot.entries[0].external_ids;
            let (people, tasks) = (org.records("Lead"), org.records("Task"));
            assert_eq!((people.len(), tasks.len()), (leads, 1), "{what}");
            assert!(known.is_empty() || ids[kind] == known, "{what}: {ids:?}");
            assert_eq!((&tasks[0]["WhoId"], &tasks[0]["Id"]), (&json!(ids[kind]), &json!(ids["task"])), "{what}");
            assert_eq!(tasks[0]["Conduit_Key__c"], lot.entries[0].id.as_str());
            if first_name {
                let object = if kind == "lead" { "Lead" } else { "Contact" };
                let person = org.records(object).into_iter().find(|row| row["Id"] == ids[kind].as_str()).unwrap();
                assert_eq!((&person["FirstName"], &person["Email"]), (&json!("Ada"), &json!(ADA)), "{what}");
            }
            // The same write again, as after a crash: nothing more comes of it.
            let mut again = lot.entries.into_iter().next().unwrap();
            (again.outcome, again.stage, again.in_doubt) = (None, providers::lot::Stage::default(), true);
            again.external_ids.clear();
            assert_eq!(names(&org.carry(vec![again], 4)), ["applied"]);
            assert_eq!((org.records("Lead").len(), org.records("Task").len()), (leads, 1), "{what}");
        }
    }
}

#[test]
fn a_lead_we_made_is_known_by_its_key_when_its_address_changed() {
    let mut org = StandIn::new(&keyed());
    let first = org.carry(vec![task(1, ADA)], 1);
    let lead = first.entries[0].external_ids["lead"].clone();
    org.change("Lead", &lead, &json!({"Email": "new@example.com", "LastName": "O'Neil"}));
    let lot = org.carry(vec![task(2, ADA)], 1);
    assert_eq!(lot.entries[0].external_ids["lead"], lead);
    let people = org.records("Lead");
    assert_eq!(
        (people.len(), &people[0]["Email"], &people[0]["LastName"]),
        (1, &json!("new@example.com"), &json!("O'Neil"))
    );
    // Converted, and the contact has another address: found through the lead, in two calls more.
    org.convert(&lead);
    let contact = org.records("Contact")[0]["Id"].as_str().unwrap().to_owned();
    let lot = org.carry(vec![task(3, ADA)], 3);
    assert_eq!((names(&lot), &lot.entries[0].external_ids["contact"]), (vec!["applied"], &contact));
    assert_eq!((org.records("Lead").len(), org.records("Task").len()), (1, 3));
}

#[test]
fn an_org_that_no_longer_takes_the_call_costs_two_more_and_nothing_else() {
    for person in [true, false] {
        let mut org = StandIn::new(&keyed());
        if person {
            org.contact(ADA);
        }
        org.switch(&json!({"salesforce_refuses_number_references": true}));
        let lot = org.carry(vec![task(1, ADA)], 3);
        assert_eq!((names(&lot), org.records("Task").len()), (vec!["applied"], 1));
        assert_eq!(org.records("Lead").len(), usize::from(!person));
    }
}

#[test]
fn whatever_is_lost_there_is_one_person_and_one_task() {
    let faults = [
        json!({"lose": "answer"}),
        json!({"lose": "request"}),
        json!({"status": 504, "after": true}),
        json!({"status": 502, "after": true, "body": "html"}),
        json!({"truncate": true}),
        json!({"status": 503}),
        json!({"commit_after_ms": 30_000}),
        json!({"commit_after_ms": 599_000}),
    ];
    for switches in [
        keyed(),
        json!({}),
        json!({"salesforce_key_fields": {"Task": "unique"}}),
        json!({"salesforce_key_fields": {"Lead": "unique"}}),
    ] {
        for fault in &faults {
            for nth in 0..3 {
                let mut org = StandIn::new(&switches);
                let mut hit = fault.clone();
                hit["match"] = json!({"path_contains": "composite", "skip": nth, "count": 1});
                org.fault(hit);
                let mut lot = org.carry(vec![named(task(1, ADA), "Ada")], 4);
                for _ in 0..4 {
                    if names(&lot) == ["applied"] {
                        break;
                    }
                    lot = org.again(lot, 6);
                }
                org.now_ms += 3_600_000;
                let about = format!("{switches} {fault} {nth}: {:?}", org.calls);
                assert_eq!(names(&lot), ["applied"], "{about}");
                assert_eq!((org.records("Lead").len(), org.records("Task").len()), (1, 1), "{about}");
            }
        }
    }
}

#[test]
fn a_strange_answer_is_never_taken_for_a_success() {
    const ORG: &str = "00DXX0000000001AAA";
    let rows = |ids: &[&str]| json!({"done": true, "totalSize": ids.len(), "records": ids.iter().map(|id| json!({"Id": id})).collect::<Vec<_>>()});
    let (none, row) = (|name| (name, 200, rows(&[])), |name, id| (name, 200, rows(&[id])));
    let upserted = |name, id| (name, 201, json!({"id": id, "success": true, "errors": [], "created": true}));
    let odd = |name, body| (name, 200, body);
    let nobody = || vec![none("l"), row("a", ORG), none("c"), row("b", ORG)];
    let with = |more: Vec<(&'static str, u16, Value)>| [nobody(), more].concat();
    for (parts, outcome, calls_more) in [
        (vec![], "unknown", false),
        (vec![none("l")], "unknown", false),
        (vec![none("l"), row("a", ORG), none("c")], "unknown", false),
        (nobody(), "unknown", false),
        (with(vec![upserted("n", LEAD)]), "unknown", false),
        (with(vec![upserted("n", "../x"), upserted("tn", TASK)]), "unknown", false),
        (with(vec![odd("n", json!({"success": true})), upserted("tn", TASK)]), "unknown", false),
        (with(vec![upserted("n", LEAD), odd("tn", json!(["x"]))]), "unknown", false),
        (with(vec![upserted("n", LEAD), odd("tn", json!({"id": 7, "success": true}))]), "unknown", false),
        (with(vec![upserted("n", LEAD), ("tn", 500, refused("UNKNOWN_EXCEPTION"))]), "unknown", false),
        (
            with(vec![
                upserted("n", LEAD),
                odd("tn", json!({"success": false, "errors": [{"statusCode": "STRING_TOO_LONG"}]})),
            ]),
            "rejected",
            false,
        ),
        (with(vec![("n", 400, refused("UNABLE_TO_LOCK_ROW")), halted("tn")]), "retry_after", false),
        (with(vec![("n", 401, refused("INVALID_SESSION_ID")), halted("tn")]), "unauthorized", false),
        (vec![("l", 403, refused("REQUEST_LIMIT_EXCEEDED")), halted("a")], "retry_after", false),
        // The org does not take this way: asked in two calls.
        (vec![("l", 400, refused("MALFORMED_QUERY")), halted("a")], "none", true),
        (vec![odd("l", json!("what?")), halted("a")], "none", true),
        (vec![row("l", "not an id")], "unknown", false),
        (
            vec![
                none("l"),
                ("a", 400, refused("MALFORMED_QUERY")),
                halted("c"),
                halted("b"),
                halted("n"),
                halted("tn"),
            ],
            "none",
            true,
        ),
        (vec![none("l"), none("a"), halted("c"), halted("b"), halted("n")], "none", true),
        (vec![none("l"), row("a", ORG), none("c"), none("b"), halted("n")], "none", true),
        (with(vec![halted("n"), halted("tn")]), "none", true),
        (with(vec![("n", 400, refused("CANNOT_UPDATE_CONVERTED_LEAD")), halted("tn")]), "none", true),
        // The lead is found: only its own task counts.
        (vec![row("l", LEAD), halted("a"), upserted("tl", TASK)], "applied", false),
        (vec![row("l", LEAD), halted("a"), upserted("tn", TASK)], "unknown", false),
    ] {
        let org = StandIn::new(&keyed());
        let mut lot = org.lot(vec![task(1, ADA)]);
        step(&mut lot, &composite(&parts));
        assert_eq!(
            (names(&lot), provider(Salesforce).next_call(&mut lot).is_some()),
            (vec![outcome], calls_more),
            "{parts:?}"
        );
    }
    // As a whole: refused is tried in two calls, lost is in doubt.
    for (given, outcome) in [
        (answer(400, "[{\"errorCode\":\"JSON_PARSER_ERROR\"}]"), "none"),
        (answer(200, "[]"), "unknown"),
        (answer(200, "{\"compositeResponse\":7}"), "unknown"),
        (answer(200, "<html>"), "unknown"),
        (answer(503, "<html>"), "unknown"),
        (answer(401, "[{\"errorCode\":\"INVALID_SESSION_ID\"}]"), "unauthorized"),
        (answer(403, "[{\"errorCode\":\"API_DISABLED_FOR_ORG\"}]"), "rejected"),
        (lost(), "unknown"),
    ] {
        let org = StandIn::new(&keyed());
        let mut lot = org.lot(vec![task(1, ADA)]);
        step(&mut lot, &given);
        assert_eq!(names(&lot), [outcome], "{given:?}");
    }
}

#[test]
fn a_repeat_spares_what_a_person_changed_meanwhile() {
    let mut org = StandIn::new(&keyed());
    org.fault(json!({"match": {"path_contains": "composite", "count": 1}, "lose": "answer"}));
    let lot = org.carry(vec![task(1, ADA)], 1);
    assert_eq!(names(&lot), ["unknown"]);
    let made = org.records("Task")[0]["Id"].as_str().unwrap().to_owned();
    org.change("Task", &made, &json!({"Status": "Completed", "Subject": "Called her"}));
    let lot = org.again(lot, 4);
    assert_eq!((names(&lot), &lot.entries[0].external_ids["task"]), (vec!["applied"], &made));
    let task = &org.records("Task")[0];
    assert_eq!((&task["Status"], &task["Subject"]), (&json!("Completed"), &json!("Called her")));
}

#[test]
fn the_loser_of_a_race_comes_again_and_a_field_that_is_gone_is_told() {
    let mut org = StandIn::new(&keyed());
    org.switch(&json!({"salesforce_key_races": 1}));
    let lot = org.carry(vec![task(1, ADA)], 1);
    assert_eq!(
        (names(&lot), failure(lot.entries[0].outcome.as_ref().unwrap()).code.as_str()),
        (vec!["retry_after"], "DUPLICATE_VALUE")
    );
    assert_eq!(names(&org.again(lot, 2)), ["applied"]);
    assert_eq!((org.records("Lead").len(), org.records("Task").len()), (1, 1));
    for gone in ["Lead", "Task"] {
        let mut org = StandIn::new(&keyed());
        org.switch(&json!({"salesforce_key_fields": {gone: "absent"}}));
        let lot = org.carry(vec![task(1, ADA)], 2);
        assert_eq!(failure(lot.entries[0].outcome.as_ref().unwrap()).code, "mechanism_gone", "{gone}");
        org.probe();
        assert_eq!(names(&org.again(lot, 3)), ["applied"], "{gone}");
        assert_eq!((org.records("Lead").len(), org.records("Task").len()), (1, 1), "{gone}");
    }
    // Two tasks have the key: the field is not unique after all.
    let mut org = StandIn::new(&keyed());
    org.switch(&json!({"salesforce_key_field": "not_unique"}));
    let entry = task(1, ADA);
    for _ in 0..2 {
        org.create("Task", &json!({"Conduit_Key__c": entry.id.as_str()}));
    }
    let lot = org.carry(vec![entry], 1);
    assert_eq!(failure(lot.entries[0].outcome.as_ref().unwrap()).code, "mechanism_gone");
}

#[test]
fn a_person_alone_is_one_call_and_a_duplicate_rule_names_what_it_holds() {
    let mut org = StandIn::new(&keyed());
    assert_eq!(names(&org.carry(vec![person(1, ADA)], 1)), ["applied"]);
    assert_eq!(names(&org.carry(vec![person(2, ADA)], 1)), ["applied"]);
    assert_eq!(org.records("Lead").len(), 1);
    for switches in [
        json!({"salesforce_duplicate_rules": "block"}),
        json!({"salesforce_duplicate_rules": "block", "salesforce_key_field": "unique"}),
    ] {
        let mut org = StandIn::new(&switches);
        // The rule sees a converted lead of the address; we do not use it.
        let old = org.lead(ADA);
        org.convert(&old);
        let contact = org.records("Contact")[0]["Id"].as_str().unwrap().to_owned();
        org.change("Contact", &contact, &json!({"Email": "elsewhere@example.com"}));
        let lot = org.carry(vec![task(1, ADA)], 3);
        let why = failure(lot.entries[0].outcome.as_ref().unwrap());
        assert_eq!((names(&lot), why.code.as_str()), (vec!["rejected"], "DUPLICATES_DETECTED"));
        assert!(why.detail.contains(&old) && !why.detail.contains('@'), "{}", why.detail);
        assert!(org.records("Task").is_empty());
    }
}

#[test]
fn text_that_looks_like_a_reference_stays_text() {
    for switches in [keyed(), json!({})] {
        let mut org = StandIn::new(&switches);
        let mut entry = named(task(1, ADA), "@{l.totalSize}");
        let part = entry.write.task.as_mut().unwrap();
        part.subject = "Ask @{n.id}".into();
        part.text = Some("@{c.records[0].Id} @{".into());
        assert_eq!(names(&org.carry(vec![entry], 2)), ["applied"]);
        let task = &org.records("Task")[0];
        assert_eq!(task["Subject"], "Ask @ {n.id}");
        assert!(task["Description"].as_str().unwrap().starts_with("@ {c.records[0].Id} @ {"));
        assert_eq!(org.records("Lead")[0]["FirstName"], "@ {l.totalSize}");
    }
}
