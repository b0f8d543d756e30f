//! `retention_progress`, `retention_cursors`, `retention_stragglers`: what a purge has to do in which workspace, and how far
//! it is. Tenant tables.
//!
//! Each counter grows by `changes()` in the batch that does the work, so that a batch that failed, or was applied although
//! its answer was lost, counts what it changed and no more. The cursor through the log only moves forward.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use crate::writes::{Key, from_keys};
use model::retention::Cutoffs;
use model::{Crm, Timestamp, WorkspaceId};
use serde::Deserialize;
use serde_json::json;

/// A workspace that has something due, and what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Due {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// 1: messages.
    pub messages: u8,
    /// 1: attachments.
    pub attachments: u8,
    /// 1: writes, or stragglers among them.
    pub writes: u8,
    /// 1: a purge that has begun and is not told of.
    pub begun: u8,
}

/// Those of the workspaces that have something due: a few index entries read for each. Crosses workspaces on purpose, and
/// reads no content.
pub async fn list_due(db: &dyn Db, workspaces: &[(WorkspaceId, Cutoffs)]) -> Result<Vec<Due>, DbError> {
    let asked: Vec<_> = workspaces
        .iter()
        .map(|(id, due)| json!({"w": id, "m": due.messages, "a": due.attachments, "t": due.writes}))
        .collect();
    let statement = Statement::new(
        "WITH j AS MATERIALIZED (SELECT value->>'w' AS w, value->>'m' AS m, value->>'a' AS a, value->>'t' AS t
                                 FROM json_each(?1)),
         d AS (SELECT j.w AS workspace_id,
             EXISTS (SELECT 1 FROM messages x
                     WHERE x.workspace_id = j.w AND x.is_redacted = 0 AND x.received_at < j.m) AS messages,
             EXISTS (SELECT 1 FROM attachments x
                     WHERE x.workspace_id = j.w AND x.object_key IS NOT NULL AND x.received_at < j.a) AS attachments,
             EXISTS (SELECT 1 FROM crm_write_log x
                     WHERE x.workspace_id = j.w AND x.created_at < j.t
                         AND (x.created_at, x.crm, x.idempotency_key) > (COALESCE(c.write_created_at, 0),
                             COALESCE(c.write_crm, ''), COALESCE(c.write_key, '')))
                 OR EXISTS (SELECT 1 FROM retention_stragglers s WHERE s.workspace_id = j.w) AS writes,
             EXISTS (SELECT 1 FROM retention_progress p WHERE p.workspace_id = j.w) AS begun
             FROM j LEFT JOIN retention_cursors c ON c.workspace_id = j.w)
         SELECT workspace_id, messages, attachments, writes, begun FROM d
         WHERE messages OR attachments OR writes OR begun LIMIT 1000",
        [Bind::from(model::json::text(&json!(asked)))],
    );
    run(db, statement).await?.rows()
}

/// What a purge counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Messages redacted.
    Messages,
    /// Attachments whose bytes are gone.
    Attachments,
    /// Writes redacted.
    Writes,
    /// Attempts deleted.
    Attempts,
}

macro_rules! count_in {
    ($column:literal) => {
        concat!(
            "INSERT INTO retention_progress (workspace_id, began_at, ",
            $column,
            ") SELECT ?1, ?2, changes() WHERE changes() > 0
              ON CONFLICT (workspace_id) DO UPDATE SET ",
            $column,
            " = ",
            $column,
            " + excluded.",
            $column
        )
    };
}

/// Adds what the statement before it in the batch changed.
pub fn count(scope: &WorkspaceScope, counted: Counted, now: Timestamp) -> Statement {
    let sql = match counted {
        Counted::Messages => count_in!("messages_redacted"),
        Counted::Attachments => count_in!("attachments_removed"),
        Counted::Writes => count_in!("writes_redacted"),
        Counted::Attempts => count_in!("attempts_deleted"),
    };
    Statement::new(sql, [Bind::from(scope.workspace_id().as_str()), now.into()])
}

/// A purge that is not told of yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Progress {
    /// When it began.
    pub began_at: Timestamp,
    /// Messages redacted since.
    pub messages_redacted: u32,
    /// Attachments whose bytes are gone.
    pub attachments_removed: u32,
    /// Writes redacted.
    pub writes_redacted: u32,
    /// Attempts deleted.
    pub attempts_deleted: u32,
}

/// The open purge of the workspace.
pub async fn fetch_progress(db: &dyn Db, scope: &WorkspaceScope) -> Result<Option<Progress>, DbError> {
    let statement = Statement::new(
        "SELECT began_at, messages_redacted, attachments_removed, writes_redacted, attempts_deleted
         FROM retention_progress WHERE workspace_id = ?1",
        [Bind::from(scope.workspace_id().as_str())],
    );
    run(db, statement).await?.first()
}

/// Opens a purge that has done nothing yet, so that it can be told of.
pub fn begin(scope: &WorkspaceScope, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO retention_progress (workspace_id, began_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        [Bind::from(scope.workspace_id().as_str()), now.into()],
    )
}

