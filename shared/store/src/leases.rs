//! The processor's part of `crm_write_log` and `crm_write_attempts`: leasing due writes, and settling them. Tenant tables.
//!
//! A claim is a compare-and-set with its attempt rows in the same batch; a settlement names the lease, so a processor that
//! lost its lease changes nothing. `writes` says how lists travel, and why the joins are written as they are.

use crate::db::{Bind, Statement};
use crate::scope::WorkspaceScope;
use model::write::{Transition, WriteStatus};
use model::{Crm, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

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
    /// The CRM account its tries go to; of a write in doubt, the one they went to.
    pub external_account_id: Option<String>,
    /// The record it is about, as a hash.
    pub target: Option<String>,
    /// Its place in the order of acceptance; none of a write from before there was one.
    pub position: Option<i64>,
    /// When it was planned.
    pub created_at: Timestamp,
}

/// A claim about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Names it.
    pub lease_id: &'a str,
    /// When it ends by itself.
    pub until: Timestamp,
    /// An older claim that ended before this one is a crash, and the request it may have sent has taken effect by now or
    /// never will.
    pub crashed_before: Timestamp,
    /// A write accepted before this one is not held back by an earlier one of its target any more.
    pub held_since: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// Leases the due ones among these writes of one CRM: `planned` and `failed` when due, `unknown` when it may be looked at,
/// `in_flight` after a crash, and from then on in doubt. One statement; who loses gets no row.
///
/// An open write of the same target that was accepted earlier holds a write back, unless it is leased with it; not for ever,
/// but one that another lot is sending always does: two lots that look for one person at once would both make it.
pub fn lease(scope: &WorkspaceScope, crm: Crm, keys: &[String], claim: &Claim<'_>) -> Statement {
    Statement::new(
        "UPDATE crm_write_log AS w INDEXED BY crm_write_log_identity SET
             external_account_id = CASE WHEN (in_doubt = 1 OR status = 'in_flight') AND external_account_id IS NOT NULL
                 THEN external_account_id
                 ELSE (SELECT c.external_account_id FROM crm_connections c WHERE c.workspace_id = ?1 AND c.crm = ?2) END,
             in_doubt = CASE WHEN status = 'in_flight' THEN 1 ELSE in_doubt END,
             status = 'in_flight', lease_id = ?4, lease_until = ?5, updated_at = ?6
         WHERE workspace_id = ?1 AND crm = ?2 AND idempotency_key IN (SELECT value FROM json_each(?3))
             AND ((status IN ('planned', 'failed', 'unknown') AND next_retry_at <= ?6)
                  OR (status = 'in_flight' AND lease_until <= ?7))
             AND NOT (created_at > ?8 AND EXISTS (
                 SELECT 1 FROM crm_write_log e INDEXED BY crm_write_log_open
                 WHERE (e.calls IS NOT NULL) IN (0, 1) AND e.workspace_id = ?1 AND e.crm = ?2 AND e.target = w.target
                     AND e.position < w.position AND e.next_retry_at IS NOT NULL
                     AND NOT (e.idempotency_key IN (SELECT value FROM json_each(?3))
                         AND ((e.status IN ('planned', 'failed', 'unknown') AND e.next_retry_at <= ?6)
                              OR (e.status = 'in_flight' AND e.lease_until <= ?7)))))
             AND NOT EXISTS (
                 SELECT 1 FROM crm_write_log f INDEXED BY crm_write_log_open
                 WHERE (f.calls IS NOT NULL) IN (0, 1) AND f.workspace_id = ?1 AND f.crm = ?2 AND f.target = w.target
                     AND f.next_retry_at IS NOT NULL AND f.status = 'in_flight' AND f.lease_until > ?7 AND f.lease_id IS NOT ?4)
         RETURNING idempotency_key, payload_json, external_ids_json, retry_count, in_doubt, external_account_id, target,
             position, created_at",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            Bind::list(keys),
            claim.lease_id.into(),
            claim.until.into(),
            claim.at.into(),
            claim.crashed_before.into(),
            claim.held_since.into(),
        ],
    )
}

/// The attempt rows of a lease, in the same batch: they are there before the first request leaves.
pub fn begin_attempts(scope: &WorkspaceScope, crm: Crm, keys: &[String], lease_id: &str, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO crm_write_attempts (workspace_id, write_created_at, crm, idempotency_key, started_at, lease_id)
         SELECT w.workspace_id, w.created_at, w.crm, w.idempotency_key, ?5, ?4
         FROM json_each(?3) j CROSS JOIN crm_write_log w INDEXED BY crm_write_log_identity
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
    /// When it was planned: with its key, where its row and its attempts' are.
    pub created_at: Timestamp,
    /// The new state.
    pub transition: Transition,
    /// What the CRM has for it by now.
    pub external_ids: Value,
    /// What is kept of the CRM's answer.
    pub response: Option<Value>,
    /// The requests that would have been sent.
    pub dry_run: Option<Value>,
}

impl Settled {
    /// Members that are absent read as NULL.
    fn row(&self) -> Value {
        let mut row = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                row.insert(name.to_owned(), value);
            }
        };
        let transition = &self.transition;
        put("key", Some(json!(self.key)));
        put("created_at", Some(json!(self.created_at)));
        put("status", Some(json!(transition.status)));
        put("retry_count", Some(json!(transition.retry_count)));
        put("next_retry_at", transition.next_retry_at.map(|at| json!(at)));
        if let Some(failure) = &transition.failure {
            put("class", Some(json!(failure.class)));
            put("code", Some(json!(failure.code)));
            put("detail", Some(json!(failure.detail)));
            put("http", failure.http_status.map(|status| json!(status)));
            put("correlation", failure.correlation_id.as_ref().map(|id| json!(id)));
        }
        put("ids", Some(self.external_ids.clone()));
        put("response", self.response.clone());
        put("dry_run", self.dry_run.clone());
        Value::Object(row)
    }
}

