//! Looks at Salesforce: whom an address belongs to, and whether an earlier, unanswered try made its task.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::org::{CONTACT, LEAD, Org, composite, halted, parts, path, person, records, refused, soql, spoilt, task};
use given::{NOW, answer, doubtful, json_answer, lost, lot, names, next, run, step};
use model::Crm::Salesforce;
use providers::lot::Entry;
use providers::{Provider, provider};
use serde_json::{Value, json};

#[test]
fn a_lost_answer_keeps_everybody_with_the_address_away() {
    for (given, outcome) in [
        (lost(), "unknown"),
        (answer(502, "<html>"), "unknown"),
        (answer(200, "{\"compositeR"), "unknown"),
        (answer(401, "[]"), "unauthorized"),
    ] {
        // 30 writes of one new person share the lead.
        let mut lot = lot(Salesforce, (0..30).map(|n| task(n, "ada@example.com")).collect());
        let mut org = Org::default();
        let call = next(&mut lot);
        provider(Salesforce).read_call(&mut lot, &call, &org.answer(&call.request), NOW);
        step(&mut lot, &given);
        assert_eq!(names(&lot), [outcome; 30], "{given:?}");
    }
}

#[test]
fn a_lead_that_may_be_made_is_not_made_by_the_other_half() {
    // The merged fields were refused and are tried in halves; the first half's answer is lost.
    let mut lot = lot(Salesforce, (0..4).map(|n| task(n, "ada@example.com")).collect());
    let mut org = Org::default();
    let call = next(&mut lot);
    provider(Salesforce).read_call(&mut lot, &call, &org.answer(&call.request), NOW);
    let answered = [("n", 200, json!([spoilt("STRING_TOO_LONG")])), halted("r")];
    step(&mut lot, &composite(&answered));
    assert_eq!(step(&mut lot, &lost()).entries, [0, 1]);
    assert_eq!(names(&lot), ["unknown"; 4]);
}

#[test]
fn what_is_in_doubt_is_looked_for_before_anything_is_created() {
    let entries = vec![
        doubtful(task(0, "made@example.com")),
        doubtful(task(1, "lead-only@example.com")),
        doubtful(task(2, "nobody@example.com")),
        task(3, "fresh@example.com"),
        doubtful(person(4, "nobody-else@example.com")),
    ];
    let mut lot = lot(Salesforce, entries);
    let mut org = Org::with(&["made@example.com", "lead-only@example.com"], &[]);
    org.tasks = vec![
        ("00QXX0000000000AAA".into(), "text\n\n[conduit:wr_skey000]".into()),
        ("00QXX0000000001AAA".into(), "[conduit:wr_skey999]".into()),
    ];
    let sent = run(&mut lot, 4, |request| org.answer(request));
    let paths: Vec<String> = sent.iter().map(|r| path(r).chars().take(14).collect()).collect();
    assert_eq!(paths, ["POST composite", "POST composite", "GET query?q=SE", "POST composite"]);
    assert_eq!(
        soql(&sent[2].url),
        "SELECT Id, Description FROM Task WHERE CreatedDate >= 2026-11-20T11:49:00.000Z \
         AND WhoId IN ('00QXX0000000000AAA','00QXX0000000001AAA') AND Subject IN ('Call 0','Call 1')"
    );
    assert_eq!(names(&lot), ["applied"; 5]);
    // Nobody was there for two of the doubtful ones, so no task of theirs can be: they need no look.
    assert_eq!(org.log, ["POST Lead", "POST Lead", "POST Lead", "POST Task", "POST Task", "POST Task"]);
    assert_eq!((org.leads.len(), org.tasks.len()), (5, 5));
}

#[test]
fn a_failed_look_never_leads_to_a_create() {
    let known = |number: usize| {
        let mut entry = doubtful(task(number, "a@example.com"));
        entry.external_ids.insert("lead".into(), LEAD.into());
        entry
    };
    for given in [
        lost(),
        answer(403, "[]"),
        answer(500, "{}"),
        answer(200, "<html>"),
        json_answer(400, &refused("MALFORMED_QUERY")),
        json_answer(200, &json!({"done": true})),
        json_answer(200, &json!({"done": false, "records": []})),
        json_answer(200, &json!({"done": "true", "records": []})),
    ] {
        let mut lot = lot(Salesforce, vec![known(1)]);
        step(&mut lot, &given);
        assert_eq!(names(&lot), ["unknown"], "{given:?}");
        // The same for the look at the person.
        let mut lot = given::lot(Salesforce, vec![doubtful(task(1, "a@example.com"))]);
        step(&mut lot, &given);
        assert_eq!(names(&lot), ["unknown"], "{given:?}");
    }
    // More rows than came: fewer are asked about, until one alone is.
    let mut lot = lot(Salesforce, (0..4).map(known).collect());
    let mut calls = 0;
    run(&mut lot, 10, |request| {
        calls += 1;
        let alone = soql(&request.url).matches("'Call").count() == 1;
        let row = json!({"Id": "00TXX0000000001AAA", "Description": "[conduit:wr_skey000]"});
        if alone && soql(&request.url).contains("'Call 0'") {
            return json_answer(200, &json!({"done": true, "records": [row]}));
        }
        json_answer(200, &json!({"done": false, "records": []}))
    });
    assert_eq!(names(&lot), ["applied", "unknown", "unknown", "unknown"]);
}

