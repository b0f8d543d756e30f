//! Associations between records: default, labelled, lists, batches and labels.
//!
//! Both directions are kept (`portal.rs`). Lists may lag behind the store, by a switch: that they do not is nowhere promised. Record ids in labelled answers are numbers here, as in real bodies; the
//! specification says strings. Sources: `HubSpot`'s associations v4 guide and recorded answers.

use crate::Env;
use crate::clock;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::hubspot::batch;
use crate::hubspot::errors;
use crate::hubspot::kind::{self, Kind};
use crate::hubspot::portal::{Label, Portal, Spec, Tie};
use crate::hubspot::writes::specs;
use serde_json::{Value, json};

const DEFINED: &str = "HUBSPOT_DEFINED";
const PAGE_MAX: usize = 500;

/// The `associations` of a record read.
pub fn inline(portal: &Portal, from: Kind, id: u64, to: Kind) -> Vec<Value> {
    let name = format!("{}_to_{}", from.singular(), to.singular());
    portal.linked(id, to).map(|(other, _)| json!({"id": other.to_string(), "type": name})).collect()
}

/// `/objects/{type}/{id}/associations/...`
pub fn of_record(
    portal: &mut Portal,
    from: Kind,
    id: &str,
    call: &Call<'_>,
    rest: &[&str],
    env: &mut Env<'_>,
) -> Reply {
    let kind_of = |name: &str, env: &Env<'_>| Kind::parse(name).ok_or_else(|| errors::unknown_type(env, name));
    let here = |env: &Env<'_>| living(portal, from, id).ok_or_else(|| errors::not_found(env));
    match (call.method(), rest) {
        ("PUT", ["default", to, other]) => {
            let pair = ends(portal, (from, id), (kind_of(to, env)?, other), env)?;
            let results = link_default(portal, pair.0, pair.1, env).ok_or_else(|| no_type(env))?;
            let at = clock::hubspot(env.now_ms);
            Ok(Answer::json(
                200,
                &json!({"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at}),
            ))
        }
        ("PUT", [to, other]) => {
            let pair = ends(portal, (from, id), (kind_of(to, env)?, other), env)?;
            let types = call
                .json()
                .map(|body| named(&body))
                .filter(|types| !types.is_empty())
                .ok_or_else(|| errors::bad_json(env))?;
            link(portal, pair.0, pair.1, &types, env).map(|body| Answer::json(201, &body)).ok_or_else(|| no_type(env))
        }
        // The older form, with the type in the path.
        ("PUT", [to, other, kind]) => {
            let pair = ends(portal, (from, id), (kind_of(to, env)?, other), env)?;
            let by_name = format!("{}_to_{}", from.singular(), pair.1.0.singular());
            let (unlabelled, _) = kind::association_types(from, pair.1.0).ok_or_else(|| no_type(env))?;
            let type_id = if *kind == by_name { Some(unlabelled) } else { kind.parse().ok() };
            let types = [(DEFINED.to_owned(), type_id.ok_or_else(|| no_type(env))?)];
            link(portal, pair.0, pair.1, &types, env)
                .map(|_| Answer::json(200, &json!({"id": id})))
                .ok_or_else(|| no_type(env))
        }
        ("DELETE", [to, other]) => {
            let (to, here) = (kind_of(to, env)?, here(env)?);
            if let Ok(other) = other.parse() {
                portal.unlink((from, here), (to, other));
            }
            Ok(Answer::empty(204))
        }
        ("GET", [to]) => {
            let (to, here) = (kind_of(to, env)?, here(env)?);
            list(portal, from, here, to, call, env)
        }
        _ => Err(errors::no_such_path(env)),
    }
}

/// When lists show a tie that is made now.
pub fn listed_at(env: &Env<'_>) -> i64 {
    env.now_ms + env.switches.hubspot_association_lag_ms
}

fn living(portal: &Portal, kind: Kind, id: &str) -> Option<u64> {
    id.parse().ok().filter(|id| portal.living(kind, *id).is_some())
}

type End = (Kind, u64);

fn ends(portal: &Portal, from: (Kind, &str), to: (Kind, &str), env: &Env<'_>) -> Result<(End, End), Answer> {
    let find =
        |(kind, id): (Kind, &str)| living(portal, kind, id).map(|id| (kind, id)).ok_or_else(|| errors::not_found(env));
    Ok((find(from)?, find(to)?))
}

fn no_type(env: &Env<'_>) -> Answer {
    errors::invalid(env, "The association type is not valid between these object types")
}

/// The types of a labelled PUT.
fn named(body: &Value) -> Vec<Spec> {
    specs(Some(body))
}

fn link_default(portal: &mut Portal, from: End, to: End, env: &Env<'_>) -> Option<[Value; 2]> {
    let (there, _) = kind::association_types(from.0, to.0)?;
    let (back, _) = kind::association_types(to.0, from.0)?;
    portal.link(from, to, &(DEFINED.to_owned(), there), listed_at(env));
    let row = |one: End, other: End, id: u32| {
        json!({"from": {"id": one.1.to_string()}, "to": {"id": other.1.to_string()},
            "associationSpec": {"associationCategory": DEFINED, "associationTypeId": id}})
    };
    Some([row(from, to, there), row(to, from, back)])
}

fn link(portal: &mut Portal, from: End, to: End, types: &[Spec], env: &Env<'_>) -> Option<Value> {
    if types.iter().any(|spec| portal.way_back(from.0, to.0, spec).is_none()) {
        return None;
    }
    for spec in types {
        portal.link(from, to, spec, listed_at(env));
    }
    let labels: Vec<&str> = types.iter().filter_map(|spec| label_of(portal, from.0, to.0, spec)).collect();
    Some(json!({"fromObjectTypeId": from.0.type_id(), "fromObjectId": from.1, "toObjectTypeId": to.0.type_id(),
        "toObjectId": to.1, "labels": labels}))
}

fn label_of<'a>(portal: &'a Portal, from: Kind, to: Kind, spec: &Spec) -> Option<&'a str> {
    if spec.0 == DEFINED {
        let primary = kind::association_types(from, to)?.1?;
        return (spec.1 == primary).then_some("Primary");
    }
    portal.labels.iter().find(|label| label.type_id == spec.1).map(|label| label.text.as_str())
}

