//! `HubSpot`'s records, search, associations and limits.

use super::Desk;
use serde_json::{Value, json};

const CONTACTS: &str = "/crm/objects/2026-03/contacts";

fn inputs(emails: &[&str]) -> Value {
    let one = |email: &&str| json!({"properties": {"email": email}});
    json!({"inputs": emails.iter().map(one).collect::<Vec<_>>()})
}

#[test]
fn what_is_refused_of_a_record() {
    for (kind, properties, status, code) in [
        ("contacts", json!({"first000name": "x"}), 400, json!("PROPERTY_DOESNT_EXIST")),
        ("contacts", json!({"email": "nonsense"}), 400, json!("INVALID_EMAIL")),
        ("contacts", json!({"email": "a@x.example", "createdate": "0"}), 400, json!("READ_ONLY_VALUE")),
        ("contacts", json!({"email": "a@x.example", "hs_unique_creation_key": "k"}), 400, json!("READ_ONLY_VALUE")),
        ("contacts", json!({"phone": "1"}), 400, json!("REQUIRED_PROPERTY")),
        ("tasks", json!({"hs_task_subject": "x"}), 400, json!("REQUIRED_PROPERTY")),
        ("tasks", json!({"hs_timestamp": "0", "hs_task_status": "DONE"}), 400, json!("INVALID_OPTION")),
        ("notes", json!({"hs_note_body": "x"}), 400, json!("REQUIRED_PROPERTY")),
        ("deals", json!({"dealname": "x"}), 400, json!("REQUIRED_PROPERTY")),
        ("deals", json!({"dealname": "x", "dealstage": "nowhere"}), 400, json!("INVALID_OPTION")),
        ("butterflies", json!({}), 400, Value::Null),
        ("tasks", json!({"hs_timestamp": 1_795_176_000_000_i64}), 201, Value::Null),
    ] {
        let mut desk = Desk::hubspot(&json!({}));
        let (got, body) = desk.post(&format!("/crm/v3/objects/{kind}"), &json!({"properties": properties}));
        assert_eq!((got, &body["errors"][0]["code"]), (status, &code), "{kind} {properties}");
    }
}

#[test]
fn an_email_belongs_to_one_contact() {
    let mut desk = Desk::hubspot(&json!({}));
    let id = desk.contact("Ada@X.example");
    for twin in ["ada@x.example", "ADA@X.EXAMPLE"] {
        let (status, body) = desk.post(CONTACTS, &json!({"properties": {"email": twin}}));
        assert_eq!((status, &body["category"]), (409, &json!("CONFLICT")));
        assert_eq!(body["message"], format!("Contact already exists. Existing ID: {id}"));
    }
    let (status, body) = desk.post(&format!("{CONTACTS}/batch/create"), &inputs(&["new@x.example", "ada@x.example"]));
    assert_eq!((status, &body["message"]), (409, &json!("Contact already exists")));
    assert_eq!(desk.get(&format!("{CONTACTS}/new@x.example?idProperty=email")).0, 404, "nothing was written");
    desk.call(
        "PATCH",
        &format!("{CONTACTS}/{id}"),
        &json!({"properties": {"hs_additional_emails": "second@x.example"}}),
    );
    assert_eq!(desk.post(CONTACTS, &json!({"properties": {"email": "second@x.example"}})).0, 409);
    assert_eq!(desk.call("DELETE", &format!("{CONTACTS}/{id}"), &Value::Null).0, 204);
    assert_eq!(desk.call("DELETE", &format!("{CONTACTS}/{id}"), &Value::Null).0, 204);
    desk.contact("ada@x.example");
}

