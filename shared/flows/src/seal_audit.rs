//! Sealing the audit trail: each event that is old enough gets its number and its hash, and the end of its workspace's chain is
//! moved to it.
//!
//! Requests append their events with neither, in the batch of what they did: it costs them no round trip and no row. The order
//! of a chain is that of (`at`, `id`), and `at` is when a request began: so an event is sealed only when no request of its
//! time can still be on its way. Two sealers at once do the same. A chain whose end was not written by a sealer is not
//! gone on with.

use crate::allowance::{Allowance, QUERIES_PER_RUN, SECS_PER_RUN};
use crate::{Error, World};
use crypto::Keyring;
use crypto::audit_chain::{self, BEFORE_THE_FIRST, Fields};
use model::{Timestamp, WorkspaceId};
use serde::Serialize;
use std::collections::BTreeMap;
use store::audit_chain::{Head, Link, Seal, Stored, fetch_unsealed, list_unsealed, seal};
use store::{Db, WorkspaceScope, workspaces};

/// An event is sealed when it is this old: a queue's consumer and a cron run for 15 minutes at most, and stamp their events with
/// when they began.
pub const SETTLED_AFTER_SECS: i64 = 20 * 60;
/// What an export may wait for its seals; the rest is for the sealer.
const SECS_PER_EXPORT: i64 = 10;
/// Workspaces looked at together.
const WORKSPACES_PER_PAGE: u32 = 500;
/// And sealed together: two queries each to read, three for all to write.
const CHAINS_PER_BATCH: usize = 20;
const EVENTS_PER_CHAIN: u32 = 200;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SealReport {
    /// Events sealed.
    pub sealed: u32,
    /// Workspaces they are of.
    pub chains: u32,
    /// Chains whose end is not the sealer's: not gone on with.
    pub broken: u32,
    /// Shards that failed or are not bound.
    pub shards_failed: u32,
    /// There was more than one run takes.
    pub unfinished: bool,
}

/// One run, over all workspaces.
pub async fn seal_audit(world: &World<'_>, keys: &Keyring) -> Result<SealReport, Error> {
    let mut report = SealReport::default();
    let mut allowance = Allowance::of(world, QUERIES_PER_RUN, SECS_PER_RUN);
    let mut after: Option<WorkspaceId> = None;
    while allowance.take(1) {
        let page = workspaces::list(world.directory, after.as_ref(), WORKSPACES_PER_PAGE).await?;
        let Some(last) = page.last() else {
            tell(world, &report);
            return Ok(report);
        };
        after = Some(last.id.clone());
        let mut by_shard: BTreeMap<String, Vec<WorkspaceId>> = BTreeMap::new();
        for row in page {
            by_shard.entry(row.shard).or_default().push(row.id);
        }
        for (shard, workspaces) in by_shard {
            if let Err(error) = seal_page(world, keys, &shard, &workspaces, &mut allowance, &mut report).await {
                // The other shards must not wait for this one.
                world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
                report.shards_failed += 1;
            }
        }
    }
    report.unfinished = true;
    tell(world, &report);
    Ok(report)
}

async fn seal_page(
    world: &World<'_>,
    keys: &Keyring,
    shard: &str,
    workspaces: &[WorkspaceId],
    allowance: &mut Allowance<'_>,
    report: &mut SealReport,
) -> Result<(), Error> {
    let db = world.shards.open(shard).ok_or_else(|| Error::ShardMissing(shard.to_owned()))?;
    if !allowance.take(1) {
        report.unfinished = true;
        return Ok(());
    }
    let due = list_unsealed(db, workspaces, settled(world)).await?;
    for some in due.chunks(CHAINS_PER_BATCH) {
        let mut open: Vec<WorkspaceScope> = some.iter().cloned().map(WorkspaceScope::of).collect();
        report.chains += length(open.len());
        while !open.is_empty() {
            if !allowance.take(length(2 * open.len() + 3)) {
                report.unfinished = true;
                return Ok(());
            }
            open = seal_some(world, db, keys, &open, report).await?;
        }
    }
    Ok(())
}

/// Seals what is old enough in one workspace: before an export.
pub(crate) async fn seal_workspace(
    world: &World<'_>,
    db: &dyn Db,
    keys: &Keyring,
    scope: &WorkspaceScope,
) -> Result<SealReport, Error> {
    let mut report = SealReport { chains: 1, ..SealReport::default() };
    let mut allowance = Allowance::of(world, QUERIES_PER_RUN / 2, SECS_PER_EXPORT);
    let mut open = vec![scope.clone()];
    while !open.is_empty() && allowance.take(5) {
        open = seal_some(world, db, keys, &open, &mut report).await?;
    }
    Ok(report)
}

