//! Sending a lot: the gate's permission, then the adapter's requests one after the other until every write has an outcome.
//!
//! One request to the gate for the whole lot. A refused token is refreshed once, by the gate; refused again, the gate marks the
//! connection. Nothing here decides what follows from an outcome: `model::write::next` does.

use crate::World;
use crate::gate::{Admission, Ask, GateRefusal, Purpose, Report};
use model::connection::{ConnectionFacts, ConnectionKey};
use model::mechanisms::Mechanisms;
use model::write::{ErrorClass, Failure, RESERVED_CODE, WriteOutcome};
use model::{Secret, Timestamp};
use providers::http::{Answer, Response};
use providers::lot::{Call, Entry, Lot};
use providers::probe::Probe;
use providers::{limits, provider};

/// A lot makes at most this many requests in one try; what is left over is tried again soon.
pub const CALLS_PER_LOT_MAX: u32 = 24;

/// A probe makes at most this many requests.
const PROBE_CALLS_MAX: u32 = 12;

/// A write whose connection needs a person is looked at again after this long, or when its connection is made anew.
const RECONNECT_WAIT_SECS: i64 = 600;

/// What sending a lot came to, beside the outcomes of its entries.
#[derive(Default)]
pub(crate) struct Sent {
    /// Requests made to the CRM.
    pub(crate) calls: u32,
    /// What a probe found, where the connection had not been probed.
    pub(crate) mechanisms: Option<Mechanisms>,
}

/// Every entry the adapter finished has an outcome afterwards.
pub(crate) async fn send_lot(world: &World<'_>, connection: &ConnectionKey, lot: &mut Lot) -> Sent {
    let mut sent = Sent::default();
    let mut probe = lot.connection.mechanisms.is_none().then(Probe::new);
    let mut refused_generation = None;
    // At most twice: the second time with a token that was refreshed because the first one was refused.
    for _ in 0..2 {
        let probing = if probe.is_some() { PROBE_CALLS_MAX } else { 0 };
        let expected = provider(lot.crm).expected_calls(lot).saturating_add(probing).min(CALLS_PER_LOT_MAX);
        let ask = Ask { calls: expected, searches: 0, purpose: Purpose::Writes, refused_generation };
        let admission = match world.gate.admit(connection, ask).await {
            Ok(admission) => admission,
            Err(refusal) => {
                refuse_all(lot, &refusal, world.now);
                break;
            }
        };
        let facts = ConnectionFacts { mechanisms: lot.connection.mechanisms.take(), ..admission.facts.clone() };
        lot.connection = facts;
        let probed = match probe.take() {
            Some(probe) => probe_account(world, lot, &admission, probe, &mut sent).await,
            None => 0,
        };
        let mut made = call(world, lot, &admission, sent.calls).await;
        sent.calls += made.calls + made.searches;
        made.calls += probed;
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
    sent
}

/// Asks the account by which mechanisms its records can be written, before the first lot that needs to know. A probe that
/// does not end leaves the lot with the safest ones; the next lot probes again. Answers the calls made.
async fn probe_account(
    world: &World<'_>,
    lot: &mut Lot,
    admission: &Admission,
    mut probe: Probe,
    sent: &mut Sent,
) -> u32 {
    let adapter = provider(lot.crm);
    let mut calls = 0;
    while let Some(request) = adapter.probe_call(&mut probe, &lot.connection).filter(|_| !probe.inconclusive) {
        if calls == PROBE_CALLS_MAX {
            return calls;
        }
        let answer = world.http.send(request.with_bearer(admission.access_token.clone())).await;
        calls += 1;
        sent.calls += 1;
        adapter.read_probe(&mut probe, &answer, &lot.connection);
    }
    lot.connection.mechanisms = probe.conclusion();
    sent.mechanisms.clone_from(&lot.connection.mechanisms);
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
        if let Some(answer) = from_cache(world, lot, &call).await {
            adapter.read_call(lot, &call, &answer, world.now);
            continue;
        }
        let request = call.request.clone().with_bearer(admission.access_token.clone());
        let answer = world.http.send(request).await;
        if call.is_search {
            made.searches += 1;
        } else {
            made.calls += 1;
        }
        to_cache(world, lot, &call, &answer).await;
        if let Ok(response) = &answer {
            made.limits = limit_headers(&response.headers);
        }
        adapter.read_call(lot, &call, &answer, world.now);
        note_refusal(lot, &call, &mut made);
    }
    made
}

/// The answer as it was kept, where the call is about a fact of the account.
async fn from_cache(world: &World<'_>, lot: &Lot, call: &Call) -> Option<Answer> {
    let cached = call.cached.filter(|cached| !cached.afresh)?;
    let text = world.cache.get(&cache_key(lot, cached.name)).await?;
    Some(Ok(Response { status: 200, headers: Vec::new(), body: Secret::new(text.into_bytes()) }))
}

async fn to_cache(world: &World<'_>, lot: &Lot, call: &Call, answer: &Answer) {
    let (Some(cached), Ok(response)) = (call.cached, answer) else { return };
    if let Some(text) = std::str::from_utf8(response.body.expose()).ok().filter(|_| response.is_success()) {
        world.cache.put(&cache_key(lot, cached.name), text, cached.ttl_secs).await;
    }
}

/// By the connection, which is of one workspace, and the account.
fn cache_key(lot: &Lot, name: &str) -> String {
    format!("crm:{}:{}:{name}", lot.connection.id, lot.connection.external_account_id)
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
pub(crate) fn limit_headers(headers: &[(String, String)]) -> Vec<(String, String)> {
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
