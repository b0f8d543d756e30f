//! The stand-in Salesforce as an org that answers a lot's calls: what the adapter sends is judged by rules it does not share.

use super::{NOW, run};
use model::connection::ConnectionFacts;
use model::write::WriteOutcome;
use model::{ConnectionId, Crm, Secret};
use providers::http::{Answer, Body, NoAnswer, Request, Response};
use providers::lot::{Entry, Lot, Stage};
use providers::probe::Probe;
use providers::{Provider, provider};
use serde_json::{Value, json};
use stub_crm::{Config, Fate, StubCrm, Switches};

pub const ACME: &str = "https://acme.my.salesforce.com";
const LOGIN: &str = "https://login.salesforce.com/services/oauth2";
const BACK: &str = "https://conduit.example/callback";
pub const DATA: &str = "/services/data/v67.0";

/// One org, connected.
pub struct StandIn {
    pub crm: StubCrm,
    pub now_ms: i64,
    /// Requests that arrived, as `POST composite`.
    pub calls: Vec<String>,
    token: String,
    facts: ConnectionFacts,
}

impl StandIn {
    /// An org with these switches, connected and probed.
    pub fn new(switches: &Value) -> Self {
        let mut all = Switches::default();
        all.turn(switches).unwrap();
        let crm = StubCrm::new(Config { seed: 7, switches: all, ..Config::default() });
        let facts = ConnectionFacts {
            id: ConnectionId::parse("cx_1").unwrap(),
            external_account_id: String::new(),
            instance_url: Some(ACME.to_owned()),
            mechanisms: None,
        };
        let mut org = Self { crm, now_ms: NOW.0, calls: Vec::new(), token: String::new(), facts };
        org.connect();
        org.probe();
        org
    }

    fn connect(&mut self) {
        let app = "client_id=app&client_secret=secret&redirect_uri=https%3A%2F%2Fconduit.example%2Fcallback";
        let at = format!("{LOGIN}/authorize?{app}&response_type=code&decision=approve");
        let answer = self.send("GET", &at, b"");
        let to = answer.header("location").unwrap().strip_prefix(BACK).unwrap();
        let code = to.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap().to_owned();
        let form = format!("grant_type=authorization_code&{app}&code={code}");
        let token = self.send("POST", &format!("{LOGIN}/token"), form.as_bytes()).value();
        token["access_token"].as_str().unwrap().clone_into(&mut self.token);
        let id = token["id"].as_str().unwrap();
        id.rsplit('/').nth(1).unwrap().clone_into(&mut self.facts.external_account_id);
    }

    fn send(&mut self, method: &str, url: &str, body: &[u8]) -> stub_crm::Answer {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if !self.token.is_empty() {
            headers.push(("authorization".to_owned(), format!("Bearer {}", self.token)));
        }
        let request = stub_crm::Request { method: method.into(), url: url.into(), headers, body: body.into() };
        self.crm.handle(&request, self.now_ms)
    }

    /// Asks the org what it has; answers the number of calls.
    pub fn probe(&mut self) -> usize {
        let before = self.calls.len();
        let mut probe = Probe::new();
        let facts = self.facts.clone();
        while let Some(request) = provider(Crm::Salesforce).probe_call(&mut probe, &facts) {
            let answer = self.answer(&request);
            provider(Crm::Salesforce).read_probe(&mut probe, &answer, &facts);
        }
        self.facts.mechanisms = probe.conclusion();
        self.calls.len() - before
    }

    pub fn mechanisms(&self) -> Value {
        self.facts.mechanisms.as_ref().map_or(Value::Null, |found| {
            let all = found.to_json();
            json!({"contact": all["contact"]["mechanism"], "lead": all["lead"]["mechanism"],
                   "task": all["task"]["mechanism"], "deal": all["deal"]["mechanism"]})
        })
    }

    /// As a caller gets it: a lost request and a lost answer look the same.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let body = match &request.body {
            Body::Json(text) => text.clone(),
            Body::Empty => String::new(),
            Body::Form(_) => panic!("no forms here"),
        };
        let path = request.url.strip_prefix(ACME).and_then(|path| path.strip_prefix(DATA)).expect("the instance");
        let path = path.split('?').next().unwrap().trim_start_matches('/');
        self.calls.push(format!("{} {path}", request.method.as_str()));
        let answer = self.send(request.method.as_str(), &request.url, body.as_bytes());
        if answer.fate != Fate::Deliver {
            return Err(NoAnswer::Lost);
        }
        Ok(Response { status: answer.status, headers: answer.headers, body: Secret::new(answer.body) })
    }

    pub fn lot(&self, entries: Vec<Entry>) -> Lot {
        Lot::new(Crm::Salesforce, self.facts.clone(), entries)
    }

    /// Sends a lot to its end in at most so many calls; answers it.
    pub fn carry(&mut self, entries: Vec<Entry>, most: usize) -> Lot {
        let mut lot = self.lot(entries);
        run(&mut lot, most, |request| self.answer(request));
        lot
    }

    /// The next try of what did not succeed: when no request can be running any more, with what is known, in doubt when the outcome was unknown.
    pub fn again(&mut self, lot: Lot, most: usize) -> Lot {
        self.now_ms += 600_000;
        let entries = lot.entries.into_iter().map(|entry| Entry {
            in_doubt: entry.in_doubt || matches!(entry.outcome, Some(WriteOutcome::Unknown(_))),
            stage: Stage::default(),
            outcome: None,
            ..entry
        });
        self.carry(entries.collect(), most)
    }

    pub fn switch(&mut self, changes: &Value) {
        self.crm.switches_mut().turn(changes).unwrap();
    }

    pub fn fault(&mut self, fault: Value) {
        self.crm.add_fault(serde_json::from_value(fault).unwrap());
    }

    /// The living records of an object, oldest first.
    pub fn records(&mut self, object: &str) -> Vec<Value> {
        let all = self.send("GET", &format!("{ACME}/stand-in/records/{object}"), b"").value();
        all["records"].as_array().unwrap().iter().filter(|record| record["IsDeleted"] != true).cloned().collect()
    }

    pub fn create(&mut self, object: &str, fields: &Value) -> String {
        let answer = self.send("POST", &format!("{ACME}{DATA}/sobjects/{object}"), fields.to_string().as_bytes());
        answer.value()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.value())).to_owned()
    }

    pub fn change(&mut self, object: &str, id: &str, fields: &Value) {
        let url = format!("{ACME}{DATA}/sobjects/{object}/{id}");
        assert_eq!(self.send("PATCH", &url, fields.to_string().as_bytes()).status, 204);
    }

    pub fn delete(&mut self, object: &str, id: &str) {
        assert_eq!(self.send("DELETE", &format!("{ACME}{DATA}/sobjects/{object}/{id}"), b"").status, 204);
    }

    pub fn convert(&mut self, lead: &str) {
        assert_eq!(self.send("POST", &format!("{ACME}/stand-in/convert-lead/{lead}"), b"").status, 200);
    }

    pub fn lead(&mut self, email: &str) -> String {
        self.create("Lead", &json!({"LastName": "L", "Company": "C", "Email": email}))
    }

    pub fn contact(&mut self, email: &str) -> String {
        self.create("Contact", &json!({"LastName": "C", "Email": email}))
    }
}
