//! What a write of a record must satisfy, first as a plan, then as an effect.
//!
//! Planning changes nothing, so that a batch without trace ids is all or nothing. Not the envelopes: `objects.rs` for
//! one record, `batch.rs` for many.

use crate::Env;
use crate::fields::Fields as _;
use crate::hubspot::associations;
use crate::hubspot::errors::{self, PropertyError};
use crate::hubspot::kind::{self, Kind};
use crate::hubspot::portal::{Portal, Spec, Values};
use crate::hubspot::schema::DEAL_PIPELINES;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One write that will work.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The record, or none to make one.
    pub id: Option<u64>,
    changes: Values,
    links: Vec<(Kind, u64, Spec)>,
}

/// Why a write will not work.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Values.
    Properties(Vec<PropertyError>),
    /// Another record has this unique value.
    Taken(u64),
    /// Anything else: status and body.
    Other(u16, Value),
    /// There is no such record.
    Missing(String),
}

/// The unique values that earlier inputs of the same call will take.
pub type Claims = BTreeSet<(String, String)>;

impl Refusal {
    /// Status and body of the refusal of a single call. `named` tells the existing record's id.
    pub fn explain(&self, kind: Kind, env: &Env<'_>, named: bool) -> (u16, Value) {
        match self {
            Self::Properties(list) => (400, errors::properties_body(env, list)),
            Self::Taken(id) => {
                let id = if named { format!(". Existing ID: {id}") } else { String::new() };
                let message = format!("{} already exists{id}", capital(kind.singular()));
                (409, errors::body(env, "CONFLICT", &message))
            }
            Self::Other(status, body) => (*status, body.clone()),
            Self::Missing(_) => {
                (404, errors::body(env, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric."))
            }
        }
    }

    /// The item of a 207.
    pub fn item(&self, kind: Kind, env: &Env<'_>, trace: Option<&str>) -> Value {
        let mut item = match self {
            Self::Missing(id) => errors::missing_ids(kind, std::slice::from_ref(id)),
            _ => self.explain(kind, env, true).1,
        };
        let Some(fields) = item.as_object_mut() else { return item };
        fields.remove("correlationId");
        let context = fields.entry("context").or_insert_with(|| json!({}));
        if let Some(trace) = trace {
            context.put("objectWriteTraceId", json!([trace]));
        }
        if let Self::Taken(id) = self {
            context.put("existingId", json!([id.to_string()]));
        }
        item
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

/// A JSON value as `HubSpot` keeps it.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The values of an input, checked one by one.
fn read_values(portal: &Portal, kind: Kind, input: &Value) -> Result<Values, Refusal> {
    let (mut values, mut errors) = (Values::new(), Vec::new());
    for (name, value) in input.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let text = text_of(value);
        let kept = if text.is_empty() && portal.has_property(kind, name) {
            Ok(text)
        } else {
            portal.accept(kind, name, &text)
        };
        match kept {
            Ok(kept) => {
                values.insert(name.clone(), kept);
            }
            Err((code, message)) => errors.push(PropertyError { name: name.clone(), message, code }),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(Refusal::Properties(errors)) }
}

/// Plans the write of one input into `id`, or into a new record.
pub fn plan(
    portal: &Portal,
    kind: Kind,
    input: &Value,
    id: Option<u64>,
    claims: &mut Claims,
    env: &Env<'_>,
) -> Result<Plan, Refusal> {
    let mut changes = read_values(portal, kind, input)?;
    if id.is_none() {
        changes.retain(|_, value| !value.is_empty());
        complete(kind, &mut changes, env)?;
    }
    if kind == Kind::Deals {
        check_stage(portal, id, &changes)?;
    }
    let links = read_links(portal, kind, input, env)?;
    let unique: Vec<(String, String)> = changes
        .iter()
        .filter(|(name, value)| !value.is_empty() && portal.is_unique(kind, name))
        .map(|(name, value)| (name.clone(), value.to_lowercase()))
        .collect();
    for (name, value) in unique {
        if let Some(owner) = portal.owner_of(kind, &name, &value).filter(|owner| Some(*owner) != id) {
            return Err(Refusal::Taken(owner));
        }
        if !claims.insert((name, value.clone())) {
            let body = errors::body(
                env,
                "VALIDATION_ERROR",
                &format!("Duplicate unique property values found in batch input: [{value}]"),
            );
            return Err(Refusal::Other(400, body));
        }
    }
    Ok(Plan { id, changes, links })
}

/// A deal's stage must be one of its pipeline's, after the change.
fn check_stage(portal: &Portal, id: Option<u64>, changes: &Values) -> Result<(), Refusal> {
    let before = id.and_then(|id| portal.record(Kind::Deals, id)).map(|record| &record.state.values);
    let after = |name: &str| changes.get(name).or_else(|| before?.get(name));
    let stages = DEAL_PIPELINES.iter().find(|(id, ..)| after("pipeline").is_none_or(|own| own == id)).map(|row| row.2);
    let Some((stage, stages)) = after("dealstage").zip(stages) else { return Ok(()) };
    if stages.iter().any(|(id, ..)| id == stage) {
        return Ok(());
    }
    let message = format!("{stage} is not a stage of the deal's pipeline");
    Err(Refusal::Properties(vec![PropertyError { name: "dealstage".to_owned(), message, code: "INVALID_OPTION" }]))
}

/// Fills in `HubSpot`'s defaults and asks for what a new record must have.
fn complete(kind: Kind, values: &mut Values, env: &Env<'_>) -> Result<(), Refusal> {
    let mut default = |name: &str, value: &str| {
        values.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    match kind {
        Kind::Deals => default("pipeline", "default"),
        Kind::Tasks => default("hs_task_status", "NOT_STARTED"),
        Kind::Contacts => default("lifecyclestage", "lead"),
        _ => {}
    }
    let absent =
        |names: &[&'static str]| names.iter().copied().filter(|name| !values.contains_key(*name)).collect::<Vec<_>>();
    let any_of: &[&'static str] = match kind {
        Kind::Contacts => &["email", "firstname", "lastname"],
        Kind::Companies => &["name", "domain"],
        _ => &[],
    };
    let missing = match kind {
        Kind::Tasks | Kind::Notes => absent(&["hs_timestamp"]),
        Kind::Deals => absent(&["dealname", "dealstage"]),
        Kind::Tickets => absent(&["subject", "hs_pipeline_stage"]),
        _ if absent(any_of).len() == any_of.len() => any_of.to_vec(),
        _ => Vec::new(),
    };
    if missing.is_empty() { Ok(()) } else { Err(Refusal::Other(400, errors::required_body(env, kind, &missing))) }
}

/// The associations given with a create. Each type must lead from this kind, and its target must exist.
fn read_links(portal: &Portal, kind: Kind, input: &Value, env: &Env<'_>) -> Result<Vec<(Kind, u64, Spec)>, Refusal> {
    let bad = |message: String| Refusal::Other(400, errors::body(env, "VALIDATION_ERROR", &message));
    let mut links = Vec::new();
    for link in input.get("associations").and_then(Value::as_array).into_iter().flatten() {
        let target = link.pointer("/to/id").map(text_of).unwrap_or_default();
        let id: u64 = target.parse().map_err(|_| bad(format!("{target} is not a valid ID")))?;
        for spec in specs(link.get("types")) {
            let (to, _) = target_of(portal, kind, &spec)
                .ok_or_else(|| bad(format!("Association type id {} does not exist from {}", spec.1, kind.type_id())))?;
            if portal.living(to, id).is_none() {
                return Err(bad(format!(
                    "One or more associations are not valid: no {} with ID {id} exists",
                    to.singular()
                )));
            }
            links.push((to, id, spec));
        }
    }
    Ok(links)
}

fn target_of(portal: &Portal, from: Kind, spec: &Spec) -> Option<(Kind, u32)> {
    if spec.0 == "HUBSPOT_DEFINED" {
        return kind::association_target(from, spec.1);
    }
    portal
        .labels
        .iter()
        .find(|label| label.from == from && label.type_id == spec.1)
        .map(|label| (label.to, label.inverse_id))
}

/// `[{"associationCategory":..,"associationTypeId":..}]`
pub fn specs(types: Option<&Value>) -> Vec<Spec> {
    let read = |item: &Value| {
        let category = item.get("associationCategory").and_then(Value::as_str)?;
        let id = item.get("associationTypeId").map(text_of)?.parse().ok()?;
        Some((category.to_owned(), id))
    };
    types.and_then(Value::as_array).into_iter().flatten().filter_map(read).collect()
}

/// Carries a plan out. Says which record, and whether it is new.
pub fn apply(portal: &mut Portal, kind: Kind, plan: Plan, env: &Env<'_>) -> (u64, bool) {
    let lag = env.switches.hubspot_search_lag_ms;
    let id = match plan.id {
        Some(id) => {
            portal.update(kind, id, &plan.changes, env.now_ms, lag);
            id
        }
        None => portal.create(kind, plan.changes, env.now_ms, lag),
    };
    for (to, other, spec) in plan.links {
        portal.link((kind, id), (to, other), &spec, associations::listed_at(env));
    }
    (id, plan.id.is_none())
}
