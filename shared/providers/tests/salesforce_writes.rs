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

use given::org::{Org, composite, halted, made, parts, path, person, records, refused, soql, spoilt, task};
use given::{NOW, doubtful, entry, failure, json_answer, lost, lot, named, names, next, run, step};
use model::Crm::Salesforce;
use model::write::{ErrorClass, WriteOutcome};
use providers::http::Effect;
use providers::lot::Entry;
use providers::{Provider, provider};
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
            r"SELECT Id, Email, CreatedDate FROM Lead WHERE (IsConverted = false AND Email IN ('o\'neil@example.com')) ORDER BY CreatedDate, Id",
            r"SELECT Id, Email, CreatedDate FROM Contact WHERE Email IN ('o\'neil@example.com') ORDER BY CreatedDate, Id",
        ]
    );
    assert_eq!((path(&sent[1]).as_str(), sent[1].effect), ("POST composite", Effect::Creates));
    assert_eq!(
        json!(parts(&sent[1])),
        json!([
            {"method": "POST", "url": "/services/data/v67.0/composite/sobjects", "referenceId": "n",
             "body": {"allOrNone": false, "records": [{"attributes": {"type": "Lead"},
                      "Email": "o'neil@example.com", "LastName": "o'neil", "Company": "example.com"}]}},
            {"method": "POST", "url": "/services/data/v67.0/composite/sobjects", "referenceId": "r",
             "body": {"allOrNone": false, "records": [{"attributes": {"type": "Task"},
                      "Subject": "Call 1", "Status": "Not Started", "Priority": "High", "ActivityDate": "2026-11-23",
                      "Description": "Line <one>\nline & two\n\n[conduit:wr_skey001]", "WhoId": "@{n[0].id}"}]}},
        ])
    );
    let entry = &lot.entries[0];
    assert_eq!(entry.outcome, Some(WriteOutcome::Applied));
    assert_eq!(json!(entry.external_ids), json!({"lead": "00QXX0000100000AAA", "task": "00TXX0000000001AAA"}));
    assert_eq!(entry.response, Some(json!({"id": "00TXX0000000001AAA", "success": true})));
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
    assert_eq!(
        records(&sent[1], "u"),
        [
            json!({"attributes": {"type": "Lead"}, "id": "00QXX0000000000AAA", "FirstName": "Ada", "Company": "Acme"}),
            json!({"attributes": {"type": "Contact"}, "id": "003XX0000000001AAA", "FirstName": "Bob"}),
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
        records(&sent[1], "t")[0],
        json!({"attributes": {"type": "Task"}, "Subject": "Weekly deal summary", "Status": "Completed", "Priority": "Normal", "ActivityDate": "2026-11-16",
               "Description": "Two deals moved\n\n[conduit:wr_skey001]", "WhoId": "00QXX0000000000AAA"})
    );
    assert!(lot.entries[0].external_ids.contains_key("task"));
}

