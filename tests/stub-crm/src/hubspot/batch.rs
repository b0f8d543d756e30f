//! Many records in one call: read, create, update, upsert, archive.
//!
//! With a unique `objectWriteTraceId` on every input the good ones are written and the answer is 207; without, one
//! bad input rejects all and nothing is written. Results come in another order than the inputs. Sources: `HubSpot`'s
//! batch guides and recorded answers.

use crate::Env;
use crate::clock;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::hubspot::errors;
use crate::hubspot::kind::Kind;
use crate::hubspot::objects::{self, Wanted};
use crate::hubspot::portal::Portal;
use crate::hubspot::writes::{self, Claims, Plan, Refusal};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Inputs in one call.
const BATCH_MAX: usize = 100;

/// `/objects/{type}/batch/{verb}`
pub fn handle(portal: &mut Portal, kind: Kind, call: &Call<'_>, verb: &str, hub: &str, env: &mut Env<'_>) -> Reply {
    let body = call.json().ok_or_else(|| errors::bad_json(env))?;
    let inputs = body.get("inputs").and_then(Value::as_array).ok_or_else(|| errors::bad_json(env))?;
    if inputs.len() > BATCH_MAX {
        return Err(errors::invalid(env, &format!("The maximum number of inputs in a batch request is {BATCH_MAX}")));
    }
    match verb {
        "read" => read(portal, kind, &body, inputs, hub, env),
        "create" | "update" | "upsert" => write(portal, kind, verb, inputs, hub, env),
        "archive" => {
            let lag = env.switches.hubspot_search_lag_ms;
            for id in inputs.iter().filter_map(|input| id_of(input).parse().ok()) {
                portal.archive(kind, id, env.now_ms, lag);
            }
            Ok(Answer::empty(204))
        }
        _ => Err(errors::no_such_path(env)),
    }
}

fn id_of(input: &Value) -> String {
    match input.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => String::new(),
    }
}

/// The traces, if every input has one and no two the same.
fn traces(inputs: &[Value]) -> Option<Vec<&str>> {
    let found: Vec<&str> =
        inputs.iter().map(|input| input.get("objectWriteTraceId").and_then(Value::as_str)).collect::<Option<_>>()?;
    let distinct: BTreeSet<&str> = found.iter().copied().collect();
    (distinct.len() == found.len()).then_some(found)
}

fn refuse_duplicates(inputs: &[Value], env: &Env<'_>) -> Result<(), Answer> {
    let mut seen = BTreeSet::new();
    for input in inputs {
        let id = id_of(input);
        if !seen.insert(id.to_lowercase()) {
            let message = format!("Duplicate IDs found in batch input: [{id}]. IDs must be unique");
            let mut body = errors::body(env, "VALIDATION_ERROR", &message);
            body.put("context", json!({"ids": [id]}));
            return Err(Answer::json(400, &body));
        }
    }
    Ok(())
}

