//! Checking one connection: a minimal call through the gate, and what it says of the connection (`model::health`).
//!
//! Idle connections are kept fresh by it too: the gate refreshes a token that is about to end before it hands it out. Two
//! checks at once do no harm: the second finds it not due, or records nothing.

use crate::gate::{Admission, Ask, GateRefusal, Purpose, Report};
use crate::send_lot::limit_headers;
use crate::{Error, Tenant, World, alarm, audit};
use model::connection::ConnectionKey;
use model::health::{ACCESS_REFUSED, ACCOUNT_MISMATCH, After, Before, Consequence, Finding, judge, next_check_of};
use model::write::{ErrorClass, Failure};
use model::{ConnectionStatus, Crm, Health, Timestamp};
use providers::http::Answer;
use providers::{Provider, limits, provider};
use serde_json::json;
use store::connections::{self, Connection, Failed};
use store::health::{self, Checked as Record};
use store::{Statement, db};

/// Queues deliver to the second and a little early.
const EARLY_SECS: i64 = 30;

/// A check waits for the budget at most this long; a budget that is used up for longer is a finding.
const WAIT_SECS_MAX: i64 = 900;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It was not due: another check was faster, or there is no connection any more.
    NotDue,
    /// A person must act first: it is not checked until then.
    AtRest,
    /// The budget has room again after so many seconds.
    Later(u32),
    /// Checked.
    As(Health),
}

/// What a look at the CRM found.
enum Look {
    Found(Found),
    Later(u32),
    /// The gate has no token to hand out, and has said so on the connection.
    Refused,
}

/// What was found, with which token.
struct Found {
    finding: Finding,
    code: String,
    limit: Option<(u32, u32)>,
    /// None where there was no token to look with.
    token_generation: Option<u64>,
}

/// Checks a connection, if it is due.
pub async fn check_health(world: &World<'_>, key: &ConnectionKey) -> Result<Checked, Error> {
    let tenant = world.tenant_of(key)?;
    let Some(row) = connections::fetch(tenant.db, &tenant.scope, key.crm).await? else { return Ok(Checked::NotDue) };
    let Some(was_due_at) = row.check_at.filter(|at| *at <= world.now.plus_secs(EARLY_SECS)) else {
        return Ok(Checked::NotDue);
    };
    let before = before(&row);
    if row.status != ConnectionStatus::Connected && !before.given_up {
        db::run(tenant.db, health::rest(&tenant.scope, key.crm, was_due_at)).await?;
        return Ok(Checked::AtRest);
    }
    let found = match look(world, key).await {
        Look::Later(secs) => return Ok(Checked::Later(secs)),
        Look::Refused => return Ok(Checked::AtRest),
        Look::Found(found) => found,
    };
    let after = judge(&before, found.finding);
    let check = Check { key, row: &row, was_due_at, before, after, found };
    check.record(world, &tenant).await?;
    let (used, max) = check.found.limit.unwrap_or_default();
    world.log.event(
        "connection_checked",
        &[
            ("workspace_id", key.workspace_id.as_str()),
            ("crm", key.crm.as_str()),
            ("status", after.health.as_str()),
            ("code", &check.found.code),
            ("limit_used", &used.to_string()),
            ("limit_max", &max.to_string()),
        ],
    );
    Ok(Checked::As(after.health))
}

fn before(row: &Connection) -> Before {
    Before {
        health: row.health,
        failures: row.consecutive_failures.unwrap_or_default(),
        refusals: row.consecutive_refusals.unwrap_or_default(),
        given_up: row.status == ConnectionStatus::Error && row.last_error_code.as_deref() == Some(ACCESS_REFUSED),
    }
}

