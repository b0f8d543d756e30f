//! Processing due writes of one connection: leased together, sent together, settled together.
//!
//! 1. Lease: one compare-and-set that claims the due ones and writes their attempt rows. Who loses gets nothing and stops.
//! 2. Gate: one request for the token and the permits of the whole lot.
//! 3. Calls: the adapter says the next request until every write has an outcome. A refused token is refreshed once. No request
//!    leaves that the lease does not outlive.
//! 4. Settle: every write's new state, its attempt and the audit event in one batch, under the lease.
//!
//! A crash between 1 and 4 leaves leases that run out; the writes are then in doubt, and are looked for in the CRM before
//! anything is created again. Two round trips to the database and one to the gate, whatever the lot's size.

use crate::lease::Lease;
use crate::ring::ring;
use crate::send_lot::{CALLS_PER_LOT_MAX, Fence, Sent, send_lot};
use crate::{Error, World};
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use model::write::WriteStatus;
use model::{Crm, Timestamp, WriteId};
use providers::Provider;
// For the doors, each of which names the one it links.
use providers::http::DEADLINE_MS;
pub use providers::hubspot::HubSpot;
pub use providers::salesforce::Salesforce;
use std::collections::BTreeMap;
use store::leases::Settled;

/// A lease outlives the slowest lot: every call to its deadline, and four minutes for the gate, which is asked three times
/// at most and answers within 75 seconds, and for the database.
pub const LEASE_SECS: i64 = CALLS_PER_LOT_MAX as i64 * DEADLINE_MS as i64 / 1_000 + 240;

/// What processing a doorbell came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// Writes leased; the others were not due, held back, or somebody else's.
    pub leased: u32,
    /// How many ended in which status.
    pub by_status: BTreeMap<WriteStatus, u32>,
    /// Requests made to the CRM.
    pub calls: u32,
}

/// Processes the writes of a doorbell through the adapter of their CRM. A doorbell of another CRM is not this Worker's: it
/// is told of and left to the reconciler, which rings again.
pub async fn process_writes(
    world: &World<'_>,
    adapter: &impl Provider,
    doorbell: &Doorbell,
) -> Result<Processed, Error> {
    let connection = &doorbell.connection;
    if adapter.crm() != connection.crm {
        world.log.event("doorbell_misrouted", &[("crm", connection.crm.as_str())]);
        return Ok(Processed::default());
    }
    let tenant = world.tenant_of(connection)?;
    let lease = Lease::mint(world, connection.crm)?;
    let Some(mut lot) = lease.claim(world, &tenant, &doorbell.writes).await? else {
        return Ok(Processed::default());
    };
    let about = [
        ("crm", connection.crm.as_str()),
        ("workspace_id", connection.workspace_id.as_str()),
        ("operation_id", &lease.id),
    ];
    world.log.event("integration.crm.sync_started", &about);
    let (sent, settled) = if world.settings.dry_run {
        (Sent::default(), lot.recorded(adapter))
    } else {
        let sent = send_lot(world, adapter, connection, &mut lot.lot, Fence { until: lease.until }).await;
        (sent, lot.settled(world)?)
    };
    let released = lease.settle(world, &tenant, connection, &lot, &settled, &sent).await?;
    ring_again(world, connection, &settled, released).await;
    Ok(tell(world, &about, &settled, sent.calls))
}

/// Rings at once for what was held back by what is final now, and, after the longest of their waits, for what is to be tried
/// again soon; the reconciler takes the rest.
async fn ring_again(world: &World<'_>, connection: &ConnectionKey, settled: &[Settled], released: Vec<WriteId>) {
    let now = world.clock.now();
    let soon = now.plus_secs(600);
    let due = |s: &Settled| s.transition.next_retry_at.filter(|at| *at <= soon);
    if let Some(last) = settled.iter().filter_map(due).max() {
        let again = settled.iter().filter(|s| due(s).is_some()).filter_map(|s| WriteId::of(connection.crm, &s.key));
        ring(world, |_| connection.clone(), again, wait_secs(now, last)).await;
    }
    ring(world, |_| connection.clone(), released, 0).await;
}

/// Whole seconds, rounded up.
fn wait_secs(now: Timestamp, at: Timestamp) -> u32 {
    u32::try_from((at.0 - now.0).max(0) / 1_000 + 1).unwrap_or(600)
}

/// How many became what, and whether the lot arrived as a whole. `about` says which lot.
fn tell(world: &World<'_>, about: &[(&'static str, &str); 3], settled: &[Settled], calls: u32) -> Processed {
    let mut by_state: BTreeMap<(WriteStatus, &str), u32> = BTreeMap::new();
    for write in settled {
        let class = write.transition.failure.as_ref().map_or("none", |failure| failure.class.as_str());
        *by_state.entry((write.transition.status, class)).or_default() += 1;
    }
    let calls_made = calls.to_string();
    let tell = |name: &'static str, status: WriteStatus, class: &str, count: u32| {
        let [crm, workspace, operation] = *about;
        let count = count.to_string();
        let more =
            [("status", status.as_str()), ("class", class), ("count", count.as_str()), ("calls", calls_made.as_str())];
        let [status, class, count, calls] = more;
        world.log.event(name, &[crm, workspace, operation, status, class, count, calls]);
    };
    let mut by_status: BTreeMap<WriteStatus, u32> = BTreeMap::new();
    for ((status, class), count) in &by_state {
        *by_status.entry(*status).or_default() += count;
        tell("writes_settled", *status, class, *count);
    }
    let leased = u32::try_from(settled.len()).unwrap_or(u32::MAX);
    match by_state.iter().find(|((status, _), _)| *status != WriteStatus::Succeeded) {
        Some(((status, class), count)) => tell("integration.crm.sync_failed", *status, class, *count),
        None => tell("integration.crm.sync_completed", WriteStatus::Succeeded, "none", leased),
    }
    Processed { leased, by_status, calls }
}

/// A name that several need: which writes, by what they became.
pub(crate) fn by_status_ids(crm: Crm, settled: &[Settled]) -> serde_json::Value {
    let mut ids: BTreeMap<&str, Vec<Option<WriteId>>> = BTreeMap::new();
    for write in settled {
        ids.entry(write.transition.status.as_str()).or_default().push(WriteId::of(crm, &write.key));
    }
    serde_json::json!(ids)
}
