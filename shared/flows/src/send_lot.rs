//! Sending a lot: the gate's permission, then the adapter's requests one after the other until every write has an outcome.
//!
//! One request to the gate for the whole lot. A refused token is refreshed once, by the gate; refused again, the gate marks the
//! connection. Nothing here decides what follows from an outcome: `model::write::next` does.

use crate::World;
use crate::gate::{Admission, Ask, GateRefusal, Purpose, Report};
use model::Timestamp;
use model::connection::ConnectionKey;
use model::write::{ErrorClass, Failure, WriteOutcome};
use providers::lot::{Entry, Lot};
use providers::provider;

/// A lot makes at most this many requests in one try; what is left over is tried again soon.
pub const CALLS_PER_LOT_MAX: u32 = 24;

/// A write whose connection needs a person is looked at again after this long, or when its connection is made anew.
const RECONNECT_WAIT_SECS: i64 = 600;

/// Every entry the adapter finished has an outcome afterwards; answers the number of calls made.
pub(crate) async fn send_lot(world: &World<'_>, connection: &ConnectionKey, lot: &mut Lot) -> u32 {
    let mut made = Report::default();
    let mut refused_generation = None;
    // At most twice: the second time with a token that was refreshed because the first one was refused.
    for _ in 0..2 {
        let ask = Ask { calls: expected_calls(lot), searches: 0, purpose: Purpose::Writes, refused_generation };
        let admission = match world.gate.admit(connection, ask).await {
            Ok(admission) => admission,
            Err(refusal) => {
                refuse_all(lot, &refusal, world.now);
                break;
            }
        };
        lot.connection = admission.facts.clone();
        call(world, lot, &admission, &mut made).await;
        if !lot.entries.iter().any(is_unauthorized) {
            break;
        }
        refused_generation = Some(admission.token_generation);
        for entry in lot.entries.iter_mut().filter(|entry| is_unauthorized(entry)) {
            entry.outcome = None;
        }
    }
    // Refused again with a fresh token: the gate is told, and marks the connection.
    let unfinished = lot.entries.iter().any(|entry| entry.outcome.is_none());
    if unfinished && refused_generation.is_some() {
        let ask = Ask { calls: 0, searches: 0, purpose: Purpose::Writes, refused_generation };
        let refusal = world.gate.admit(connection, ask).await.err().unwrap_or(GateRefusal::Unavailable);
        refuse_all(lot, &refusal, world.now);
    }
    let calls = made.calls + made.searches;
    if calls > 0 {
        world.gate.report(connection, made).await;
    }
    calls
}

/// The adapter's requests, one after the other.
async fn call(world: &World<'_>, lot: &mut Lot, admission: &Admission, made: &mut Report) {
    let adapter = provider(lot.crm);
    while made.calls + made.searches < CALLS_PER_LOT_MAX {
        let Some(call) = adapter.next_call(lot) else { return };
        let request = call.request.clone().with_bearer(admission.access_token.clone());
        let answer = world.http.send(request).await;
        if call.is_search {
            made.searches += 1;
        } else {
            made.calls += 1;
        }
        if let Ok(response) = &answer {
            made.limits = limits(&response.headers);
        }
        adapter.read_call(lot, &call, &answer, world.now);
        made.not_before = lot.entries.iter().filter_map(told_not_before).max().or(made.not_before);
    }
}

/// The headers by which CRMs tell their limits.
fn limits(headers: &[(String, String)]) -> Vec<(String, String)> {
    let tells =
        |name: &str| name.starts_with("x-hubspot-ratelimit") || name == "sforce-limit-info" || name == "retry-after";
    headers.iter().filter(|(name, _)| tells(name)).cloned().collect()
}

/// Two calls serve a lot of any size in the ordinary case: the people, then the activities.
fn expected_calls(lot: &Lot) -> u32 {
    u32::from(!lot.entries.is_empty()) * 2
}

const fn is_unauthorized(entry: &Entry) -> bool {
    matches!(entry.outcome, Some(WriteOutcome::Unauthorized(_)))
}

fn told_not_before(entry: &Entry) -> Option<Timestamp> {
    match &entry.outcome {
        Some(WriteOutcome::RetryAfter(failure)) => failure.not_before,
        _ => None,
    }
}

fn refuse_all(lot: &mut Lot, refusal: &GateRefusal, now: Timestamp) {
    let outcome = match refusal {
        GateRefusal::NotConnected => WriteOutcome::Rejected(failure(
            ErrorClass::Auth,
            "not_connected",
            "the workspace was disconnected from the CRM",
        )),
        GateRefusal::Reconnect => {
            let mut why =
                failure(ErrorClass::Auth, "reconnect", "the CRM no longer accepts this connection; reconnect it");
            why.not_before = Some(now.plus_secs(RECONNECT_WAIT_SECS));
            WriteOutcome::Unauthorized(why)
        }
        GateRefusal::Wait(at) => {
            let mut why = failure(ErrorClass::RateLimited, "budget", "the CRM's request budget is used up for now");
            why.not_before = Some(*at);
            WriteOutcome::RetryAfter(why)
        }
        GateRefusal::Unavailable => WriteOutcome::RetryAfter(failure(
            ErrorClass::Transient,
            "gate_unavailable",
            "the connection's gate is not available",
        )),
    };
    for entry in lot.entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
        entry.outcome = Some(outcome.clone());
    }
}

pub(crate) fn failure(class: ErrorClass, code: &str, detail: &str) -> Failure {
    Failure {
        class,
        code: code.to_owned(),
        detail: detail.to_owned(),
        http_status: None,
        correlation_id: None,
        not_before: None,
    }
}
