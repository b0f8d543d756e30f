//! Records one at a time: `/sobjects/...`, with describe, and upsert by external id.
//!
//! Many at a time: `collections.rs`, `composite.rs`.

use crate::Env;
use crate::fields::Fields as _;
use crate::http::{Answer, Call};
use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::org::{Org, Record, STAGES};
use crate::salesforce::schema::{self, Field, Kind, Object};
use crate::salesforce::write::{self, Upserted};
use crate::salesforce::{Scene, id};
use serde_json::{Map, Value, json};

/// `/sobjects...`
pub fn handle(org: &mut Org, call: &Call<'_>, rest: &[&str], scene: &Scene, env: &mut Env<'_>) -> Outcome<Answer> {
    let base = &scene.base;
    match (call.method(), rest) {
        ("GET", []) => Ok(all(base)),
        ("GET", [name]) => {
            let object = write::object(org, name, env)?;
            Ok(Answer::json(200, &json!({"objectDescribe": summary(object, base), "recentItems": []})))
        }
        ("GET", [name, "describe"]) => Ok(Answer::json(200, &describe(write::object(org, name, env)?, base))),
        ("GET", [name, which @ ("updated" | "deleted")]) => {
            changed(org, call, write::object(org, name, env)?, *which == "deleted")
        }
        ("POST", [name]) => {
            let object = write::object(org, name, env)?;
            let id = write::insert(org, &object, &body(call)?, &scene.writer, env)?;
            let location = format!("{base}/sobjects/{}/{id}", object.name);
            Ok(Answer::json(201, &json!({"id": id, "success": true, "errors": []})).with("location", &location))
        }
        ("GET", [name, key]) => {
            let object = write::object(org, name, env)?;
            let record = living(org, &object, key)?;
            read(&object, record, call, scene)
        }
        ("PATCH", [name, key]) => {
            let object = write::object(org, name, env)?;
            write::update(org, &object, key, &body(call)?, &scene.writer, env).map(|_| Answer::empty(204))
        }
        ("DELETE", [name, key]) => {
            let object = write::object(org, name, env)?;
            write::delete(org, &object, key, env).map(|_| Answer::empty(204))
        }
        (_, [name, field, key]) => by_key(org, call, (name, field, key), scene, env),
        (method, [_] | [_, _]) => Err(Refusal::wrong_method(method)),
        _ => Err(Refusal::not_found()),
    }
}

fn body(call: &Call<'_>) -> Outcome<Map<String, Value>> {
    match call.json() {
        Some(Value::Object(body)) => Ok(body),
        _ => Err(Refusal::bad_json()),
    }
}

fn living<'a>(org: &'a Org, object: &Object, key: &str) -> Outcome<&'a Record> {
    let id = id::normal(key).ok_or_else(Refusal::not_found)?;
    match org.record(object.name, &id) {
        Some(record) if record.deleted => Err(Refusal::new("ENTITY_IS_DELETED", "entity is deleted").status(404)),
        Some(record) => Ok(record),
        None => Err(Refusal::not_found()),
    }
}

fn read(object: &Object, record: &Record, call: &Call<'_>, scene: &Scene) -> Outcome<Answer> {
    let fields: Vec<&str> = match call.query("fields") {
        Some(list) => list
            .split(',')
            .map(|name| {
                object.field(name.trim()).map(|field| field.name).ok_or_else(|| Refusal::no_column(name, object.name))
            })
            .collect::<Outcome<_>>()?,
        None => object.fields().map(|field| field.name).collect(),
    };
    Ok(Answer::json(200, &Org::render(object.name, record, &fields, &scene.writer.user, &scene.base)))
}