fn write(portal: &mut Portal, kind: Kind, verb: &str, inputs: &[Value], hub: &str, env: &mut Env<'_>) -> Reply {
    if verb != "create" {
        refuse_duplicates(inputs, env)?;
    }
    let mut claims = Claims::new();
    let plans: Vec<Result<Plan, Refusal>> =
        inputs.iter().map(|input| plan(portal, kind, verb, input, &mut claims, env)).collect::<Result<_, Answer>>()?;
    let traced = traces(inputs);
    if traced.is_none() {
        reject_whole(kind, &plans, env)?;
    }
    let (mut results, mut failures, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for (at, plan) in plans.into_iter().enumerate() {
        let trace = traced.as_ref().and_then(|traces| traces.get(at).copied());
        match plan {
            Ok(plan) => results.push(carry_out(portal, kind, verb, plan, trace, hub, env)),
            Err(Refusal::Missing(id)) if trace.is_none() => missing.push(id),
            Err(refusal) => failures.push(refusal.item(kind, env, trace)),
        }
    }
    if !missing.is_empty() {
        failures.push(errors::missing_ids(kind, &missing));
    }
    Ok(envelope(if verb == "create" { 201 } else { 200 }, results, &failures, env))
}

fn plan(
    portal: &Portal,
    kind: Kind,
    verb: &str,
    input: &Value,
    claims: &mut Claims,
    env: &Env<'_>,
) -> Result<Result<Plan, Refusal>, Answer> {
    let (id, by) = (id_of(input), input.get("idProperty").and_then(Value::as_str));
    match verb {
        "create" => Ok(writes::plan(portal, kind, input, None, claims, env)),
        "update" => {
            // Even hs_object_id is refused: it is not among the unique properties.
            let Some(found) = objects::resolve(portal, kind, &id, by, env)? else {
                return Ok(Err(Refusal::Missing(id)));
            };
            Ok(writes::plan(portal, kind, input, Some(found), claims, env))
        }
        _ => {
            let Some(by) = by.filter(|name| portal.is_unique(kind, name)) else {
                let name = by.unwrap_or("hs_object_id");
                let message =
                    format!("Unable to perform update/upsert by non-unique {} property {name}", kind.type_id());
                return Err(errors::invalid(env, &message));
            };
            let found = portal.owner_of(kind, by, &id);
            let mut input = input.clone();
            if let Some(fields) = input.as_object_mut() {
                fields.remove("associations");
                let properties = fields.entry("properties").or_insert_with(|| json!({}));
                if found.is_none() && properties.get(by).is_none() {
                    properties.put(by, json!(id));
                }
            }
            Ok(writes::plan(portal, kind, &input, found, claims, env))
        }
    }
}

/// Without traces: the first thing wrong rejects everything. All property errors are told at once.
fn reject_whole(kind: Kind, plans: &[Result<Plan, Refusal>], env: &Env<'_>) -> Result<(), Answer> {
    let refusals = || plans.iter().filter_map(|plan| plan.as_ref().err());
    let properties: Vec<_> = refusals()
        .filter_map(|refusal| if let Refusal::Properties(list) = refusal { Some(list.clone()) } else { None })
        .flatten()
        .collect();
    if !properties.is_empty() {
        return Err(Answer::json(400, &errors::properties_body(env, &properties)));
    }
    match refusals().find(|refusal| !matches!(refusal, Refusal::Missing(_))) {
        Some(refusal) => {
            let (status, body) = refusal.explain(kind, env, false);
            Err(Answer::json(status, &body))
        }
        None => Ok(()),
    }
}

fn carry_out(
    portal: &mut Portal,
    kind: Kind,
    verb: &str,
    plan: Plan,
    trace: Option<&str>,
    hub: &str,
    env: &Env<'_>,
) -> Value {
    let (id, new) = writes::apply(portal, kind, plan, env);
    let mut result = portal
        .record(kind, id)
        .map_or(Value::Null, |record| objects::render(kind, record, &record.state, &Wanted::All, hub));
    if verb == "upsert" {
        result.put("new", json!(new));
    }
    if let Some(trace) = trace {
        result.put("objectWriteTraceId", json!(trace));
    }
    result
}

/// What is missing is told in `errors`; by a switch the last one found is left out of both lists.
fn read(portal: &Portal, kind: Kind, body: &Value, inputs: &[Value], hub: &str, env: &mut Env<'_>) -> Reply {
    refuse_duplicates(inputs, env)?;
    let names = body.get("properties").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let wanted = objects::wanted(portal, kind, names);
    let by = body.get("idProperty").and_then(Value::as_str);
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for input in inputs {
        let id = id_of(input);
        match objects::resolve(portal, kind, &id, by, env)?.and_then(|id| portal.living(kind, id)) {
            Some(record) => results.push(objects::render(kind, record, &record.state, &wanted, hub)),
            None => missing.push(id),
        }
    }
    if env.switches.hubspot_incomplete_reads > 0 && results.pop().is_some() {
        env.switches.hubspot_incomplete_reads -= 1;
    }
    let failures = if missing.is_empty() { Vec::new() } else { vec![errors::missing_ids(kind, &missing)] };
    Ok(envelope(200, results, &failures, env))
}

/// The batch envelope: 207 when something failed.
pub fn envelope(status: u16, mut results: Vec<Value>, failures: &[Value], env: &mut Env<'_>) -> Answer {
    if env.switches.hubspot_shuffle {
        env.random.shuffle(&mut results);
    }
    let at = clock::hubspot(env.now_ms);
    let mut body = json!({"status": "COMPLETE", "startedAt": at, "completedAt": at});
    body.put("results", Value::Array(results));
    if failures.is_empty() {
        return Answer::json(status, &body);
    }
    body.put("numErrors", json!(failures.len()));
    body.put("errors", json!(failures));
    Answer::json(207, &body)
}
