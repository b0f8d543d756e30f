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
use store::{Statement, messages, redaction};

/// Rows of one slice: some 30 ms of the one thread a database has.
const MESSAGES_PER_SLICE: u32 = 1_000;
const ATTACHMENTS_PER_SLICE: u32 = 500;
const WRITES_PER_SLICE: u32 = 500;

/// One workspace's purge, and what it spends and counts.
pub(super) struct WorkspacePurge<'r, 'w> {
    pub(super) world: &'r World<'r>,
    pub(super) tenant: &'r Tenant<'r>,
    pub(super) objects: &'r dyn Objects,
    pub(super) allowance: &'r mut Allowance<'w>,
    pub(super) report: &'r mut PurgeReport,
}

impl WorkspacePurge<'_, '_> {
    /// Purges the workspace. False: the queries ran out before its end.
    pub(super) async fn run(mut self, cutoffs: &Cutoffs, due: &Due) -> Result<bool, Error> {
        if due.messages != 0 && !self.redact_messages(cutoffs.messages).await? {
            return Ok(false);
        }
        let mut kept = 0;
        if due.attachments != 0 {
            let Some(failed) = self.remove_attachments(cutoffs.attachments).await? else { return Ok(false) };
            kept = failed;
        }
        if due.writes != 0 && !self.redact_writes(cutoffs.writes).await? {
            return Ok(false);
        }
        self.complete(kept).await
    }

    async fn redact_messages(&mut self, before: Timestamp) -> Result<bool, Error> {
        let (scope, now) = (&self.tenant.scope, self.world.now);
        while self.allowance.take(2) {
            let batch = vec![
                messages::redact_due(scope, before, MESSAGES_PER_SLICE, now),
                retention::count(scope, Counted::Messages, now),
            ];
            let redacted = changes(&self.tenant.db.batch(batch).await?, 0)?;
            self.report.messages += redacted;
            if redacted < MESSAGES_PER_SLICE {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many could not be removed; `None` when the queries ran out.
    async fn remove_attachments(&mut self, before: Timestamp) -> Result<Option<u32>, Error> {
        let (db, scope) = (self.tenant.db, &self.tenant.scope);
        let (mut failed, mut after): (u32, Option<Removable>) = (0, None);
        while self.allowance.take(3) {
            let rows = attachments::list_due(db, scope, before, after.as_ref(), ATTACHMENTS_PER_SLICE).await?;
            let Some(last) = rows.last() else { return Ok(Some(failed)) };
            // Past those that cannot be removed: they are first again in the next run.
            after = Some(last.clone());
            let count = retention::count(scope, Counted::Attachments, self.world.now);
            let Removed { gone, failed: kept, away } =
                remove_attachments(self.world, self.tenant, self.objects, &rows, Some(count)).await?;
            self.report.attachments += gone;
            self.report.attachments_failed += kept;
            failed += kept;
            if away {
                return Ok(Some(failed));
            }
        }
        Ok(None)
    }

    async fn redact_writes(&mut self, before: Timestamp) -> Result<bool, Error> {
        let (db, scope) = (self.tenant.db, &self.tenant.scope);
        loop {
            if !self.allowance.take(8) {
                return Ok(false);
            }
            let passed = retention::list_writes(db, scope, before, WRITES_PER_SLICE).await?;
            let Some(last) = passed.last() else { break };
            let keys: Vec<Key> = passed.iter().map(retention::Passed::key).collect();
            self.redact_slice(&keys, Some(retention::pass(scope, last))).await?;
        }
        let mut after: Option<Key> = None;
        loop {
            if !self.allowance.take(8) {
                return Ok(false);
            }
            let keys = retention::list_stragglers(db, scope, after.as_ref(), WRITES_PER_SLICE).await?;
            let Some(last) = keys.last() else { return Ok(true) };
            after = Some(last.clone());
            self.redact_slice(&keys, None).await?;
        }
    }

    /// Those that are over lose their payload and their attempts; those that are not are noted for later.
    async fn redact_slice(&mut self, keys: &[Key], pass: Option<Statement>) -> Result<(), Error> {
        let (scope, now) = (&self.tenant.scope, self.world.now);
        let batch = vec![
            redaction::redact(scope, keys, now),
            retention::count(scope, Counted::Writes, now),
            redaction::delete_attempts(scope, keys),
            retention::count(scope, Counted::Attempts, now),
            retention::note_stragglers(scope, keys),
            retention::forget_stragglers(scope, keys),
        ];
        let outcomes = self.tenant.db.batch(batch.into_iter().chain(pass).collect()).await?;
        self.report.writes += changes(&outcomes, 0)?;
        self.report.attempts += changes(&outcomes, 2)?;
        Ok(())
    }

    /// Tells of the purge once: its counts end in the batch of the event. Another run may be at it as well; then that one
    /// tells.
    async fn complete(&mut self, attachments_left: u32) -> Result<bool, Error> {
        let (world, tenant) = (self.world, self.tenant);
        if !self.allowance.take(4) {
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
        self.report.completed += changes(&tenant.db.batch(batch).await?, 0)?;
        Ok(true)
    }
}

fn changes(outcomes: &[store::Outcome], index: usize) -> Result<u32, Error> {
    Ok(u32::try_from(nth(outcomes, index)?.changes).unwrap_or(u32::MAX))
}
