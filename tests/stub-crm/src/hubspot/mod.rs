//! `HubSpot`: who calls, whether they may, and which part answers.
//!
//! Every path works in its v3/v4 form and under the dated versions. Not the parts themselves.

mod account;
mod associations;
mod batch;
pub mod errors;
mod journal;
pub mod kind;
mod oauth;
mod objects;
pub mod portal;
mod properties;
mod schema;
mod search;
mod writes;

use crate::Env;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::ledger::{Effect, end_of};
use crate::limits::Budget;
use crate::oauth::Authority;
use kind::Kind;
use portal::Portal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All of `HubSpot`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HubSpot {
    authority: Authority,
    portals: BTreeMap<String, Portal>,
    #[serde(default)]
    journal: journal::Journal,
}

/// The calling app in an account.
#[derive(Debug)]
struct Caller {
    hub: String,
    client_id: String,
    scopes: Vec<String>,
}

const DATED: &[&str] = &["2025-09", "2026-03", "2026-09"];

/// The family and the rest of a path, in whichever version it is written.
fn family<'a>(parts: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    match parts {
        ["crm", "v3", name @ ("objects" | "properties" | "pipelines" | "owners"), rest @ ..]
        | ["crm", "v4", name @ ("objects" | "associations"), rest @ ..]
        | ["crm", name @ "associations", "v4", rest @ ..]
        | [name @ ("account-info" | "appinstalls"), "v3", rest @ ..] => Some((name, rest)),
        ["crm", name, version, rest @ ..] if DATED.contains(version) => Some((name, rest)),
        [name @ ("account-info" | "appinstalls"), version, rest @ ..] if DATED.contains(version) => Some((name, rest)),
        _ => None,
    }
}

