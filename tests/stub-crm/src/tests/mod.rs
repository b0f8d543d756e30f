//! Each rule of the providers, through the front door, as a caller meets it.

mod faults;
mod hubspot;
mod hubspot_journal;
mod hubspot_oauth;
mod salesforce;
mod salesforce_oauth;

use crate::http::{encode, pairs};
use crate::{Answer, App, Config, Request, StubCrm, Switches};
use serde_json::{Value, json};

pub const REDIRECT: &str = "https://conduit.example/callback";
pub const HUBSPOT: &str = "https://api.hubapi.com";
pub const LOGIN: &str = "https://login.salesforce.com";
pub const ACME: &str = "https://acme.my.salesforce.com";
const SCOPES: &str = "oauth crm.objects.contacts.read crm.objects.contacts.write crm.objects.deals.read crm.objects.deals.write crm.schemas.contacts.write crm.objects.companies.read crm.objects.companies.write";

/// The stand-in, a clock and a bearer token.
pub struct Desk {
    pub crm: StubCrm,
    pub now_ms: i64,
    pub token: String,
    pub refresh: String,
    base: &'static str,
}

impl Desk {
    pub fn new(switches: &Value) -> Self {
        let app = App { client_id: "app".into(), client_secret: "secret".into(), ..App::default() };
        let mut all = Switches::default();
        all.turn(switches).unwrap();
        let config = Config { seed: 7, hubspot: app.clone(), salesforce: app, switches: all };
        let crm = StubCrm::new(config);
        Self { crm, now_ms: 1_795_176_000_000, token: String::new(), refresh: String::new(), base: HUBSPOT }
    }

    /// Connected to `HubSpot`.
    pub fn hubspot(switches: &Value) -> Self {
        let mut desk = Self::new(switches);
        let code = desk.consent("https://app.hubspot.com/oauth/authorize", &[("scope", SCOPES)]);
        let token = desk.exchange(&format!("{HUBSPOT}/oauth/2026-03/token"), &code, &[]).value();
        desk.keep(&token);
        desk
    }

    /// Connected to Salesforce.
    pub fn salesforce(switches: &Value) -> Self {
        let mut desk = Self::new(switches);
        let code = desk.consent(&format!("{LOGIN}/services/oauth2/authorize"), &[("response_type", "code")]);
        let token = desk.exchange(&format!("{LOGIN}/services/oauth2/token"), &code, &[]).value();
        desk.keep(&token);
        desk.base = ACME;
        desk
    }

    pub fn keep(&mut self, token: &Value) {
        self.token = token["access_token"].as_str().unwrap().to_owned();
        self.refresh = token["refresh_token"].as_str().unwrap_or(&self.refresh).to_owned();
    }

    pub fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request { method: method.into(), url: url.into(), headers, body: body.into() };
        self.crm.handle(&request, self.now_ms)
    }

    /// A call with the token and a JSON body.
    pub fn call(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.answer(method, path, body);
        (answer.status, answer.value())
    }

    pub fn answer(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let text = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, &format!("{}{path}", self.base), &[("authorization", &bearer)], &text)
    }

    pub fn get(&mut self, path: &str) -> (u16, Value) {
        self.call("GET", path, &Value::Null)
    }

    pub fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, body)
    }

    pub fn form(&mut self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        self.send("POST", url, &[], text.join("&").as_bytes())
    }

    /// The answer to an approved authorize request.
    pub fn authorize(&mut self, url: &str, more: &[(&str, &str)]) -> Answer {
        let all = [&[("client_id", "app"), ("redirect_uri", REDIRECT), ("decision", "approve")], more].concat();
        let url = crate::http::with_query(url, &all);
        self.send("GET", &url, &[], b"")
    }

    /// The code an approved authorize request brings.
    pub fn consent(&mut self, url: &str, more: &[(&str, &str)]) -> String {
        let answer = self.authorize(url, more);
        let (_, query) = answer.header("location").unwrap().split_once('?').unwrap();
        pairs(query).into_iter().find(|(name, _)| name == "code").unwrap().1
    }

    pub fn exchange(&mut self, url: &str, code: &str, more: &[(&str, &str)]) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "app"),
            ("client_secret", "secret"),
            ("redirect_uri", REDIRECT),
        ];
        self.form(url, &[&fields[..], &[("code", code)], more].concat())
    }

    pub fn refreshed(&mut self, url: &str, token: &str) -> Answer {
        let token = token.to_owned();
        self.form(
            url,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", "app"),
                ("client_secret", "secret"),
                ("refresh_token", &token),
            ],
        )
    }

    pub fn control(&mut self, path: &str, body: &Value) -> Value {
        self.post(&format!("/stand-in/{path}"), body).1
    }

    pub fn contact(&mut self, email: &str) -> String {
        let (status, made) = self.post("/crm/v3/objects/contacts", &json!({"properties": {"email": email}}));
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn the_state_survives_being_written_down() {
    let mut desk = Desk::hubspot(&json!({}));
    desk.contact("ada@x.example");
    let text = serde_json::to_string(&desk.crm).unwrap();
    desk.crm = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&desk.crm).unwrap(), text);
    let (status, read) = desk.get("/crm/v3/objects/contacts/ada@x.example?idProperty=email");
    assert_eq!((status, &read["properties"]["email"]), (200, &json!("ada@x.example")));
}

#[test]
fn the_same_requests_give_the_same_answers() {
    let story = || {
        let mut desk = Desk::hubspot(&json!({}));
        let inputs: Vec<Value> = (0..30).map(|n| json!({"properties": {"email": format!("p{n}@x.example")}})).collect();
        desk.answer("POST", "/crm/v3/objects/contacts/batch/create", &json!({"inputs": inputs}))
    };
    assert_eq!(story(), story());
}

#[test]
fn paths_work_behind_any_origin() {
    let mut desk = Desk::hubspot(&json!({}));
    desk.base = "http://localhost:8787";
    assert_eq!(desk.get("/account-info/2026-03/details").1["portalId"], 4242);
    assert_eq!(desk.get("/nothing/here").0, 404);
}