#[test]
fn trace_ids_make_a_batch_partial() {
    let mut desk = Desk::hubspot(&json!({}));
    let id = desk.contact("old@x.example");
    let mut body = inputs(&["old@x.example", "new@x.example"]);
    body["inputs"][0]["objectWriteTraceId"] = json!("t1");
    body["inputs"][1]["objectWriteTraceId"] = json!("t2");
    let (status, answer) = desk.post(&format!("{CONTACTS}/batch/create"), &body);
    assert_eq!((status, &answer["numErrors"]), (207, &json!(1)));
    assert_eq!(answer["errors"][0]["context"], json!({"objectWriteTraceId": ["t1"], "existingId": [id]}));
    assert_eq!(answer["results"][0]["objectWriteTraceId"], "t2");
    body["inputs"][0]["objectWriteTraceId"] = json!("t2");
    body["inputs"][1]["properties"]["email"] = json!("third@x.example");
    assert_eq!(desk.post(&format!("{CONTACTS}/batch/create"), &body).0, 409, "the same trace twice is none");
}

#[test]
fn property_errors_of_a_batch_are_told_together() {
    let mut desk = Desk::hubspot(&json!({}));
    let wrong = json!({"properties": {"first000name": "x", "last000name": "y"}});
    let (status, body) = desk.post(&format!("{CONTACTS}/batch/create"), &json!({"inputs": [wrong, wrong]}));
    assert_eq!((status, body["errors"].as_array().unwrap().len()), (400, 4));
    assert!(body["message"].as_str().unwrap().starts_with("Property values were not valid: [{"));
}

#[test]
fn batches_have_their_limits() {
    let mut desk = Desk::hubspot(&json!({}));
    let many: Vec<Value> = (0..101).map(|n| json!({"id": n.to_string()})).collect();
    assert_eq!(desk.post(&format!("{CONTACTS}/batch/read"), &json!({"inputs": many})).0, 400);
    let twice = json!({"inputs": [{"id": "1", "properties": {}}, {"id": "1", "properties": {}}]});
    let (status, body) = desk.post(&format!("{CONTACTS}/batch/update"), &twice);
    assert_eq!((status, &body["context"]["ids"]), (400, &json!(["1"])));
    let (status, body) =
        desk.post(&format!("{CONTACTS}/batch/update"), &json!({"inputs": [{"id": "1", "properties": {}}]}));
    assert_eq!((status, &body["errors"][0]["category"]), (207, &json!("OBJECT_NOT_FOUND")));
    let phone = json!({"inputs": [{"id": "1", "idProperty": "phone", "properties": {}}]});
    assert!(
        desk.post(&format!("{CONTACTS}/batch/upsert"), &phone).1["message"]
            .as_str()
            .unwrap()
            .contains("non-unique 0-1 property phone")
    );
}

#[test]
fn an_upsert_is_one_effect_however_often_it_comes() {
    let mut desk = Desk::hubspot(&json!({}));
    let body = json!({"inputs": [{"id": "Ada@x.example", "idProperty": "email", "properties": {"firstname": "Ada"}}]});
    for new in [true, false, false] {
        let (status, answer) = desk.post(&format!("{CONTACTS}/batch/upsert"), &body);
        assert_eq!((status, &answer["results"][0]["new"]), (200, &json!(new)));
    }
    assert_eq!(
        desk.get("/stand-in/ledger").1["totals"]["hubspot contacts"],
        json!({"created": 1, "updates": 2, "archived": 0})
    );
}

#[test]
fn unique_properties_of_activities_are_up_to_the_portal() {
    for kind in ["tasks", "notes"] {
        for (policy, status, is_unique) in [
            ("refused", 400, None),
            ("missing_scopes", 403, None),
            ("made_plain", 201, Some(false)),
            ("accepted", 201, Some(true)),
        ] {
            let mut desk = Desk::hubspot(&json!({"hubspot_unique_on_activities": policy}));
            let property = json!({"name": "conduit_key", "label": "K", "groupName": "task_information", "type": "string", "fieldType": "text", "hasUniqueValue": true});
            let (got, body) = desk.post(&format!("/crm/properties/2026-03/{kind}"), &property);
            assert_eq!((got, body["category"] == "MISSING_SCOPES"), (status, status == 403), "{kind} {policy}");
            let (_, read) = desk.get(&format!("/crm/properties/2026-03/{kind}/conduit_key"));
            assert_eq!(read["hasUniqueValue"].as_bool(), is_unique, "{kind} {policy}");
            let body =
                json!({"inputs": [{"id": "k1", "idProperty": "conduit_key", "properties": {"hs_timestamp": "0"}}]});
            for new in [true, false] {
                let (status, answer) = desk.post(&format!("/crm/v3/objects/{kind}/batch/upsert"), &body);
                assert_eq!(status, if is_unique == Some(true) { 200 } else { 400 });
                assert_eq!(answer["results"][0]["new"].as_bool(), (is_unique == Some(true)).then_some(new));
            }
        }
    }
}

