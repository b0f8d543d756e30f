//! `crm_write_log` and `crm_write_attempts`: intended effects and every try at them. Tenant tables.
//!
//! A whole lot travels as one JSON text (`json_each`), so that a hundred writes cost as many round trips and bound
//! parameters as one. Left to itself SQLite takes the first two columns of the key for narrow enough and walks all writes of
//! the connection, taking the JSON apart for each: `CROSS JOIN`, and a list made once with the key beside the join, keep it
//! from that. A claim is a compare-and-set with its attempt rows in the same batch; a settlement names the lease, so a
//! processor that lost its lease changes nothing.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::write::{Transition, WriteStatus};
use model::{Crm, Timestamp, WriteId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A write to be planned.
#[derive(Clone, Debug, Serialize)]
pub struct NewWrite {
    /// Which CRM.
    pub crm: Crm,
    /// Identifies the logical write.
    pub key: String,
    /// Fingerprint of the payload.
    pub request_hash: String,
    /// What it does.
    pub action: &'static str,
    /// The host product's object.
    pub object_type: String,
    /// That object's id.
    pub object_id: String,
    /// The event that caused it.
    pub source_event_id: String,
    /// The curated payload, JSON.
    pub payload: String,
}

/// Plans writes. Those whose key is there already, and those of a CRM the workspace is not connected to, are left alone:
/// [`select_by_keys`] in the same batch tells which row each key has. Only a write that rests because it was recorded in
/// dry run becomes due again.
pub fn plan(scope: &WorkspaceScope, writes: &[NewWrite], request_id: &str, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO crm_write_log (workspace_id, crm, idempotency_key, request_hash, action, object_type, object_id,
             source_event_id, payload_json, status, next_retry_at, request_id, created_at, updated_at)
         SELECT ?1, j.value->>'crm', j.value->>'key', j.value->>'request_hash', j.value->>'action',
             j.value->>'object_type', j.value->>'object_id', j.value->>'source_event_id', j.value->>'payload',
             'planned', ?4, ?3, ?4, ?4
         FROM json_each(?2) j
         WHERE EXISTS (SELECT 1 FROM crm_connections c
                       WHERE c.workspace_id = ?1 AND c.crm = j.value->>'crm' AND c.status <> 'disconnected')
         ON CONFLICT (workspace_id, crm, idempotency_key) DO UPDATE SET next_retry_at = excluded.next_retry_at
             WHERE crm_write_log.status = 'planned' AND crm_write_log.next_retry_at IS NULL",
        [Bind::from(scope.workspace_id().as_str()), Bind::list(writes), request_id.into(), now.into()],
    )
}

