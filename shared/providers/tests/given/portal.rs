//! A HubSpot that accepts everything, and answers looks.

use super::{body, entry, json_answer};
use model::Crm::Hubspot;
use providers::http::{Answer, Request};
use providers::lot::Entry;
use serde_json::{Value, json};

pub fn task(number: usize, email: &str) -> Entry {
    entry(Hubspot, number, "create_task", email)
}

pub fn rollup(number: usize, email: &str) -> Entry {
    entry(Hubspot, number, "create_weekly_rollup", email)
}

pub fn contact(number: usize, email: &str) -> Entry {
    entry(Hubspot, number, "upsert_contact", email)
}

pub fn path(request: &Request) -> String {
    let url = request.url.strip_prefix("https://api.hubapi.com").expect("the API host");
    format!("{} {url}", request.method.as_str())
}

pub fn upserted(contacts: &[(&str, &str)]) -> Answer {
    let results: Vec<Value> =
        contacts.iter().map(|(id, email)| json!({"id": id, "properties": {"email": email}, "new": true})).collect();
    json_answer(200, &json!({"status": "COMPLETE", "results": results}))
}

/// Accepts everything: contact ids by position in the call, created records by number, results in reverse order.
pub fn accept(request: &Request) -> Answer {
    let sent = body(request);
    let inputs = sent["inputs"].as_array().cloned().unwrap_or_default();
    let results: Vec<Value> = match request.url.rsplit_once("/2026-03/").unwrap().1 {
        "contacts/batch/upsert" => inputs
            .iter()
            .enumerate()
            .map(|(n, i)| json!({"id": (100 + n).to_string(), "properties": {"email": i["id"]}}))
            .rev()
            .collect(),
        "tasks/batch/create" | "notes/batch/create" => inputs
            .iter()
            .enumerate()
            .map(|(n, i)| json!({"id": (500 + n).to_string(), "properties": i["properties"], "objectWriteTraceId": i["objectWriteTraceId"]}))
            .rev()
            .collect(),
        "tasks" | "notes" => return json_answer(201, &json!({"id": "500", "properties": sent["properties"]})),
        other => panic!("unexpected {other}"),
    };
    json_answer(201, &json!({"status": "COMPLETE", "results": results}))
}

/// Answers a look: the lists by contact id, and records by id with their text.
pub fn looked(request: &Request, lists: &Value, records: &Value) -> Option<Answer> {
    let sent = body(request);
    let inputs = sent["inputs"].as_array()?;
    if request.url.ends_with("/associations/2026-03/contacts/tasks/batch/read") {
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs {
            match lists.get(input["id"].as_str()?) {
                Some(ids) => {
                    let to: Vec<Value> = ids.as_array()?.iter().map(|id| json!({"toObjectId": id})).collect();
                    results.push(json!({"from": {"id": input["id"]}, "to": to}));
                }
                None => errors.push(json!({"status": "error", "category": "OBJECT_NOT_FOUND",
                    "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND", "context": {"fromObjectId": [input["id"]]}})),
            }
        }
        return Some(json_answer(207, &json!({"status": "COMPLETE", "results": results, "errors": errors})));
    }
    request.url.ends_with("/tasks/batch/read").then(|| {
        assert_eq!(sent["properties"], json!(["hs_task_body"]));
        assert!(inputs.len() <= 100);
        let text = |id: &Value| records.get(id.as_str().unwrap()).cloned().unwrap_or_default();
        let rows: Vec<Value> =
            inputs.iter().map(|i| json!({"id": i["id"], "properties": {"hs_task_body": text(&i["id"])}})).collect();
        json_answer(200, &json!({"status": "COMPLETE", "results": rows}))
    })
}
