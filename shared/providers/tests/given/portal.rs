//! A HubSpot that accepts everything, and answers looks.

use super::{body, entry, json_answer};
use model::Crm::Hubspot;
use model::mechanisms::{Mechanism, Mechanisms, RecordKind};
use providers::http::{Answer, Method, Request};
use providers::hubspot::probe::WRITE_KEY;
use providers::lot::{Entry, Lot};
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

pub fn deal(number: usize, email: Option<&str>) -> Entry {
    let mut entry = entry(Hubspot, number, "upsert_deal", email.unwrap_or("nobody@example.com"));
    if email.is_none() {
        entry.write.contact = None;
    }
    entry
}

/// The lot's records are written by our unique property.
pub fn keyed(mut lot: Lot) -> Lot {
    let mut found = Mechanisms::default();
    for kind in [RecordKind::Task, RecordKind::Note, RecordKind::Deal] {
        found.set(kind, Mechanism::UniqueField(WRITE_KEY.to_owned()));
    }
    lot.connection.mechanisms = Some(found);
    lot
}

pub fn pipelines() -> Answer {
    json_answer(
        200,
        &json!({"results": [
            {"id": "default", "stages": [{"id": "contractsent"}, {"id": "closedwon", "archived": false}, {"id": "gone", "archived": true}]},
            {"id": "77001", "archived": false, "stages": [{"id": "77011"}]},
            {"id": "77002", "archived": true, "stages": [{"id": "77021"}]}]}),
    )
}

/// Accepts everything: contact ids by position in the call, made records by number, results in reverse order, an empty index.
pub fn accept(request: &Request) -> Answer {
    let path = request.url.rsplit_once("/2026-03/").unwrap().1;
    if request.method == Method::Get {
        assert_eq!(path, "deals", "the pipelines");
        return pipelines();
    }
    if request.method == Method::Put {
        let parts: Vec<&str> = path.split('/').collect();
        assert_eq!(parts[2..4], ["associations", "default"]);
        return json_answer(200, &json!({"status": "COMPLETE", "results": tied(parts[1], parts[5])}));
    }
    let sent = body(request);
    let inputs = sent["inputs"].as_array().cloned().unwrap_or_default();
    let numbered = |first: usize| {
        let record = |(n, i): (usize, &Value)| {
            let id = i.get("id").filter(|_| i.get("idProperty").is_none()).cloned();
            json!({"id": id.unwrap_or_else(|| json!((first + n).to_string())), "properties": i["properties"],
                "objectWriteTraceId": i["objectWriteTraceId"]})
        };
        inputs.iter().enumerate().map(record).rev().collect::<Vec<_>>()
    };
    let results: Vec<Value> = match path {
        "contacts/batch/upsert" => inputs
            .iter()
            .enumerate()
            .map(|(n, i)| json!({"id": (100 + n).to_string(), "properties": {"email": i["id"]}}))
            .rev()
            .collect(),
        "tasks" | "notes" | "deals" => {
            return json_answer(201, &json!({"id": "500", "properties": sent["properties"]}));
        }
        "tasks/search" | "notes/search" | "deals/search" => {
            return json_answer(200, &json!({"total": 0, "results": []}));
        }
        _ if path.ends_with("/batch/associate/default") => {
            let pairs = inputs.iter().rev();
            pairs.flat_map(|i| tied(i["from"]["id"].as_str().unwrap(), i["to"]["id"].as_str().unwrap())).collect()
        }
        _ if path.ends_with("/batch/create") || path.ends_with("/batch/upsert") || path == "deals/batch/update" => {
            numbered(500)
        }
        other => panic!("unexpected {other}"),
    };
    json_answer(201, &json!({"status": "COMPLETE", "results": results}))
}

/// Both directions of one association.
pub fn tied(one: &str, other: &str) -> Vec<Value> {
    [(one, other), (other, one)].map(|(from, to)| json!({"from": {"id": from}, "to": {"id": to}})).to_vec()
}

/// Answers a look: the lists by contact id, and records by id with their text.
pub fn looked(request: &Request, lists: &Value, records: &Value) -> Option<Answer> {
    if request.method != Method::Post {
        return None;
    }
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
