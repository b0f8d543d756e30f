//! The properties API: what a customer adds to the standard properties, and the look at both.
//!
//! Rules: at most ten unique properties on an object type; uniqueness is for ever; whether tasks and notes take
//! unique ones differs between portals and is a switch.

use crate::Env;
use crate::clock;
use crate::config::UniqueOnActivities;
use crate::http::{Answer, Call, Reply};
use crate::hubspot::errors;
use crate::hubspot::kind::Kind;
use crate::hubspot::portal::Portal;
use crate::hubspot::schema::{self, Shape};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A property a customer made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Definition {
    /// As sent, complete.
    pub fields: serde_json::Map<String, Value>,
    /// The type that values are checked against.
    pub kind: String,
    /// Whether two records may not share a value.
    pub has_unique_value: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
}

const TYPES: &[&str] = &["bool", "date", "datetime", "enumeration", "number", "phone_number", "string"];
const FIELD_TYPES: &[&str] = &[
    "booleancheckbox",
    "calculation_equation",
    "checkbox",
    "date",
    "file",
    "html",
    "number",
    "phonenumber",
    "radio",
    "select",
    "text",
    "textarea",
];
const UNIQUE_MAX: usize = 10;

impl Portal {
    /// Whether a property is defined.
    pub fn has_property(&self, kind: Kind, name: &str) -> bool {
        schema::standard_shape(kind, name).is_some() || self.own_property(kind, name).is_some()
    }

    /// The customer's own definition.
    pub fn own_property(&self, kind: Kind, name: &str) -> Option<&Definition> {
        self.own.get(&kind)?.get(name)
    }

    /// A value as it is kept, or the code and sentence of its refusal.
    pub fn accept(&self, kind: Kind, name: &str, value: &str) -> Result<String, (&'static str, String)> {
        if let Some(shape) = schema::standard_shape(kind, name) {
            return schema::accept(name, shape, value);
        }
        let Some(own) = self.own_property(kind, name) else {
            return Err(("PROPERTY_DOESNT_EXIST", format!("Property \"{name}\" does not exist")));
        };
        let shape = match own.kind.as_str() {
            "number" => Shape::Number,
            "bool" => Shape::Bool,
            "date" => Shape::Date,
            "datetime" => Shape::DateTime,
            "enumeration" if !own.allows(value) => {
                return Err(("INVALID_OPTION", format!("{value} was not one of the allowed options")));
            }
            _ => Shape::Text,
        };
        schema::accept(name, shape, value)
    }
}

impl Definition {
    fn allows(&self, value: &str) -> bool {
        let options = self.fields.get("options").and_then(Value::as_array);
        options.is_none_or(|options| {
            options.iter().any(|option| option.get("value").and_then(Value::as_str) == Some(value))
        })
    }

    fn render(&self) -> Value {
        let mut out = json!({
            "options": [], "description": "", "displayOrder": -1, "calculated": false, "externalOptions": false,
            "hidden": false, "formField": false, "dataSensitivity": "non_sensitive", "archived": false,
            "createdAt": clock::hubspot(self.created_at), "updatedAt": clock::hubspot(self.created_at),
            "modificationMetadata": {"archivable": true, "readOnlyDefinition": false, "readOnlyValue": false},
        });
        if let Some(out) = out.as_object_mut() {
            out.extend(self.fields.clone());
            out.insert("hasUniqueValue".into(), json!(self.has_unique_value));
        }
        out
    }
}

fn render_standard(kind: Kind, name: &str, shape: Shape) -> Value {
    let (value_type, field_type) = match shape {
        Shape::Number => ("number", "number"),
        Shape::DateTime => ("datetime", "date"),
        Shape::Date => ("date", "date"),
        Shape::Bool => ("bool", "booleancheckbox"),
        Shape::Options(_) => ("enumeration", "select"),
        _ => ("string", "text"),
    };
    let options: Vec<Value> = match shape {
        Shape::Options(values) => values
            .iter()
            .enumerate()
            .map(|(at, value)| json!({"label": value, "value": value, "displayOrder": at, "hidden": false}))
            .collect(),
        _ => Vec::new(),
    };
    json!({
        "name": name, "label": name, "type": value_type, "fieldType": field_type, "description": "",
        "groupName": group_name(kind), "options": options, "displayOrder": -1, "calculated": false, "externalOptions": false,
        "hasUniqueValue": name == "hs_object_id" || name == "hs_unique_creation_key" || (kind == Kind::Contacts && name == "email"),
        "hidden": false, "hubspotDefined": true, "formField": false, "dataSensitivity": "non_sensitive", "archived": false,
        "modificationMetadata": {"archivable": false, "readOnlyDefinition": true, "readOnlyValue": shape == Shape::ReadOnly},
    })
}

