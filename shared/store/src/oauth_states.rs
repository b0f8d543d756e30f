//! `oauth_states`: one row per OAuth flow in progress. Directory table.
//!
//! The row is written by the start and consumed by the callback with one conditional statement: once, before expiry, for the
//! CRM and the browser it was minted for. Only hashes of the state and the browser cookie are stored.

use crate::db::{Bind, Db, DbError, Statement, nth};
use model::oauth::Flow;
use model::{Crm, Role, Timestamp, WorkspaceId};
use serde::Deserialize;

/// A flow in progress, as minted.
#[derive(Clone, Debug)]
pub struct NewState<'a> {
    /// Hash of the state.
    pub state_hash: &'a str,
    /// Which CRM's callback may consume it.
    pub crm: Crm,
    /// Connect or install.
    pub flow: Flow,
    /// Connect only.
    pub workspace_id: Option<&'a WorkspaceId>,
    /// Who started it: a user id or `token:<name>`.
    pub started_by: Option<&'a str>,
    /// Hash of the browser's cookie.
    pub browser_hash: &'a str,
    /// The key of which the PKCE verifier is made; none where the authorize request is not ours.
    pub verifier_key_id: Option<&'a str>,
    /// Where the browser goes at the end.
    pub return_to: Option<&'a str>,
    /// Salesforce only.
    pub login_host: Option<&'a str>,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A state that was just consumed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Consumed {
    /// Connect or install.
    pub flow: Flow,
    /// Connect only.
    pub workspace_id: Option<WorkspaceId>,
    /// That workspace's shard.
    pub shard: Option<String>,
    /// Who started it: a user id or `token:<name>`.
    pub user_id: Option<String>,
    /// What they may do in the workspace now; none when they are no member, or the token no longer stands.
    pub role: Option<Role>,
    /// The key of which the PKCE verifier is made; none where the authorize request was not ours.
    pub verifier_key_id: Option<String>,
    /// Where the browser goes at the end.
    pub return_to: Option<String>,
    /// Salesforce only.
    pub login_host: Option<String>,
}

/// Why a state was not consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Not minted here, or for another CRM.
    Unknown,
    /// Consumed before.
    Used,
    /// Past its end.
    Expired,
    /// The cookie is absent or another one.
    ForeignBrowser,
}

#[derive(Deserialize)]
struct Seen {
    used_at: Option<Timestamp>,
    expires_at: Timestamp,
    browser_hash: String,
}

/// Stores a new state.
pub fn mint(state: &NewState<'_>) -> Statement {
    Statement::new(
        "INSERT INTO oauth_states (state_hash, crm, flow, workspace_id, user_id, browser_hash, verifier_key_id,
             return_to, login_host, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        [
            Bind::from(state.state_hash),
            state.crm.as_str().into(),
            state.flow.as_str().into(),
            state.workspace_id.map(WorkspaceId::as_str).into(),
            state.started_by.into(),
            state.browser_hash.into(),
            state.verifier_key_id.into(),
            state.return_to.into(),
            state.login_host.into(),
            state.created_at.into(),
            state.expires_at.into(),
        ],
    )
}

/// Consumes a state in one round trip: the conditional update, and what was there for a refusal with a reason. The state is
/// also spent when only the browser is wrong: a leaked link must not be tried from many browsers.
pub async fn consume(
    db: &dyn Db,
    crm: Crm,
    state_hash: &str,
    browser_hash: &str,
    now: Timestamp,
) -> Result<Result<Consumed, Unusable>, DbError> {
    let outcomes = db
        .batch(vec![
            Statement::new(
                "SELECT used_at, expires_at, browser_hash FROM oauth_states WHERE state_hash = ?1 AND crm = ?2",
                [Bind::from(state_hash), crm.as_str().into()],
            ),
            Statement::new(
                "UPDATE oauth_states SET used_at = ?3
                 WHERE state_hash = ?1 AND crm = ?2 AND used_at IS NULL
                 RETURNING flow, workspace_id, user_id, verifier_key_id, return_to, login_host,
                     (SELECT shard FROM workspaces w WHERE w.id = workspace_id) AS shard,
                     COALESCE(
                         (SELECT role FROM workspace_members m
                          WHERE m.workspace_id = oauth_states.workspace_id AND m.user_id = oauth_states.user_id),
                         (SELECT role FROM service_tokens t
                          WHERE t.workspace_id = oauth_states.workspace_id AND 'token:' || t.name = oauth_states.user_id
                              AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?3)
                          ORDER BY t.role = 'member' LIMIT 1)) AS role",
                [Bind::from(state_hash), crm.as_str().into(), now.into()],
            ),
        ])
        .await?;
    let Some(seen) = nth(&outcomes, 0)?.first::<Seen>()? else { return Ok(Err(Unusable::Unknown)) };
    let Some(consumed) = nth(&outcomes, 1)?.first::<Consumed>()? else { return Ok(Err(Unusable::Used)) };
    Ok(match seen {
        Seen { used_at: Some(_), .. } => Err(Unusable::Used),
        Seen { expires_at, .. } if expires_at <= now => Err(Unusable::Expired),
        // Both are hashes of 256-bit values: comparing them leaks nothing that helps.
        Seen { browser_hash: minted_for, .. } if minted_for != browser_hash => Err(Unusable::ForeignBrowser),
        Seen { .. } => Ok(consumed),
    })
}

/// Deletes states that ended before, the oldest first, at most `limit`.
pub fn delete_old(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "DELETE FROM oauth_states WHERE state_hash IN (
             SELECT state_hash FROM oauth_states WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        [Bind::from(before), limit.into()],
    )
}
