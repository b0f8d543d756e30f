//! What is read about the account itself: its details, its owners, its pipelines.
//!
//! Shapes follow `HubSpot`'s reference and recorded answers.

use crate::Env;
use crate::clock;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::hubspot::errors;
use crate::hubspot::kind::Kind;
use crate::hubspot::schema::{DEAL_PIPELINES, Pipeline};
use serde_json::{Value, json};

/// `/account-info/{version}/details`
pub fn details(hub: &str) -> Answer {
    Answer::json(
        200,
        &json!({"portalId": hub.parse::<u64>().unwrap_or_default(), "accountType": "STANDARD", "timeZone": "US/Eastern",
            "companyCurrency": "USD", "additionalCurrencies": [], "utcOffset": "-05:00", "utcOffsetMilliseconds": -18_000_000,
            "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1"}),
    )
}

/// `/owners` and `/owners/{id}`
pub fn owners(call: &Call<'_>, rest: &[&str], env: &Env<'_>) -> Reply {
    let owner = |id: u64, user: u64, first: &str, email: &str| {
        json!({"id": id.to_string(), "email": email, "firstName": first, "lastName": "Example", "userId": user, "type": "PERSON",
            "archived": false, "createdAt": clock::hubspot(0), "updatedAt": clock::hubspot(0)})
    };
    let all = [owner(7001, 99, "Olga", "olga@tenant.example"), owner(7002, 100, "Omar", "omar@tenant.example")];
    match (call.method(), rest) {
        ("GET", []) => {
            let wanted = call.query("email");
            let results: Vec<&Value> = all
                .iter()
                .filter(|owner| wanted.is_none_or(|email| owner.field("email").as_str() == Some(email)))
                .collect();
            Ok(Answer::json(200, &json!({"results": results})))
        }
        ("GET", [id]) => {
            let found = all.iter().find(|owner| owner.field("id").as_str() == Some(id));
            found.map(|owner| Answer::json(200, owner)).ok_or_else(|| errors::not_found(env))
        }
        _ => Err(errors::wrong_method(env)),
    }
}

/// `/pipelines/{type}` and `/pipelines/{type}/{id}`
pub fn pipelines(call: &Call<'_>, rest: &[&str], env: &Env<'_>) -> Reply {
    let (kind, rest) = rest.split_first().ok_or_else(|| errors::no_such_path(env))?;
    let kind = Kind::parse(kind).ok_or_else(|| errors::unknown_type(env, kind))?;
    let pipelines = match kind {
        Kind::Deals => DEAL_PIPELINES.iter().enumerate().map(deal_pipeline).collect(),
        _ => Vec::new(),
    };
    match (call.method(), rest) {
        ("GET", []) => Ok(Answer::json(200, &json!({"results": pipelines}))),
        ("GET", [id]) => {
            let found = pipelines.iter().find(|pipeline| pipeline.field("id").as_str() == Some(id));
            found.map(|pipeline| Answer::json(200, pipeline)).ok_or_else(|| errors::not_found(env))
        }
        ("GET", [id, "stages"]) => {
            let found = pipelines
                .iter()
                .find(|pipeline| pipeline.field("id").as_str() == Some(id))
                .ok_or_else(|| errors::not_found(env))?;
            Ok(Answer::json(200, &json!({"results": found.field("stages")})))
        }
        _ => Err(errors::wrong_method(env)),
    }
}

fn deal_pipeline((order, (id, label, stages)): (usize, &Pipeline)) -> Value {
    let at = "1970-01-01T00:00:00Z";
    let stages: Vec<Value> = stages
        .iter()
        .enumerate()
        .map(|(order, (id, label, probability))| {
            let closed = matches!(*probability, "0.0" | "1.0").to_string();
            json!({"id": id, "label": label, "displayOrder": order, "archived": false, "createdAt": at, "updatedAt": at,
                "metadata": {"isClosed": closed, "probability": probability}, "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"})
        })
        .collect();
    json!({"id": id, "label": label, "displayOrder": order, "archived": false, "createdAt": at, "updatedAt": at, "stages": stages})
}
