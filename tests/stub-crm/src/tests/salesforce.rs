//! Salesforce's records, queries, composites and limits.

use super::{ACME, Desk};
use crate::http::encode;
use serde_json::{Value, json};

const DATA: &str = "/services/data/v67.0";

fn create(desk: &mut Desk, object: &str, body: &Value) -> String {
    let (status, made) = desk.post(&format!("{DATA}/sobjects/{object}"), body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn lead(desk: &mut Desk, name: &str) -> String {
    create(desk, "Lead", &json!({"LastName": name, "Company": "C", "Email": format!("{name}@x.example")}))
}

fn query(desk: &mut Desk, soql: &str) -> (u16, Value) {
    desk.get(&format!("{DATA}/query?q={}", encode(soql)))
}

#[test]
fn what_is_refused_of_a_record() {
    for (object, body, status, code) in [
        ("Lead", json!({"LastName": "L"}), 400, "REQUIRED_FIELD_MISSING"),
        ("Contact", json!({}), 400, "REQUIRED_FIELD_MISSING"),
        ("Opportunity", json!({"Name": "O"}), 400, "REQUIRED_FIELD_MISSING"),
        ("Lead", json!({"LastName": "L", "Company": "C", "Nope": 1}), 400, "INVALID_FIELD"),
        ("Task", json!({"Conduit_Key__c": "k"}), 400, "INVALID_FIELD"),
        ("Lead", json!({"LastName": "L", "Company": "C", "IsConverted": true}), 400, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Lead", json!({"LastName": "L".repeat(81), "Company": "C"}), 400, "STRING_TOO_LONG"),
        ("Lead", json!({"LastName": "L", "Company": "C", "Email": "x"}), 400, "INVALID_EMAIL_ADDRESS"),
        ("Task", json!({"WhoId": "00QXX0000000009"}), 400, "INVALID_CROSS_REFERENCE_KEY"),
        ("Task", json!({"WhoId": "001XX0000000009"}), 400, "MALFORMED_ID"),
        ("Task", json!({"WhoId": "nonsense"}), 400, "MALFORMED_ID"),
        ("Accout", json!({}), 404, "NOT_FOUND"),
    ] {
        let mut desk = Desk::salesforce(&json!({}));
        let (got, answer) = desk.post(&format!("{DATA}/sobjects/{object}"), &body);
        assert_eq!((got, answer[0]["errorCode"].as_str()), (status, Some(code)), "{object} {body}");
    }
}

#[test]
fn a_leads_task_has_no_other_relation() {
    let mut desk = Desk::salesforce(&json!({}));
    let lead = lead(&mut desk, "ada");
    let account = create(&mut desk, "Account", &json!({"Name": "A"}));
    let task = json!({"Subject": "S", "WhoId": lead, "WhatId": account});
    assert_eq!(desk.post(&format!("{DATA}/sobjects/Task"), &task).1[0]["errorCode"], "FIELD_INTEGRITY_EXCEPTION");
    let id = create(&mut desk, "Task", &json!({"Subject": "S", "WhoId": &lead[..15]}));
    let (_, read) = desk.get(&format!("{DATA}/sobjects/Task/{id}"));
    assert_eq!(
        (&read["WhoId"], &read["Status"], &read["Priority"]),
        (&json!(lead), &json!("Not Started"), &json!("Normal"))
    );
}

#[test]
fn an_upsert_answers_201_200_300_or_404() {
    for (field, twins, statuses) in [
        ("unique", false, [201, 200]),
        ("not_unique", true, [300, 300]),
        ("absent", false, [404, 404]),
        ("no_access", false, [404, 404]),
    ] {
        let mut desk = Desk::salesforce(&json!({"salesforce_key_field": field}));
        if twins {
            for _ in 0..2 {
                create(&mut desk, "Task", &json!({"Conduit_Key__c": "k 1"}));
            }
        }
        for status in statuses {
            let (got, body) =
                desk.call("PATCH", &format!("{DATA}/sobjects/Task/Conduit_Key__c/k%201"), &json!({"Subject": "S"}));
            assert_eq!(got, status, "{field}");
            match status {
                300 => assert_eq!(body.as_array().unwrap().len(), 2),
                404 => assert_eq!(body[0]["errorCode"], "NOT_FOUND"),
                _ => assert_eq!(body["created"], json!(status == 201)),
            }
        }
    }
    let mut desk = Desk::salesforce(&json!({"salesforce_key_field": "unique"}));
    create(&mut desk, "Task", &json!({"Conduit_Key__c": "k"}));
    assert_eq!(
        desk.post(&format!("{DATA}/sobjects/Task"), &json!({"Conduit_Key__c": "K"})).1[0]["errorCode"],
        "DUPLICATE_VALUE"
    );
    assert_eq!(desk.get(&format!("{DATA}/sobjects/Task/Conduit_Key__c/k?fields=Id")).0, 200);
    assert_eq!(desk.get(&format!("{DATA}/sobjects/Task/Conduit_Key__c/other?fields=Id")).0, 404);
    let body = json!({"Conduit_Key__c": "k", "Subject": "S"});
    assert_eq!(desk.call("PATCH", &format!("{DATA}/sobjects/Task/Conduit_Key__c/k"), &body).0, 400);
    assert_eq!(
        desk.call("PATCH", &format!("{DATA}/sobjects/Task/Conduit_Key__c/new?updateOnly=true"), &json!({})).0,
        404
    );
}

#[test]
fn each_objects_key_field_stands_for_itself_in_each_organisation() {
    let switches = json!({"salesforce_key_field": "unique", "salesforce_key_fields": {"Lead": "absent", "1/Opportunity": "not_unique", "2/Task": "absent"}});
    let mut desk = Desk::salesforce(&switches);
    for (object, external, unique) in
        [("Task", true, true), ("Lead", false, false), ("Opportunity", true, false), ("Contact", false, false)]
    {
        let (_, body) = desk.get(&format!("{DATA}/sobjects/{object}/describe"));
        let fields = body["fields"].as_array().unwrap();
        let field = fields.iter().find(|field| field["name"] == "Conduit_Key__c");
        assert_eq!(field.is_some_and(|field| field["externalId"] == true), external, "{object}");
        assert_eq!(field.is_some_and(|field| field["unique"] == true), unique, "{object}");
        assert_eq!(
            query(&mut desk, &format!("SELECT Conduit_Key__c FROM {object}")).0,
            if external { 200 } else { 400 }
        );
    }
}

#[test]
fn the_loser_of_a_race_for_a_key_is_told_the_winners_record() {
    let mut desk = Desk::salesforce(&json!({"salesforce_key_field": "unique", "salesforce_key_races": 1}));
    let path = format!("{DATA}/sobjects/Task/Conduit_Key__c/k");
    let (status, body) = desk.call("PATCH", &path, &json!({"Subject": "S"}));
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("DUPLICATE_VALUE")));
    let (status, again) = desk.call("PATCH", &path, &json!({"Subject": "S"}));
    assert_eq!(status, 200);
    assert!(body[0]["message"].as_str().unwrap().ends_with(again["id"].as_str().unwrap()));
}

#[test]
fn a_part_runs_only_when_what_it_refers_to_is_there() {
    // The lead is made only when nobody was counted: an organisation is one row, and an offset of one leaves none.
    for (switches, known, statuses) in [
        (json!({}), false, [200, 200, 201, 200, 200]),
        (json!({}), true, [200, 200, 400, 200, 400]),
        (json!({"salesforce_refuses_number_references": true}), false, [200, 400, 400, 200, 400]),
        (json!({"salesforce_refuses_list_references": true}), false, [200, 200, 201, 200, 400]),
    ] {
        let mut desk = Desk::salesforce(&switches);
        if known {
            lead(&mut desk, "ada");
        }
        let get = |soql: &str| {
            format!(
                "{DATA}/query?q={}",
                encode(soql).replace("%40%7B", "@{").replace("%7D", "}").replace("%5B", "[").replace("%5D", "]")
            )
        };
        let (_, body) = desk.post(&format!("{DATA}/composite"), &json!({"compositeRequest": [
            {"method": "GET", "referenceId": "l", "url": get("SELECT Id FROM Lead WHERE Email = 'ada@x.example' LIMIT 1")},
            {"method": "GET", "referenceId": "none", "url": get("SELECT Id FROM Organization LIMIT 1 OFFSET @{l.totalSize}")},
            {"method": "POST", "referenceId": "n", "url": format!("{DATA}/sobjects/Lead"), "body": {"LastName": "L", "Company": "@{none.records[0].Id}"}},
            {"method": "POST", "referenceId": "many", "url": format!("{DATA}/composite/sobjects"), "body": {"records": [{"attributes": {"type": "Contact"}, "LastName": "C"}]}},
            {"method": "POST", "referenceId": "t", "url": format!("{DATA}/composite/sobjects"), "body": {"records": [
                {"attributes": {"type": "Task"}, "WhoId": "@{n.id}"}, {"attributes": {"type": "Task"}, "WhoId": "@{many[0].id}"}]}},
        ]}));
        let got: Vec<u64> = body["compositeResponse"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| part["httpStatusCode"].as_u64())
            .collect();
        assert_eq!(got, statuses, "{switches} {body}");
    }
}

#[test]
fn an_organisation_has_stages() {
    let mut desk = Desk::salesforce(&json!({}));
    let (_, body) =
        query(&mut desk, "SELECT ApiName, IsWon FROM OpportunityStage WHERE IsActive = true ORDER BY SortOrder");
    let names: Vec<&str> =
        body["records"].as_array().unwrap().iter().filter_map(|row| row["ApiName"].as_str()).collect();
    assert_eq!((names.len(), names[3], &body["records"][3]["IsWon"]), (5, "Closed Won", &json!(true)));
    assert_eq!(desk.post(&format!("{DATA}/sobjects/OpportunityStage"), &json!({})).0, 400);
    let (_, body) = desk.get(&format!("{DATA}/sobjects/Opportunity/describe"));
    let stage = body["fields"].as_array().unwrap().iter().find(|field| field["name"] == "StageName").unwrap();
    assert_eq!(stage["picklistValues"].as_array().unwrap().len(), 6);
}

#[test]
fn duplicate_rules() {
    for (rule, with_header, status) in
        [("off", false, 201), ("allow_save", false, 400), ("allow_save", true, 201), ("block", true, 400)]
    {
        let mut desk = Desk::salesforce(&json!({}));
        lead(&mut desk, "ada");
        desk.crm.switches_mut().turn(&json!({"salesforce_duplicate_rules": rule})).unwrap();
        let bearer = format!("Bearer {}", desk.token);
        let body = json!({"LastName": "L", "Company": "C", "Email": "ADA@x.example"}).to_string();
        let rule_header =
            ("Sforce-Duplicate-Rule-Header", if with_header { "allowSave=true" } else { "allowSave=false" });
        let answer = desk.send(
            "POST",
            &format!("{ACME}{DATA}/sobjects/Lead"),
            &[("authorization", &bearer), rule_header],
            body.as_bytes(),
        );
        assert_eq!(answer.status, status, "{rule}");
        if status == 400 {
            assert_eq!(answer.value()[0]["errorCode"], "DUPLICATES_DETECTED");
            assert_eq!(answer.value()[0]["duplicateResult"]["allowSave"], json!(rule == "allow_save"));
        }
    }
}

#[test]
fn a_converted_lead_is_closed() {
    let mut desk = Desk::salesforce(&json!({}));
    let id = lead(&mut desk, "ada");
    let contact = desk.control(&format!("convert-lead/{id}"), &Value::Null)["contact"].clone();
    let (status, body) = desk.call("PATCH", &format!("{DATA}/sobjects/Lead/{id}"), &json!({"Title": "T"}));
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("CANNOT_UPDATE_CONVERTED_LEAD")));
    let (_, rows) = query(&mut desk, "SELECT IsConverted, ConvertedContactId FROM Lead");
    assert_eq!(
        (&rows["records"][0]["IsConverted"], &rows["records"][0]["ConvertedContactId"]),
        (&json!(true), &contact)
    );
}

