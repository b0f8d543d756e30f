//! `/composite` and `/composite/batch`: several requests in one call.
//!
//! Not collections (`collections.rs`) or graphs. References are `@{name.path}`; with `allOrNone` the first failure
//! undoes all. Texts of halted parts: Salesforce's REST guide.

use crate::Env;
use crate::config::Switches;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Request};
use crate::salesforce::Scene;
use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::org::Org;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PARTS_MAX: usize = 25;
const QUERIES_MAX: usize = 5;

/// Answers one part as if it had come alone.
pub type Serve = fn(&mut Org, &Call<'_>, &Scene, &mut Env<'_>) -> Outcome<Answer>;

/// One request of many.
struct Part {
    name: String,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Value,
}

/// `POST /composite`
pub fn handle(org: &mut Org, call: &Call<'_>, scene: &Scene, env: &mut Env<'_>, serve: Serve) -> Outcome<Answer> {
    let mut body = call.json().filter(Value::is_object).ok_or_else(Refusal::bad_json)?;
    let listed = body.get_mut("compositeRequest").and_then(Value::as_array_mut);
    let listed = listed.ok_or_else(|| Refusal::new("JSON_PARSER_ERROR", "compositeRequest is missing"))?;
    let parts = listed.iter_mut().map(read_part).collect::<Outcome<Vec<Part>>>()?;
    check(&parts)?;
    let names: Vec<String> = parts.iter().map(|part| part.name.clone()).collect();
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or_default();
    let outermost = org.begin();
    let mut bodies: BTreeMap<String, Value> = BTreeMap::new();
    let mut answers: Vec<(String, Answer)> = Vec::new();
    let mut failed = None;
    for (at, part) in parts.into_iter().enumerate() {
        let name = part.name.clone();
        let answer = match (Answers { bodies: &bodies, switches: env.switches }).resolve(part) {
            Ok(part) => run(org, &part, call, scene, env, serve),
            Err(refusal) => refusal.answer(),
        };
        let good = answer.status < 300;
        if good {
            bodies.insert(name.clone(), answer.value());
        }
        answers.push((name, answer));
        if all_or_none && !good {
            failed = Some(at);
            break;
        }
    }
    if outermost {
        org.end(failed.is_none());
    }
    let shown = names.iter().enumerate().map(|(at, name)| {
        match answers.get(at).filter(|_| failed.is_none_or(|failed| failed == at)) {
            Some((name, answer)) => show(name, answer, bodies.remove(name)),
            None => show(
                name,
                &halted("The transaction was rolled back since another operation in the same transaction failed."),
                None,
            ),
        }
    });
    let mut all = json!({});
    all.put("compositeResponse", shown.collect());
    Ok(Answer::json(200, &all))
}

fn halted(message: &str) -> Answer {
    Refusal::new("PROCESSING_HALTED", message).answer()
}

/// `body` is the answer's, where it was read already.
fn show(name: &str, answer: &Answer, body: Option<Value>) -> Value {
    let body = body.unwrap_or_else(|| if answer.body.is_empty() { Value::Null } else { answer.value() });
    let headers: Map<String, Value> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "location")
        .map(|(_, value)| ("Location".to_owned(), json!(value)))
        .collect();
    let mut shown = json!({"httpHeaders": headers, "httpStatusCode": answer.status, "referenceId": name});
    shown.put("body", body);
    shown
}

fn read_part(value: &mut Value) -> Outcome<Part> {
    let body = value.get_mut("body").map(Value::take).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let headers = value.get("httpHeaders").and_then(Value::as_object).into_iter().flatten();
    let part = Part {
        name: text("referenceId"),
        method: text("method"),
        url: text("url"),
        headers: headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        body,
    };
    let good_name = part.name.starts_with(|c: char| c.is_ascii_alphabetic())
        && part.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !good_name || part.method.is_empty() || part.url.is_empty() {
        let message = format!(
            "Provided referenceId ('{}') must start with a letter or a number, and it can contain only letters, numbers and underscores ('_').",
            part.name
        );
        return Err(Refusal::new("INVALID_INPUT", message));
    }
    Ok(part)
}

fn check(parts: &[Part]) -> Outcome<()> {
    let queries =
        parts.iter().filter(|part| part.url.contains("/query") || part.url.contains("/composite/sobjects")).count();
    let names: std::collections::BTreeSet<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let message = if parts.len() > PARTS_MAX {
        format!("You can't have more than {PARTS_MAX} operations in a composite request")
    } else if queries > QUERIES_MAX {
        format!("You can't have more than {QUERIES_MAX} queries or collections in a composite request")
    } else if names.len() < parts.len() {
        "Each referenceId must be unique".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::new("LIMIT_EXCEEDED", message))
}

