//! Salesforce: who calls, whether they may, and which part answers.
//!
//! Not the parts themselves.

mod collections;
mod composite;
mod errors;
mod id;
mod oauth;
mod org;
mod query;
mod schema;
mod sobjects;
mod soql;
mod soql_words;
mod write;

use crate::Env;
use crate::config::KeyField;
use crate::fields::Fields as _;
use crate::http::{Answer, Call};
use crate::ledger::Effect;
use crate::oauth::Authority;
use errors::{Outcome, Refusal};
use org::{Org, Record};
use schema::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use write::Writer;

/// All of Salesforce.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Salesforce {
    authority: Authority,
    orgs: BTreeMap<String, Org>,
}

/// What a call's answer depends on besides the organisation.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// `/services/data/v67.0`
    base: String,
    writer: Writer,
    identity: String,
}

impl Scene {
    /// The scene of a part of a composite: its own headers count.
    fn for_part(&self, part: &Call<'_>) -> Self {
        let own = writer(&self.writer.user, part);
        let writer = Writer { allow_save: own.allow_save || self.writer.allow_save, ..own };
        Self { writer, ..self.clone() }
    }
}

fn writer(user: &str, call: &Call<'_>) -> Writer {
    let allow_save = call
        .header("sforce-duplicate-rule-header")
        .is_some_and(|text| text.to_ascii_lowercase().replace(' ', "").contains("allowsave=true"));
    Writer {
        user: user.to_owned(),
        allow_save,
        unmodified_since: call.header("if-unmodified-since").and_then(http_date),
    }
}

/// `Fri, 20 Nov 2026 09:00:00 GMT` in epoch seconds.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_whitespace().skip(1);
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    crate::clock::parse(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).map(|ms| ms / 1000)
}

/// The versions there are: number and name.
const VERSIONS: &[(&str, &str)] = &[("66.0", "Spring '26"), ("67.0", "Summer '26"), ("68.0", "Winter '27")];