#[test]
fn an_upsert_by_a_unique_property_is_partial_with_traces() {
    let mut desk = Desk::hubspot(&json!({"hubspot_unique_on_activities": "accepted"}));
    let property = json!({"name": "conduit_key", "label": "K", "groupName": "task_information", "type": "string", "fieldType": "text", "hasUniqueValue": true});
    desk.post("/crm/properties/2026-03/tasks", &property);
    let input = |key: &str, due: &str| json!({"id": key, "idProperty": "conduit_key", "objectWriteTraceId": key, "properties": {"hs_timestamp": due}});
    let body = json!({"inputs": [input("k1", "0"), input("k2", "soon"), input("k3", "0")]});
    let (status, answer) = desk.post("/crm/v3/objects/tasks/batch/upsert", &body);
    assert_eq!((status, &answer["numErrors"]), (207, &json!(1)));
    assert_eq!(answer["errors"][0]["context"]["objectWriteTraceId"], json!(["k2"]));
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    // A plain create cannot take a value that another has.
    let twin = json!({"properties": {"hs_timestamp": "0", "conduit_key": "K1"}});
    assert_eq!(desk.post("/crm/v3/objects/tasks", &twin).0, 409);
}

#[test]
fn lists_of_associations_may_lag_and_batch_reads_may_be_silently_incomplete() {
    let mut desk = Desk::hubspot(&json!({"hubspot_association_lag_ms": 30_000, "hubspot_incomplete_reads": 1}));
    let contact = desk.contact("a@x.example");
    let tied = json!({"properties": {"hs_timestamp": "0"}, "associations": [{"to": {"id": contact}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]}]});
    let task = desk.post("/crm/v3/objects/tasks", &tied).1["id"].clone();
    let ask = json!({"inputs": [{"id": contact}]});
    let list = "/crm/associations/2026-03/contacts/tasks/batch/read";
    let (status, answer) = desk.post(list, &ask);
    assert_eq!((status, &answer["errors"][0]["subCategory"]), (207, &json!("crm.associations.NO_ASSOCIATIONS_FOUND")));
    desk.now_ms += 30_000;
    assert_eq!(desk.post(list, &ask).1["results"][0]["to"].as_array().unwrap().len(), 1);
    let ask = json!({"inputs": [{"id": task}]});
    for found in [0, 1] {
        let (status, answer) = desk.post("/crm/v3/objects/tasks/batch/read", &ask);
        assert_eq!((status, answer["results"].as_array().unwrap().len()), (200, found));
    }
}

#[test]
fn a_deals_stage_is_one_of_its_pipelines() {
    let mut desk = Desk::hubspot(&json!({}));
    let (_, pipelines) = desk.get("/crm/pipelines/2026-03/deals");
    assert_eq!(pipelines["results"].as_array().unwrap().len(), 2);
    let deal = |stage: &str, pipeline: &str| json!({"properties": {"dealname": "D", "dealstage": stage, "pipeline": pipeline}});
    for (stage, pipeline, status) in [
        ("contractsent", "default", 201),
        ("77011", "77001", 201),
        ("77011", "default", 400),
        ("contractsent", "77001", 400),
        ("contractsent", "nowhere", 400),
    ] {
        assert_eq!(desk.post("/crm/objects/2026-03/deals", &deal(stage, pipeline)).0, status, "{stage} {pipeline}");
    }
    let id = desk.post("/crm/objects/2026-03/deals", &deal("77011", "77001")).1["id"].as_str().unwrap().to_owned();
    let patch = |stage: &str| json!({"properties": {"dealstage": stage}});
    assert_eq!(desk.call("PATCH", &format!("/crm/objects/2026-03/deals/{id}"), &patch("contractsent")).0, 400);
    assert_eq!(desk.call("PATCH", &format!("/crm/objects/2026-03/deals/{id}"), &patch("77012")).0, 200);
}

