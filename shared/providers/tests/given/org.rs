//! A Salesforce org in miniature, and answers of composites.

use super::{body, entry, json_answer, named};
use model::Crm::Salesforce;
use providers::http::{Answer, Request};
use providers::lot::Entry;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const LEAD: &str = "00QXX0000000001AAA";
pub const CONTACT: &str = "003XX0000000001AAA";

pub fn task(number: usize, email: &str) -> Entry {
    entry(Salesforce, number, "create_task", email)
}

pub fn person(number: usize, email: &str) -> Entry {
    named(entry(Salesforce, number, "upsert_contact", email), "Ada")
}

pub fn path(request: &Request) -> String {
    let url = request.url.strip_prefix("https://acme.my.salesforce.com/services/data/v67.0/").expect("the instance");
    format!("{} {url}", request.method.as_str())
}

pub fn soql(url: &str) -> String {
    let (_, query) = url.split_once("query?q=").expect("a query");
    url::form_urlencoded::parse(format!("q={query}").as_bytes()).next().unwrap().1.into_owned()
}

pub fn parts(request: &Request) -> Vec<Value> {
    let sent = body(request);
    assert_eq!((&sent["allOrNone"], &sent["collateSubrequests"]), (&json!(false), &json!(false)));
    let parts = sent["compositeRequest"].as_array().unwrap().clone();
    assert!((1..=25).contains(&parts.len()), "{}", parts.len());
    parts
}

pub fn composite(results: &[(&str, u16, Value)]) -> Answer {
    let parts: Vec<Value> = results
        .iter()
        .map(|(reference, status, body)| json!({"referenceId": reference, "httpStatusCode": status, "body": body}))
        .collect();
    json_answer(200, &json!({"compositeResponse": parts}))
}

pub fn made(id: &str) -> Value {
    json!({"id": id, "success": true, "errors": []})
}

pub fn refused(code: &str) -> Value {
    json!([{"errorCode": code, "message": "m"}])
}

/// An org in miniature: leads and contacts by address, tasks by text. It answers both kinds of call.
#[derive(Default)]
pub struct Org {
    pub leads: BTreeMap<String, String>,
    pub contacts: BTreeMap<String, String>,
    /// Person and description.
    pub tasks: Vec<(String, String)>,
    /// Every change, as `POST Lead`.
    pub log: Vec<String>,
}

impl Org {
    pub fn with(leads: &[&str], contacts: &[&str]) -> Self {
        let ids = |prefix: &str, emails: &[&str]| {
            emails.iter().enumerate().map(|(n, e)| ((*e).to_owned(), format!("{prefix}XX00000{n:05}AAA"))).collect()
        };
        Self { leads: ids("00Q", leads), contacts: ids("003", contacts), ..Self::default() }
    }

    pub fn query(&self, soql: &str) -> Value {
        let rows: Vec<Value> = if soql.contains("FROM Task") {
            self.tasks
                .iter()
                .filter(|(who, _)| soql.contains(who.as_str()))
                .enumerate()
                .map(|(n, (_, text))| json!({"Id": format!("00TXX0000001{n:03}AAA"), "Description": text}))
                .collect()
        } else {
            let of = if soql.contains("FROM Lead") { &self.leads } else { &self.contacts };
            of.iter()
                .filter(|(email, _)| soql.contains(&format!("'{email}'")))
                .map(|(email, id)| json!({"Id": id, "Email": email.to_uppercase()}))
                .collect()
        };
        json!({"totalSize": rows.len(), "done": true, "records": rows})
    }

    pub fn answer(&mut self, request: &Request) -> Answer {
        if path(request).starts_with("GET query") {
            return json_answer(200, &self.query(&soql(&request.url)));
        }
        let mut made_before: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut results = Vec::new();
        for part in parts(request) {
            let (method, url) = (part["method"].as_str().unwrap(), part["url"].as_str().unwrap());
            let reference = part["referenceId"].as_str().unwrap().to_owned();
            let answered = match (method, url.strip_prefix("/services/data/v67.0/").unwrap()) {
                ("GET", _) => self.query(&soql(url)),
                ("POST" | "PATCH", "composite/sobjects") => {
                    let records = part["body"]["records"].as_array().unwrap();
                    assert_eq!((&part["body"]["allOrNone"], (1..=200).contains(&records.len())), (&json!(false), true));
                    let all = records.iter().map(|record| self.write(method, record, &made_before)).collect::<Vec<_>>();
                    made_before.insert(reference.clone(), all.clone());
                    json!(all)
                }
                other => panic!("unexpected {other:?}"),
            };
            results.push((reference, 200, answered));
        }
        let results: Vec<(&str, u16, Value)> = results.iter().map(|(r, s, b)| (r.as_str(), *s, b.clone())).collect();
        composite(&results)
    }

    fn write(&mut self, method: &str, record: &Value, before: &BTreeMap<String, Vec<Value>>) -> Value {
        let object = record["attributes"]["type"].as_str().unwrap();
        let log =
            record["id"].as_str().map_or_else(|| format!("{method} {object}"), |id| format!("{method} {object}/{id}"));
        self.log.push(log);
        match (method, object) {
            ("PATCH", _) => made(record["id"].as_str().unwrap()),
            ("POST", "Lead") => {
                let email = record["Email"].as_str().unwrap().to_owned();
                assert!(record["LastName"].is_string() && record["Company"].is_string());
                let id = format!("00QXX00001{:05}AAA", self.leads.len());
                assert!(self.leads.insert(email, id.clone()).is_none(), "a second lead");
                made(&id)
            }
            ("POST", "Task") => {
                let who = record["WhoId"].as_str().unwrap();
                let referred = who.strip_prefix("@{n[").and_then(|rest| rest.strip_suffix("].id}"));
                let who = referred.map_or_else(
                    || who.to_owned(),
                    |nth| before["n"][nth.parse::<usize>().unwrap()]["id"].as_str().unwrap().to_owned(),
                );
                self.tasks.push((who, record["Description"].as_str().unwrap().to_owned()));
                made(&format!("00TXX00000{:05}AAA", self.tasks.len()))
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// The records of a part.
pub fn records(request: &Request, reference: &str) -> Vec<Value> {
    let part = parts(request).into_iter().find(|part| part["referenceId"] == reference);
    part.map_or_else(Vec::new, |part| part["body"]["records"].as_array().unwrap().clone())
}

/// A record of a collection that was refused.
pub fn spoilt(code: &str) -> Value {
    json!({"success": false, "errors": [{"statusCode": code, "message": "m", "fields": []}]})
}

pub fn halted(reference: &str) -> (&str, u16, Value) {
    (reference, 400, refused("PROCESSING_HALTED"))
}
