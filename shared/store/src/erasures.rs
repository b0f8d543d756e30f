//! `erasures`: requests to erase a person, and how far each is. Tenant table.
//!
//! Whom it is about is a pseudonym (`crypto::pii`), and that only while it is open. Counters grow by `changes()` in the batch
//! that does the work.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::{Crm, ErasureId, Timestamp, WorkspaceId};
use serde::Deserialize;

/// The columns of [`Erasure`].
macro_rules! columns {
    () => {
        "workspace_id, id, person_hmac, requested_at, write_created_at, write_crm, write_key, messages_redacted,
             attachments_removed, writes_redacted, writes_cancelled"
    };
}

/// An open erasure.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Erasure {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Which.
    pub id: ErasureId,
    /// Of whom.
    pub person_hmac: String,
    /// When it was asked for: what was planned later is not in it.
    pub requested_at: Timestamp,
    /// Where the look through the log goes on.
    pub write_created_at: Timestamp,
    /// Where it goes on.
    pub write_crm: String,
    /// Where it goes on.
    pub write_key: String,
    /// Messages redacted so far.
    pub messages_redacted: u32,
    /// Attachments removed so far.
    pub attachments_removed: u32,
    /// Writes redacted so far.
    pub writes_redacted: u32,
    /// Writes that were not sent any more.
    pub writes_cancelled: u32,
}

/// Opens an erasure, unless one of the person is open.
pub fn open(scope: &WorkspaceScope, id: &ErasureId, person_hmac: &str, by: &str, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO erasures (workspace_id, id, status, person_hmac, requested_by, requested_at)
         VALUES (?1, ?2, 'running', ?3, ?4, ?5)
         ON CONFLICT (workspace_id, person_hmac) WHERE person_hmac IS NOT NULL DO NOTHING",
        [Bind::from(scope.workspace_id().as_str()), id.as_str().into(), person_hmac.into(), by.into(), now.into()],
    )
}

/// The open erasure of a person.
pub fn select_open(scope: &WorkspaceScope, person_hmac: &str) -> Statement {
    Statement::new(
        concat!("SELECT ", columns!(), " FROM erasures WHERE workspace_id = ?1 AND person_hmac = ?2"),
        [Bind::from(scope.workspace_id().as_str()), person_hmac.into()],
    )
}

/// The erasures that are open, of all workspaces: for the job that goes on with them. Crosses workspaces on purpose.
pub async fn list_open(db: &dyn Db, limit: u32) -> Result<Vec<Erasure>, DbError> {
    let statement = Statement::new(
        concat!(
            "SELECT ",
            columns!(),
            " FROM erasures WHERE person_hmac IS NOT NULL ORDER BY workspace_id, person_hmac LIMIT ?1"
        ),
        [Bind::from(limit)],
    );
    run(db, statement).await?.rows()
}

/// What an erasure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Messages redacted.
    Messages,
    /// Attachments whose bytes are gone.
    Attachments,
    /// Writes redacted.
    Writes,
    /// Writes that were not sent any more.
    Cancelled,
}

macro_rules! count_in {
    ($column:literal) => {
        concat!("UPDATE erasures SET ", $column, " = ", $column, " + changes() WHERE workspace_id = ?1 AND id = ?2")
    };
}

/// Adds what the statement before it in the batch changed.
pub fn count(scope: &WorkspaceScope, id: &ErasureId, counted: Counted) -> Statement {
    let sql = match counted {
        Counted::Messages => count_in!("messages_redacted"),
        Counted::Attachments => count_in!("attachments_removed"),
        Counted::Writes => count_in!("writes_redacted"),
        Counted::Cancelled => count_in!("writes_cancelled"),
    };
    Statement::new(sql, [Bind::from(scope.workspace_id().as_str()), id.as_str().into()])
}

/// A write as an erasure passes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Passed {
    /// Which CRM.
    pub crm: Crm,
    /// Its key.
    pub idempotency_key: String,
    /// When it was planned.
    pub created_at: Timestamp,
    /// The address in its payload, as it was normalised. Personal data: compared, and forgotten.
    pub email: Option<String>,
}

/// The next writes after a place that were planned before the erasure was asked for, oldest first.
pub async fn list_writes(
    db: &dyn Db,
    scope: &WorkspaceScope,
    after: (Timestamp, &str, &str),
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Passed>, DbError> {
    let statement = Statement::new(
        "SELECT crm, idempotency_key, created_at, payload_json->>'$.contact.email' AS email
         FROM crm_write_log
         WHERE workspace_id = ?1 AND created_at <= ?5 AND (created_at, crm, idempotency_key) > (?2, ?3, ?4)
         ORDER BY created_at, crm, idempotency_key LIMIT ?6",
        [
            Bind::from(scope.workspace_id().as_str()),
            after.0.into(),
            after.1.into(),
            after.2.into(),
            until.into(),
            limit.into(),
        ],
    );
    run(db, statement).await?.rows()
}

/// Moves an erasure on to a write.
pub fn pass(scope: &WorkspaceScope, id: &ErasureId, last: &Passed) -> Statement {
    Statement::new(
        "UPDATE erasures SET write_created_at = ?3, write_crm = ?4, write_key = ?5
         WHERE workspace_id = ?1 AND id = ?2 AND (?3, ?4, ?5) > (write_created_at, write_crm, write_key)",
        [
            Bind::from(scope.workspace_id().as_str()),
            id.as_str().into(),
            last.created_at.into(),
            last.crm.as_str().into(),
            last.idempotency_key.as_str().into(),
        ],
    )
}

/// Notes that an erasure waits for what is still on its way.
pub fn wait(scope: &WorkspaceScope, id: &ErasureId) -> Statement {
    Statement::new(
        "UPDATE erasures SET status = 'waiting' WHERE workspace_id = ?1 AND id = ?2 AND status = 'running'",
        [Bind::from(scope.workspace_id().as_str()), id.as_str().into()],
    )
}

/// Ends an erasure that stands as it was read, and forgets of whom it was; its event follows in the same batch.
pub fn finish(scope: &WorkspaceScope, read: &Erasure, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE erasures SET status = 'finished', person_hmac = NULL, finished_at = ?3
         WHERE workspace_id = ?1 AND id = ?2 AND status <> 'finished' AND messages_redacted = ?4
             AND attachments_removed = ?5 AND writes_redacted = ?6 AND writes_cancelled = ?7",
        [
            Bind::from(scope.workspace_id().as_str()),
            read.id.as_str().into(),
            now.into(),
            read.messages_redacted.into(),
            read.attachments_removed.into(),
            read.writes_redacted.into(),
            read.writes_cancelled.into(),
        ],
    )
}
