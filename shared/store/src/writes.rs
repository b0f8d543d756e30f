//! `crm_write_log` and `crm_write_attempts`: intended effects and every try at them. Tenant tables. Here they are planned and
//! read; `leases` has the processor's part, `replays` the operator's.
//!
//! A whole lot travels as one JSON text (`json_each`), so that a hundred writes cost as many round trips and bound
//! parameters as one. Left to itself SQLite may take the workspace alone for narrow enough and walk all its writes, taking the
//! JSON apart for each: `CROSS JOIN`, and the index of identities by its name, keep it from that.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::write::WriteStatus;
use model::{Crm, Timestamp, WriteId};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A write to be planned.
#[derive(Clone, Debug, Serialize)]
pub struct NewWrite {
    /// Which CRM.
    pub crm: Crm,
    /// Identifies the logical write.
    pub key: String,
    /// Fingerprint of the payload.
    pub request_hash: String,
    /// Hash of the record it is about.
    pub target: String,
    /// The curated write, as JSON.
    #[serde(skip)]
    pub payload: String,
}

impl NewWrite {
    /// As an object with the payload as it is: it was written once, for its fingerprint.
    fn put(&self, list: &mut String) {
        let rest = model::json::text(&json!(self));
        list.push_str(rest.trim_end_matches('}'));
        list.push_str(",\"payload\":");
        list.push_str(&self.payload);
        list.push('}');
    }
}

/// Plans writes. Those whose key is there already, and those of a CRM the workspace is not connected to, are left alone:
/// [`select_others`] and [`connections::select_connected`](crate::connections::select_connected) in the same batch tell which.
/// Only a write that rests because it was recorded in dry run becomes due again.
///
/// The payloads go as JSON within JSON, not as text: a hundred of the largest are then 1.7 MB, and D1 binds 2 MB at most. Each
/// is made text once: `json_each` would do so for every member that is read of it.
pub fn plan(scope: &WorkspaceScope, writes: &[NewWrite], request_id: &str, now: Timestamp) -> Statement {
    let mut list = String::from("[");
    for write in writes {
        if list.len() > 1 {
            list.push(',');
        }
        write.put(&mut list);
    }
    list.push(']');
    Statement::new(
        "WITH j AS MATERIALIZED (SELECT key, value FROM json_each(?2))
         INSERT INTO crm_write_log (workspace_id, crm, idempotency_key, request_hash, target, action, object_type, object_id,
             source_event_id, payload_json, status, next_retry_at, request_id, created_at, updated_at, position)
         SELECT ?1, j.value->>'crm', j.value->>'key', j.value->>'request_hash', j.value->>'target',
             j.value->>'$.payload.action', j.value->>'$.payload.object_type', j.value->>'$.payload.object_id',
             j.value->>'$.payload.source_event_id', j.value->'payload', 'planned', ?4, ?3, ?4, ?4, ?4 * 100 + j.key
         FROM j
         WHERE EXISTS (SELECT 1 FROM crm_connections c
                       WHERE c.workspace_id = ?1 AND c.crm = j.value->>'crm' AND c.status <> 'disconnected')
         ON CONFLICT DO UPDATE SET next_retry_at = excluded.next_retry_at
             WHERE crm_write_log.status = 'planned' AND crm_write_log.next_retry_at IS NULL",
        [Bind::from(scope.workspace_id().as_str()), list.into(), request_id.into(), now.into()],
    )
}

/// The columns of [`Write`], with the rowless table's alias.
macro_rules! write_columns {
    () => {
        "w.crm, w.idempotency_key, w.request_hash, w.action, w.object_type, w.object_id, w.source_event_id, w.status,
             w.retry_count, w.next_retry_at, w.permanent_failure, w.in_doubt, w.error_class, w.error_code,
             w.error_detail, w.provider_correlation_id, w.external_ids_json, w.response_json, w.calls,
             w.dry_run_json, w.request_id, w.created_at, w.updated_at"
    };
}

