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
        let mut ids: BTreeMap<String, String> = BTreeMap::new();
        let mut results = Vec::new();
        for part in parts(request) {
            let (method, url) = (part["method"].as_str().unwrap(), part["url"].as_str().unwrap());
            let reference = part["referenceId"].as_str().unwrap().to_owned();
            let sent = &part["body"];
            let (status, answered) = match (method, url.strip_prefix("/services/data/v67.0/").unwrap()) {
                ("GET", _) => (200, self.query(&soql(url))),
                ("POST", "sobjects/Lead") => {
                    let email = sent["Email"].as_str().unwrap().to_owned();
                    assert!(sent["LastName"].is_string() && sent["Company"].is_string());
                    let id = format!("00QXX00001{:05}AAA", self.leads.len());
                    assert!(self.leads.insert(email, id.clone()).is_none(), "a second lead");
                    ids.insert(reference.clone(), id.clone());
                    (201, made(&id))
                }
                ("POST", "sobjects/Task") => {
                    let who = sent["WhoId"].as_str().unwrap();
                    let who = who
                        .strip_prefix("@{")
                        .map_or_else(|| who.to_owned(), |r| ids[r.strip_suffix(".id}").unwrap()].clone());
                    self.tasks.push((who, sent["Description"].as_str().unwrap().to_owned()));
                    (201, made(&format!("00TXX00000{:05}AAA", self.tasks.len())))
                }
                ("PATCH", _) => (204, Value::Null),
                other => panic!("unexpected {other:?}"),
            };
            if method != "GET" {
                self.log.push(format!("{method} {}", url.rsplit("sobjects/").next().unwrap()));
            }
            results.push((reference, status, answered));
        }
        let results: Vec<(&str, u16, Value)> = results.iter().map(|(r, s, b)| (r.as_str(), *s, b.clone())).collect();
        composite(&results)
    }
}