#[test]
fn rows_lock_and_limits_end() {
    let mut desk = Desk::salesforce(&json!({"salesforce_locked_rows": 2, "salesforce_daily_max": 4}));
    let body = json!({"LastName": "L", "Company": "C"});
    let codes: Vec<Value> =
        (0..5).map(|_| desk.post(&format!("{DATA}/sobjects/Lead"), &body).1[0]["errorCode"].clone()).collect();
    assert_eq!(
        codes,
        [
            json!("UNABLE_TO_LOCK_ROW"),
            json!("UNABLE_TO_LOCK_ROW"),
            Value::Null,
            Value::Null,
            json!("REQUEST_LIMIT_EXCEEDED")
        ]
    );
    let mut desk = Desk::salesforce(&json!({}));
    let answer = desk.answer("GET", &format!("{DATA}/limits"), &Value::Null);
    assert_eq!(answer.header("sforce-limit-info"), Some("api-usage=1/15000"));
}

#[test]
fn queries() {
    let mut desk = Desk::salesforce(&json!({}));
    for name in ["ada", "bob", "O'Hara", "50%"] {
        create(
            &mut desk,
            "Contact",
            &json!({"LastName": name, "Email": format!("{}@x.example", name.len()), "Title": (name == "bob").then_some("Dr")}),
        );
        desk.now_ms += 1000;
    }
    for (condition, names) in [
        ("LastName = 'ADA'", "ada"),
        ("Email = '3@X.example' AND LastName != 'ada'", "bob,50%"),
        ("LastName IN ('ada', 'bob') ORDER BY LastName DESC", "bob,ada"),
        ("LastName NOT IN ('ada', 'bob')", "O'Hara,50%"),
        (r"LastName = 'O\'Hara'", "O'Hara"),
        (r"LastName LIKE '50\%'", "50%"),
        ("LastName LIKE '_da'", "ada"),
        ("NOT (LastName = 'ada' OR LastName = 'bob')", "O'Hara,50%"),
        ("Title = null AND CreatedDate > 2026-11-20T12:00:01Z", "O'Hara,50%"),
        ("Title != null", "bob"),
        ("IsDeleted = false ORDER BY CreatedDate LIMIT 1 OFFSET 1", "bob"),
        ("(LastName = 'ada' AND Title = null) OR Title = 'dr'", "ada,bob"),
        ("(Email IN ('6@x.example') OR Email = '3@X.example') AND LastName != 'bob'", "ada,O'Hara,50%"),
        ("Email = '6@x.example' OR LastName = 'ada'", "ada,O'Hara"),
    ] {
        let (_, body) = query(&mut desk, &format!("SELECT LastName FROM Contact WHERE {condition}"));
        let names_found: Vec<&str> =
            body["records"].as_array().unwrap().iter().filter_map(|row| row["LastName"].as_str()).collect();
        assert_eq!(names_found.join(","), names, "{condition}");
    }
    assert_eq!(query(&mut desk, "SELECT COUNT() FROM Contact").1["totalSize"], 4);
    for (soql, code) in [
        ("SELECT Id FROM Accout", "INVALID_TYPE"),
        ("SELECT Nope FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Nope = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Task WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Task WHERE WhoId = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Lead WHERE CreatedDate > '2026-11-20'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead LIMIT x", "MALFORMED_QUERY"),
    ] {
        let (status, body) = query(&mut desk, soql);
        assert_eq!((status, body[0]["errorCode"].as_str()), (400, Some(code)), "{soql}");
    }
}

