//! Redacting rows of `crm_write_log`: the payload and the CRM's answer go, the row stays, so that a repeat is still known.
//! Tenant tables.

use crate::db::{Bind, Statement};
use crate::scope::WorkspaceScope;
use crate::writes::{Key, from_keys};
use model::Timestamp;
use model::retention::REDACTED_PAYLOAD;
use serde_json::json;

/// The final ones among these writes lose their payload, what the CRM answered and the hash of whom they are about; the row stays, so that a repeat is still
/// known. A write that only rests, recorded in dry run, ends with it.
pub fn redact(scope: &WorkspaceScope, keys: &[Key], now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_write_log INDEXED BY crm_write_log_identity SET
             payload_json = ?3, response_json = NULL, dry_run_json = NULL, error_detail = NULL, target = NULL,
             permanent_failure = (status <> 'succeeded'),
             error_class = CASE WHEN status = 'planned' THEN 'mapping' ELSE error_class END,
             error_code = CASE WHEN status = 'planned' THEN 'payload_expired' ELSE error_code END,
             status = CASE WHEN status = 'planned' THEN 'permanent_failure' ELSE status END, updated_at = ?4
         WHERE workspace_id = ?1 AND (crm, idempotency_key) IN (SELECT value->>'crm', value->>'key' FROM json_each(?2))
             AND (status IN ('succeeded', 'permanent_failure') OR (status = 'planned' AND next_retry_at IS NULL))
             AND payload_json <> ?3",
        [
            Bind::from(scope.workspace_id().as_str()),
            model::json::text(&json!(keys)).into(),
            REDACTED_PAYLOAD.into(),
            now.into(),
        ],
    )
}

/// Deletes the attempts of those that are redacted.
pub fn delete_attempts(scope: &WorkspaceScope, keys: &[Key]) -> Statement {
    Statement::new(
        concat!(
            "DELETE FROM crm_write_attempts
             WHERE workspace_id = ?1 AND (write_created_at, crm, idempotency_key) IN (
                 SELECT w.created_at, w.crm, w.idempotency_key",
            from_keys!(),
            " WHERE w.payload_json = ?3)"
        ),
        [Bind::from(scope.workspace_id().as_str()), model::json::text(&json!(keys)).into(), REDACTED_PAYLOAD.into()],
    )
}

/// Those that wait to be tried, and of which no try is in doubt, are not tried any more and lose their payload.
pub fn cancel(scope: &WorkspaceScope, keys: &[Key], now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_write_log INDEXED BY crm_write_log_identity SET
             payload_json = ?3, response_json = NULL, dry_run_json = NULL, error_detail = NULL, target = NULL,
             status = 'permanent_failure', permanent_failure = 1, next_retry_at = NULL, error_class = 'mapping',
             error_code = 'erased', updated_at = ?4
         WHERE workspace_id = ?1 AND (crm, idempotency_key) IN (SELECT value->>'crm', value->>'key' FROM json_each(?2))
             AND status IN ('planned', 'failed') AND in_doubt = 0",
        [
            Bind::from(scope.workspace_id().as_str()),
            model::json::text(&json!(keys)).into(),
            REDACTED_PAYLOAD.into(),
            now.into(),
        ],
    )
}

/// Those of the writes that still have their payload.
pub fn select_left(scope: &WorkspaceScope, keys: &[Key]) -> Statement {
    Statement::new(
        concat!("SELECT w.created_at", from_keys!(), " WHERE w.payload_json <> ?3 LIMIT 1000"),
        [Bind::from(scope.workspace_id().as_str()), model::json::text(&json!(keys)).into(), REDACTED_PAYLOAD.into()],
    )
}
