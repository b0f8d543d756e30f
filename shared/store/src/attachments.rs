//! `attachments`: files of messages, whose bytes are in R2. Tenant table.
//!
//! The bytes go first, then the reference: a row that still has its key is still to be removed, whatever happened.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// A file to be kept.
#[derive(Clone, Debug)]
pub struct NewAttachment<'a> {
    /// The host product's id.
    pub id: &'a str,
    /// Of which message.
    pub message_id: &'a str,
    /// Where the bytes are: begins with the workspace's id and a slash.
    pub object_key: &'a str,
    /// Its name.
    pub file_name: Option<&'a str>,
    /// How long it is.
    pub size_bytes: u32,
    /// When its message was received.
    pub received_at: Timestamp,
}

/// Keeps the reference to a file.
pub fn keep(scope: &WorkspaceScope, attachment: &NewAttachment<'_>) -> Statement {
    Statement::new(
        "INSERT INTO attachments (workspace_id, id, message_id, object_key, file_name, size_bytes, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        [
            Bind::from(scope.workspace_id().as_str()),
            attachment.id.into(),
            attachment.message_id.into(),
            attachment.object_key.into(),
            attachment.file_name.into(),
            attachment.size_bytes.into(),
            attachment.received_at.into(),
        ],
    )
}

/// A file whose bytes are to go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Removable {
    /// Its id.
    pub id: String,
    /// Where the bytes are.
    pub object_key: String,
    /// When its message was received.
    pub received_at: Timestamp,
}

/// The oldest files received before `before`, after `after` where it is given.
pub async fn list_due(
    db: &dyn Db,
    scope: &WorkspaceScope,
    before: Timestamp,
    after: Option<&Removable>,
    limit: u32,
) -> Result<Vec<Removable>, DbError> {
    let (at, id) = after.map_or((Timestamp(0), ""), |after| (after.received_at, after.id.as_str()));
    let statement = Statement::new(
        "SELECT id, object_key, received_at FROM attachments
         WHERE workspace_id = ?1 AND object_key IS NOT NULL AND received_at < ?2 AND (received_at, id) > (?3, ?4)
         ORDER BY received_at, id LIMIT ?5",
        [Bind::from(scope.workspace_id().as_str()), before.into(), at.into(), id.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Files of messages exchanged with a person.
pub async fn list_of(
    db: &dyn Db,
    scope: &WorkspaceScope,
    contact_hmac: &str,
    limit: u32,
) -> Result<Vec<Removable>, DbError> {
    let statement = Statement::new(
        "SELECT a.id, a.object_key, a.received_at
         FROM messages m CROSS JOIN attachments a INDEXED BY attachments_of_message
             ON a.workspace_id = ?1 AND a.message_id = m.id AND a.object_key IS NOT NULL
         WHERE m.workspace_id = ?1 AND m.contact_hmac = ?2 LIMIT ?3",
        [Bind::from(scope.workspace_id().as_str()), contact_hmac.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Forgets the reference to files whose bytes are gone.
pub fn forget(scope: &WorkspaceScope, removed: &[&Removable], now: Timestamp) -> Statement {
    let ids: Vec<&str> = removed.iter().map(|removed| removed.id.as_str()).collect();
    Statement::new(
        "UPDATE attachments SET object_key = NULL, file_name = NULL, removed_at = ?3
         WHERE workspace_id = ?1 AND id IN (SELECT value FROM json_each(?2)) AND object_key IS NOT NULL",
        [Bind::from(scope.workspace_id().as_str()), model::json::text(&json!(ids)).into(), now.into()],
    )
}