/// Seals the next events of some chains; answers those that have more.
async fn seal_some(
    world: &World<'_>,
    db: &dyn Db,
    keys: &Keyring,
    scopes: &[WorkspaceScope],
    report: &mut SealReport,
) -> Result<Vec<WorkspaceScope>, Error> {
    let read = fetch_unsealed(db, scopes, settled(world), EVENTS_PER_CHAIN).await?;
    let (mut seals, mut more) = (Vec::new(), Vec::new());
    for (scope, (head, events)) in scopes.iter().zip(read) {
        if events.is_empty() {
            continue;
        }
        if let Some(code) = not_ours(keys, scope, head.as_ref(), &events) {
            world.log.event("audit_chain_broken", &[("workspace_id", scope.workspace_id().as_str()), ("code", code)]);
            report.broken += 1;
            continue;
        }
        if events.len() >= EVENTS_PER_CHAIN as usize {
            more.push(scope.clone());
        }
        report.sealed += length(events.len());
        seals.extend(chain(keys, scope, head.as_ref(), &events));
    }
    if !seals.is_empty() {
        db.batch(seal(&seals, world.now)).await?;
        // A copy of each end outside of the database: who restores an older end, with its MAC, contradicts it.
        for seal in &seals {
            let seq = seal.seq.to_string();
            let fields = [("workspace_id", seal.workspace_id.as_str()), ("seq", &seq), ("hash", &seal.hash)];
            world.log.event("audit_sealed", &fields);
        }
    }
    Ok(more)
}

/// Why a chain is not gone on with: its end is not the sealer's, or it has none although events have numbers.
fn not_ours(keys: &Keyring, scope: &WorkspaceScope, head: Option<&Head>, events: &[Stored]) -> Option<&'static str> {
    let Some(head) = head else {
        let numbered = events.iter().any(|event| event.seq.is_some() || event.hash.is_some());
        return numbered.then_some("head_missing");
    };
    let sealed = sealed_end(scope, head);
    match audit_chain::check(keys, &sealed, &head.mac) {
        Ok(()) => None,
        Err(audit_chain::HeadError::UnknownKey) => Some("head_key_unknown"),
        Err(audit_chain::HeadError::Forged) => Some("head_forged"),
    }
}

pub(crate) fn sealed_end<'a>(scope: &'a WorkspaceScope, head: &'a Head) -> audit_chain::Head<'a> {
    let workspace_id = scope.workspace_id().as_str();
    audit_chain::Head { workspace_id, seq: u64::from(head.seq), hash: &head.hash }
}

pub(crate) fn fields<'a>(scope: &'a WorkspaceScope, event: &'a Stored) -> Fields<'a> {
    Fields {
        workspace_id: scope.workspace_id().as_str(),
        at: event.at.0,
        id: &event.id,
        actor: &event.actor,
        event: &event.event,
        subject: &event.subject,
        detail_json: &event.detail_json,
        request_id: &event.request_id,
    }
}

fn chain(keys: &Keyring, scope: &WorkspaceScope, head: Option<&Head>, events: &[Stored]) -> Option<Seal> {
    let (was_seq, was_hash) = head.map_or((0, BEFORE_THE_FIRST), |head| (head.seq, head.hash.as_str()));
    let (mut seq, mut hash) = (was_seq, was_hash.to_owned());
    let mut links = Vec::with_capacity(events.len());
    for event in events {
        seq = seq.checked_add(1)?;
        hash = audit_chain::link(&hash, u64::from(seq), &fields(scope, event));
        links.push(Link { at: event.at, id: event.id.clone(), seq, hash: hash.clone() });
    }
    let last = events.last()?;
    let workspace_id = scope.workspace_id();
    let end = audit_chain::Head { workspace_id: workspace_id.as_str(), seq: u64::from(seq), hash: &hash };
    Some(Seal {
        workspace_id: workspace_id.clone(),
        was_seq,
        was_hash: was_hash.to_owned(),
        mac: audit_chain::seal(keys, &end),
        seq,
        hash,
        last_at: last.at,
        last_id: last.id.clone(),
        links,
    })
}

fn settled(world: &World<'_>) -> Timestamp {
    world.now.plus_secs(-SETTLED_AFTER_SECS)
}

fn tell(world: &World<'_>, report: &SealReport) {
    let count = |number: u32| number.to_string();
    world.log.event(
        "audit_trail_sealed",
        &[
            ("count", &count(report.sealed)),
            ("workspaces", &count(report.chains)),
            ("failed", &count(report.broken)),
            ("shards_failed", &count(report.shards_failed)),
            ("unfinished", if report.unfinished { "true" } else { "false" }),
        ],
    );
}

fn length(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
