//! Dead letters that live again: replayed by an operator, or revived because their connection is back. Tenant table
//! `crm_write_log`, by its index of dead letters.
//!
//! A replay keeps everything that makes the effect one: the key, the payload, what the CRM already has for it, the doubt.

use crate::db::{Bind, Statement};
use crate::scope::WorkspaceScope;
use crate::writes::Key;
use model::{Crm, Timestamp};
use serde::Deserialize;

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters {
    /// Only this CRM's.
    pub crm: Option<Crm>,
    /// Only of this class.
    pub error_class: Option<String>,
    /// Only with this code.
    pub error_code: Option<String>,
    /// Only those planned at this time or later.
    pub after: Option<Timestamp>,
    /// Only those planned before this time.
    pub before: Option<Timestamp>,
}

impl DeadLetters {
    fn binds(&self, scope: &WorkspaceScope) -> Vec<Bind> {
        vec![
            scope.workspace_id().as_str().into(),
            self.crm.map(Crm::as_str).into(),
            self.error_class.as_deref().into(),
            self.error_code.as_deref().into(),
            self.after.into(),
            self.before.into(),
        ]
    }
}

/// A dead letter, by its parts.
#[derive(Clone, Debug, Deserialize)]
pub struct DeadLetter {
    /// Which CRM.
    pub crm: Crm,
    /// Its key.
    pub idempotency_key: String,
}

/// How many there are, counted up to a limit.
pub fn count(scope: &WorkspaceScope, which: &DeadLetters, limit: u32) -> Statement {
    let mut binds = which.binds(scope);
    binds.push(limit.into());
    Statement::new(
        "SELECT COUNT(*) AS n FROM (
             SELECT 1 FROM crm_write_log INDEXED BY crm_write_log_dead
             WHERE workspace_id = ?1 AND permanent_failure = 1 AND (?2 IS NULL OR crm = ?2)
                 AND (?3 IS NULL OR error_class = ?3) AND (?4 IS NULL OR error_code = ?4)
                 AND (?5 IS NULL OR created_at >= ?5) AND (?6 IS NULL OR created_at < ?6) LIMIT ?7)",
        binds,
    )
}

/// The oldest of them whose connection can be written through.
pub fn select(scope: &WorkspaceScope, which: &DeadLetters, limit: u32) -> Statement {
    let mut binds = which.binds(scope);
    binds.push(limit.into());
    Statement::new(
        "SELECT w.crm, w.idempotency_key FROM crm_write_log w INDEXED BY crm_write_log_dead
         WHERE w.workspace_id = ?1 AND w.permanent_failure = 1 AND (?2 IS NULL OR w.crm = ?2)
             AND (?3 IS NULL OR w.error_class = ?3) AND (?4 IS NULL OR w.error_code = ?4)
             AND (?5 IS NULL OR w.created_at >= ?5) AND (?6 IS NULL OR w.created_at < ?6)
             AND EXISTS (SELECT 1 FROM crm_connections c
                         WHERE c.workspace_id = ?1 AND c.crm = w.crm AND c.status <> 'disconnected')
         ORDER BY w.created_at, w.crm, w.idempotency_key LIMIT ?7",
        binds,
    )
}

/// Makes these dead letters due again, with a fresh count of attempts; one in doubt is looked for first. Others are left alone,
/// and so are those without a connection to write through.
pub fn replay(scope: &WorkspaceScope, keys: &[Key], at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_write_log AS w INDEXED BY crm_write_log_identity SET
             status = CASE WHEN in_doubt = 1 THEN 'unknown' ELSE 'planned' END, permanent_failure = 0,
             retry_count = 0, next_retry_at = ?3, updated_at = ?3
         WHERE workspace_id = ?1 AND (crm, idempotency_key) IN (SELECT value->>'crm', value->>'key' FROM json_each(?2))
             AND permanent_failure = 1
             AND EXISTS (SELECT 1 FROM crm_connections c
                         WHERE c.workspace_id = ?1 AND c.crm = w.crm AND c.status <> 'disconnected')",
        [Bind::from(scope.workspace_id().as_str()), Bind::list(keys), at.into()],
    )
}

/// Takes up again what was in doubt when its account was disconnected: now it can be looked for.
pub fn revive(scope: &WorkspaceScope, crm: Crm, external_account_id: &str, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_write_log INDEXED BY crm_write_log_dead SET
             status = 'unknown', permanent_failure = 0, next_retry_at = ?4, updated_at = ?4
         WHERE workspace_id = ?1 AND permanent_failure = 1 AND crm = ?2 AND in_doubt = 1
             AND error_class = 'unknown_outcome' AND error_code = 'not_connected' AND external_account_id = ?3",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), external_account_id.into(), at.into()],
    )
}