/// A row of the log, without its payload (which may hold personal data and is only read to be sent).
#[derive(Clone, Debug, Deserialize)]
pub struct Write {
    /// Which CRM.
    pub crm: Crm,
    /// Identifies the logical write; the row's id is made of it.
    pub idempotency_key: String,
    /// Fingerprint of the payload.
    pub request_hash: String,
    /// What it does.
    pub action: String,
    /// The host product's object.
    pub object_type: String,
    /// That object's id.
    pub object_id: String,
    /// The event that caused it.
    pub source_event_id: String,
    /// Where it stands.
    pub status: WriteStatus,
    /// Attempts that counted.
    pub retry_count: u32,
    /// When it is due.
    pub next_retry_at: Option<Timestamp>,
    /// 0 or 1.
    pub permanent_failure: u8,
    /// 0 or 1: an earlier try may have reached the CRM.
    pub in_doubt: u8,
    /// Of the last failure.
    pub error_class: Option<String>,
    /// Of the last failure.
    pub error_code: Option<String>,
    /// Of the last failure, for people.
    pub error_detail: Option<String>,
    /// For the provider's support.
    pub provider_correlation_id: Option<String>,
    /// What the CRM has, by our name for it.
    pub external_ids_json: String,
    /// What was kept of the CRM's answer.
    pub response_json: Option<String>,
    /// Requests of the lot that settled it.
    pub calls: Option<u32>,
    /// The requests that would have been sent.
    pub dry_run_json: Option<String>,
    /// The request that planned it.
    pub request_id: String,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Write {
    /// The id of the API.
    pub fn id(&self) -> Option<WriteId> {
        WriteId::of(self.crm, &self.idempotency_key)
    }
}

/// `(crm, key)` of a write, as JSON for `json_each`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Which CRM.
    pub crm: Crm,
    /// The idempotency key.
    pub key: String,
}

/// The writes `w` of the keys in ?2.
macro_rules! from_keys {
    () => {
        " FROM json_each(?2) j CROSS JOIN crm_write_log w INDEXED BY crm_write_log_identity
              ON w.workspace_id = ?1 AND w.crm = j.value->>'crm' AND w.idempotency_key = j.value->>'key'"
    };
}
pub(crate) use from_keys;

/// The rows of these keys that [`plan`] did not make under this request's id and time: what a new row holds is known.
pub fn select_others(scope: &WorkspaceScope, keys: &[Key], request_id: &str, now: Timestamp) -> Statement {
    Statement::new(
        concat!(
            "SELECT ",
            write_columns!(),
            from_keys!(),
            " WHERE NOT (w.request_id = ?3 AND w.created_at = ?4) LIMIT 100"
        ),
        [Bind::from(scope.workspace_id().as_str()), Bind::list(keys), request_id.into(), now.into()],
    )
}

/// The rows of these keys.
pub fn select_by_keys(scope: &WorkspaceScope, keys: &[Key]) -> Statement {
    Statement::new(
        concat!("SELECT ", write_columns!(), from_keys!(), " LIMIT 100"),
        [Bind::from(scope.workspace_id().as_str()), Bind::list(keys)],
    )
}

/// One write by its id.
pub async fn fetch(db: &dyn Db, scope: &WorkspaceScope, id: &WriteId) -> Result<Option<Write>, DbError> {
    let Some((crm, key)) = id.parts() else { return Ok(None) };
    run(db, select_by_keys(scope, &[Key { crm, key: key.to_owned() }])).await?.first()
}

/// Which writes to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this CRM's.
    pub crm: Option<Crm>,
    /// Only in this status.
    pub status: Option<WriteStatus>,
    /// Only of this object of the host product.
    pub object_id: Option<String>,
    /// Only those after this position.
    pub after: Option<Position>,
    /// At most this many.
    pub limit: u32,
}

/// A place in the list: its last row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// When that row was planned.
    pub created_at: Timestamp,
    /// Its CRM.
    pub crm: Crm,
    /// Its key.
    pub key: String,
}

/// After every write, in that order; 2^53 is the largest number that binds whole.
const NEWEST: (Timestamp, &str, &str) = (Timestamp(1 << 53), "", "");