#[test]
fn the_index_is_behind_the_store() {
    let mut desk = Desk::hubspot(&json!({}));
    let find =
        json!({"filterGroups": [{"filters": [{"propertyName": "firstname", "operator": "EQ", "value": "ADA"}]}]});
    let total = |desk: &mut Desk| desk.post(&format!("{CONTACTS}/search"), &find).1["total"].as_u64().unwrap();
    let (_, made) = desk.post(CONTACTS, &json!({"properties": {"email": "a@x.example", "firstname": "Ada"}}));
    let path = format!("{CONTACTS}/{}", made["id"].as_str().unwrap());
    assert_eq!((total(&mut desk), desk.get(&path).0), (0, 200));
    desk.now_ms += 10_000;
    assert_eq!(total(&mut desk), 1);
    desk.call("PATCH", &path, &json!({"properties": {"firstname": "Bob"}}));
    assert_eq!(total(&mut desk), 1, "an update is late, too");
    desk.now_ms += 10_000;
    assert_eq!(total(&mut desk), 0);
    desk.control("faults", &json!({"switches": {"hubspot_search_lag_ms": 0}}));
    desk.call("PATCH", &path, &json!({"properties": {"firstname": "Ada"}}));
    assert_eq!(total(&mut desk), 1);
}

#[test]
fn search_filters() {
    let mut desk = Desk::hubspot(&json!({"hubspot_search_lag_ms": 0, "hubspot_unlimited": true}));
    for (name, stage, phone) in [("Ada", "lead", "1"), ("Bob", "customer", ""), ("Cy", "lead", "3")] {
        let properties =
            json!({"email": format!("{name}@x.example"), "firstname": name, "lifecyclestage": stage, "phone": phone});
        desk.post(CONTACTS, &json!({"properties": properties}));
        desk.now_ms += 1000;
    }
    for (filter, names) in [
        (json!({"propertyName": "firstname", "operator": "EQ", "value": "ada"}), "Ada"),
        (json!({"propertyName": "lifecyclestage", "operator": "EQ", "value": "LEAD"}), ""),
        (json!({"propertyName": "firstname", "operator": "IN", "values": ["ada", "bob"]}), "Ada Bob"),
        (json!({"propertyName": "firstname", "operator": "IN", "values": ["Ada"]}), ""),
        (json!({"propertyName": "firstname", "operator": "NOT_IN", "values": ["ada"]}), "Bob Cy"),
        (json!({"propertyName": "phone", "operator": "HAS_PROPERTY"}), "Ada Cy"),
        (json!({"propertyName": "phone", "operator": "NOT_HAS_PROPERTY"}), "Bob"),
        (json!({"propertyName": "createdate", "operator": "GTE", "value": "1795176001000"}), "Bob Cy"),
        (
            json!({"propertyName": "createdate", "operator": "BETWEEN", "value": "1795176001000", "highValue": "1795176001000"}),
            "Bob",
        ),
        (json!({"propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "*@x.example"}), "Ada Bob Cy"),
        (json!({"propertyName": "firstname", "operator": "NEQ", "value": "ada"}), "Bob Cy"),
    ] {
        let body = json!({"filterGroups": [{"filters": [filter]}], "properties": ["firstname"]});
        let (_, found) = desk.post(&format!("{CONTACTS}/search"), &body);
        let got: Vec<&str> = found["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["properties"]["firstname"].as_str())
            .collect();
        assert_eq!(got.join(" "), names, "{filter}");
    }
}

#[test]
fn search_has_its_limits() {
    let mut desk = Desk::hubspot(&json!({"hubspot_unlimited": true}));
    let filter = json!({"propertyName": "email", "operator": "EQ", "value": "a"});
    for (body, status) in [
        (json!({"after": "9999", "limit": 1}), 200),
        (json!({"after": "9999", "limit": 2}), 400),
        (json!({"limit": 201}), 400),
        (json!({"query": "x".repeat(3000)}), 400),
        (json!({"filterGroups": vec![json!({"filters": []}); 6]}), 400),
        (json!({"filterGroups": [{"filters": vec![filter.clone(); 7]}]}), 400),
        (json!({"filterGroups": [{"filters": [{"propertyName": "nope", "operator": "EQ", "value": "1"}]}]}), 400),
        (json!({"filterGroups": [{"filters": [{"propertyName": "email", "operator": "LIKE", "value": "1"}]}]}), 400),
    ] {
        assert_eq!(desk.post(&format!("{CONTACTS}/search"), &body).0, status, "{body}");
    }
}

#[test]
fn an_inline_association_needs_the_right_direction_and_a_target() {
    let mut desk = Desk::hubspot(&json!({}));
    let contact = desk.contact("a@x.example");
    let task = |type_id: u32, to: &str| json!({"properties": {"hs_timestamp": "0"}, "associations": [{"to": {"id": to}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}]}]});
    for (type_id, to, status) in [(203, contact.as_str(), 400), (204, "1", 400), (204, "x", 400), (204, &contact, 201)]
    {
        assert_eq!(desk.post("/crm/v3/objects/tasks", &task(type_id, to)).0, status, "{type_id} {to}");
    }
    let (_, tied) = desk.get(&format!("/crm/v4/objects/contacts/{contact}/associations/tasks"));
    assert_eq!(tied["results"].as_array().unwrap().len(), 1);
    assert_eq!(
        tied["results"][0]["associationTypes"],
        json!([{"category": "HUBSPOT_DEFINED", "typeId": 203, "label": null}])
    );
    assert_eq!(
        desk.call(
            "DELETE",
            &format!("/crm/v4/objects/contacts/{contact}/associations/tasks/{}", tied["results"][0]["toObjectId"]),
            &Value::Null
        )
        .0,
        204
    );
    assert_eq!(desk.get(&format!("/crm/v4/objects/contacts/{contact}/associations/tasks")).1["results"], json!([]));
}

#[test]
fn association_batches_tell_what_failed() {
    let mut desk = Desk::hubspot(&json!({}));
    let (one, two) = (desk.contact("a@x.example"), desk.contact("b@x.example"));
    let note = desk.post("/crm/v3/objects/notes", &json!({"properties": {"hs_timestamp": "0"}})).1["id"].clone();
    let body = json!({"inputs": [{"from": {"id": note}, "to": {"id": one}}, {"from": {"id": note}, "to": {"id": "unknown_id_1"}}]});
    let (status, answer) = desk.post("/crm/v4/associations/notes/contacts/batch/associate/default", &body);
    assert_eq!((status, &answer["errors"][0]["subCategory"]), (207, &json!("crm.associations.INVALID_IDENTIFIER")));
    let typed = json!({"inputs": [{"from": {"id": note}, "to": {"id": two}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}]}]});
    let (status, answer) = desk.post("/crm/associations/2026-03/notes/contacts/batch/create", &typed);
    assert_eq!((status, &answer["results"][0]["fromObjectTypeId"]), (201, &json!("0-46")));
    let (_, read) = desk.post("/crm/v4/associations/notes/contacts/batch/read", &json!({"inputs": [{"id": note}]}));
    assert_eq!(read["results"][0]["to"].as_array().unwrap().len(), 2);
}

