//! `connection_health` as health checks see it: what is due, and what a check found. Tenant table.
//!
//! A check is claimed by nobody: it names the time it was due at when it records what it found, so that of two at once one
//! counts. In scope: statements. Out of scope: the rules (`model::health`).

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::health::After;
use model::{Crm, Timestamp, WorkspaceId};
use serde::Deserialize;

/// A connection that is due to be checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DueCheck {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Which CRM.
    pub crm: Crm,
    /// When.
    pub check_at: Timestamp,
}

/// The connections of the shard to be checked before `until`, soonest first, from `after` on (the last one of the page
/// before). For the job that checks every workspace's. Crosses workspaces on purpose, and reads ids only.
pub async fn list_due(
    db: &dyn Db,
    until: Timestamp,
    after: Option<&DueCheck>,
    limit: u32,
) -> Result<Vec<DueCheck>, DbError> {
    let statement = Statement::new(
        "SELECT workspace_id, crm, check_at FROM connection_health
         WHERE check_at < ?1 AND (check_at, workspace_id, crm) > (?2, ?3, ?4)
         ORDER BY check_at, workspace_id, crm LIMIT ?5",
        [
            Bind::from(until),
            after.map_or(Bind::Int(-1), |due| due.check_at.into()),
            after.map_or("", |due| due.workspace_id.as_str()).into(),
            after.map_or("", |due| due.crm.as_str()).into(),
            limit.into(),
        ],
    );
    run(db, statement).await?.rows()
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Checked<'a> {
    /// When it was due: as it was read.
    pub was_due_at: Timestamp,
    /// By the rules.
    pub after: After,
    /// For people.
    pub detail: Option<&'a str>,
    /// The account's nearest limit, where the answer told it: used, of how many.
    pub limit: Option<(u32, u32)>,
    /// When it is checked next; none: not until somebody acts.
    pub check_at: Option<Timestamp>,
    /// Now.
    pub at: Timestamp,
}

/// Records it, unless another check of the same hour was faster.
pub fn record(scope: &WorkspaceScope, crm: Crm, checked: &Checked<'_>) -> Statement {
    Statement::new(
        "UPDATE connection_health SET status = ?4, detail = ?5, consecutive_failures = ?6, consecutive_refusals = ?7,
             limit_used = COALESCE(?8, limit_used), limit_max = COALESCE(?9, limit_max), check_at = ?10, checked_at = ?11
         WHERE workspace_id = ?1 AND crm = ?2 AND check_at = ?3",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            checked.was_due_at.into(),
            checked.after.health.as_str().into(),
            checked.detail.into(),
            checked.after.failures.into(),
            checked.after.refusals.into(),
            checked.limit.map(|(used, _)| used).into(),
            checked.limit.map(|(_, max)| max).into(),
            checked.check_at.into(),
            checked.at.into(),
        ],
    )
}

/// No further checks: the connection is disconnected, or a person must act.
pub fn rest(scope: &WorkspaceScope, crm: Crm, was_due_at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE connection_health SET check_at = NULL WHERE workspace_id = ?1 AND crm = ?2 AND check_at = ?3",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), was_due_at.into()],
    )
}

/// The tokens were seen to work, if the statement before it in the batch changed a row.
pub fn beat_if_changed(scope: &WorkspaceScope, crm: Crm, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET heartbeat_at = ?3
         WHERE workspace_id = ?1 AND crm = ?2 AND status <> 'disconnected' AND changes() > 0",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), at.into()],
    )
}

/// Brings a connection back that health checks gave up.
pub fn restore(scope: &WorkspaceScope, crm: Crm, token_generation: u64, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET status = 'connected', last_error_code = NULL, last_error = NULL, heartbeat_at = ?4,
             updated_at = ?4
         WHERE workspace_id = ?1 AND crm = ?2 AND token_generation = ?3 AND status = 'error'
             AND last_error_code = 'access_refused'",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            Bind::Int(i64::try_from(token_generation).unwrap_or(i64::MAX)),
            at.into(),
        ],
    )
}
