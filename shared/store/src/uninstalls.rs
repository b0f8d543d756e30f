//! What ends when an app was removed from a CRM account by the CRM's own word: its connections, in whichever workspace, and its
//! installs that wait. The tokens are dead by then, and are erased without being revoked.
//!
//! What was connected or installed after the removal is not touched, so that an event that comes late, or twice, does no harm.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::{ConnectionId, Crm, InstallId, Timestamp, WorkspaceId};
use serde::Deserialize;

/// A connection to one of the accounts.
#[derive(Clone, Debug, Deserialize)]
pub struct Connected {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Its id.
    pub id: ConnectionId,
    /// Which account.
    pub external_account_id: String,
}

/// The connections of a shard to accounts, `accounts_json` being a JSON list of their ids. Crosses workspaces on purpose, and
/// reads ids only.
pub async fn list_connected(db: &dyn Db, crm: Crm, accounts_json: &str, limit: u32) -> Result<Vec<Connected>, DbError> {
    let statement = Statement::new(
        "SELECT workspace_id, id, external_account_id FROM crm_connections
         WHERE crm = ?1 AND status <> 'disconnected' AND external_account_id IN (SELECT value FROM json_each(?2))
         ORDER BY workspace_id LIMIT ?3",
        [Bind::from(crm.as_str()), accounts_json.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// A removal, as it ends a connection.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    /// From which account.
    pub external_account_id: &'a str,
    /// When.
    pub removed_at: Timestamp,
    /// Stable.
    pub code: &'a str,
    /// What a person can do about it.
    pub advice: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// Ends the connection, unless it was made after the removal. The generation grows, so that a refresh in flight cannot bring
/// the tokens back.
pub fn disconnect(scope: &WorkspaceScope, crm: Crm, removal: &Removal<'_>) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET status = 'disconnected', access_token_sealed = NULL, refresh_token_sealed = NULL,
             expires_at = NULL, token_generation = token_generation + 1, refresh_started_at = NULL, refresh_id = NULL,
             token_refused_at = NULL, last_error_code = ?5, last_error = ?6, updated_at = ?7
         WHERE workspace_id = ?1 AND crm = ?2 AND external_account_id = ?3 AND connected_at <= ?4
             AND status <> 'disconnected'",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            removal.external_account_id.into(),
            removal.removed_at.into(),
            removal.code.into(),
            removal.advice.into(),
            removal.at.into(),
        ],
    )
}

/// Lets the account go, if the statement before it in the batch changed a row. Directory table.
pub fn release_if_changed(crm: Crm, account: &str, workspace: &WorkspaceId) -> Statement {
    Statement::new(
        "DELETE FROM crm_accounts
         WHERE crm = ?1 AND external_account_id = ?2 AND workspace_id = ?3 AND changes() > 0",
        [Bind::from(crm.as_str()), account.into(), workspace.as_str().into()],
    )
}

/// An install of one of the accounts that holds tokens.
#[derive(Clone, Debug, Deserialize)]
pub struct Waiting {
    /// Which.
    pub id: InstallId,
    /// Of which account.
    pub external_account_id: String,
}

/// The installs of accounts that hold tokens. Directory table.
pub async fn list_waiting(db: &dyn Db, crm: Crm, accounts_json: &str, limit: u32) -> Result<Vec<Waiting>, DbError> {
    let statement = Statement::new(
        "SELECT id, external_account_id FROM pending_installs
         WHERE crm = ?1 AND access_token_sealed IS NOT NULL AND status <> 'claimed'
             AND external_account_id IN (SELECT value FROM json_each(?2))
         ORDER BY expires_at LIMIT ?3",
        [Bind::from(crm.as_str()), accounts_json.into(), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Ends an install and erases its tokens, unless it was made after the removal or is being claimed (a claim begun before
/// `stale_before` died on the way).
pub fn expire(id: &InstallId, removed_at: Timestamp, stale_before: Timestamp, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET status = 'expired', expires_at = MIN(expires_at, ?4), access_token_sealed = NULL,
             refresh_token_sealed = NULL, revoked = 1, updated_at = ?4
         WHERE id = ?1 AND status <> 'claimed' AND access_token_sealed IS NOT NULL AND updated_at <= ?2
             AND (claim_workspace_id IS NULL OR claim_started_at < ?3)",
        [Bind::from(id.as_str()), removed_at.into(), stale_before.into(), at.into()],
    )
}