/// One call; a second one when the first was refused for its token. Refused again, the gate is told and marks the connection.
async fn look(world: &World<'_>, key: &ConnectionKey) -> Look {
    let mut refused_generation = None;
    for calls in [1, 1, 0] {
        let ask = Ask { calls, searches: 0, purpose: Purpose::Check, refused_generation };
        let admission = match world.gate.admit(key, ask).await {
            Ok(admission) => admission,
            Err(GateRefusal::NotConnected | GateRefusal::Reconnect) => return Look::Refused,
            Err(GateRefusal::Wait(at)) if at <= world.now.plus_secs(WAIT_SECS_MAX) => {
                return Look::Later(u32::try_from((at.0 - world.now.0) / 1_000 + 1).unwrap_or(1));
            }
            Err(GateRefusal::Wait(_)) => return passing("budget_used_up"),
            Err(GateRefusal::Unavailable) => return passing("gate_unavailable"),
        };
        if calls == 0 {
            break;
        }
        let request = provider(key.crm).health_request(&admission.facts).with_bearer(admission.access_token.clone());
        let answer = world.http.send(request).await;
        let token_generation = Some(admission.token_generation);
        let read = provider(key.crm).read_health(&answer, &admission.facts);
        let limit = report(world, key, &admission, &answer, read.as_ref().err()).await;
        match read {
            Ok(()) => {
                return Look::Found(Found { finding: Finding::Works, code: "ok".to_owned(), limit, token_generation });
            }
            Err(failure) if failure.http_status == Some(401) => refused_generation = token_generation,
            Err(failure) => {
                return Look::Found(Found { finding: finding(&failure), code: failure.code, limit, token_generation });
            }
        }
    }
    // A token that the CRM refused and the gate, asked twice, still hands out: it passes, or the next check tells.
    passing("token_refused")
}

fn passing(code: &str) -> Look {
    let code = code.to_owned();
    Look::Found(Found { finding: Finding::Passing, code, limit: None, token_generation: None })
}

fn finding(failure: &Failure) -> Finding {
    match failure.class {
        ErrorClass::Transient | ErrorClass::RateLimited | ErrorClass::UnknownOutcome => Finding::Passing,
        ErrorClass::Auth if failure.code == ACCOUNT_MISMATCH => Finding::OtherAccount,
        ErrorClass::Auth | ErrorClass::Mapping | ErrorClass::Conflict => Finding::Refused,
    }
}

/// Tells the gate what the CRM said of its limits, where it wants to know; answers how much of the nearest one is used.
async fn report(
    world: &World<'_>,
    key: &ConnectionKey,
    admission: &Admission,
    answer: &Answer,
    failure: Option<&Failure>,
) -> Option<(u32, u32)> {
    let headers = answer.as_ref().map(|response| limit_headers(&response.headers)).unwrap_or_default();
    let told = provider(key.crm).read_limits(&headers);
    let refused = failure.and_then(|failure| limits::limit_of(key.crm, failure));
    if admission.permit.is_some() || refused.is_some() || told.is_tight() {
        let report =
            Report { permit: admission.permit, calls: 1, searches: 0, limits: headers, refused, not_before: None };
        world.gate.report(key, report).await;
    }
    let window = told.max.zip(told.remaining).map(|(max, left)| (max.saturating_sub(left), max));
    told.daily_used.zip(told.daily_max).or(window)
}

/// A check, with what is known around it.
struct Check<'a> {
    key: &'a ConnectionKey,
    row: &'a Connection,
    was_due_at: Timestamp,
    before: Before,
    after: After,
    found: Found,
}