impl HubSpot {
    /// Answers one call.
    pub fn handle(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Answer {
        let parts = call.parts();
        let answer = match parts.first() {
            Some(&"oauth") => self.oauth(call, env),
            Some(&"webhooks-journal") => self.journal.handle(call, parts.get(1..).unwrap_or_default(), env),
            Some(&"hubspot-journal") => self.journal.file(call),
            _ => self.data(call, &parts, env),
        };
        answer.unwrap_or_else(|refusal| refusal).with("x-hubspot-correlation-id", &env.correlation)
    }

    fn data(&mut self, call: &Call<'_>, parts: &[&str], env: &mut Env<'_>) -> Reply {
        let (name, rest) = family(parts).ok_or_else(|| errors::no_such_path(env))?;
        let caller = self.caller(call, env)?;
        let searching = rest.last() == Some(&"search") && name == "objects";
        let budget = if searching { Budget::Secondly } else { Budget::TenSecondly };
        let portal = self.portals.entry(caller.hub.clone()).or_default();
        portal.limiter.admit(budget, env)?;
        let answer = match (call.method(), name, rest) {
            ("DELETE", "appinstalls", ["external-install"]) => {
                self.remove_app(&caller.hub, &caller.client_id, env);
                return Ok(Answer::empty(204));
            }
            _ => route(portal, &caller, call, name, rest, env),
        };
        let answer = answer.unwrap_or_else(|refusal| refusal);
        Ok(answer.with_limit_headers(&portal.limiter, budget, env))
    }

    fn caller(&self, call: &Call<'_>, env: &Env<'_>) -> Result<Caller, Answer> {
        let unknown = || {
            let message = "Authentication credentials not found. This API supports OAuth 2.0 authentication";
            errors::error(env, 401, "INVALID_AUTHENTICATION", message)
        };
        let (access, grant) = call.bearer().and_then(|token| self.authority.access(token)).ok_or_else(unknown)?;
        let late_ms = env.now_ms - access.expires_at;
        if late_ms >= 0 {
            let message = format!("The OAuth token used to make this call expired {} minute(s) ago.", late_ms / 60_000);
            return Err(errors::error(env, 401, "EXPIRED_AUTHENTICATION", &message));
        }
        Ok(Caller { hub: grant.account.clone(), client_id: grant.client_id.clone(), scopes: grant.scopes.clone() })
    }

    /// Every record, as effects.
    pub fn effects(&self) -> impl Iterator<Item = Effect> {
        self.portals
            .iter()
            .flat_map(|(hub, portal)| portal.records().map(move |(kind, record)| effect(hub, portal, kind, record)))
    }

    /// Every record of a kind with its account and its ties, for the control plane.
    pub fn dump(&self, object: &str) -> Option<Vec<serde_json::Value>> {
        let kind = Kind::parse(object)?;
        let all =
            self.portals.iter().flat_map(|(hub, portal)| portal.of_kind(kind).map(move |record| (hub, portal, record)));
        Some(
            all.map(|(hub, portal, record)| {
                let mut body = objects::render(kind, record, &record.state, &objects::Wanted::All, hub);
                body.put("account", serde_json::json!(hub));
                for to in kind::KINDS {
                    let tied = associations::inline(portal, kind, record.id, to);
                    if !tied.is_empty() {
                        body.object("associations").put(to.plural(), serde_json::json!({"results": tied}));
                    }
                }
                body
            })
            .collect(),
        )
    }

    /// The app leaves an account, by its own call or because a person removed it in the account's settings.
    pub fn remove_app(&mut self, hub: &str, client_id: &str, env: &mut Env<'_>) {
        self.authority.end_all(hub, client_id);
        self.journal.note(journal::UNINSTALLED, hub, env);
    }

    /// Forgets everything but the grants.
    pub fn forget_records(&mut self) {
        self.portals.clear();
    }

    /// How many grants live.
    pub fn living_grants(&self) -> usize {
        self.authority.living()
    }
}

fn effect(hub: &str, portal: &Portal, kind: Kind, record: &portal::Record) -> Effect {
    let values = &record.state.values;
    let label = ["email", "hs_task_subject", "hs_note_body", "dealname", "name", "firstname", "lastname", "subject"];
    let own = |name: &&String| name.as_str() == "email" || portal.own_property(kind, name).is_some();
    Effect {
        provider: "hubspot",
        account: hub.to_owned(),
        object: kind.plural().to_owned(),
        id: record.id.to_string(),
        label: label
            .iter()
            .find_map(|name| values.get(*name))
            .map(|text| text.chars().take(200).collect())
            .unwrap_or_default(),
        text_end: ["hs_task_body", "hs_note_body"]
            .iter()
            .find_map(|name| values.get(*name))
            .map(|text| end_of(text))
            .unwrap_or_default(),
        keys: values.iter().filter(|(name, _)| own(name)).map(|(name, value)| (name.clone(), value.clone())).collect(),
        writes: record.writes,
        archived: record.state.archived,
        created_at: record.created_at,
    }
}

/// Reading is what changes nothing, whatever its method.
fn is_write(method: &str, rest: &[&str]) -> bool {
    method != "GET" && !matches!(rest, [.., "search"] | [.., "batch", "read"])
}

fn check_scope(caller: &Caller, scopes: &[&str], env: &Env<'_>) -> Result<(), Answer> {
    let granted = scopes.iter().any(|scope| caller.scopes.iter().any(|have| have == scope));
    if granted || !env.switches.hubspot_check_scopes { Ok(()) } else { Err(errors::missing_scopes(env, scopes)) }
}

fn route(portal: &mut Portal, caller: &Caller, call: &Call<'_>, name: &str, rest: &[&str], env: &mut Env<'_>) -> Reply {
    match (name, rest) {
        ("account-info", ["details"]) if call.method() == "GET" => Ok(account::details(&caller.hub)),
        ("owners", rest) => {
            check_scope(caller, &["crm.objects.owners.read"], env)?;
            account::owners(call, rest, env)
        }
        ("pipelines", rest) => account::pipelines(call, rest, env),
        ("properties", [object, ..]) => {
            if let (true, Some(kind)) = (call.method() != "GET", Kind::parse(object).filter(|kind| !kind.is_activity()))
            {
                let scope = format!("crm.schemas.{}.write", kind.plural());
                check_scope(caller, &[&scope], env)?;
            }
            properties::handle(portal, call, rest, env)
        }
        ("associations", [from, to, ..]) => {
            for name in [from, to] {
                let kind = Kind::parse(name).ok_or_else(|| errors::unknown_type(env, name))?;
                check_scope(caller, &[kind.scope(is_write(call.method(), rest))], env)?;
            }
            associations::between(portal, call, rest, env)
        }
        ("objects", [object, rest @ ..]) => {
            let kind = Kind::parse(object).ok_or_else(|| errors::unknown_type(env, object))?;
            check_scope(caller, &[kind.scope(is_write(call.method(), rest))], env)?;
            match (call.method(), rest) {
                ("POST", ["search"]) => search::handle(portal, kind, call, &caller.hub, env),
                ("POST", ["batch", verb]) => batch::handle(portal, kind, call, verb, &caller.hub, env),
                (_, [id, "associations", rest @ ..]) => associations::of_record(portal, kind, id, call, rest, env),
                _ => objects::handle(portal, kind, call, rest, &caller.hub, env),
            }
        }
        _ => Err(errors::no_such_path(env)),
    }
}