fn rows(portal: &Portal, from: Kind, id: u64, to: Kind, now_ms: i64) -> Vec<Value> {
    let types = |tie: &Tie| -> Vec<Value> {
        tie.types
            .iter()
            .map(|spec| json!({"category": spec.0, "typeId": spec.1, "label": label_of(portal, from, to, spec)}))
            .collect()
    };
    let listed = portal.linked(id, to).filter(|(_, tie)| tie.listed_at <= now_ms);
    listed.map(|(other, tie)| json!({"toObjectId": other, "associationTypes": types(tie)})).collect()
}

fn list(portal: &Portal, from: Kind, id: u64, to: Kind, call: &Call<'_>, env: &Env<'_>) -> Reply {
    let limit = call.query("limit").map_or(Some(PAGE_MAX), |text| text.parse().ok());
    let limit = limit
        .filter(|limit| (1..=PAGE_MAX).contains(limit))
        .ok_or_else(|| errors::invalid(env, "limit must be between 1 and 500"))?;
    let after: u64 = call
        .query("after")
        .map_or(Some(0), |text| text.parse().ok())
        .ok_or_else(|| errors::invalid(env, "after is not valid"))?;
    let mut all = rows(portal, from, id, to, env.now_ms);
    all.retain(|row| row.field("toObjectId").as_u64().is_some_and(|other| other >= after));
    let next = all.get(limit).and_then(|row| row.field("toObjectId").as_u64());
    all.truncate(limit);
    let mut body = json!({"results": all});
    if let Some(next) = next {
        let link = format!("{}{}?limit={limit}&after={next}", call.origin, call.path);
        body.put("paging", json!({"next": {"after": next.to_string(), "link": link}}));
    }
    Ok(Answer::json(200, &body))
}

/// `/associations/{from}/{to}/...`
pub fn between(portal: &mut Portal, call: &Call<'_>, rest: &[&str], env: &mut Env<'_>) -> Reply {
    let [from, to, rest @ ..] = rest else { return Err(errors::no_such_path(env)) };
    let kind_of = |name: &str, env: &Env<'_>| Kind::parse(name).ok_or_else(|| errors::unknown_type(env, name));
    let (from, to) = (kind_of(from, env)?, kind_of(to, env)?);
    match (call.method(), rest) {
        ("GET", ["labels"]) => Ok(labels(portal, from, to)),
        ("POST", ["labels"]) => make_label(portal, from, to, call, env),
        ("DELETE", ["labels", id]) => {
            portal.labels.retain(|label| label.type_id.to_string() != *id);
            Ok(Answer::empty(204))
        }
        ("POST", ["batch", verb @ ..]) => many(portal, from, to, call, verb, env),
        _ => Err(errors::no_such_path(env)),
    }
}

fn labels(portal: &Portal, from: Kind, to: Kind) -> Answer {
    let (unlabelled, primary) = kind::association_types(from, to).map_or((None, None), |(one, two)| (Some(one), two));
    let row =
        |category: &str, id: u32, label: Option<&str>| json!({"category": category, "typeId": id, "label": label});
    let mut results: Vec<Value> = unlabelled.map(|id| row(DEFINED, id, None)).into_iter().collect();
    results.extend(primary.map(|id| row(DEFINED, id, Some("Primary"))));
    let own = portal.labels.iter().filter(|label| label.from == from && label.to == to);
    results.extend(own.map(|label| row("USER_DEFINED", label.type_id, Some(&label.text))));
    Answer::json(200, &json!({"results": results}))
}

