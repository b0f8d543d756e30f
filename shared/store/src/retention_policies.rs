//! `retention_policies`: what a workspace keeps, and how long. Tenant table.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::retention::Policy;
use model::{Timestamp, WorkspaceId};
use serde::Deserialize;
use serde_json::json;

/// A workspace's own policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// As in [`Policy`]; written out, since serde's `flatten` costs 10 KB gzip.
    pub message_days: Option<u32>,
    /// As in [`Policy`].
    pub attachment_days: Option<u32>,
    /// As in [`Policy`].
    pub write_days: Option<u32>,
    /// Grows with every change: a change is a compare-and-set on it.
    pub version: u32,
    /// Who changed it last: a user id or `token:<name>`.
    pub updated_by: String,
    /// When.
    pub updated_at: Timestamp,
}

impl Stored {
    /// What it says.
    pub const fn policy(&self) -> Policy {
        let Self { message_days, attachment_days, write_days, .. } = *self;
        Policy { message_days, attachment_days, write_days }
    }
}

/// The workspace's policy; `None` where it never chose one.
pub async fn fetch(db: &dyn Db, scope: &WorkspaceScope) -> Result<Option<Stored>, DbError> {
    let statement = Statement::new(
        "SELECT message_days, attachment_days, write_days, version, updated_by, updated_at
         FROM retention_policies WHERE workspace_id = ?1",
        [Bind::from(scope.workspace_id().as_str())],
    );
    run(db, statement).await?.first()
}

/// Stores a policy over the version that was read (0: there was none). Changes nothing when somebody else was faster.
pub fn store(scope: &WorkspaceScope, policy: &Policy, was_version: u32, by: &str, at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO retention_policies (workspace_id, message_days, attachment_days, write_days, version, updated_by,
             updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5 + 1, ?6, ?7)
         ON CONFLICT (workspace_id) DO UPDATE SET
             message_days = excluded.message_days, attachment_days = excluded.attachment_days,
             write_days = excluded.write_days, version = excluded.version, updated_by = excluded.updated_by,
             updated_at = excluded.updated_at
         WHERE retention_policies.version = ?5",
        [
            Bind::from(scope.workspace_id().as_str()),
            policy.message_days.into(),
            policy.attachment_days.into(),
            policy.write_days.into(),
            was_version.into(),
            by.into(),
            at.into(),
        ],
    )
}

/// A workspace's own policy, among others.
#[derive(Clone, Debug, Deserialize)]
pub struct OfWorkspace {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// As in [`Policy`].
    pub message_days: Option<u32>,
    /// As in [`Policy`].
    pub attachment_days: Option<u32>,
    /// As in [`Policy`].
    pub write_days: Option<u32>,
}

impl OfWorkspace {
    /// What it says.
    pub const fn policy(&self) -> Policy {
        let Self { message_days, attachment_days, write_days, .. } = *self;
        Policy { message_days, attachment_days, write_days }
    }
}

/// The policies of those workspaces that have one of their own. Crosses workspaces on purpose, for the purge.
pub async fn list(db: &dyn Db, workspaces: &[WorkspaceId]) -> Result<Vec<OfWorkspace>, DbError> {
    let statement = Statement::new(
        "SELECT p.workspace_id, p.message_days, p.attachment_days, p.write_days
         FROM json_each(?1) j CROSS JOIN retention_policies p ON p.workspace_id = j.value LIMIT 1000",
        [Bind::from(model::json::text(&json!(workspaces)))],
    );
    run(db, statement).await?.rows()
}