#[test]
fn a_query_pages_and_query_all_shows_the_bin() {
    let mut desk = Desk::salesforce(&json!({"salesforce_query_page": 2}));
    let ids: Vec<String> = ["a", "b", "c", "d", "e"].iter().map(|name| lead(&mut desk, name)).collect();
    let (_, mut page) = query(&mut desk, "SELECT Id FROM Lead");
    let mut seen = 0;
    loop {
        seen += page["records"].as_array().unwrap().len();
        assert_eq!((&page["totalSize"], page["done"].as_bool()), (&json!(5), Some(seen == 5)));
        let Some(next) = page["nextRecordsUrl"].as_str() else { break };
        page = desk.get(next).1;
    }
    assert_eq!(desk.get(&format!("{DATA}/query/01gnothing-2000")).1[0]["errorCode"], "INVALID_QUERY_LOCATOR");
    assert_eq!(desk.call("DELETE", &format!("{DATA}/sobjects/Lead/{}", ids[0]), &Value::Null).0, 204);
    assert_eq!(desk.call("DELETE", &format!("{DATA}/sobjects/Lead/{}", ids[0]), &Value::Null).0, 404);
    assert_eq!(query(&mut desk, "SELECT COUNT() FROM Lead").1["totalSize"], 4);
    let all = format!("{DATA}/queryAll?q={}", encode("SELECT COUNT() FROM Lead WHERE IsDeleted = true"));
    assert_eq!(desk.get(&all).1["totalSize"], 1);
}