/// The columns of [`Write`], with the rowless table's alias.
macro_rules! write_columns {
    () => {
        "w.crm, w.idempotency_key, w.request_hash, w.action, w.object_type, w.object_id, w.source_event_id, w.status,
             w.retry_count, w.next_retry_at, w.permanent_failure, w.in_doubt, w.error_class, w.error_code,
             w.error_detail, w.provider_correlation_id, w.external_ids_json, w.response_json, w.dry_run_json,
             w.request_id, w.created_at, w.updated_at"
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
    /// The CRM's answer.
    pub response_json: Option<String>,
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

/// The rows of these keys.
pub fn select_by_keys(scope: &WorkspaceScope, keys: &[Key]) -> Statement {
    Statement::new(
        concat!(
            "SELECT ",
            write_columns!(),
            " FROM json_each(?2) j CROSS JOIN crm_write_log w
                ON w.workspace_id = ?1 AND w.crm = j.value->>'crm' AND w.idempotency_key = j.value->>'key'
              LIMIT 100"
        ),
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

/// The writes of the workspace. Dead letters are read from their own index.
pub async fn list(db: &dyn Db, scope: &WorkspaceScope, filter: &Filter) -> Result<Vec<Write>, DbError> {
    let sql = if filter.status == Some(WriteStatus::PermanentFailure) {
        concat!(
            "SELECT ",
            write_columns!(),
            " FROM crm_write_log w
              WHERE w.workspace_id = ?1 AND w.permanent_failure = 1 AND (?2 IS NULL OR w.crm = ?2)
                AND (?3 IS NULL OR w.status = ?3) AND (?4 IS NULL OR w.object_id = ?4)
                AND (?5 IS NULL OR (w.created_at, w.crm, w.idempotency_key) < (?5, ?6, ?7))
              ORDER BY w.created_at DESC, w.crm DESC, w.idempotency_key DESC LIMIT ?8"
        )
    } else {
        concat!(
            "SELECT ",
            write_columns!(),
            " FROM crm_write_log w
              WHERE w.workspace_id = ?1 AND (?2 IS NULL OR w.crm = ?2)
                AND (?3 IS NULL OR w.status = ?3) AND (?4 IS NULL OR w.object_id = ?4)
                AND (?5 IS NULL OR (w.created_at, w.crm, w.idempotency_key) < (?5, ?6, ?7))
              ORDER BY w.created_at DESC, w.crm DESC, w.idempotency_key DESC LIMIT ?8"
        )
    };
    let after = filter.after.as_ref();
    let statement = Statement::new(
        sql,
        [
            Bind::from(scope.workspace_id().as_str()),
            filter.crm.map(Crm::as_str).into(),
            filter.status.map(WriteStatus::as_str).into(),
            filter.object_id.as_deref().into(),
            after.map(|p| p.created_at).into(),
            after.map(|p| p.crm.as_str()).into(),
            after.map(|p| p.key.as_str()).into(),
            filter.limit.into(),
        ],
    );
    run(db, statement).await?.rows()
}

/// A write that was just leased.
#[derive(Clone, Debug, Deserialize)]
pub struct Leased {
    /// Its key.
    pub idempotency_key: String,
    /// The curated payload, JSON.
    pub payload_json: String,
    /// What the CRM already has for it.
    pub external_ids_json: String,
    /// Attempts that counted so far.
    pub retry_count: u32,
    /// 1: an earlier try may have reached the CRM.
    pub in_doubt: u8,
    /// When it was planned.
    pub created_at: Timestamp,
}

/// Leases the due ones among these writes of one CRM: `planned` and `failed` when due, `unknown` when it may be looked at,
/// `in_flight` when its lease has passed (a crash: from then on it is in doubt). One statement; who loses gets no row.
pub fn lease(
    scope: &WorkspaceScope,
    crm: Crm,
    keys: &[String],
    lease_id: &str,
    lease_until: Timestamp,
    now: Timestamp,
) -> Statement {
    Statement::new(
        "UPDATE crm_write_log SET
             in_doubt = CASE WHEN status = 'in_flight' THEN 1 ELSE in_doubt END,
             status = 'in_flight', lease_id = ?4, lease_until = ?5, updated_at = ?6
         WHERE workspace_id = ?1 AND crm = ?2 AND idempotency_key IN (SELECT value FROM json_each(?3))
             AND ((status IN ('planned', 'failed', 'unknown') AND next_retry_at <= ?6)
                  OR (status = 'in_flight' AND lease_until <= ?6))
         RETURNING idempotency_key, payload_json, external_ids_json, retry_count, in_doubt, created_at",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            Bind::list(keys),
            lease_id.into(),
            lease_until.into(),
            now.into(),
        ],
    )
}

/// The attempt rows of a lease, in the same batch: they are there before the first request leaves.
pub fn begin_attempts(scope: &WorkspaceScope, crm: Crm, keys: &[String], lease_id: &str, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO crm_write_attempts (workspace_id, crm, idempotency_key, lease_id, started_at)
         SELECT w.workspace_id, w.crm, w.idempotency_key, ?4, ?5
         FROM json_each(?3) j CROSS JOIN crm_write_log w
             ON w.workspace_id = ?1 AND w.crm = ?2 AND w.idempotency_key = j.value
         WHERE w.lease_id = ?4
         ON CONFLICT DO NOTHING",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), Bind::list(keys), lease_id.into(), now.into()],
    )
}

/// What a leased write became, and the tale of the attempt.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its key.
    pub key: String,
    /// The new state.
    pub transition: Transition,
    /// What the CRM has for it by now.
    pub external_ids: Value,
    /// The CRM's answer.
    pub response: Option<Value>,
    /// The requests that would have been sent.
    pub dry_run: Option<Value>,
}

impl Settled {
    fn row(&self) -> Value {
        let failure = self.transition.failure.as_ref();
        let text = |value: &Option<Value>| value.as_ref().map(ToString::to_string);
        serde_json::json!({
            "key": self.key,
            "status": self.transition.status,
            "retry_count": self.transition.retry_count,
            "next_retry_at": self.transition.next_retry_at,
            "class": failure.map(|f| f.class),
            "code": failure.map(|f| &f.code),
            "detail": failure.map(|f| &f.detail),
            "http": failure.and_then(|f| f.http_status),
            "correlation": failure.and_then(|f| f.correlation_id.as_ref()),
            "ids": self.external_ids.to_string(),
            "response": text(&self.response),
            "dry_run": text(&self.dry_run),
        })
    }
}

/// Settles leased writes. A write that was in doubt once stays so until it is final: a refusal in between proves nothing.
/// A write whose lease was lost meanwhile keeps what its new holder made of it.
pub fn settle(scope: &WorkspaceScope, crm: Crm, lease_id: &str, settled: &[Settled], now: Timestamp) -> Statement {
    let rows: Vec<Value> = settled.iter().map(Settled::row).collect();
    Statement::new(
        "WITH j AS MATERIALIZED (SELECT value->>'key' AS key, value FROM json_each(?4))
         UPDATE crm_write_log SET
             status = j.value->>'status', retry_count = j.value->>'retry_count',
             next_retry_at = j.value->>'next_retry_at',
             permanent_failure = (j.value->>'status' = 'permanent_failure'),
             in_doubt = MAX(in_doubt, j.value->>'status' = 'unknown'),
             error_class = j.value->>'class', error_code = j.value->>'code', error_detail = j.value->>'detail',
             provider_correlation_id = j.value->>'correlation',
             external_ids_json = j.value->>'ids', response_json = COALESCE(j.value->>'response', response_json),
             dry_run_json = COALESCE(j.value->>'dry_run', dry_run_json),
             lease_id = NULL, lease_until = NULL, updated_at = ?5
         FROM j
         WHERE workspace_id = ?1 AND crm = ?2 AND idempotency_key = j.key AND lease_id = ?3
             AND idempotency_key IN (SELECT key FROM j)",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            lease_id.into(),
            Bind::list(&rows),
            now.into(),
        ],
    )
}

