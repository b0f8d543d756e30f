//! Probing: asking an account, before its first lot, by which mechanisms its records can be written with one effect.
//!
//! A connection is probed once after it was connected, and again when the CRM contradicts what was found. Not in the OAuth
//! callback, which a person waits for, and not in dry run.

use crate::World;
use crate::gate::Admission;
use crate::send_lot::Fence;
use providers::Provider;
use providers::lot::Lot;
use providers::probe::Probe;

/// A probe makes at most this many requests.
pub(crate) const PROBE_CALLS_MAX: u32 = 12;

/// Fills in the lot's mechanisms; answers the calls made. A probe that does not come to its end leaves the lot with the
/// safest ones, and the next lot probes again.
pub(crate) async fn probe_account(
    world: &World<'_>,
    adapter: &impl Provider,
    lot: &mut Lot,
    admission: &Admission,
    fence: Fence,
) -> u32 {
    let mut probe = Probe::new();
    let mut calls = 0;
    while let Some(request) = adapter.probe_call(&mut probe, &lot.connection) {
        if probe.inconclusive || calls == PROBE_CALLS_MAX || !fence.lets_through(world, &request) {
            return calls;
        }
        let answer = world.http.send(request.with_bearer(admission.access_token.clone())).await;
        calls += 1;
        adapter.read_probe(&mut probe, &answer, &lot.connection);
    }
    lot.connection.mechanisms = probe.conclusion();
    calls
}
