//! `crm_accounts`: which workspace a CRM account belongs to. Directory table.
//!
//! One account, one workspace. The row is taken in the batch that connects and let go in the one that disconnects.

use crate::db::{Bind, Db, DbError, Statement, run};
use model::{Crm, Timestamp, WorkspaceId};
use serde::Deserialize;

/// Who has an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Owner {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Its shard, where its connection says whether it still is connected.
    pub shard: String,
    /// When it took the account.
    pub acquired_at: Timestamp,
}

/// Takes the account for a workspace. When another has it, a constraint fails and with it the whole batch: nothing that
/// belongs to the connect may stand then.
pub fn take(crm: Crm, account: &str, workspace: &WorkspaceId, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO crm_accounts (crm, external_account_id, workspace_id, acquired_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (crm, external_account_id) DO UPDATE SET workspace_id =
             CASE WHEN crm_accounts.workspace_id = excluded.workspace_id THEN excluded.workspace_id ELSE NULL END",
        [Bind::from(crm.as_str()), account.into(), workspace.as_str().into(), now.into()],
    )
}

/// The statement that reads who has an account, for use in a batch.
pub fn select_owner(crm: Crm, account: &str) -> Statement {
    Statement::new(
        "SELECT a.workspace_id, w.shard, a.acquired_at
         FROM crm_accounts a JOIN workspaces w ON w.id = a.workspace_id
         WHERE a.crm = ?1 AND a.external_account_id = ?2",
        [Bind::from(crm.as_str()), account.into()],
    )
}

/// Who has an account.
pub async fn fetch_owner(db: &dyn Db, crm: Crm, account: &str) -> Result<Option<Owner>, DbError> {
    run(db, select_owner(crm, account)).await?.first()
}

/// Lets the account go, if the workspace has it.
pub fn release(crm: Crm, account: &str, workspace: &WorkspaceId) -> Statement {
    Statement::new(
        "DELETE FROM crm_accounts WHERE crm = ?1 AND external_account_id = ?2 AND workspace_id = ?3",
        [Bind::from(crm.as_str()), account.into(), workspace.as_str().into()],
    )
}

/// Lets go an account whose owner was seen without a connection, unless it was taken anew in the meantime.
pub fn release_stale(crm: Crm, account: &str, owner: &Owner) -> Statement {
    Statement::new(
        "DELETE FROM crm_accounts
         WHERE crm = ?1 AND external_account_id = ?2 AND workspace_id = ?3 AND acquired_at = ?4",
        [Bind::from(crm.as_str()), account.into(), owner.workspace_id.as_str().into(), owner.acquired_at.into()],
    )
}