#[test]
fn the_list_pages_by_the_next_id() {
    let mut desk = Desk::hubspot(&json!({}));
    for n in 0..5 {
        desk.contact(&format!("p{n}@x.example"));
    }
    let (mut path, mut seen) = (format!("{CONTACTS}?limit=2"), 0);
    loop {
        let (_, page) = desk.get(&path);
        seen += page["results"].as_array().unwrap().len();
        let Some(after) = page["paging"]["next"]["after"].as_str() else { break };
        path = format!("{CONTACTS}?limit=2&after={after}");
    }
    assert_eq!(seen, 5);
    assert_eq!(desk.get(&format!("{CONTACTS}?limit=101")).0, 400);
}

#[test]
fn limits_are_kept_and_told() {
    let mut desk = Desk::hubspot(&json!({"hubspot_other_consumer": 10}));
    let answers: Vec<crate::Answer> = (0..101).map(|_| desk.answer("GET", CONTACTS, &Value::Null)).collect();
    assert!(answers[..100].iter().all(|answer| answer.status == 200));
    assert_eq!(answers[0].header("x-hubspot-ratelimit-remaining"), Some("99"));
    let refused = &answers[100];
    assert_eq!((refused.status, &refused.value()["policyName"]), (429, &json!("TEN_SECONDLY_ROLLING")));
    let search = |desk: &mut Desk| desk.answer("POST", &format!("{CONTACTS}/search"), &json!({}));
    let searches: Vec<u16> = (0..6).map(|_| search(&mut desk).status).collect();
    assert_eq!(searches, [200, 200, 200, 200, 200, 429], "searches have a limit of their own");
    assert_eq!(search(&mut desk).value()["policyName"], "SECONDLY");
    assert_eq!(search(&mut desk).header("x-hubspot-ratelimit-max"), None);
    desk.now_ms += 1000;
    assert_eq!(search(&mut desk).status, 200);
    desk.now_ms += 9000;
    assert_eq!(desk.get(CONTACTS).0, 200);
}