/// The writes of the workspace. Dead letters are read from their own index, by its name: the log itself has the same order.
pub async fn list(db: &dyn Db, scope: &WorkspaceScope, filter: &Filter) -> Result<Vec<Write>, DbError> {
    let sql = if filter.status == Some(WriteStatus::PermanentFailure) {
        concat!(
            "SELECT ",
            write_columns!(),
            " FROM crm_write_log w INDEXED BY crm_write_log_dead
              WHERE w.workspace_id = ?1 AND w.permanent_failure = 1 AND (?2 IS NULL OR w.crm = ?2)
                AND (?3 IS NULL OR w.status = ?3) AND (?4 IS NULL OR w.object_id = ?4)
                AND (w.created_at, w.crm, w.idempotency_key) < (?5, ?6, ?7)
              ORDER BY w.created_at DESC, w.crm DESC, w.idempotency_key DESC LIMIT ?8"
        )
    } else {
        concat!(
            "SELECT ",
            write_columns!(),
            " FROM crm_write_log w
              WHERE w.workspace_id = ?1 AND (?2 IS NULL OR w.crm = ?2)
                AND (?3 IS NULL OR w.status = ?3) AND (?4 IS NULL OR w.object_id = ?4)
                AND (w.created_at, w.crm, w.idempotency_key) < (?5, ?6, ?7)
              ORDER BY w.created_at DESC, w.crm DESC, w.idempotency_key DESC LIMIT ?8"
        )
    };
    let (at, crm, key) =
        filter.after.as_ref().map_or(NEWEST, |after| (after.created_at, after.crm.as_str(), &after.key));
    let statement = Statement::new(
        sql,
        [
            Bind::from(scope.workspace_id().as_str()),
            filter.crm.map(Crm::as_str).into(),
            filter.status.map(WriteStatus::as_str).into(),
            filter.object_id.as_deref().into(),
            at.into(),
            crm.into(),
            key.into(),
            filter.limit.into(),
        ],
    );
    run(db, statement).await?.rows()
}

/// A write that is due, anywhere in the shard.
#[derive(Clone, Debug, Deserialize)]
pub struct Due {
    /// Whose.
    pub workspace_id: model::WorkspaceId,
    /// Which CRM.
    pub crm: Crm,
    /// Its key.
    pub idempotency_key: String,
}

/// The writes of the shard that are due, longest due first: for the reconciler, which acts for every workspace and rings
/// each one's doorbell. Crosses workspaces on purpose, and reads ids only. Those that were tried are found by their time;
/// those that were not are all due or being sent, so it reads what is due and neither what waits nor what is final.
pub async fn list_due(db: &dyn Db, now: Timestamp, limit: u32) -> Result<Vec<Due>, DbError> {
    let statement = Statement::new(
        "SELECT workspace_id, crm, idempotency_key FROM (
             SELECT workspace_id, crm, idempotency_key, next_retry_at FROM crm_write_log INDEXED BY crm_write_log_open
             WHERE (calls IS NOT NULL) = 0 AND next_retry_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1)
             UNION ALL
             SELECT workspace_id, crm, idempotency_key, next_retry_at FROM crm_write_log INDEXED BY crm_write_log_waiting
             WHERE calls IS NOT NULL AND next_retry_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1))
         ORDER BY next_retry_at LIMIT ?2",
        [Bind::from(now), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Every try at a write, oldest first.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Attempt {
    /// When it began.
    pub started_at: Timestamp,
    /// When its outcome was stored; none: in flight, or crashed.
    pub ended_at: Option<Timestamp>,
    /// The status it led to; none also of the try that succeeded, whose end is the write's own.
    pub outcome: Option<String>,
    /// The HTTP status of a failure.
    pub http_status: Option<u16>,
    /// The code of a failure.
    pub error_code: Option<String>,
    /// Requests the lot took.
    pub calls: Option<u32>,
}

/// The attempts at one write, at most 100.
pub async fn list_attempts(db: &dyn Db, scope: &WorkspaceScope, id: &WriteId) -> Result<Vec<Attempt>, DbError> {
    let Some((crm, key)) = id.parts() else { return Ok(Vec::new()) };
    let statement = Statement::new(
        "SELECT a.started_at, a.ended_at, a.outcome, a.http_status, a.error_code, a.calls
         FROM crm_write_log w INDEXED BY crm_write_log_identity CROSS JOIN crm_write_attempts a
             ON a.workspace_id = ?1 AND a.write_created_at = w.created_at AND a.crm = ?2 AND a.idempotency_key = ?3
         WHERE w.workspace_id = ?1 AND w.crm = ?2 AND w.idempotency_key = ?3 ORDER BY a.started_at, a.lease_id LIMIT 100",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), key.into()],
    );
    run(db, statement).await?.rows()
}
