//! Sending a lot: the gate's permission, then the adapter's requests one after the other until every write has an outcome.
//!
//! One request to the gate for the whole lot. A refused token is refreshed once, by the gate; refused again, the gate marks the
//! connection. Nothing here decides what follows from an outcome: `model::write::next` does.

use crate::World;
use crate::gate::{Admission, Ask, GateRefusal, Purpose, Report};
use crate::probe_account::{PROBE_CALLS_MAX, probe_account};
use model::connection::ConnectionKey;
use model::mechanisms::Mechanisms;
use model::write::{ErrorClass, Failure, RESERVED_CODE, WriteOutcome};
use model::{Secret, Timestamp};
use providers::http::{Answer, Body, Request, Response};
use providers::lot::{Call, Entry, Lot};
use providers::{Provider, limits};

/// A lot makes at most this many requests in one try; what is left over is tried again soon.
pub const CALLS_PER_LOT_MAX: u32 = 24;

/// A write whose connection needs a person is looked at again after this long, or when its connection is made anew.
const RECONNECT_WAIT_SECS: i64 = 600;

/// Until when requests may leave. A processor that stood still past its lease must not send: another one has the writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fence {
    /// The end of the lease.
    pub(crate) until: Timestamp,
}

impl Fence {
    /// Whether the request's answer, or the lack of one, is there before the lease ends.
    pub(crate) fn lets_through(self, world: &World<'_>, request: &Request) -> bool {
        world.clock.now().plus_ms(i64::from(request.deadline_ms)) <= self.until
    }
}

/// What sending a lot came to, beside the outcomes of its entries.
#[derive(Default)]
pub(crate) struct Sent {
    /// Requests made to the CRM.
    pub(crate) calls: u32,
    /// What a probe found, where the connection had not been probed.
    pub(crate) mechanisms: Option<Mechanisms>,
}

/// Every entry the adapter finished has an outcome afterwards; those it did not get to have none.
pub(crate) async fn send_lot(
    world: &World<'_>,
    adapter: &impl Provider,
    connection: &ConnectionKey,
    lot: &mut Lot,
    fence: Fence,
) -> Sent {
    let mut sent = Sent::default();
    let mut is_probed = lot.connection.mechanisms.is_some();
    let mut refused_generation = None;
    // At most twice: the second time with a token that was refreshed because the first one was refused.
    for _ in 0..2 {
        let probing = if is_probed { 0 } else { PROBE_CALLS_MAX };
        let expected = adapter.expected_calls(lot).saturating_add(probing).min(CALLS_PER_LOT_MAX);
        let ask = Ask { calls: expected, searches: 0, purpose: Purpose::Writes, refused_generation };
        let admission = match world.gate.admit(connection, ask).await {
            Ok(admission) => admission,
            Err(refusal) => {
                refuse_all(lot, &refusal, world.clock.now());
                break;
            }
        };
        if admission.facts.external_account_id != lot.connection.external_account_id {
            // Disconnected and connected to another account since the lease: what is known is about the one before.
            refuse_all(lot, &GateRefusal::Unavailable, world.clock.now());
            break;
        }
        lot.connection.instance_url.clone_from(&admission.facts.instance_url);
        let mut made = Report { permit: admission.permit, ..Report::default() };
        if !std::mem::replace(&mut is_probed, true) {
            made.calls = probe_account(world, adapter, lot, &admission, fence).await;
            sent.mechanisms.clone_from(&lot.connection.mechanisms);
        }
        if lot.connection.mechanisms.is_none() {
            leave_the_doubtful(lot);
        }
        call(world, adapter, lot, (&admission, fence), sent.calls, &mut made).await;
        sent.calls += made.calls + made.searches;
        if is_worth_reporting(adapter, &made, expected) {
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
        refuse_all(lot, &refusal, world.clock.now());
    }
    sent
}

/// What the account has is not known: the probe did not come to its end. An earlier try may have made its record by a field of
/// ours, tied to nobody yet, where no look without that field finds it.
fn leave_the_doubtful(lot: &mut Lot) {
    let why = failure(
        ErrorClass::UnknownOutcome,
        "probe_unfinished",
        "what the CRM account offers against second records could not be asked; the write is looked for when it is known",
    );
    for entry in lot.entries.iter_mut().filter(|entry| entry.in_doubt && entry.outcome.is_none()) {
        entry.outcome = Some(WriteOutcome::Unknown(why.clone()));
    }
}

/// A report is a request to the gate: none is made while there is plenty left and nothing to tell.
fn is_worth_reporting(adapter: &impl Provider, made: &Report, admitted: u32) -> bool {
    made.permit.is_some()
        || made.refused.is_some()
        || made.calls + made.searches > admitted
        || adapter.read_limits(&made.limits).is_tight()
}

/// The adapter's requests, one after the other; `before` were made in this try already.
async fn call(
    world: &World<'_>,
    adapter: &impl Provider,
    lot: &mut Lot,
    (admission, fence): (&Admission, Fence),
    before: u32,
    made: &mut Report,
) {
    while before + made.calls + made.searches < CALLS_PER_LOT_MAX {
        let Some(mut call) = adapter.next_call(lot) else { break };
        if let Some(answer) = from_cache(world, lot, &call).await {
            adapter.read_call(lot, &call, &answer, world.clock.now());
            continue;
        }
        if !fence.lets_through(world, &call.request) {
            break;
        }
        // Megabytes where the lot is full: moved, not copied. No adapter reads its own body again.
        let body = std::mem::replace(&mut call.request.body, Body::Empty);
        let request = Request { body, ..call.request.clone() }.with_bearer(admission.access_token.clone());
        let answer = world.http.send(request).await;
        if call.is_search {
            made.searches += 1;
        } else {
            made.calls += 1;
        }
        if let Ok(response) = &answer {
            made.limits = limit_headers(&response.headers);
        }
        // What the CRM says of time, it says as of now.
        adapter.read_call(lot, &call, &answer, world.clock.now());
        note_refusal(lot, &call, made);
        to_cache(world, lot, &call, &answer).await;
    }
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
        let Some(WriteOutcome::RetryAfter(failure) | WriteOutcome::Unknown(failure)) = &entry.outcome else { continue };
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