#[test]
fn the_lookup_is_decided_the_same_way_every_time() {
    let lookup = |leads: Value, contacts: Value| {
        let mut lot = lot(Salesforce, vec![person(0, "ada@example.com")]);
        let rows = |records: Value| json!({"done": true, "records": records});
        step(&mut lot, &composite(&[("lead0", 200, rows(leads)), ("contact0", 200, rows(contacts))]));
        let request = next(&mut lot).request;
        match records(&request, "u").first() {
            Some(record) => {
                format!("{} {}", record["attributes"]["type"].as_str().unwrap(), record["id"].as_str().unwrap())
            }
            None => format!("{} new", records(&request, "n").len()),
        }
    };
    let row = |id: &str, email: &str| json!({"Id": id, "Email": email});
    let (lead, contact) = (row(LEAD, "Ada@Example.com"), row(CONTACT, "ada@example.com"));
    let other = row("00QXX0000000002AAA", "ada@example.com");
    for (leads, contacts, expected) in [
        (json!([lead, other]), json!([]), "Lead 00QXX0000000001AAA"),
        (json!([lead]), json!([contact]), "Lead 00QXX0000000001AAA"),
        (json!([]), json!([contact]), "Contact 003XX0000000001AAA"),
        (json!([]), json!([]), "1 new"),
        // Rows that are not about it, or have no id to use.
        (json!([row(LEAD, "eve@example.com"), null, {}, {"Email": "ada@example.com"}]), json!([]), "1 new"),
        (json!([row("../x", "ada@example.com")]), json!([contact]), "Contact 003XX0000000001AAA"),
    ] {
        assert_eq!(lookup(leads, contacts), expected);
    }
}

#[test]
fn a_failed_lookup_sends_nothing_more() {
    let rows = json!({"done": true, "records": []});
    for (given, outcome) in [
        (lost(), "retry_after"),
        (answer(500, ""), "retry_after"),
        (json_answer(200, &json!({})), "retry_after"),
        (composite(&[("lead0", 200, rows.clone())]), "retry_after"),
        (composite(&[("lead0", 200, rows.clone()), ("contact0", 200, json!([]))]), "retry_after"),
        (composite(&[("lead0", 400, refused("INVALID_TYPE")), ("contact0", 200, rows.clone())]), "rejected"),
        (composite(&[("lead0", 401, refused("INVALID_SESSION_ID")), ("contact0", 200, rows.clone())]), "unauthorized"),
        (json_answer(401, &refused("INVALID_SESSION_ID")), "unauthorized"),
        (json_answer(403, &refused("REQUEST_LIMIT_EXCEEDED")), "retry_after"),
    ] {
        let mut lot = lot(Salesforce, (0..3).map(|n| person(n, &format!("p{n}@example.com"))).collect());
        step(&mut lot, &given);
        assert_eq!(names(&lot), [outcome; 3], "{given:?}");
        assert!(provider(Salesforce).next_call(&mut lot).is_none());
    }
    // Too many rows for one answer: asked again in halves.
    let mut lot = lot(Salesforce, (0..2).map(|n| person(n, &format!("p{n}@example.com"))).collect());
    let cut = json!({"done": false, "records": []});
    step(&mut lot, &composite(&[("lead0", 200, cut), ("contact0", 200, rows.clone())]));
    let call = step(&mut lot, &composite(&[("lead0", 200, rows.clone()), ("contact0", 200, rows)]));
    assert_eq!(call.entries, [0]);
}

#[test]
fn long_addresses_and_subjects_stay_within_the_limits() {
    let long = |n: usize| {
        format!("{}{n:02}@{}.{}.{}.example.com", "a".repeat(62), "b".repeat(60), "c".repeat(60), "d".repeat(50))
    };
    let mut entries: Vec<Entry> = (0..100).map(|n| doubtful(task(n, &long(n)))).collect();
    for (n, entry) in entries.iter_mut().enumerate() {
        entry.write.task.as_mut().unwrap().subject = format!("{n:03}{}", "€".repeat(252));
    }
    let mut lot = lot(Salesforce, entries);
    let leads = (0..100).map(|n| (long(n), format!("00QXX00000{n:05}AAA"))).collect();
    let mut org = Org { leads, ..Org::default() };
    let mut looks = 0;
    run(&mut lot, 60, |request| {
        assert!(request.url.len() < 16_000, "{}", request.url.len());
        let queries: Vec<String> = match path(request).as_str() {
            "POST composite" => {
                let urls: Vec<String> = parts(request).iter().map(|p| p["url"].as_str().unwrap().to_owned()).collect();
                assert!(urls.iter().all(|url| url.len() < 16_000));
                urls.into_iter().filter(|url| url.contains("query?q=")).map(|url| soql(&url)).collect()
            }
            _ => vec![soql(&request.url)],
        };
        assert!(queries.len() <= 5);
        for query in queries {
            looks += 1;
            let (_, clause) = query.split_once(" WHERE ").unwrap();
            assert!(clause.chars().count() < 4_000, "{}", clause.chars().count());
        }
        org.answer(request)
    });
    assert!(looks > 10);
    assert_eq!((names(&lot), org.tasks.len()), (vec!["applied"; 100], 100));
}
