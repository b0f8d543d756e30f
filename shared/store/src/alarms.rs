//! `alarms`: what a person should know of, and the outbox of the outgoing webhook. Tenant table.
//!
//! A row is written in the batch of what it tells of, and only then: a write that succeeds costs nothing here. Delivery
//! is the job's (`flows::deliver_alarms`).

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::{AlarmId, Timestamp, WorkspaceId};
use serde::Deserialize;

/// An alarm about to be raised.
#[derive(Clone, Debug)]
pub struct Alarm<'a> {
    /// Repeated, it is the same alarm.
    pub id: &'a AlarmId,
    /// `crm.writes_failed`, `crm.connection_failed`.
    pub kind: &'static str,
    /// The webhook's body: ids, codes and counts.
    pub payload: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// Raises it, if the statement before it in the batch changed a row.
pub fn raise_if_changed(scope: &WorkspaceScope, alarm: &Alarm<'_>) -> Statement {
    Statement::new(
        "INSERT INTO alarms (workspace_id, id, kind, payload_json, created_at, try_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?5 WHERE changes() > 0
         ON CONFLICT (workspace_id, id) DO NOTHING",
        [
            Bind::from(scope.workspace_id().as_str()),
            alarm.id.as_str().into(),
            alarm.kind.into(),
            alarm.payload.into(),
            alarm.at.into(),
        ],
    )
}

/// An alarm to be delivered.
#[derive(Clone, Debug, Deserialize)]
pub struct Due {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Which.
    pub id: AlarmId,
    /// The webhook's body.
    pub payload_json: String,
    /// Made so far.
    pub tries: u32,
}

/// The alarms of the shard that are due, longest due first. For the job that delivers every workspace's.
pub async fn list_due(db: &dyn Db, now: Timestamp, limit: u32) -> Result<Vec<Due>, DbError> {
    let statement = Statement::new(
        "SELECT workspace_id, id, payload_json, tries FROM alarms WHERE try_at <= ?1 ORDER BY try_at LIMIT ?2",
        [Bind::from(now), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// What a try came to: delivered (no error), to be tried again at `try_at`, or given up.
pub fn tried(
    scope: &WorkspaceScope,
    id: &AlarmId,
    error: Option<&str>,
    try_at: Option<Timestamp>,
    at: Timestamp,
) -> Statement {
    Statement::new(
        "UPDATE alarms SET tries = tries + 1, try_at = ?4, last_error = ?3,
             delivered_at = CASE WHEN ?3 IS NULL THEN ?5 ELSE NULL END
         WHERE workspace_id = ?1 AND id = ?2 AND try_at IS NOT NULL",
        [Bind::from(scope.workspace_id().as_str()), id.as_str().into(), error.into(), try_at.into(), at.into()],
    )
}

/// Nobody is to be told: what is due is only kept.
pub fn keep_only(now: Timestamp) -> Statement {
    Statement::new("UPDATE alarms SET try_at = NULL WHERE try_at <= ?1", [Bind::from(now)])
}

/// Removes alarms raised before `before`, at most `limit`.
pub fn delete_old(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "DELETE FROM alarms WHERE (workspace_id, id) IN
             (SELECT workspace_id, id FROM alarms WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
        [Bind::from(before), limit.into()],
    )
}