#[test]
fn a_conditional_update_works_on_whole_seconds() {
    for (header, status) in [("Fri, 20 Nov 2026 12:00:00 GMT", 204), ("Fri, 20 Nov 2026 11:59:59 GMT", 412)] {
        let mut desk = Desk::salesforce(&json!({}));
        let id = lead(&mut desk, "ada");
        let bearer = format!("Bearer {}", desk.token);
        let headers = [("authorization", bearer.as_str()), ("If-Unmodified-Since", header)];
        assert_eq!(desk.send("PATCH", &format!("{ACME}{DATA}/sobjects/Lead/{id}"), &headers, b"{}").status, status);
    }
}

#[test]
fn a_composite_is_undone_as_a_whole_or_goes_on() {
    let part = |name: &str, body: Value| json!({"method": "POST", "url": format!("{DATA}/sobjects/Task"), "referenceId": name, "body": body});
    let parts = json!([
        {"method": "POST", "url": format!("{DATA}/sobjects/Lead"), "referenceId": "lead", "body": {"LastName": "L"}},
        part("good", json!({"Subject": "S"})),
        part("tied", json!({"WhoId": "@{lead.id}"})),
    ]);
    for (all_or_none, statuses, tasks) in [(true, [400, 400, 400], 0), (false, [400, 201, 400], 1)] {
        let mut desk = Desk::salesforce(&json!({}));
        let (status, body) =
            desk.post(&format!("{DATA}/composite"), &json!({"allOrNone": all_or_none, "compositeRequest": parts}));
        let got: Vec<u64> = body["compositeResponse"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| part["httpStatusCode"].as_u64())
            .collect();
        assert_eq!((status, got.as_slice()), (200, statuses.as_slice()));
        assert_eq!(body["compositeResponse"][2]["body"][0]["errorCode"], "PROCESSING_HALTED");
        assert_eq!(query(&mut desk, "SELECT COUNT() FROM Task").1["totalSize"], tasks);
    }
    let mut desk = Desk::salesforce(&json!({}));
    let many: Vec<Value> = (0..26).map(|n| part(&format!("p{n}"), json!({}))).collect();
    for bad in [json!(many), json!([part("1x", json!({}))]), json!([part("a", json!({})), part("a", json!({}))])] {
        assert_eq!(desk.post(&format!("{DATA}/composite"), &json!({"compositeRequest": bad})).0, 400);
    }
}