impl Salesforce {
    /// Answers one call.
    pub fn handle(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Answer {
        let answer = match call.parts().as_slice() {
            ["services", "oauth2", _] => self.oauth(call, env),
            ["id", _, _] => self.identity(call, env),
            ["services", "data"] => Ok(versions()),
            ["services", "data", ..] => return self.data(call, env),
            _ => Err(Refusal::not_found().answer()),
        };
        answer.unwrap_or_else(|refusal| refusal)
    }

    fn data(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Answer {
        let (account, scene) = match self.enter(call, env) {
            Ok(entered) => entered,
            Err(refusal) => return refusal,
        };
        let org = self.orgs.entry(account.clone()).or_insert_with(|| new_org(&account, env.now_ms));
        let max = env.switches.salesforce_daily_max;
        if env.switches.salesforce_limit_exceeded || org.used >= max {
            return Refusal::new("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").status(403).answer();
        }
        org.used += 1;
        let answer = serve(org, call, &scene, env).unwrap_or_else(|refusal| refusal.answer());
        answer.with("sforce-limit-info", &format!("api-usage={}/{max}", org.used))
    }

    /// The caller's organisation. Using a session lengthens it.
    fn enter(&mut self, call: &Call<'_>, env: &Env<'_>) -> Result<(String, Scene), Answer> {
        let expired = || Refusal::new("INVALID_SESSION_ID", "Session expired or invalid").status(401).answer();
        let token = call
            .bearer()
            .ok_or_else(|| Refusal::new("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE").status(401).answer())?;
        let (account, user) = {
            let (_, grant) = self
                .authority
                .access(token)
                .filter(|(access, _)| access.expires_at > env.now_ms)
                .ok_or_else(expired)?;
            (grant.account.clone(), grant.user.clone())
        };
        self.authority.extend(token, env.now_ms + env.switches.salesforce_session_secs * 1000);
        let base = format!("/services/data/{}", call.segments.get(2).map_or("", String::as_str));
        let identity = format!("{}/id/{account}/{user}", call.origin);
        Ok((account, Scene { base, writer: writer(&user, call), identity }))
    }

    /// Every record, as effects.
    pub fn effects(&self) -> impl Iterator<Item = Effect> {
        let all = self
            .orgs
            .iter()
            .flat_map(|(account, org)| org.records().map(move |(object, record)| (account, object, record)));
        let made = |object: &str| Object::find(object).is_some_and(|object| object.is_writable());
        all.filter(move |(_, object, _)| made(object)).map(|(account, object, record)| effect(account, object, record))
    }

    /// Every record of an object with its organisation, for the control plane. Names are case-sensitive here.
    pub fn dump(&self, object: &str) -> Option<Vec<Value>> {
        let known = Object::find(object).filter(|found| found.name == object)?.with_key(KeyField::Unique);
        let fields: Vec<&str> = known.fields().map(|field| field.name).collect();
        let all =
            self.orgs.iter().flat_map(|(account, org)| org.of_object(object).map(move |record| (account, record)));
        Some(
            all.map(|(account, record)| {
                let mut row = Org::render(object, record, &fields, &oauth::user_id(account), "/services/data/v67.0");
                row.put("account", json!(account));
                row
            })
            .collect(),
        )
    }

    /// Converts a lead; says the contact's id.
    pub fn convert(&mut self, lead: &str, now_ms: i64) -> Option<String> {
        self.orgs.values_mut().find_map(|org| write::convert(org, lead, now_ms))
    }

    /// Forgets everything but the grants.
    pub fn forget_records(&mut self) {
        self.orgs.clear();
    }

    /// How many grants live.
    pub fn living_grants(&self) -> usize {
        self.authority.living()
    }
}

fn new_org(account: &str, now_ms: i64) -> Org {
    let mut org = Org::numbered(oauth::org_number(account));
    let text = |name: &str, value: &str| (name.to_owned(), json!(value));
    let fields = BTreeMap::from([
        text("Name", "API User"),
        text("Username", &format!("api@acme-{}.example", oauth::org_number(account))),
        text("Email", &format!("api@acme-{}.example", oauth::org_number(account))),
        ("IsActive".to_owned(), json!(true)),
    ]);
    let record = |id, fields| Record { id, fields, created_at: now_ms, modified_at: now_ms, deleted: false, writes: 1 };
    org.put("User", record(oauth::user_id(account), fields));
    let fields = BTreeMap::from([text("Name", "Acme"), text("InstanceName", "EU1")]);
    org.put("Organization", record(account.to_owned(), fields));
    for (nth, (name, active, probability)) in (1_u64..).zip(org::STAGES) {
        let fields = BTreeMap::from([
            text("MasterLabel", name),
            text("ApiName", name),
            ("IsActive".to_owned(), json!(active)),
            ("SortOrder".to_owned(), json!(nth)),
            ("IsClosed".to_owned(), json!(name.starts_with("Closed"))),
            ("IsWon".to_owned(), json!(*name == "Closed Won")),
            ("DefaultProbability".to_owned(), json!(probability)),
        ]);
        org.put("OpportunityStage", record(id::make("01J", nth), fields));
    }
    org
}

fn effect(account: &str, object: &str, record: &Record) -> Effect {
    let text = |name: &str| record.fields.get(name).and_then(Value::as_str);
    let label = ["Subject", "Email", "Name", "LastName"].iter().find_map(|name| text(name)).unwrap_or_default();
    let key = |name: &&String| *name == "Email" || *name == "WhoId" || name.ends_with("__c");
    let keys = record.fields.iter().filter(|(name, _)| key(name));
    Effect {
        provider: "salesforce",
        account: account.to_owned(),
        object: object.to_owned(),
        id: record.id.clone(),
        label: label.to_owned(),
        text_end: crate::ledger::end_of(text("Description").unwrap_or_default()),
        keys: keys.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        writes: record.writes,
        archived: record.deleted,
        created_at: record.created_at,
    }
}

fn versions() -> Answer {
    let row = |(number, label): &(&str, &str)| json!({"label": label, "url": format!("/services/data/v{number}"), "version": number});
    Answer::json(200, &VERSIONS.iter().map(row).collect())
}

/// Everything under `/services/data/vNN.0` for someone who may.
fn serve(org: &mut Org, call: &Call<'_>, scene: &Scene, env: &mut Env<'_>) -> Outcome<Answer> {
    let parts = call.parts();
    let ["services", "data", version, rest @ ..] = parts.as_slice() else { return Err(Refusal::not_found()) };
    let number = version.strip_prefix('v').and_then(|number| number.split_once('.')).filter(|(_, minor)| *minor == "0");
    match number.and_then(|(major, _)| major.parse::<u32>().ok()) {
        Some(31..=68) => {}
        Some(21..=30) => return Err(Refusal::new("UNSUPPORTED_API_VERSION", "This API version is retired").status(410)),
        _ => return Err(Refusal::not_found()),
    }
    let look = query::Scene {
        user: &scene.writer.user,
        base: &scene.base,
        deleted_too: rest.first() == Some(&"queryAll"),
        page: query::page_size(call, env),
    };
    match (call.method(), rest) {
        ("GET", []) => Ok(Answer::json(200, &oauth::resources(&scene.base, &scene.identity))),
        ("GET", ["limits"]) => Ok(limits(org, env)),
        ("GET", ["query" | "queryAll"]) => {
            let text = call.query("q").ok_or_else(|| Refusal::new("MALFORMED_QUERY", "The q parameter is missing"))?;
            query::run(org, text, look, env)
        }
        ("GET", ["query" | "queryAll", locator]) => query::more(org, locator, look),
        (_, ["sobjects", rest @ ..]) => sobjects::handle(org, call, rest, scene, env),
        ("POST", ["composite"]) => composite::handle(org, call, scene, env, serve),
        ("POST", ["composite", "batch"]) => composite::batch(org, call, scene, env, serve),
        (_, ["composite", "sobjects", rest @ ..]) => collections::handle(org, call, rest, scene, env),
        (method, ["limits" | "query" | "queryAll" | "composite"]) => Err(Refusal::wrong_method(method)),
        _ => Err(Refusal::not_found()),
    }
}

fn limits(org: &Org, env: &Env<'_>) -> Answer {
    let max = env.switches.salesforce_daily_max;
    let pair = |max: u64, left: u64| json!({"Max": max, "Remaining": left});
    Answer::json(
        200,
        &json!({"DailyApiRequests": pair(max, max.saturating_sub(org.used)), "DailyBulkApiBatches": pair(15_000, 15_000),
            "DailyBulkV2QueryJobs": pair(10_000, 10_000), "DataStorageMB": pair(1073, 1073), "FileStorageMB": pair(1073, 1073)}),
    )
}