/// The list of a settlement stays below this: D1 binds 2 MB at most, and the requests of a hundred dry runs are more.
const SETTLEMENT_BYTES_MAX: usize = 1_000_000;

/// The settlements of a lot, in parts that can be bound. Each part is its rows as JSON, made once for both statements.
#[derive(Clone, Debug)]
pub struct Settlement {
    rows: String,
    /// Whether there is an attempt whose end is not told by its write.
    has_open_ends: bool,
    /// How many writes.
    pub len: usize,
}

impl Settlement {
    /// The parts.
    pub fn of(settled: &[Settled]) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for write in settled {
            let row = model::json::text(&write.row());
            let fits = parts.last().is_some_and(|part| part.rows.len() + row.len() < SETTLEMENT_BYTES_MAX);
            if !fits {
                parts.push(Self { rows: String::from("["), has_open_ends: false, len: 0 });
            }
            let Some(part) = parts.last_mut() else { continue };
            if part.len > 0 {
                part.rows.push(',');
            }
            part.rows.push_str(&row);
            part.len += 1;
            part.has_open_ends |= write.transition.status != WriteStatus::Succeeded;
        }
        for part in &mut parts {
            part.rows.push(']');
        }
        parts
    }

    /// Settles leased writes. A write that was in doubt once stays so until it is final: a refusal in between proves nothing.
    /// A write whose lease was lost meanwhile keeps what its new holder made of it. `calls` is the number of requests the lot
    /// took.
    pub fn settle(&self, scope: &WorkspaceScope, crm: Crm, lease_id: &str, calls: u32, now: Timestamp) -> Statement {
        Statement::new(
            "WITH j AS MATERIALIZED (SELECT value->>'key' AS key, value->>'created_at' AS created_at, value
                                     FROM json_each(?4))
             UPDATE crm_write_log AS w SET
                 status = j.value->>'status', retry_count = j.value->>'retry_count',
                 next_retry_at = j.value->>'next_retry_at',
                 permanent_failure = (j.value->>'status' = 'permanent_failure'),
                 in_doubt = MAX(in_doubt, j.value->>'status' = 'unknown'),
                 target = CASE WHEN j.value->>'status' = 'succeeded' THEN NULL ELSE target END,
                 error_class = j.value->>'class', error_code = j.value->>'code', error_detail = j.value->>'detail',
                 provider_correlation_id = j.value->>'correlation',
                 external_ids_json = j.value->'ids', response_json = COALESCE(j.value->'response', response_json),
                 dry_run_json = COALESCE(j.value->'dry_run', dry_run_json), calls = ?6,
                 lease_id = NULL, lease_until = NULL, updated_at = ?5
             FROM j
             WHERE w.workspace_id = ?1 AND w.created_at = j.created_at AND w.crm = ?2 AND w.idempotency_key = j.key
                 AND w.lease_id = ?3",
            [
                Bind::from(scope.workspace_id().as_str()),
                crm.as_str().into(),
                lease_id.into(),
                self.rows.clone().into(),
                now.into(),
                calls.into(),
            ],
        )
    }

    /// Fills in what the attempts came to, but for those that succeeded: their end is the write's own, and a row that is not
    /// written is not billed. None when that is all of them.
    pub fn end_attempts(
        &self,
        scope: &WorkspaceScope,
        crm: Crm,
        lease: (&str, Timestamp),
        calls: u32,
        now: Timestamp,
    ) -> Option<Statement> {
        let (lease_id, started_at) = lease;
        self.has_open_ends.then(|| {
            Statement::new(
                "WITH j AS MATERIALIZED (SELECT value->>'key' AS key, value->>'created_at' AS created_at, value
                                         FROM json_each(?5) WHERE value->>'status' <> 'succeeded')
                 UPDATE crm_write_attempts AS a SET
                     ended_at = ?7, outcome = j.value->>'status', http_status = j.value->>'http',
                     error_code = j.value->>'code', calls = ?6
                 FROM j
                 WHERE a.workspace_id = ?1 AND a.write_created_at = j.created_at AND a.crm = ?2
                     AND a.idempotency_key = j.key AND a.started_at = ?4 AND a.lease_id = ?3",
                [
                    Bind::from(scope.workspace_id().as_str()),
                    crm.as_str().into(),
                    lease_id.into(),
                    started_at.into(),
                    self.rows.clone().into(),
                    calls.into(),
                    now.into(),
                ],
            )
        })
    }
}

/// The writes of these targets that are due by now: what an earlier write of the target held back.
pub fn select_released(scope: &WorkspaceScope, crm: Crm, targets: &[&str], now: Timestamp) -> Statement {
    Statement::new(
        "SELECT w.idempotency_key FROM json_each(?3) j
         CROSS JOIN crm_write_log w INDEXED BY crm_write_log_open
             ON (w.calls IS NOT NULL) IN (0, 1) AND w.workspace_id = ?1 AND w.crm = ?2 AND w.target = j.value
                 AND w.next_retry_at <= ?4
         WHERE w.status IN ('planned', 'failed', 'unknown') ORDER BY w.position LIMIT 100",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), Bind::list(targets), now.into()],
    )
}

/// A write by its key alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Released {
    /// Its key.
    pub idempotency_key: String,
}