fn group_name(kind: Kind) -> String {
    if kind.is_activity() { kind.singular().to_owned() } else { format!("{}information", kind.singular()) }
}

/// `/properties/{type}...`
pub fn handle(portal: &mut Portal, call: &Call<'_>, rest: &[&str], env: &mut Env<'_>) -> Reply {
    let (name, rest) = rest.split_first().ok_or_else(|| errors::no_such_path(env))?;
    let kind = Kind::parse(name).ok_or_else(|| errors::unknown_type(env, name))?;
    match (call.method(), rest) {
        ("GET", []) => Ok(list(portal, kind)),
        ("POST", []) => {
            let input = call.json().ok_or_else(|| errors::bad_json(env))?;
            create(portal, kind, &input, env).map(|made| Answer::json(201, &made))
        }
        ("GET", [name]) => read(portal, kind, name, env),
        ("DELETE", [name]) => {
            portal.own.entry(kind).or_default().remove(*name);
            Ok(Answer::empty(204))
        }
        ("POST", ["batch", "create"]) => create_many(portal, kind, call, env),
        (_, [] | [_] | ["batch", _]) => Err(errors::wrong_method(env)),
        _ => Err(errors::no_such_path(env)),
    }
}

fn list(portal: &Portal, kind: Kind) -> Answer {
    let own = portal.own.get(&kind).into_iter().flat_map(|own| own.values().map(Definition::render));
    let results: Vec<Value> =
        schema::standard(kind).map(|(name, shape)| render_standard(kind, name, shape)).chain(own).collect();
    Answer::json(200, &json!({"results": results}))
}

fn read(portal: &Portal, kind: Kind, name: &str, env: &Env<'_>) -> Reply {
    if let Some(shape) = schema::standard_shape(kind, name) {
        return Ok(Answer::json(200, &render_standard(kind, name, shape)));
    }
    let missing = || {
        errors::error(
            env,
            404,
            "OBJECT_NOT_FOUND",
            &format!("The property named {name} does not exist for {}", kind.plural()),
        )
    };
    portal.own_property(kind, name).map(|own| Answer::json(200, &own.render())).ok_or_else(missing)
}

fn create(portal: &mut Portal, kind: Kind, input: &Value, env: &mut Env<'_>) -> Result<Value, Answer> {
    let field = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["name", "label", "groupName", "type", "fieldType"] {
        if field(name).is_empty() {
            return Err(errors::invalid(env, &format!("Invalid input JSON: {name} is required")));
        }
    }
    let name = field("name").to_owned();
    let good_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !good_name || !TYPES.contains(&field("type")) || !FIELD_TYPES.contains(&field("fieldType")) {
        return Err(errors::invalid(env, "Property name, type or fieldType is not valid"));
    }
    if portal.has_property(kind, &name) {
        return Err(errors::error(env, 409, "CONFLICT", &format!("A property named '{name}' already exists.")));
    }
    let mut unique = input.get("hasUniqueValue").and_then(Value::as_bool).unwrap_or_default();
    if unique && kind.is_activity() {
        unique = admits_unique(kind, env)?;
    }
    let own = portal.own.entry(kind).or_default();
    if unique && own.values().filter(|own| own.has_unique_value).count() >= UNIQUE_MAX {
        return Err(errors::invalid(env, "The limit of 10 unique properties was reached for this object type"));
    }
    let made = Definition {
        fields: input.as_object().cloned().unwrap_or_default(),
        kind: field("type").to_owned(),
        has_unique_value: unique,
        created_at: env.now_ms,
    };
    let answer = made.render();
    own.insert(name, made);
    Ok(answer)
}

/// Whether an activity's property becomes unique, by the portal's policy.
fn admits_unique(kind: Kind, env: &Env<'_>) -> Result<bool, Answer> {
    match env.switches.hubspot_unique_on_activities {
        UniqueOnActivities::Accepted => Ok(true),
        UniqueOnActivities::MadePlain => Ok(false),
        UniqueOnActivities::MissingScopes => {
            Err(errors::missing_scopes(env, &[&format!("crm.schemas.{}.write", kind.plural())]))
        }
        UniqueOnActivities::Refused => {
            let message = format!("Unique properties are not supported for object type {}", kind.type_id());
            Err(errors::invalid(env, &message))
        }
    }
}

fn create_many(portal: &mut Portal, kind: Kind, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
    let body = call.json().ok_or_else(|| errors::bad_json(env))?;
    let inputs = body.get("inputs").and_then(Value::as_array).ok_or_else(|| errors::bad_json(env))?;
    let results =
        inputs.iter().map(|input| create(portal, kind, input, env)).collect::<Result<Vec<Value>, Answer>>()?;
    let at = clock::hubspot(env.now_ms);
    Ok(Answer::json(201, &json!({"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at})))
}
