//! Sealed tokens that are not under the current key, of the connections of all workspaces of a shard and of the directory's
//! installs: for the job that seals them again.
//!
//! Reads and writes sealed text only. A row is changed only while it still holds the text that was read: a refresh, a
//! reconnect or a disconnect in between stands.

use crate::db::{Bind, Db, DbError, Statement, run};
use model::{ConnectionId, Crm, InstallId, WorkspaceId};
use serde::Deserialize;
use serde_json::json;

/// A connection whose tokens are under another key.
#[derive(Clone, Debug, Deserialize)]
pub struct SealedOtherwise {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Which CRM.
    pub crm: Crm,
    /// The connection.
    pub id: ConnectionId,
    /// Part of the seal.
    pub token_generation: u64,
    /// Sealed.
    pub access_token_sealed: String,
    /// Sealed.
    pub refresh_token_sealed: Option<String>,
}

/// A connection's tokens under the current key.
#[derive(Clone, Debug)]
pub struct Resealed<'a> {
    /// As it was read.
    pub row: &'a SealedOtherwise,
    /// Sealed again, for the same generation.
    pub access_token_sealed: String,
    /// Sealed again.
    pub refresh_token_sealed: Option<String>,
}

/// The next rows after `after` (workspace, CRM) whose sealed texts do not begin with `current`, in the order of their key.
pub async fn list_sealed_otherwise(
    db: &dyn Db,
    current: &str,
    after: Option<(&WorkspaceId, Crm)>,
    limit: u32,
) -> Result<Vec<SealedOtherwise>, DbError> {
    let (workspace_id, crm) = after.map_or(("", ""), |(workspace_id, crm)| (workspace_id.as_str(), crm.as_str()));
    let statement = Statement::new(
        "SELECT workspace_id, crm, id, token_generation, access_token_sealed, refresh_token_sealed FROM crm_connections
         WHERE (workspace_id, crm) > (?1, ?2) AND access_token_sealed IS NOT NULL
             AND (substr(access_token_sealed, 1, length(?3)) <> ?3
                  OR substr(refresh_token_sealed, 1, length(?3)) <> ?3)
         ORDER BY workspace_id, crm LIMIT ?4",
        [Bind::from(workspace_id), crm.into(), current.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Stores them, each where its row is as it was read. `changes` is how many were.
pub fn reseal(rows: &[Resealed<'_>]) -> Statement {
    let rows: Vec<_> = rows
        .iter()
        .map(|resealed| {
            json!({
                "w": resealed.row.workspace_id, "c": resealed.row.crm, "g": resealed.row.token_generation,
                "was": resealed.row.access_token_sealed, "a": resealed.access_token_sealed,
                "r": resealed.refresh_token_sealed,
            })
        })
        .collect();
    Statement::new(
        "UPDATE crm_connections SET access_token_sealed = j.value->>'a', refresh_token_sealed = j.value->>'r'
         FROM json_each(?1) j
         WHERE workspace_id = j.value->>'w' AND crm = j.value->>'c' AND token_generation = j.value->>'g'
             AND access_token_sealed = j.value->>'was'",
        [Bind::from(model::json::text(&json!(rows)))],
    )
}

/// An install whose tokens are under another key.
#[derive(Clone, Debug, Deserialize)]
pub struct InstallSealedOtherwise {
    /// Which.
    pub id: InstallId,
    /// Which CRM.
    pub crm: Crm,
    /// Part of the seal.
    pub token_generation: u64,
    /// Sealed.
    pub access_token_sealed: String,
    /// Sealed.
    pub refresh_token_sealed: Option<String>,
}

/// An install's tokens under the current key.
#[derive(Clone, Debug)]
pub struct InstallResealed<'a> {
    /// As it was read.
    pub row: &'a InstallSealedOtherwise,
    /// Sealed again, for the same generation.
    pub access_token_sealed: String,
    /// Sealed again.
    pub refresh_token_sealed: Option<String>,
}

/// The next installs after `after` whose sealed texts do not begin with `current`, in the order of their ids. Directory table.
pub async fn list_installs_sealed_otherwise(
    db: &dyn Db,
    current: &str,
    after: Option<&InstallId>,
    limit: u32,
) -> Result<Vec<InstallSealedOtherwise>, DbError> {
    let statement = Statement::new(
        "SELECT id, crm, token_generation, access_token_sealed, refresh_token_sealed FROM pending_installs
         WHERE id > ?1 AND access_token_sealed IS NOT NULL
             AND (substr(access_token_sealed, 1, length(?2)) <> ?2
                  OR substr(refresh_token_sealed, 1, length(?2)) <> ?2)
         ORDER BY id LIMIT ?3",
        [Bind::from(after.map_or("", InstallId::as_str)), current.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Stores them, each where its row is as it was read. `changes` is how many were.
pub fn reseal_installs(rows: &[InstallResealed<'_>]) -> Statement {
    let rows: Vec<_> = rows
        .iter()
        .map(|resealed| {
            json!({
                "i": resealed.row.id, "g": resealed.row.token_generation, "was": resealed.row.access_token_sealed,
                "a": resealed.access_token_sealed, "r": resealed.refresh_token_sealed,
            })
        })
        .collect();
    Statement::new(
        "UPDATE pending_installs SET access_token_sealed = j.value->>'a', refresh_token_sealed = j.value->>'r'
         FROM json_each(?1) j
         WHERE pending_installs.id = j.value->>'i' AND token_generation = j.value->>'g' AND access_token_sealed = j.value->>'was'",
        [Bind::from(model::json::text(&json!(rows)))],
    )
}