/// `/sobjects/{object}/{field}/{value}`
fn by_key(
    org: &mut Org,
    call: &Call<'_>,
    path: (&str, &str, &str),
    scene: &Scene,
    env: &mut Env<'_>,
) -> Outcome<Answer> {
    let (name, field, key) = path;
    let object = write::object(org, name, env)?;
    let missing = || {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        Refusal::new("NOT_FOUND", message).status(404)
    };
    let address = |id: &String| format!("{}/sobjects/{}/{id}", scene.base, object.name);
    let many = |ids: &[String]| Answer::json(300, &json!(ids.iter().map(address).collect::<Vec<_>>()));
    let found = || -> Outcome<Vec<String>> {
        if object.is_external_id(field) {
            Ok(org.with_value(object.name, schema::KEY_FIELD, key))
        } else {
            Err(missing())
        }
    };
    match call.method() {
        "GET" => match found()?.as_slice() {
            [] => Err(Refusal::not_found()),
            [id] => read(&object, living(org, &object, id)?, call, scene),
            ids => Ok(many(ids)),
        },
        "DELETE" => match found()?.as_slice() {
            [] => Err(Refusal::not_found()),
            [id] => write::delete(org, &object, id, env).map(|_| Answer::empty(204)),
            ids => Ok(many(ids)),
        },
        "PATCH" => {
            if call.query("updateOnly") == Some("true") && found()?.is_empty() {
                return Err(Refusal::not_found());
            }
            match write::upsert(org, &object, field, key, &body(call)?, &scene.writer, env)? {
                Upserted::Many(ids) => Ok(many(&ids)),
                Upserted::One(id, created) => {
                    let answer = json!({"id": id, "success": true, "errors": [], "created": created});
                    Ok(Answer::json(if created { 201 } else { 200 }, &answer).with("location", &address(&id)))
                }
            }
        }
        method => Err(Refusal::wrong_method(method)),
    }
}

/// Ids of records changed or deleted in a window.
fn changed(org: &Org, call: &Call<'_>, object: Object, deleted: bool) -> Outcome<Answer> {
    let moment = |name: &str| call.query(name).and_then(crate::clock::parse);
    let (Some(start), Some(end)) = (moment("start"), moment("end")) else {
        return Err(Refusal::new("MISSING_ARGUMENT", "start and end are required"));
    };
    if end - start < 60_000 || end - start > 30 * 86_400_000 {
        return Err(Refusal::new(
            "INVALID_REPLICATION_DATE",
            "endDate must be at least 1 minute greater than startDate",
        ));
    }
    let hits = org
        .of_object(object.name)
        .filter(|record| record.deleted == deleted && (start..end).contains(&record.modified_at));
    let covered = crate::clock::salesforce(end.min(call.now_ms));
    let body = if deleted {
        let rows: Vec<Value> = hits
            .map(|record| json!({"id": record.id, "deletedDate": crate::clock::salesforce(record.modified_at)}))
            .collect();
        json!({"deletedRecords": rows, "earliestDateAvailable": crate::clock::salesforce(0), "latestDateCovered": covered})
    } else {
        json!({"ids": hits.map(|record| record.id.as_str()).collect::<Vec<_>>(), "latestDateCovered": covered})
    };
    Ok(Answer::json(200, &body))
}

fn all(base: &str) -> Answer {
    let objects: Vec<Value> = Object::all().map(|object| summary(object, base)).collect();
    Answer::json(200, &json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects}))
}

fn summary(object: Object, base: &str) -> Value {
    let at = format!("{base}/sobjects/{}", object.name);
    let writable = object.is_writable();
    json!({"name": object.name, "label": object.name, "labelPlural": format!("{}s", object.name), "keyPrefix": object.prefix, "custom": false,
        "createable": writable, "updateable": writable, "deletable": writable, "queryable": true, "retrieveable": true,
        "urls": {"sobject": at, "describe": format!("{at}/describe"), "rowTemplate": format!("{at}/{{ID}}")}})
}

fn describe(object: Object, base: &str) -> Value {
    let mut body = summary(object, base);
    body.put("fields", object.fields().map(|field| describe_field(object, field)).collect());
    body.put("childRelationships", json!([]));
    body.put("recordTypeInfos", json!([]));
    body
}

fn picklist(field: Field) -> Vec<Value> {
    let stages = if field.name == "StageName" { STAGES } else { &[] };
    stages
        .iter()
        .map(|(name, active, _)| json!({"active": active, "defaultValue": false, "label": name, "value": name}))
        .collect()
}

fn describe_field(object: Object, field: Field) -> Value {
    let (name, length) = schema::type_name(field.kind);
    let external = object.is_external_id(field.name);
    let references: &[&str] = match field.kind {
        Kind::Reference(targets) => targets,
        _ => &[],
    };
    json!({"name": field.name, "label": field.name, "type": name, "length": length, "custom": field.name.ends_with("__c"),
        "createable": field.writable, "updateable": field.writable, "nillable": !object.required.contains(&field.name),
        "externalId": external, "unique": external && object.has_unique_key(), "idLookup": external || field.name == "Id", "referenceTo": references,
        "filterable": !matches!(field.kind, Kind::LongText(_)), "picklistValues": picklist(field), "caseSensitive": false,
        "relationshipName": (!references.is_empty()).then(|| field.name.trim_end_matches("Id"))})
}
