//! `/composite/sobjects`: up to 200 records in one call, answered in the order they came.
//!
//! Texts are from recorded answers.

use crate::Env;
use crate::http::{Answer, Call};
use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::org::Org;
use crate::salesforce::write::{self, Upserted};
use crate::salesforce::{Scene, id};
use serde_json::{Map, Value, json};

const RECORDS_MAX: usize = 200;

/// `/composite/sobjects...`
pub fn handle(org: &mut Org, call: &Call<'_>, rest: &[&str], scene: &Scene, env: &mut Env<'_>) -> Outcome<Answer> {
    match (call.method(), rest) {
        ("POST", []) => many(org, call, scene, env, insert_one),
        ("PATCH", []) => many(org, call, scene, env, update_one),
        ("PATCH", [object, field]) => {
            many(org, call, scene, env, |org, record, scene, env| upsert_one(org, record, object, field, scene, env))
        }
        ("DELETE", []) => delete(org, call, env),
        ("POST" | "GET", [object]) => read(org, call, object, scene, env),
        (method, _) => Err(Refusal::wrong_method(method)),
    }
}

/// Id, and whether it is new where that is told.
type Written = Outcome<(String, Option<bool>)>;

fn many(
    org: &mut Org,
    call: &Call<'_>,
    scene: &Scene,
    env: &mut Env<'_>,
    one: impl Fn(&mut Org, &Map<String, Value>, &Scene, &mut Env<'_>) -> Written,
) -> Outcome<Answer> {
    let body = call.json().ok_or_else(Refusal::bad_json)?;
    let records = body.get("records").and_then(Value::as_array).ok_or_else(Refusal::bad_json)?;
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or_default();
    let records: Vec<&Map<String, Value>> = records.iter().filter_map(Value::as_object).collect();
    check_size(records.len())?;
    let outermost = org.begin();
    let results: Vec<Written> = records.iter().map(|record| one(org, record, scene, env)).collect();
    Ok(finish(org, results, all_or_none, outermost))
}

fn check_size(records: usize) -> Outcome<()> {
    match records {
        0 => Err(Refusal::new("REQUIRED_FIELD_MISSING", "At least 1 record is required")),
        1..=RECORDS_MAX => Ok(()),
        _ => Err(Refusal::new(
            "EXCEEDED_ID_LIMIT",
            format!("record limit reached. cannot submit more than {RECORDS_MAX} records into this call"),
        )),
    }
}

fn finish(org: &mut Org, results: Vec<Written>, all_or_none: bool, outermost: bool) -> Answer {
    let undo = all_or_none && results.iter().any(Result::is_err);
    if outermost {
        org.end(!undo);
    }
    let items: Vec<Value> = results
        .into_iter()
        .map(|result| match result {
            Ok(_) if undo => {
                let message =
                    "Record rolled back because not all records were valid and the request was using AllOrNone header";
                json!({"success": false, "errors": [Refusal::new("ALL_OR_NONE_OPERATION_ROLLED_BACK", message).item()]})
            }
            Ok((id, None)) => json!({"id": id, "success": true, "errors": []}),
            Ok((id, Some(created))) => json!({"id": id, "success": true, "errors": [], "created": created}),
            Err(refusal) => json!({"success": false, "errors": [refusal.item()]}),
        })
        .collect();
    Answer::json(200, &Value::from(items))
}

fn object_of(record: &Map<String, Value>) -> Outcome<&str> {
    let name = record.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Value::as_str);
    name.ok_or_else(|| Refusal::new("INVALID_TYPE", "The attributes.type of a record is missing"))
}

/// The record without what is not a field of it.
fn without(record: &Map<String, Value>, name: &str) -> (Map<String, Value>, Option<String>) {
    let mut fields = record.clone();
    let key = fields.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    let taken = key.and_then(|key| fields.remove(&key));
    let text = taken.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    (fields, text)
}

fn insert_one(org: &mut Org, record: &Map<String, Value>, scene: &Scene, env: &mut Env<'_>) -> Written {
    let object = write::object(org, object_of(record)?, env)?;
    write::insert(org, &object, record, &scene.writer, env).map(|id| (id, None))
}

fn update_one(org: &mut Org, record: &Map<String, Value>, scene: &Scene, env: &mut Env<'_>) -> Written {
    let object = write::object(org, object_of(record)?, env)?;
    let (fields, id) = without(record, "id");
    let id = id.ok_or_else(|| Refusal::new("MISSING_ARGUMENT", "Id not specified in an update call"))?;
    write::update(org, &object, &id, &fields, &scene.writer, env).map(|id| (id, None))
}

fn upsert_one(
    org: &mut Org,
    record: &Map<String, Value>,
    object: &str,
    field: &str,
    scene: &Scene,
    env: &mut Env<'_>,
) -> Written {
    let object = write::object(org, object, env)?;
    let (fields, key) = without(record, field);
    let key = key.ok_or_else(|| Refusal::new("MISSING_ARGUMENT", format!("{field} not specified")).about(&[field]))?;
    match write::upsert(org, &object, field, &key, &fields, &scene.writer, env)? {
        Upserted::One(id, created) => Ok((id, Some(created))),
        Upserted::Many(ids) => Err(Refusal::new(
            "DUPLICATE_EXTERNAL_ID",
            format!("{field}: more than one record found for external id field: {ids:?}"),
        )),
    }
}

fn delete(org: &mut Org, call: &Call<'_>, env: &mut Env<'_>) -> Outcome<Answer> {
    let ids: Vec<&str> = call.query("ids").unwrap_or_default().split(',').filter(|id| !id.is_empty()).collect();
    check_size(ids.len())?;
    let outermost = org.begin();
    let results = ids
        .iter()
        .map(|id| {
            let missing = || Refusal::new("MALFORMED_ID", format!("malformed id {id}"));
            let name = crate::salesforce::schema::Object::of_id(id).ok_or_else(missing)?;
            let object = write::object(org, name, env)?;
            write::delete(org, &object, id, env).map(|id| (id, None))
        })
        .collect();
    Ok(finish(org, results, call.query("allOrNone") == Some("true"), outermost))
}

fn read(org: &Org, call: &Call<'_>, object: &str, scene: &Scene, env: &Env<'_>) -> Outcome<Answer> {
    let object = write::object(org, object, env)?;
    let body = call.json().unwrap_or(Value::Null);
    let list = |name: &str| -> Vec<String> {
        match body.get(name).and_then(Value::as_array) {
            Some(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => call
                .query(name)
                .unwrap_or_default()
                .split(',')
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    };
    let names = list("fields");
    let fields = names
        .iter()
        .map(|name| object.field(name).map(|field| field.name).ok_or_else(|| Refusal::no_column(name, object.name)))
        .collect::<Outcome<Vec<_>>>()?;
    let ids = list("ids");
    let rows = ids.iter().map(|id| {
        let record = id::normal(id).and_then(|id| org.living(object.name, &id));
        record.map_or(Value::Null, |record| Org::render(object.name, record, &fields, &scene.writer.user, &scene.base))
    });
    Ok(Answer::json(200, &rows.collect()))
}