fn run(org: &mut Org, part: &Part, call: &Call<'_>, scene: &Scene, env: &mut Env<'_>, serve: Serve) -> Answer {
    let body = if part.body.is_null() { Vec::new() } else { serde_json::to_vec(&part.body).unwrap_or_default() };
    let request = Request {
        method: part.method.clone(),
        url: format!("{}{}", call.origin, part.url),
        headers: part.headers.clone(),
        body,
    };
    let inner = Call::new(&request, call.now_ms);
    serve(org, &inner, &scene.for_part(&inner), env).unwrap_or_else(|refusal| refusal.answer())
}

/// What earlier parts answered, for later ones to refer to.
struct Answers<'a> {
    bodies: &'a BTreeMap<String, Value>,
    switches: &'a Switches,
}

impl Answers<'_> {
    /// The part with every `@{...}` replaced.
    fn resolve(&self, mut part: Part) -> Outcome<Part> {
        part.url = self.fill(&part.url)?;
        self.fill_value(&mut part.body)?;
        Ok(part)
    }

    fn fill_value(&self, value: &mut Value) -> Outcome<()> {
        match value {
            Value::String(text) if text.contains("@{") => *text = self.fill(text)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill_value(item))?,
            Value::Object(fields) => fields.values_mut().try_for_each(|value| self.fill_value(value))?,
            _ => {}
        }
        Ok(())
    }

    fn fill(&self, text: &str) -> Outcome<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("@{") {
            let Some((reference, after)) = tail.split_once('}') else { break };
            let (name, path) = reference.split_at(reference.find(['.', '[']).unwrap_or(reference.len()));
            let message = || format!("Invalid reference specified. No value for {reference} found in {name}");
            let lists = path.starts_with('[') && self.switches.salesforce_refuses_list_references;
            let body = self.bodies.get(name).filter(|_| !lists);
            let value = body.and_then(|body| walk(body, path)).and_then(|value| self.text(value));
            out.push_str(before);
            out.push_str(&value.ok_or_else(|| Refusal::new("PROCESSING_HALTED", message()))?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn text(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if !self.switches.salesforce_refuses_number_references => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        }
    }
}

/// `.records[0].Id`, or `[0].id` where the answer is a list.
fn walk<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = body;
    for step in path.split('.') {
        let (name, index) = step.split_once('[').map_or((step, None), |(name, index)| (name, index.strip_suffix(']')));
        if !name.is_empty() {
            value = value.get(name)?;
        }
        if let Some(index) = index {
            value = value.get(index.parse::<usize>().ok()?)?;
        }
    }
    Some(value)
}

/// `POST /composite/batch`
pub fn batch(org: &mut Org, call: &Call<'_>, scene: &Scene, env: &mut Env<'_>, serve: Serve) -> Outcome<Answer> {
    let body = call.json().filter(Value::is_object).ok_or_else(Refusal::bad_json)?;
    let listed = body.get("batchRequests").and_then(Value::as_array).ok_or_else(Refusal::bad_json)?;
    if listed.len() > PARTS_MAX {
        return Err(Refusal::new("LIMIT_EXCEEDED", format!("The batch may have at most {PARTS_MAX} requests")));
    }
    let halts = body.get("haltOnError").and_then(Value::as_bool).unwrap_or_default();
    let mut results: Vec<Value> = Vec::new();
    let mut has_errors = false;
    for item in listed {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let part = Part {
            name: String::new(),
            method: text("method"),
            url: batch_url(&text("url")),
            headers: Vec::new(),
            body: item.get("richInput").cloned().unwrap_or(Value::Null),
        };
        let answer = if halts && has_errors {
            let mut halted = halted("Batch processing halted per request");
            halted.status = 412;
            halted
        } else {
            run(org, &part, call, scene, env, serve)
        };
        has_errors |= answer.status >= 400;
        results.push(json!({"statusCode": answer.status, "result": if answer.body.is_empty() { Value::Null } else { answer.value() }}));
    }
    Ok(Answer::json(200, &json!({"hasErrors": has_errors, "results": results})))
}

/// Batch URLs leave `/services/data/` out.
fn batch_url(url: &str) -> String {
    let url = url.trim_start_matches('/');
    if url.starts_with("services/data/") { format!("/{url}") } else { format!("/services/data/{url}") }
}