/// Fills in what the attempts came to. `calls` is the number of requests the lot took.
pub fn end_attempts(
    scope: &WorkspaceScope,
    crm: Crm,
    lease_id: &str,
    started_at: Timestamp,
    settled: &[Settled],
    calls: u32,
    now: Timestamp,
) -> Statement {
    let rows: Vec<Value> = settled.iter().map(Settled::row).collect();
    Statement::new(
        "WITH j AS MATERIALIZED (SELECT value->>'key' AS key, value FROM json_each(?5))
         UPDATE crm_write_attempts SET
             ended_at = ?7, outcome = j.value->>'status', http_status = j.value->>'http',
             error_code = j.value->>'code', calls = ?6
         FROM j
         WHERE workspace_id = ?1 AND crm = ?2 AND idempotency_key = j.key AND started_at = ?4 AND lease_id = ?3
             AND idempotency_key IN (SELECT key FROM j)",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            lease_id.into(),
            started_at.into(),
            Bind::list(&rows),
            calls.into(),
            now.into(),
        ],
    )
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
/// each one's doorbell. Crosses workspaces on purpose, and reads ids only.
pub async fn list_due(db: &dyn Db, now: Timestamp, limit: u32) -> Result<Vec<Due>, DbError> {
    let statement = Statement::new(
        "SELECT workspace_id, crm, idempotency_key FROM crm_write_log
         WHERE next_retry_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1)
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
    /// The status it led to.
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
        "SELECT started_at, ended_at, outcome, http_status, error_code, calls FROM crm_write_attempts
         WHERE workspace_id = ?1 AND crm = ?2 AND idempotency_key = ?3 ORDER BY started_at, lease_id LIMIT 100",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), key.into()],
    );
    run(db, statement).await?.rows()
}
