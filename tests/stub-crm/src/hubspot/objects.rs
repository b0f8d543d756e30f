//! One record at a time: create, read, update, archive, and the list; and how a record looks in an answer.
//!
//! Batches are in `batch.rs`, search in `search.rs`.

use crate::Env;
use crate::clock;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::hubspot::kind::Kind;
use crate::hubspot::portal::{Portal, Record, State};
use crate::hubspot::writes::{self, Claims};
use crate::hubspot::{associations, errors};
use serde_json::{Map, Value, json};

/// Which properties an answer shows.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The default set and these.
    These(Vec<String>),
    /// Everything that has a value, as after a write.
    All,
}

/// A record in an answer.
pub fn render(kind: Kind, record: &Record, state: &State, wanted: &Wanted, hub: &str) -> Value {
    let always = [kind.created_property(), kind.modified_property(), "hs_object_id"];
    let mut properties = Map::new();
    let mut show = |name: &str| {
        properties.insert(name.to_owned(), record.value(kind, state, name).map_or(Value::Null, Value::String));
    };
    always.into_iter().for_each(&mut show);
    match wanted {
        Wanted::These(names) if names.is_empty() => kind.default_properties().iter().copied().for_each(show),
        Wanted::These(names) => names.iter().map(String::as_str).for_each(show),
        Wanted::All => {
            for name in state.values.keys().map(String::as_str).chain(computed(kind).iter().copied()) {
                show(name);
            }
        }
    }
    let mut shown = json!({
        "id": record.id.to_string(), "createdAt": clock::hubspot(record.created_at),
        "updatedAt": clock::hubspot(state.updated_at), "archived": state.archived,
        "url": format!("https://app.hubspot.com/contacts/{hub}/record/{}/{}", kind.type_id(), record.id),
    });
    shown.put("properties", Value::Object(properties));
    shown
}

fn computed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Contacts => &["hs_email_domain"],
        Kind::Tasks => &["hs_task_is_completed"],
        _ => &[],
    }
}

/// The properties asked for that are defined; others are silently left out, as `HubSpot` does.
pub fn wanted<'a>(portal: &Portal, kind: Kind, names: impl Iterator<Item = &'a str>) -> Wanted {
    Wanted::These(names.map(str::trim).filter(|name| portal.has_property(kind, name)).map(str::to_owned).collect())
}

fn wanted_by(portal: &Portal, kind: Kind, call: &Call<'_>) -> Wanted {
    let lists = call.queries().iter().filter(|(name, _)| name == "properties");
    wanted(portal, kind, lists.flat_map(|(_, list)| list.split(',')))
}

/// The record that an id, or a unique value of `id_property`, names.
pub fn resolve(
    portal: &Portal,
    kind: Kind,
    id: &str,
    id_property: Option<&str>,
    env: &Env<'_>,
) -> Result<Option<u64>, Answer> {
    match id_property.filter(|name| !name.is_empty()) {
        None => Ok(id.parse().ok().filter(|id| portal.living(kind, *id).is_some())),
        Some(name) if portal.is_unique(kind, name) => Ok(portal.owner_of(kind, name, id)),
        Some(name) => {
            Err(errors::invalid(env, &format!("Property {name} is not a unique property of {}", kind.type_id())))
        }
    }
}

/// `/objects/{type}` and `/objects/{type}/{id}`
pub fn handle(portal: &mut Portal, kind: Kind, call: &Call<'_>, rest: &[&str], hub: &str, env: &mut Env<'_>) -> Reply {
    match (call.method(), rest) {
        ("GET", []) => list(portal, kind, call, hub, env),
        ("POST", []) => create(portal, kind, call, hub, env),
        ("GET", [id]) => read(portal, kind, call, id, hub, env),
        ("PATCH", [id]) => update(portal, kind, call, id, hub, env),
        ("DELETE", [id]) => {
            let lag = env.switches.hubspot_search_lag_ms;
            if let Some(id) = resolve(portal, kind, id, None, env)? {
                portal.archive(kind, id, env.now_ms, lag);
            }
            Ok(Answer::empty(204))
        }
        (_, [] | [_]) => Err(errors::wrong_method(env)),
        _ => Err(errors::no_such_path(env)),
    }
}

