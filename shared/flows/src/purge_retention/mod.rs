//! The daily purge: what has reached its end under each workspace's policy, and what is spent in the directory.
//!
//! Every step is a slice of its own that may be the last: what is due is found by partial indexes and a cursor, so the next run
//! goes on where this one stopped, and two at once do each thing once. A workspace's counts grow in the batches that do the
//! work, and its `retention_purge_completed` takes them in one batch with their end. A run has a number of queries; the
//! schedule's later ticks of the day take what is left, and find nothing when nothing is.

mod chains;
mod erasures;
mod spent;
mod workspace;

use crate::allowance::{Allowance, QUERIES_PER_RUN, SECS_PER_RUN};
use crate::remove_attachments::Objects;
use crate::{Error, World};
use crypto::Keyring;
use crypto::pii::PiiMaster;
use model::WorkspaceId;
use model::retention::Policy;
use serde::Serialize;
use std::collections::BTreeMap;
use store::retention::list_due;
use store::{Db, DbError, retention_policies, workspaces};
use workspace::WorkspacePurge;

/// Of a run's queries, for erasures: a long one must not keep the purge.
const QUERIES_FOR_ERASURES: u32 = 250;
/// And for looking through the audit chains, whatever else there is to do.
const QUERIES_FOR_CHAINS: u32 = 100;
/// Workspaces looked at together.
const WORKSPACES_PER_PAGE: u32 = 500;
/// Who it is in the audit trail.
const ACTOR: &str = "cron:purge-retention";

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PurgeReport {
    /// Workspaces that had something due.
    pub workspaces: u32,
    /// Workspaces whose purge failed: a line of the log names each.
    pub workspaces_failed: u32,
    /// Purges completed, each with its audit event.
    pub completed: u32,
    /// Messages redacted.
    pub messages: u32,
    /// Attachments removed, bytes and reference.
    pub attachments: u32,
    /// Attachments that could not be removed: the next run tries again.
    pub attachments_failed: u32,
    /// Writes whose payload went.
    pub writes: u32,
    /// Attempts deleted.
    pub attempts: u32,
    /// Spent OAuth states deleted.
    pub states: u32,
    /// Alarms deleted that are a month old.
    pub alarms: u32,
    /// Erasures of a person that were finished.
    pub erasures_finished: u32,
    /// Erasures that wait for a write that may be on its way, or for the bucket.
    pub erasures_waiting: u32,
    /// Audit chains looked through to their end, and whole.
    pub chains_verified: u32,
    /// Audit chains with a broken link: a line of the log names each.
    pub chains_broken: u32,
    /// Audit events read for it.
    pub events_verified: u32,
    /// Shards that failed or are not bound.
    pub shards_failed: u32,
    /// There was more than one run takes.
    pub unfinished: bool,
}

/// The keys of a run.
pub struct PurgeKeys {
    /// Those of the audit chains.
    pub audit: Keyring,
    /// That of the pseudonyms.
    pub pii: PiiMaster,
}

/// One run.
pub async fn purge_retention(world: &World<'_>, objects: &dyn Objects, keys: &PurgeKeys) -> Result<PurgeReport, Error> {
    let mut report = PurgeReport::default();
    let mut allowance = Allowance::of(world, QUERIES_PER_RUN, SECS_PER_RUN);
    let chains = allowance.set_aside(QUERIES_FOR_CHAINS);
    spent::delete(world, &mut allowance, &mut report).await?;
    let mut aside = allowance.set_aside(QUERIES_FOR_ERASURES);
    erasures::resume(world, objects, &keys.pii, &mut aside, &mut report).await;
    allowance.take_back(&aside);
    walk(world, objects, &mut allowance, &mut report).await?;
    allowance.take_back(&chains);
    chains::verify_chains(world, &keys.audit, &mut allowance, &mut report).await;
    tell(world, &report);
    Ok(report)
}

async fn walk(
    world: &World<'_>,
    objects: &dyn Objects,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<(), Error> {
    let mut after: Option<WorkspaceId> = None;
    loop {
        if !allowance.take(1) {
            report.unfinished = true;
            return Ok(());
        }
        let page = workspaces::list(world.directory, after.as_ref(), WORKSPACES_PER_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        let mut by_shard: BTreeMap<String, Vec<WorkspaceId>> = BTreeMap::new();
        for row in page {
            by_shard.entry(row.shard).or_default().push(row.id);
        }
        for (shard, workspaces) in by_shard {
            if let Err(error) = purge_page(world, objects, &shard, &workspaces, allowance, report).await {
                // The other shards must not wait for this one.
                world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
                report.shards_failed += 1;
            }
        }
    }
}

async fn purge_page(
    world: &World<'_>,
    objects: &dyn Objects,
    shard: &str,
    workspaces: &[WorkspaceId],
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<(), Error> {
    if !allowance.take(2) {
        report.unfinished = true;
        return Ok(());
    }
    let db = world.shards.open(shard).ok_or_else(|| Error::ShardMissing(shard.to_owned()))?;
    let policies = policies_of(db, workspaces).await?;
    let policy = |id: &WorkspaceId| policies.get(id).copied().unwrap_or_default();
    let asked: Vec<_> = workspaces.iter().map(|id| (id.clone(), policy(id).cutoffs(world.now))).collect();
    for due in list_due(db, &asked).await? {
        let tenant = world.tenant(&due.workspace_id, shard)?;
        let cutoffs = policy(&due.workspace_id).cutoffs(world.now);
        report.workspaces += 1;
        let purge =
            WorkspacePurge { world, tenant: &tenant, objects, allowance: &mut *allowance, report: &mut *report };
        match purge.run(&cutoffs, &due).await {
            Ok(true) => {}
            Ok(false) => {
                report.unfinished = true;
                return Ok(());
            }
            // What is wrong with one workspace must not keep the others; a database that is away keeps all.
            Err(error) if is_of_one_workspace(&error) => {
                let workspace = due.workspace_id.as_str();
                world.log.event("purge_failed", &[("workspace_id", workspace), ("code", error.code())]);
                report.workspaces_failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const fn is_of_one_workspace(error: &Error) -> bool {
    !matches!(error, Error::Db(DbError::Unavailable | DbError::Unknown))
}

async fn policies_of(db: &dyn Db, workspaces: &[WorkspaceId]) -> Result<BTreeMap<WorkspaceId, Policy>, Error> {
    let mut policies = BTreeMap::new();
    // One by one: collecting would link a sort.
    for row in retention_policies::list(db, workspaces).await? {
        policies.insert(row.workspace_id.clone(), row.policy());
    }
    Ok(policies)
}

fn tell(world: &World<'_>, report: &PurgeReport) {
    let count = |number: u32| number.to_string();
    world.log.event(
        "retention_purged",
        &[
            ("workspaces", &count(report.workspaces)),
            ("messages", &count(report.messages)),
            ("attachments", &count(report.attachments)),
            ("failed", &count(report.attachments_failed)),
            ("writes", &count(report.writes)),
            ("attempts", &count(report.attempts)),
            ("chains_verified", &count(report.chains_verified)),
            ("chains_broken", &count(report.chains_broken)),
            ("shards_failed", &count(report.shards_failed)),
            ("unfinished", if report.unfinished { "true" } else { "false" }),
        ],
    );
}
