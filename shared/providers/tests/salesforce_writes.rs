//! Lots at Salesforce: which calls are made, what every answer does to every entry, and that nothing is created twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::org::{Org, composite, made, parts, path, person, refused, soql, task};
use given::{NOW, body, doubtful, entry, failure, json_answer, lost, lot, named, names, next, run, step};
use model::Crm::Salesforce;
use model::write::{ErrorClass, WriteOutcome};
use providers::http::Effect;
use providers::lot::Entry;
use providers::provider;
use serde_json::{Value, json};

#[test]
fn one_task_for_somebody_new_is_two_calls() {
    let mut lot = lot(Salesforce, vec![task(1, "o'neil@example.com")]);
    let mut org = Org::default();
    let sent = run(&mut lot, 2, |request| org.answer(request));
    let lookup = parts(&sent[0]);
    assert_eq!((path(&sent[0]).as_str(), sent[0].effect), ("POST composite", Effect::Reads));
    let asked: Vec<String> = lookup.iter().map(|part| soql(part["url"].as_str().unwrap())).collect();
    assert_eq!(
        asked,
        [
            r"SELECT Id, Email, CreatedDate FROM Lead WHERE IsConverted = false AND Email IN ('o\'neil@example.com') ORDER BY CreatedDate, Id",
            r"SELECT Id, Email, CreatedDate FROM Contact WHERE Email IN ('o\'neil@example.com') ORDER BY CreatedDate, Id",
        ]
    );
    assert_eq!((path(&sent[1]).as_str(), sent[1].effect), ("POST composite", Effect::Creates));
    assert_eq!(
        json!(parts(&sent[1])),
        json!([
            {"method": "POST", "url": "/services/data/v67.0/sobjects/Lead", "referenceId": "p0",
             "body": {"Email": "o'neil@example.com", "LastName": "o'neil", "Company": "example.com"}},
            {"method": "POST", "url": "/services/data/v67.0/sobjects/Task", "referenceId": "t0",
             "body": {"Subject": "Call 1", "Status": "Not Started", "Priority": "High", "ActivityDate": "2026-11-23",
                      "Description": "Line <one>\nline & two\n\n[conduit:wr_skey001]", "WhoId": "@{p0.id}"}},
        ])
    );
    let entry = &lot.entries[0];
    assert_eq!(entry.outcome, Some(WriteOutcome::Applied));
    assert_eq!(json!(entry.external_ids), json!({"lead": "00QXX0000100000AAA", "task": "00TXX0000000001AAA"}));
    assert_eq!(entry.response, Some(made("00TXX0000000001AAA")));
}

#[test]
fn a_known_person_is_changed_only_by_what_is_given() {
    // A lead wins over a contact; a contact's company is not ours to change; nothing given is no call.
    let mut full = named(task(0, "both@example.com"), "Ada");
    full.write.contact.as_mut().unwrap().company = Some("Acme".into());
    let mut of_contact = named(task(1, "contact@example.com"), "Bob");
    of_contact.write.contact.as_mut().unwrap().company = Some("Acme".into());
    let bare = entry(Salesforce, 2, "upsert_contact", "bare@example.com");
    let mut lot = lot(Salesforce, vec![full, of_contact, bare, task(3, "plain@example.com")]);
    let mut org = Org::with(
        &["both@example.com", "bare@example.com"],
        &["both@example.com", "contact@example.com", "plain@example.com"],
    );
    let sent = run(&mut lot, 2, |request| org.answer(request));
    let changes: Vec<(String, Value)> = parts(&sent[1])
        .iter()
        .filter(|part| part["method"] == "PATCH")
        .map(|part| {
            (part["url"].as_str().unwrap().rsplit_once("sobjects/").unwrap().1.to_owned(), part["body"].clone())
        })
        .collect();
    assert_eq!(
        changes,
        [
            ("Lead/00QXX0000000000AAA".to_owned(), json!({"FirstName": "Ada", "Company": "Acme"})),
            ("Contact/003XX0000000001AAA".to_owned(), json!({"FirstName": "Bob"})),
        ]
    );
    assert_eq!(names(&lot), ["applied"; 4]);
    assert_eq!(lot.entries[2].external_ids["lead"], "00QXX0000000001AAA");
    assert!(lot.entries[1].external_ids.contains_key("contact") && !lot.entries[1].external_ids.contains_key("lead"));
    // Only changes: repeating them does nothing more, so nothing can be in doubt.
    let mut lot = given::lot(Salesforce, vec![person(1, "contact@example.com")]);
    let call = next(&mut lot);
    provider(Salesforce).read_call(&mut lot, &call, &org.answer(&call.request), NOW);
    assert_eq!(next(&mut lot).request.effect, Effect::Idempotent);
    step(&mut lot, &lost());
    assert_eq!(names(&lot), ["retry_after"]);
    assert!(lot.entries[0].external_ids.is_empty(), "found is not yet done");
}

