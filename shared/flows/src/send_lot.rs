//! Sending a lot: the gate's permission, then the adapter's requests one after the other until every write has an outcome.
//!
//! One request to the gate for the whole lot. A refused token is refreshed once, by the gate; refused again, the gate marks the
//! connection. Nothing here decides what follows from an outcome: `model::write::next` does.

use crate::World;
use crate::gate::{Admission, Ask, GateRefusal, Purpose, Report};
use model::Timestamp;
use model::connection::ConnectionKey;
use model::write::{ErrorClass, Failure, RESERVED_CODE, WriteOutcome};
use providers::lot::{Call, Entry, Lot};
use providers::{limits, provider};

/// A lot makes at most this many requests in one try; what is left over is tried again soon.
pub const CALLS_PER_LOT_MAX: u32 = 24;

/// A write whose connection needs a person is looked at again after this long, or when its connection is made anew.
const RECONNECT_WAIT_SECS: i64 = 600;

/// Every entry the adapter finished has an outcome afterwards; answers the number of calls made.
pub(crate) async fn send_lot(world: &World<'_>, connection: &ConnectionKey, lot: &mut Lot) -> u32 {
    let mut calls = 0;
    let mut refused_generation = None;
    // At most twice: the second time with a token that was refreshed because the first one was refused.
    for _ in 0..2 {
        let expected = provider(lot.crm).expected_calls(lot).min(CALLS_PER_LOT_MAX);
        let ask = Ask { calls: expected, searches: 0, purpose: Purpose::Writes, refused_generation };
        let admission = match world.gate.admit(connection, ask).await {
            Ok(admission) => admission,
            Err(refusal) => {
                refuse_all(lot, &refusal, world.now);
                break;
            }
        };
        lot.connection = admission.facts.clone();
        let made = call(world, lot, &admission, calls).await;
        calls += made.calls + made.searches;
        if is_worth_reporting(lot, &made, expected) {
            world.gate.report(connection, made).await;
        }
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
    calls
}

/// A report is a request to the gate: none is made while there is plenty left and nothing to tell.
fn is_worth_reporting(lot: &Lot, made: &Report, admitted: u32) -> bool {
    made.permit.is_some()
        || made.refused.is_some()
        || made.calls + made.searches > admitted
        || provider(lot.crm).read_limits(&made.limits).is_tight()
}

/// The adapter's requests, one after the other; `before` were made in this try already.
async fn call(world: &World<'_>, lot: &mut Lot, admission: &Admission, before: u32) -> Report {
    let adapter = provider(lot.crm);
    let mut made = Report { permit: admission.permit, ..Report::default() };
    while before + made.calls + made.searches < CALLS_PER_LOT_MAX {
        let Some(call) = adapter.next_call(lot) else { break };
        let request = call.request.clone().with_bearer(admission.access_token.clone());
        let answer = world.http.send(request).await;
        if call.is_search {
            made.searches += 1;
        } else {
            made.calls += 1;
        }
        if let Ok(response) = &answer {
            made.limits = limit_headers(&response.headers);
        }
        adapter.read_call(lot, &call, &answer, world.now);
        note_refusal(lot, &call, &mut made);
    }
    made
}

/// What a call's answer said of a limit that concerns others too.
fn note_refusal(lot: &Lot, call: &Call, made: &mut Report) {
    for entry in call.entries.iter().filter_map(|&at| lot.entries.get(at)) {
        let Some(WriteOutcome::RetryAfter(failure)) = &entry.outcome else { continue };
        if let Some(limit) = limits::limit_of(lot.crm, failure) {
            made.refused = Some(limit);
            made.not_before = made.not_before.max(failure.not_before);
        }
    }
}

/// The headers by which CRMs tell their limits.
fn limit_headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    headers.iter().filter(|(name, _)| limits::tells(name)).cloned().collect()
}

const fn is_unauthorized(entry: &Entry) -> bool {
    matches!(entry.outcome, Some(WriteOutcome::Unauthorized(_)))
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
            let mut why =
                failure(ErrorClass::RateLimited, RESERVED_CODE, "the CRM's request budget is used up for now");
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