impl Check<'_> {
    /// The health, and what follows for the connection, in one batch. Audited where it is news.
    async fn record(&self, world: &World<'_>, tenant: &Tenant<'_>) -> Result<(), Error> {
        let (crm, after) = (self.key.crm, &self.after);
        let detail = (after.health != Health::Ok).then(|| advice(crm, &self.found.code, after));
        let marks = matches!(after.consequence, Consequence::Mark(code) if code != ACCESS_REFUSED);
        let record = Record {
            was_due_at: self.was_due_at,
            after: *after,
            detail: detail.as_deref(),
            limit: self.found.limit,
            check_at: (!marks).then(|| next_check_of(self.key, world.now)),
            at: world.now,
        };
        let mut batch = vec![health::record(&tenant.scope, crm, &record)];
        if after.changes(&self.before) {
            let was = self.before.health.map(Health::as_str);
            let detail = json!({"crm": crm, "from": was, "to": after.health, "code": self.found.code});
            batch.push(self.event(world, "connection_health_changed", detail)?.append_if_changed(&tenant.scope));
            let gave_out = after.health == Health::Error && self.before.health != Some(Health::Error);
            if gave_out && after.consequence == Consequence::None {
                batch.push(self.alarm(world, tenant, &self.found.code)?);
            }
        }
        if after.health == Health::Ok {
            batch.push(health::beat_if_changed(&tenant.scope, crm, world.now));
        }
        batch.extend(self.consequence(world, tenant, detail.as_deref().unwrap_or_default())?);
        tenant.db.batch(batch).await?;
        if let Consequence::Mark(code) = after.consequence {
            let fields = [("workspace_id", self.key.workspace_id.as_str()), ("crm", crm.as_str()), ("code", code)];
            world.log.event("connection_failed", &fields);
        }
        if after.consequence != Consequence::None {
            world.gate.forget(self.key).await;
        }
        Ok(())
    }

    fn consequence(&self, world: &World<'_>, tenant: &Tenant<'_>, advice: &str) -> Result<Vec<Statement>, Error> {
        let crm = self.key.crm;
        Ok(match self.after.consequence {
            Consequence::None => Vec::new(),
            Consequence::Mark(code) => {
                let failed =
                    Failed { expected_generation: self.generation(), refresh_id: None, code, advice, at: world.now };
                let detail = json!({"crm": crm, "code": code, "provider_code": self.found.code});
                vec![
                    connections::mark_error(&tenant.scope, crm, &failed),
                    self.event(world, "connection_failed", detail)?.append_if_changed(&tenant.scope),
                    self.alarm(world, tenant, code)?,
                ]
            }
            Consequence::Restore => vec![
                health::restore(&tenant.scope, crm, self.generation(), world.now),
                self.event(world, "connection_restored", json!({"crm": crm}))?.append_if_changed(&tenant.scope),
            ],
        })
    }

    /// Of the token that was looked with: the gate may have refreshed it since the row was read.
    fn generation(&self) -> u64 {
        self.found.token_generation.unwrap_or(self.row.token_generation)
    }

    fn event(&self, world: &World<'_>, name: &'static str, detail: serde_json::Value) -> Result<audit::Event, Error> {
        audit::event(world, "cron:reconcile-connections", name, self.row.id.as_str(), detail)
    }

    fn alarm(&self, world: &World<'_>, tenant: &Tenant<'_>, code: &str) -> Result<Statement, Error> {
        alarm::connection_failed(world, &tenant.scope, self.key, self.row.id.as_str(), code)
    }
}

/// What is wrong, and what a person can do.
fn advice(crm: Crm, code: &str, after: &After) -> String {
    let title = crm.title();
    match (after.consequence, code) {
        (Consequence::Mark(ACCOUNT_MISMATCH), _) => format!(
            "The connection's key is for another {title} account than the one that was connected: disconnect it, then connect the right account."
        ),
        _ if after.refusals > 0 => format!(
            "{title} refuses the app ({code}): ask an administrator of the {title} account whether API access and the app's permissions are still given. It is checked again every hour; if permissions were changed, reconnect it."
        ),
        (_, "budget_used_up" | "daily_limit") => {
            format!("Today's {title} requests are used up: raise the limit in {title}, or wait until it starts anew.")
        }
        (_, "gate_unavailable") => {
            "The connection could not be checked for a fault of our own: it is tried again within the hour.".to_owned()
        }
        _ if after.health == Health::Error => format!(
            "{title} has not answered for {} checks in a row ({code}): look at {title}'s status page, and whether the account still exists.",
            after.failures
        ),
        _ => format!("{title} did not answer as it should ({code}): nothing to do, it is tried again within the hour."),
    }
}