#[test]
fn a_rollup_is_a_completed_task_of_its_day() {
    let mut lot = lot(Salesforce, vec![entry(Salesforce, 1, "create_weekly_rollup", "ada@example.com")]);
    let mut org = Org::with(&["ada@example.com"], &[]);
    let sent = run(&mut lot, 2, |request| org.answer(request));
    assert_eq!(
        parts(&sent[1])[0]["body"],
        json!({"Subject": "Weekly deal summary", "Status": "Completed", "Priority": "Normal", "ActivityDate": "2026-11-16",
               "Description": "Two deals moved\n\n[conduit:wr_skey001]", "WhoId": "00QXX0000000000AAA"})
    );
    assert!(lot.entries[0].external_ids.contains_key("task"));
}

#[test]
fn a_hundred_writes_are_ten_calls_and_keep_a_lead_with_its_task() {
    let mut lot = lot(Salesforce, (0..100).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    let mut org = Org::default();
    let sent = run(&mut lot, 10, |request| org.answer(request));
    assert_eq!(sent.len(), 10);
    assert_eq!((org.leads.len(), org.tasks.len()), (100, 100));
    assert_eq!(names(&lot), ["applied"; 100]);
    // People alone: 25 in a call.
    let mut lot = given::lot(Salesforce, (0..100).map(|n| person(n, &format!("q{n}@example.com"))).collect());
    assert_eq!(run(&mut lot, 5, |request| org.answer(request)).len(), 5);
    // Known people: 25 tasks in a call.
    let mut lot = given::lot(Salesforce, (0..100).map(|n| task(n, &format!("q{n}@example.com"))).collect());
    assert_eq!(run(&mut lot, 5, |request| org.answer(request)).len(), 5);
}

#[test]
fn one_address_is_one_lead_however_many_writes() {
    let mut entries: Vec<Entry> = (0..60).map(|n| task(n, "ada@example.com")).collect();
    entries[5].write.contact.as_mut().unwrap().first_name = Some("Ada".into());
    entries[59].write.contact.as_mut().unwrap().last_name = Some("Lovelace".into());
    let mut lot = lot(Salesforce, entries);
    let mut org = Org::default();
    let sent = run(&mut lot, 4, |request| org.answer(request));
    assert_eq!((org.leads.len(), org.tasks.len(), sent.len()), (1, 60, 4));
    let lead = &parts(&sent[1])[0]["body"];
    assert_eq!((&lead["FirstName"], &lead["LastName"]), (&json!("Ada"), &json!("Lovelace")));
    assert_eq!(names(&lot), ["applied"; 60]);
}

#[test]
fn merged_fields_that_are_refused_are_tried_apart() {
    let mut entries: Vec<Entry> = (0..4).map(|n| task(n, "ada@example.com")).collect();
    entries[2].write.contact.as_mut().unwrap().phone = Some("bad".into());
    let mut lot = lot(Salesforce, entries);
    let mut org = Org::default();
    run(&mut lot, 8, |request| {
        let poisoned =
            body(request)["compositeRequest"].as_array().unwrap().iter().any(|p| p["body"]["Phone"] == "bad");
        if !poisoned {
            return org.answer(request);
        }
        let results: Vec<(String, u16, Value)> = parts(request)
            .iter()
            .map(|part| {
                let reference = part["referenceId"].as_str().unwrap().to_owned();
                let is_task = reference.starts_with('t');
                let code = if is_task { "PROCESSING_HALTED" } else { "STRING_TOO_LONG" };
                match part["method"].as_str() {
                    // A task of somebody who is there does not depend on the change.
                    Some("POST") if is_task && !part["body"]["WhoId"].as_str().unwrap().starts_with('@') => {
                        org.tasks.push(("x".into(), "x".into()));
                        (reference, 201, made("00TXX0000009999AAA"))
                    }
                    _ => (reference, 400, refused(code)),
                }
            })
            .collect();
        let results: Vec<(&str, u16, Value)> = results.iter().map(|(r, s, b)| (r.as_str(), *s, b.clone())).collect();
        composite(&results)
    });
    assert_eq!(names(&lot), ["applied", "applied", "rejected", "applied"]);
    assert_eq!((org.leads.len(), org.tasks.len()), (1, 4), "one lead, and the poisoned one's task is not lost either");
    assert_eq!(failure(lot.entries[2].outcome.as_ref().unwrap()).code, "STRING_TOO_LONG");
}

#[test]
fn every_part_answers_for_its_own_entry() {
    let mut lot = lot(Salesforce, (0..8).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    let mut org = Org::default();
    let call = next(&mut lot);
    provider(Salesforce).read_call(&mut lot, &call, &org.answer(&call.request), NOW);
    let halted = || refused("PROCESSING_HALTED");
    let ok = |n: usize| made(&format!("00QXX000000000{n}AAA"));
    step(
        &mut lot,
        &composite(&[
            ("p0", 201, ok(0)),
            ("t0", 201, made("00TXX0000000000AAA")),
            ("p1", 400, refused("DUPLICATES_DETECTED")),
            ("t1", 400, halted()),
            ("p2", 400, refused("UNABLE_TO_LOCK_ROW")),
            ("t2", 400, halted()),
            ("p3", 201, ok(3)),
            ("t3", 400, refused("FIELD_CUSTOM_VALIDATION_EXCEPTION")),
            ("p4", 500, refused("UNKNOWN_EXCEPTION")),
            ("t4", 400, halted()),
            ("p5", 201, ok(5)),
            // t5 is not in the answer; p6 says it failed inside a success; p7 has no usable id.
            (
                "p6",
                200,
                json!({"success": false, "errors": [{"statusCode": "REQUIRED_FIELD_MISSING", "message": "m"}]}),
            ),
            ("t6", 400, halted()),
            ("p7", 201, json!({"success": true})),
            ("t7", 400, halted()),
        ]),
    );
    assert_eq!(
        names(&lot),
        ["applied", "rejected", "retry_after", "rejected", "unknown", "unknown", "rejected", "unknown"]
    );
    let codes: Vec<String> =
        lot.entries.iter().skip(1).map(|entry| failure(entry.outcome.as_ref().unwrap()).code).collect();
    assert_eq!(
        codes,
        [
            "DUPLICATES_DETECTED",
            "UNABLE_TO_LOCK_ROW",
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "UNKNOWN_EXCEPTION",
            "unreadable_answer",
            "REQUIRED_FIELD_MISSING",
            "unreadable_answer"
        ]
    );
    // What was made is kept, whatever came after it.
    assert_eq!(lot.entries[3].external_ids["lead"], "00QXX0000000003AAA");
    assert_eq!(lot.entries[5].external_ids["lead"], "00QXX0000000005AAA");
}

#[test]
fn a_task_that_was_made_is_kept_when_its_persons_change_fails() {
    let mut lot = lot(Salesforce, vec![named(task(0, "ada@example.com"), "Ada")]);
    let mut org = Org::with(&["ada@example.com"], &[]);
    let call = next(&mut lot);
    provider(Salesforce).read_call(&mut lot, &call, &org.answer(&call.request), NOW);
    step(&mut lot, &composite(&[("p0", 400, refused("UNABLE_TO_LOCK_ROW")), ("t0", 201, made("00TXX0000000001AAA"))]));
    assert_eq!(names(&lot), ["retry_after"]);
    assert_eq!(json!(lot.entries[0].external_ids), json!({"task": "00TXX0000000001AAA"}));
    // The next try makes up for the change alone.
    let mut again = lot.entries.remove(0);
    (again.outcome, again.stage) = (None, providers::lot::Stage::default());
    let mut lot = given::lot(Salesforce, vec![again]);
    run(&mut lot, 2, |request| org.answer(request));
    assert_eq!(org.log, ["PATCH Lead/00QXX0000000000AAA"]);
}

#[test]
fn a_refused_composite_isolates_the_bad_entry() {
    let mut lot = lot(Salesforce, (0..12).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    let mut org = Org::default();
    run(&mut lot, 12, |request| {
        let bad =
            body(request)["compositeRequest"].as_array().unwrap().iter().any(|p| p["body"]["Subject"] == "Call 7");
        if bad { json_answer(400, &refused("JSON_PARSER_ERROR")) } else { org.answer(request) }
    });
    let expected: Vec<&str> = (0..12).map(|n| if n == 7 { "rejected" } else { "applied" }).collect();
    assert_eq!(names(&lot), expected);
    assert_eq!((org.leads.len(), org.tasks.len()), (11, 11));
}

#[test]
fn nothing_is_sent_without_an_instance_of_salesforces() {
    for url in [None, Some("https://evil.example"), Some("http://acme.my.salesforce.com")] {
        let mut lot = lot(Salesforce, vec![task(1, "a@example.com"), doubtful(task(2, "b@example.com"))]);
        lot.connection.instance_url = url.map(str::to_owned);
        assert!(provider(Salesforce).dry_run(&lot).is_empty());
        assert!(provider(Salesforce).next_call(&mut lot).is_none());
        assert_eq!(names(&lot), ["rejected", "unknown"]);
        assert_eq!(failure(lot.entries[0].outcome.as_ref().unwrap()).class, ErrorClass::Auth);
    }
}

#[test]
fn a_dry_run_is_the_calls_for_somebody_new() {
    let mut lot = lot(Salesforce, vec![named(task(1, "ada@example.com"), "Ada")]);
    let dry = provider(Salesforce).dry_run(&lot);
    let mut org = Org::default();
    assert_eq!(dry, run(&mut lot, 2, |request| org.answer(request)));
    let many = given::lot(Salesforce, (0..100).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    assert_eq!(provider(Salesforce).dry_run(&many).len(), 10);
    assert_eq!(provider(Salesforce).expected_calls(&many), 10, "and so many permits are asked for");
}