#[test]
fn an_account_without_limit_tells_one_that_is_not_used() {
    let mut desk = Desk::hubspot(&json!({"hubspot_unlimited": true}));
    let answers: Vec<crate::Answer> = (0..300).map(|_| desk.answer("GET", CONTACTS, &Value::Null)).collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    let told = ["x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining"].map(|name| answers[299].header(name));
    assert_eq!(told, [Some("1000000"); 2]);
}

#[test]
fn scopes_are_checked() {
    let mut desk = Desk::new(&json!({}));
    let code = desk.consent("https://app.hubspot.com/oauth/authorize", &[("scope", "oauth crm.objects.contacts.read")]);
    let token = desk.exchange("https://api.hubapi.com/oauth/v3/token", &code, &[]).value();
    desk.keep(&token);
    for (method, path, status) in [
        ("GET", CONTACTS, 200),
        ("POST", CONTACTS, 403),
        ("GET", "/crm/v3/objects/tasks", 200),
        ("GET", "/crm/v3/objects/deals", 403),
        ("POST", "/crm/v3/objects/contacts/search", 200),
        ("POST", "/crm/v3/properties/contacts", 403),
    ] {
        let (got, body) = desk.call(method, path, &json!({}));
        assert_eq!(got, status, "{method} {path}");
        assert_eq!(body["category"] == "MISSING_SCOPES", status == 403);
    }
}

#[test]
fn portals_do_not_see_each_other() {
    let mut desk = Desk::hubspot(&json!({}));
    let id = desk.contact("a@x.example");
    let code =
        desk.consent("https://app.hubspot.com/oauth/77/authorize", &[("scope", "oauth crm.objects.contacts.read")]);
    let token = desk.exchange("https://api.hubapi.com/oauth/v3/token", &code, &[]).value();
    desk.keep(&token);
    assert_eq!(desk.get(&format!("{CONTACTS}/{id}")).0, 404);
}