#[test]
fn a_hundred_writes_are_two_calls() {
    let mut lot = lot(Salesforce, (0..100).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    let mut org = Org::default();
    let sent = run(&mut lot, 2, |request| org.answer(request));
    assert_eq!((sent.len(), records(&sent[1], "n").len(), records(&sent[1], "r").len()), (2, 100, 100));
    assert_eq!((org.leads.len(), org.tasks.len()), (100, 100));
    assert_eq!(names(&lot), ["applied"; 100]);
    // People alone, and people who are known.
    let mut lot = given::lot(Salesforce, (0..100).map(|n| person(n, &format!("q{n}@example.com"))).collect());
    assert_eq!(run(&mut lot, 2, |request| org.answer(request)).len(), 2);
    let mut lot = given::lot(Salesforce, (0..100).map(|n| task(n, &format!("q{n}@example.com"))).collect());
    assert_eq!(run(&mut lot, 2, |request| org.answer(request)).len(), 2);
}

#[test]
fn one_address_is_one_lead_however_many_writes() {
    let mut entries: Vec<Entry> = (0..60).map(|n| task(n, "ada@example.com")).collect();
    entries[5].write.contact.as_mut().unwrap().first_name = Some("Ada".into());
    entries[59].write.contact.as_mut().unwrap().last_name = Some("Lovelace".into());
    let mut lot = lot(Salesforce, entries);
    let mut org = Org::default();
    let sent = run(&mut lot, 2, |request| org.answer(request));
    assert_eq!((org.leads.len(), org.tasks.len(), sent.len()), (1, 60, 2));
    let lead = &records(&sent[1], "n")[0];
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
        let phone = |part: &str| records(request, part).iter().any(|record| record["Phone"] == "bad");
        if phone("n") {
            return composite(&[("n", 200, json!([spoilt("STRING_TOO_LONG")])), halted("r")]);
        }
        if !phone("u") {
            return org.answer(request);
        }
        // A task of somebody who is there does not depend on the change.
        let tasks: Vec<Value> = records(request, "t").iter().map(|_| made("00TXX0000009999AAA")).collect();
        org.tasks.extend(tasks.iter().map(|_| ("x".into(), "x".into())));
        composite(&[("u", 200, json!([spoilt("STRING_TOO_LONG")])), ("t", 200, json!(tasks))])
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
    let ok = |n: usize| made(&format!("00QXX000000000{n}AAA"));
    step(
        &mut lot,
        &composite(&[
            (
                "n",
                200,
                json!([
                    ok(0),
                    spoilt("DUPLICATES_DETECTED"),
                    spoilt("UNABLE_TO_LOCK_ROW"),
                    ok(3),
                    spoilt("UNKNOWN_EXCEPTION"),
                    ok(5),
                    // Without a flag nothing is said; without an id nothing can be done with it; the last one is missing.
                    {"id": "00QXX0000000006AAA"},
                    {"success": true},
                ]),
            ),
            halted("r"),
        ]),
    );
    assert_eq!(names(&lot), ["none", "rejected", "none", "none", "unknown", "none", "unknown", "unknown"]);
    // Those whose lead is there get their task, and the locked one is sent once more.
    let call = step(
        &mut lot,
        &composite(&[
            ("n", 200, json!([spoilt("UNABLE_TO_LOCK_ROW")])),
            ("t", 200, json!([made("00TXX0000000000AAA"), spoilt("FIELD_CUSTOM_VALIDATION_EXCEPTION")])),
            halted("r"),
        ]),
    );
    assert_eq!(call.entries, [0, 2, 3, 5]);
    assert_eq!(
        names(&lot),
        ["applied", "rejected", "retry_after", "rejected", "unknown", "unknown", "unknown", "unknown"]
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
            "unreadable_answer",
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
    let locked = ("u", 200, json!([spoilt("UNABLE_TO_LOCK_ROW")]));
    step(&mut lot, &composite(&[locked.clone(), ("t", 200, json!([made("00TXX0000000001AAA")]))]));
    assert_eq!(names(&lot), ["none"], "once more at once, without the task");
    assert!(records(&next(&mut lot).request, "t").is_empty());
    step(&mut lot, &composite(&[locked]));
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
    run(&mut lot, 16, |request| {
        let bad = ["t", "r"].iter().any(|part| records(request, part).iter().any(|task| task["Subject"] == "Call 7"));
        if bad { json_answer(400, &refused("JSON_PARSER_ERROR")) } else { org.answer(request) }
    });
    let expected: Vec<&str> = (0..12).map(|n| if n == 7 { "rejected" } else { "applied" }).collect();
    assert_eq!(names(&lot), expected);
    assert_eq!((org.leads.len(), org.tasks.len()), (12, 11), "its person is there");
}

#[test]
fn nothing_is_sent_without_an_instance_of_salesforces() {
    for url in [None, Some("https://evil.example"), Some("http://acme.my.salesforce.com")] {
        let mut lot = lot(Salesforce, vec![task(1, "a@example.com"), doubtful(task(2, "b@example.com"))]);
        lot.connection.instance_url = url.map(str::to_owned);
        assert!(provider(Salesforce).dry_run(lot.clone()).is_empty());
        assert!(provider(Salesforce).next_call(&mut lot).is_none());
        assert_eq!(names(&lot), ["rejected", "unknown"]);
        assert_eq!(failure(lot.entries[0].outcome.as_ref().unwrap()).class, ErrorClass::Auth);
    }
}

#[test]
fn a_dry_run_is_the_calls_for_somebody_new() {
    let mut lot = lot(Salesforce, vec![named(task(1, "ada@example.com"), "Ada")]);
    let dry = provider(Salesforce).dry_run(lot.clone());
    let mut org = Org::default();
    assert_eq!(dry, run(&mut lot, 2, |request| org.answer(request)));
    let many = given::lot(Salesforce, (0..100).map(|n| task(n, &format!("p{n}@example.com"))).collect());
    assert_eq!(provider(Salesforce).dry_run(many.clone()).len(), 2);
    assert_eq!(provider(Salesforce).expected_calls(&many), 3, "and so many permits are asked for");
}