#[test]
fn a_query_in_a_composite_feeds_the_next_part() {
    let mut desk = Desk::salesforce(&json!({}));
    let id = lead(&mut desk, "ada");
    let soql = encode("SELECT Id FROM Lead WHERE Email = 'ada@x.example'");
    let body = json!({"allOrNone": true, "compositeRequest": [
        {"method": "GET", "url": format!("{DATA}/query?q={soql}"), "referenceId": "find"},
        {"method": "PATCH", "url": format!("{DATA}/sobjects/Lead/@{{find.records[0].Id}}"), "referenceId": "set", "body": {"Title": "T"}},
    ]});
    let (_, answer) = desk.post(&format!("{DATA}/composite"), &body);
    assert_eq!(answer["compositeResponse"][1]["httpStatusCode"], 204);
    assert_eq!(desk.get(&format!("{DATA}/sobjects/Lead/{id}?fields=Title")).1["Title"], "T");
    let batch = json!({"batchRequests": [{"method": "GET", "url": format!("v67.0/sobjects/Lead/{id}")}, {"method": "GET", "url": "v67.0/sobjects/Lead/no"}]});
    let (_, answer) = desk.post(&format!("{DATA}/composite/batch"), &batch);
    assert_eq!((&answer["hasErrors"], &answer["results"][1]["statusCode"]), (&json!(true), &json!(404)));
}

#[test]
fn collections_answer_in_order_and_in_the_recorded_words() {
    let mut desk = Desk::salesforce(&json!({}));
    let path = format!("{DATA}/composite/sobjects");
    let contact = |fields: Value| {
        let mut all = json!({"attributes": {"type": "Contact"}});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    let (_, body) = desk.call("PATCH", &path, &json!({"records": [contact(json!({"LastName": "x"}))]}));
    assert_eq!(
        body[0]["errors"][0],
        json!({"statusCode": "MISSING_ARGUMENT", "message": "Id not specified in an update call", "fields": []})
    );
    assert_eq!(
        desk.post(&path, &json!({"records": []})).1,
        json!([{"message": "At least 1 record is required", "errorCode": "REQUIRED_FIELD_MISSING"}])
    );
    let many: Vec<Value> = (0..201).map(|_| contact(json!({"LastName": "x"}))).collect();
    assert_eq!(desk.post(&path, &json!({"records": many})).0, 400);
    let (_, body) = desk.post(&path, &json!({"records": [contact(json!({"LastName": "x"})), contact(json!({}))]}));
    assert_eq!(
        (&body[0]["success"], &body[1]["errors"][0]["message"]),
        (&json!(true), &json!("Required fields are missing: [LastName]"))
    );
}

#[test]
fn versions_retire() {
    let mut desk = Desk::salesforce(&json!({}));
    for (version, status) in [("v67.0", 200), ("v68.0", 200), ("v25.0", 410), ("v99.0", 404), ("67.0", 404)] {
        assert_eq!(desk.get(&format!("/services/data/{version}/limits")).0, status, "{version}");
    }
    desk.token.clear();
    assert_eq!(desk.get("/services/data/").1.as_array().unwrap().len(), 3, "the list needs no token");
}