fn make_label(portal: &mut Portal, from: Kind, to: Kind, call: &Call<'_>, env: &Env<'_>) -> Reply {
    let body = call.json().ok_or_else(|| errors::bad_json(env))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(label), Some(_)) = (text("label"), text("name")) else {
        return Err(errors::invalid(env, "label and name are required"));
    };
    let inverse = text("inverseLabel").unwrap_or(label);
    let first = 36 + u32::try_from(portal.labels.len()).unwrap_or_default();
    for (from, to, label, type_id, inverse_id) in
        [(from, to, label, first, first + 1), (to, from, inverse, first + 1, first)]
    {
        portal.labels.push(Label { from, to, type_id, text: label.to_owned(), inverse_id });
    }
    let row = |id: u32, label: &str| json!({"category": "USER_DEFINED", "typeId": id, "label": label});
    Ok(Answer::json(200, &json!({"results": [row(first, label), row(first + 1, inverse)]})))
}

fn many(portal: &mut Portal, from: Kind, to: Kind, call: &Call<'_>, verb: &[&str], env: &mut Env<'_>) -> Reply {
    let body = call.json().ok_or_else(|| errors::bad_json(env))?;
    let inputs = body.get("inputs").and_then(Value::as_array).ok_or_else(|| errors::bad_json(env))?;
    let max = if verb == ["read"] { 1000 } else { 2000 };
    if inputs.len() > max {
        return Err(errors::invalid(env, &format!("The maximum number of inputs in a batch request is {max}")));
    }
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for input in inputs {
        match one_of_many(portal, from, to, input, verb, env) {
            Ok(rows) => results.extend(rows),
            Err(failure) => failures.push(failure),
        }
    }
    match verb {
        ["read"] | ["associate", "default"] => Ok(batch::envelope(200, results, &failures, env)),
        ["create"] => Ok(batch::envelope(201, results, &failures, env)),
        ["archive"] | ["labels", "archive"] => Ok(Answer::empty(204)),
        _ => Err(errors::no_such_path(env)),
    }
}

fn one_of_many(
    portal: &mut Portal,
    from: Kind,
    to: Kind,
    input: &Value,
    verb: &[&str],
    env: &Env<'_>,
) -> Result<Vec<Value>, Value> {
    let text = |at: &str| {
        input.pointer(at).map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).unwrap_or_default()
    };
    let find = |portal: &Portal, kind: Kind, id: String| {
        living(portal, kind, &id).ok_or_else(|| {
            json!({"status": "error", "category": "VALIDATION_ERROR", "subCategory": "crm.associations.INVALID_IDENTIFIER",
                "message": format!("{id} is not a valid ID"), "context": {"id": [id]}})
        })
    };
    if verb == ["read"] {
        let id = find(portal, from, text("/id"))?;
        let rows = rows(portal, from, id, to, env.now_ms);
        if rows.is_empty() {
            return Err(json!({"status": "error", "category": "OBJECT_NOT_FOUND",
                "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
                "message": format!("No {} is associated with {} {id}.", to.singular(), from.singular()),
                "context": {"fromObjectId": [id.to_string()]}}));
        }
        return Ok(vec![json!({"from": {"id": id.to_string()}, "to": rows})]);
    }
    let here = (from, find(portal, from, text("/from/id"))?);
    if verb == ["archive"] {
        for other in input.get("to").and_then(Value::as_array).into_iter().flatten() {
            let id = other.get("id").and_then(|id| id.as_str().map_or_else(|| id.as_u64(), |id| id.parse().ok()));
            if let Some(id) = id {
                portal.unlink(here, (to, id));
            }
        }
        return Ok(Vec::new());
    }
    let there = (to, find(portal, to, text("/to/id"))?);
    let bad = |message: String| json!({"status": "error", "category": "VALIDATION_ERROR", "message": message});
    if here.1 == there.1 {
        return Err(bad(format!("Object {0} cannot be associated to itself ({0})", here.1)));
    }
    let refused = || bad(format!("The association type is not valid ({})", env.correlation));
    match verb {
        ["associate", "default"] => Ok(link_default(portal, here, there, env).ok_or_else(refused)?.into()),
        ["labels", "archive"] => {
            for spec in specs(input.get("types")) {
                portal.unlabel(here, there, &spec);
            }
            Ok(Vec::new())
        }
        _ => Ok(vec![link(portal, here, there, &specs(input.get("types")), env).ok_or_else(refused)?]),
    }
}
