//! `workspaces`, `workspace_members`, `service_tokens`: who may act where. Directory tables.

use crate::db::{Bind, Db, DbError, Statement, run};
use model::{Role, Timestamp, UserId, WorkspaceId};
use serde::Deserialize;

/// What a caller may do in which workspace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Access {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The shard that holds its tables.
    pub shard: String,
    /// The caller's role in it.
    pub role: Role,
    /// The service token's name; none for a person.
    pub token_name: Option<String>,
}

/// The access of a user to a workspace; `None` when there is no such workspace or membership: the two look alike.
pub async fn fetch_member(db: &dyn Db, workspace: &WorkspaceId, user: &UserId) -> Result<Option<Access>, DbError> {
    let statement = Statement::new(
        "SELECT w.id AS workspace_id, w.shard, m.role, NULL AS token_name
         FROM workspace_members m JOIN workspaces w ON w.id = m.workspace_id
         WHERE m.workspace_id = ?1 AND m.user_id = ?2",
        [Bind::from(workspace.as_str()), Bind::from(user.as_str())],
    );
    run(db, statement).await?.first()
}

/// The access of a service token, by the hash of it; `None` when unknown, expired or revoked.
pub async fn fetch_service_token(db: &dyn Db, token_hash: &str, now: Timestamp) -> Result<Option<Access>, DbError> {
    let statement = Statement::new(
        "SELECT w.id AS workspace_id, w.shard, t.role, t.name AS token_name
         FROM service_tokens t JOIN workspaces w ON w.id = t.workspace_id
         WHERE t.token_hash = ?1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?2)",
        [Bind::from(token_hash), now.into()],
    );
    run(db, statement).await?.first()
}

/// A workspace and where its tables are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// Which.
    pub id: WorkspaceId,
    /// The shard that holds its tables.
    pub shard: String,
}

/// The next workspaces after one, in the order of their ids: for jobs that go through all.
pub async fn list(db: &dyn Db, after: Option<&WorkspaceId>, limit: u32) -> Result<Vec<Placed>, DbError> {
    let statement = Statement::new(
        "SELECT id, shard FROM workspaces WHERE id > ?1 ORDER BY id LIMIT ?2",
        [Bind::from(after.map_or("", WorkspaceId::as_str)), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Adds a workspace; one that exists keeps its shard.
pub fn create(id: &WorkspaceId, name: &str, shard: &str, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO workspaces (id, name, shard, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        [Bind::from(id.as_str()), name.into(), shard.into(), now.into()],
    )
}

/// Gives a user a role, or changes it.
pub fn admit_member(workspace: &WorkspaceId, user: &UserId, role: Role, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO workspace_members (workspace_id, user_id, role, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = excluded.role",
        [Bind::from(workspace.as_str()), user.as_str().into(), role.as_str().into(), now.into()],
    )
}

/// Stores the hash of a service token.
pub fn issue_service_token(
    token_hash: &str,
    workspace: &WorkspaceId,
    name: &str,
    role: Role,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Statement {
    Statement::new(
        "INSERT INTO service_tokens (token_hash, workspace_id, name, role, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (token_hash) DO NOTHING",
        [
            Bind::from(token_hash),
            workspace.as_str().into(),
            name.into(),
            role.as_str().into(),
            now.into(),
            expires_at.into(),
        ],
    )
}