fn create(portal: &mut Portal, kind: Kind, call: &Call<'_>, hub: &str, env: &Env<'_>) -> Reply {
    let input = call.json().filter(Value::is_object).ok_or_else(|| errors::bad_json(env))?;
    save(portal, kind, &input, None, hub, env).map(|body| Answer::json(201, &body))
}

fn update(portal: &mut Portal, kind: Kind, call: &Call<'_>, id: &str, hub: &str, env: &Env<'_>) -> Reply {
    let input = call.json().filter(Value::is_object).ok_or_else(|| errors::bad_json(env))?;
    let id = resolve(portal, kind, id, call.query("idProperty"), env)?.ok_or_else(|| errors::not_found(env))?;
    save(portal, kind, &input, Some(id), hub, env).map(|body| Answer::json(200, &body))
}

fn save(
    portal: &mut Portal,
    kind: Kind,
    input: &Value,
    id: Option<u64>,
    hub: &str,
    env: &Env<'_>,
) -> Result<Value, Answer> {
    let plan = writes::plan(portal, kind, input, id, &mut Claims::new(), env).map_err(|refusal| {
        let (status, body) = refusal.explain(kind, env, true);
        Answer::json(status, &body)
    })?;
    let (id, _) = writes::apply(portal, kind, plan, env);
    let record = portal.record(kind, id).ok_or_else(|| errors::not_found(env))?;
    Ok(render(kind, record, &record.state, &Wanted::All, hub))
}

fn read(portal: &Portal, kind: Kind, call: &Call<'_>, id: &str, hub: &str, env: &Env<'_>) -> Reply {
    let archived = call.query("archived") == Some("true");
    let found = if archived {
        id.parse().ok().and_then(|id| portal.record(kind, id)).filter(|record| record.state.archived)
    } else {
        resolve(portal, kind, id, call.query("idProperty"), env)?.and_then(|id| portal.living(kind, id))
    };
    let record = found.ok_or_else(|| errors::not_found(env))?;
    let mut body = render(kind, record, &record.state, &wanted_by(portal, kind, call), hub);
    add_associations(portal, kind, record.id, call, &mut body, env)?;
    Ok(Answer::json(200, &body))
}

fn add_associations(
    portal: &Portal,
    kind: Kind,
    id: u64,
    call: &Call<'_>,
    body: &mut Value,
    env: &Env<'_>,
) -> Result<(), Answer> {
    let lists = call.queries().iter().filter(|(name, _)| name == "associations");
    for name in lists.flat_map(|(_, list)| list.split(',')).filter(|name| !name.is_empty()) {
        let to = Kind::parse(name).ok_or_else(|| errors::unknown_type(env, name))?;
        let results = associations::inline(portal, kind, id, to);
        if !results.is_empty() {
            body.object("associations").put(to.plural(), json!({"results": results}));
        }
    }
    Ok(())
}

fn list(portal: &Portal, kind: Kind, call: &Call<'_>, hub: &str, env: &Env<'_>) -> Reply {
    let number = |name: &str, default: u64| call.query(name).map_or(Some(default), |text| text.parse().ok());
    let limit = number("limit", 10).filter(|limit| (1..=100).contains(limit));
    let limit = limit.ok_or_else(|| errors::invalid(env, "limit must be between 1 and 100"))?;
    let after = number("after", 0).ok_or_else(|| errors::invalid(env, "after is not a valid paging cursor"))?;
    let archived = call.query("archived") == Some("true");
    let wanted = wanted_by(portal, kind, call);
    let mut rest = portal.of_kind(kind).filter(|record| record.id >= after && record.state.archived == archived);
    let mut results = Vec::new();
    for record in rest.by_ref().take(usize::try_from(limit).unwrap_or(10)) {
        let mut body = render(kind, record, &record.state, &wanted, hub);
        add_associations(portal, kind, record.id, call, &mut body, env)?;
        results.push(body);
    }
    let mut body = json!({"results": results});
    if let Some(next) = rest.next() {
        let link = format!("{}{}?limit={limit}&after={}", call.origin, call.path, next.id);
        body.put("paging", json!({"next": {"after": next.id.to_string(), "link": link}}));
    }
    Ok(Answer::json(200, &body))
}