/// Closes the purge if it still stands as it was read; its event follows in the same batch.
pub fn close(scope: &WorkspaceScope, read: &Progress) -> Statement {
    Statement::new(
        "DELETE FROM retention_progress
         WHERE workspace_id = ?1 AND began_at = ?2 AND messages_redacted = ?3 AND attachments_removed = ?4
             AND writes_redacted = ?5 AND attempts_deleted = ?6",
        [
            Bind::from(scope.workspace_id().as_str()),
            read.began_at.into(),
            read.messages_redacted.into(),
            read.attachments_removed.into(),
            read.writes_redacted.into(),
            read.attempts_deleted.into(),
        ],
    )
}

/// A write of the log as the purge passes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Passed {
    /// Which CRM.
    pub crm: Crm,
    /// Its key.
    pub idempotency_key: String,
    /// When it was planned.
    pub created_at: Timestamp,
}

impl Passed {
    /// Its key, for a list.
    pub fn key(&self) -> Key {
        Key { crm: self.crm, key: self.idempotency_key.clone() }
    }
}

/// The next writes planned before `before` that the cursor has not passed, oldest first.
pub async fn list_writes(
    db: &dyn Db,
    scope: &WorkspaceScope,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Passed>, DbError> {
    let statement = Statement::new(
        "SELECT w.crm, w.idempotency_key, w.created_at FROM crm_write_log w
         WHERE w.workspace_id = ?1 AND w.created_at < ?2 AND (w.created_at, w.crm, w.idempotency_key) > (
             COALESCE((SELECT write_created_at FROM retention_cursors WHERE workspace_id = ?1), 0),
             COALESCE((SELECT write_crm FROM retention_cursors WHERE workspace_id = ?1), ''),
             COALESCE((SELECT write_key FROM retention_cursors WHERE workspace_id = ?1), ''))
         ORDER BY w.created_at, w.crm, w.idempotency_key LIMIT ?3",
        [Bind::from(scope.workspace_id().as_str()), before.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Moves the cursor to a write, unless it is there or further.
pub fn pass(scope: &WorkspaceScope, last: &Passed) -> Statement {
    Statement::new(
        "INSERT INTO retention_cursors (workspace_id, write_created_at, write_crm, write_key) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace_id) DO UPDATE SET write_created_at = excluded.write_created_at,
             write_crm = excluded.write_crm, write_key = excluded.write_key
         WHERE (excluded.write_created_at, excluded.write_crm, excluded.write_key)
             > (retention_cursors.write_created_at, retention_cursors.write_crm, retention_cursors.write_key)",
        [
            Bind::from(scope.workspace_id().as_str()),
            last.created_at.into(),
            last.crm.as_str().into(),
            last.idempotency_key.as_str().into(),
        ],
    )
}

/// The stragglers after a place, in the order of their keys.
pub async fn list_stragglers(
    db: &dyn Db,
    scope: &WorkspaceScope,
    after: Option<&Key>,
    limit: u32,
) -> Result<Vec<Key>, DbError> {
    let (crm, key) = after.map_or(("", ""), |after| (after.crm.as_str(), after.key.as_str()));
    let statement = Statement::new(
        "SELECT crm, idempotency_key FROM retention_stragglers
         WHERE workspace_id = ?1 AND (crm, idempotency_key) > (?2, ?3) ORDER BY crm, idempotency_key LIMIT ?4",
        [Bind::from(scope.workspace_id().as_str()), crm.into(), key.into(), limit.into()],
    );
    let rows = run(db, statement).await?.rows::<Straggler>()?;
    Ok(rows.into_iter().map(|row| Key { crm: row.crm, key: row.idempotency_key }).collect())
}

#[derive(Deserialize)]
struct Straggler {
    crm: Crm,
    idempotency_key: String,
}

/// Notes which of the writes are still on their way.
pub fn note_stragglers(scope: &WorkspaceScope, keys: &[Key]) -> Statement {
    Statement::new(
        concat!(
            "INSERT INTO retention_stragglers (workspace_id, crm, idempotency_key)
             SELECT w.workspace_id, w.crm, w.idempotency_key",
            from_keys!(),
            " WHERE w.payload_json <> ?3 ON CONFLICT DO NOTHING"
        ),
        [
            Bind::from(scope.workspace_id().as_str()),
            model::json::text(&json!(keys)).into(),
            model::retention::REDACTED_PAYLOAD.into(),
        ],
    )
}

/// Forgets those of them that are redacted by now, or gone.
pub fn forget_stragglers(scope: &WorkspaceScope, keys: &[Key]) -> Statement {
    Statement::new(
        "DELETE FROM retention_stragglers
         WHERE workspace_id = ?1 AND (crm, idempotency_key) IN (SELECT value->>'crm', value->>'key' FROM json_each(?2))
             AND NOT EXISTS (SELECT 1 FROM crm_write_log w
                 WHERE w.workspace_id = ?1 AND w.crm = retention_stragglers.crm
                     AND w.idempotency_key = retention_stragglers.idempotency_key AND w.payload_json <> ?3)",
        [
            Bind::from(scope.workspace_id().as_str()),
            model::json::text(&json!(keys)).into(),
            model::retention::REDACTED_PAYLOAD.into(),
        ],
    )
}
