//! The purge of one workspace, slice by slice, and the event that tells of it.

use super::{ACTOR, PurgeReport};
use crate::allowance::Allowance;
use crate::remove_attachments::{Objects, Removed, remove_attachments};
use crate::{Error, Tenant, World, audit};
use model::Timestamp;
use model::retention::Cutoffs;
use serde_json::json;
use store::attachments::{self, Removable};
use store::db::nth;
use store::retention::{self, Counted, Due};
use store::writes::Key;
use store::{messages, redaction};

/// Rows of one slice: some 30 ms of the one thread a database has.
const MESSAGES_PER_SLICE: u32 = 1_000;
const ATTACHMENTS_PER_SLICE: u32 = 500;
const WRITES_PER_SLICE: u32 = 500;

/// Purges a workspace. False: the queries ran out before its end.
pub(super) async fn purge(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    objects: &dyn Objects,
    cutoffs: &Cutoffs,
    due: &Due,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<bool, Error> {
    if due.messages != 0 && !redact_messages(world, tenant, cutoffs.messages, allowance, report).await? {
        return Ok(false);
    }
    let mut kept = 0;
    if due.attachments != 0 {
        let Some(failed) = remove_due(world, tenant, objects, cutoffs.attachments, allowance, report).await? else {
            return Ok(false);
        };
        kept = failed;
    }
    if due.writes != 0 && !redact_writes(world, tenant, cutoffs.writes, allowance, report).await? {
        return Ok(false);
    }
    complete(world, tenant, kept, allowance, report).await
}

async fn redact_messages(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    before: Timestamp,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<bool, Error> {
    while allowance.take(2) {
        let batch = vec![
            messages::redact_due(&tenant.scope, before, MESSAGES_PER_SLICE, world.now),
            retention::count(&tenant.scope, Counted::Messages, world.now),
        ];
        let redacted = changes(&tenant.db.batch(batch).await?, 0)?;
        report.messages += redacted;
        if redacted < MESSAGES_PER_SLICE {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many could not be removed; `None` when the queries ran out.
async fn remove_due(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    objects: &dyn Objects,
    before: Timestamp,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<Option<u32>, Error> {
    let (mut failed, mut after): (u32, Option<Removable>) = (0, None);
    while allowance.take(3) {
        let rows =
            attachments::list_due(tenant.db, &tenant.scope, before, after.as_ref(), ATTACHMENTS_PER_SLICE).await?;
        let Some(last) = rows.last() else { return Ok(Some(failed)) };
        // Past those that cannot be removed: they are first again in the next run.
        after = Some(last.clone());
        let count = retention::count(&tenant.scope, Counted::Attachments, world.now);
        let Removed { gone, failed: kept, away } =
            remove_attachments(world, tenant, objects, &rows, Some(count)).await?;
        report.attachments += gone;
        report.attachments_failed += kept;
        failed += kept;
        if away {
            return Ok(Some(failed));
        }
    }
    Ok(None)
}

async fn redact_writes(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    before: Timestamp,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<bool, Error> {
    loop {
        if !allowance.take(8) {
            return Ok(false);
        }
        let passed = retention::list_writes(tenant.db, &tenant.scope, before, WRITES_PER_SLICE).await?;
        let Some(last) = passed.last() else { break };
        let keys: Vec<Key> = passed.iter().map(retention::Passed::key).collect();
        redact_slice(world, tenant, &keys, Some(retention::pass(&tenant.scope, last)), report).await?;
    }
    let mut after: Option<Key> = None;
    loop {
        if !allowance.take(8) {
            return Ok(false);
        }
        let keys = retention::list_stragglers(tenant.db, &tenant.scope, after.as_ref(), WRITES_PER_SLICE).await?;
        let Some(last) = keys.last() else { return Ok(true) };
        after = Some(last.clone());
        redact_slice(world, tenant, &keys, None, report).await?;
    }
}

/// Those that are over lose their payload and their attempts; those that are not are noted for later.
async fn redact_slice(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    keys: &[Key],
    pass: Option<store::Statement>,
    report: &mut PurgeReport,
) -> Result<(), Error> {
    let scope = &tenant.scope;
    let batch = vec![
        redaction::redact(scope, keys, world.now),
        retention::count(scope, Counted::Writes, world.now),
        redaction::delete_attempts(scope, keys),
        retention::count(scope, Counted::Attempts, world.now),
        retention::note_stragglers(scope, keys),
        retention::forget_stragglers(scope, keys),
    ];
    let outcomes = tenant.db.batch(batch.into_iter().chain(pass).collect()).await?;
    report.writes += changes(&outcomes, 0)?;
    report.attempts += changes(&outcomes, 2)?;
    Ok(())
}

/// Tells of the purge once: its counts end in the batch of the event. Another run may be at it as well; then that one tells.
async fn complete(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    attachments_left: u32,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<bool, Error> {
    if !allowance.take(4) {
        return Ok(false);
    }
    if attachments_left > 0 {
        store::db::run(tenant.db, retention::begin(&tenant.scope, world.now)).await?;
    }
    let Some(progress) = retention::fetch_progress(tenant.db, &tenant.scope).await? else { return Ok(true) };
    let detail = json!({
        "began_at": progress.began_at.iso(),
        "messages_redacted": progress.messages_redacted,
        "attachments_removed": progress.attachments_removed,
        "attachments_left": attachments_left,
        "writes_redacted": progress.writes_redacted,
        "attempts_deleted": progress.attempts_deleted,
    });
    let workspace = tenant.scope.workspace_id().as_str();
    let event = audit::event(world, ACTOR, "retention_purge_completed", workspace, detail)?;
    let batch = vec![retention::close(&tenant.scope, &progress), event.append_if_changed(&tenant.scope)];
    report.completed += changes(&tenant.db.batch(batch).await?, 0)?;
    Ok(true)
}

fn changes(outcomes: &[store::Outcome], index: usize) -> Result<u32, Error> {
    Ok(u32::try_from(nth(outcomes, index)?.changes).unwrap_or(u32::MAX))
}
