//! The watch on the databases: whatever a batch changed must be a step that the rules allow, with its audit event.

use super::check;
use super::desk::Desk;
use model::Timestamp;
use pollster::block_on;
use serde::Deserialize;
use std::collections::BTreeMap;
use store::{Db, Statement};

/// A row of the write log, as far as the rules are about it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WriteRow {
    /// Tenant.
    pub workspace_id: String,
    /// CRM.
    pub crm: String,
    /// Key.
    pub idempotency_key: String,
    /// State.
    pub status: String,
    /// Attempts.
    pub retry_count: u32,
    /// Due.
    pub next_retry_at: Option<i64>,
    /// Doubt.
    pub in_doubt: u8,
    /// Why.
    pub error_code: Option<String>,
    /// Holder.
    pub lease_id: Option<String>,
    /// Until when.
    pub lease_until: Option<i64>,
    /// The product's object.
    pub object_id: String,
    /// What it was planned as.
    pub request_hash: String,
    /// What the CRM has for it, as far as the log knows.
    pub external_ids_json: String,
    /// Attempt rows of the lease.
    pub attempts: u32,
}

/// A connection's row, as far as the rules are about it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ConnectionRow {
    /// Tenant.
    pub workspace_id: String,
    /// CRM.
    pub crm: String,
    /// The CRM account.
    pub external_account_id: String,
    /// State.
    pub status: String,
    /// Of its tokens.
    pub token_generation: u64,
    /// Sealed.
    pub access_token_sealed: Option<String>,
    /// Sealed.
    pub refresh_token_sealed: Option<String>,
}

/// An install's row, as far as the rules are about it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct InstallRow {
    /// Its id.
    pub id: String,
    /// State.
    pub status: String,
}

/// What stood there before a batch.
pub struct Before {
    index: usize,
    writes: Option<Vec<WriteRow>>,
    connections: Option<Vec<ConnectionRow>>,
    installs: Option<Vec<InstallRow>>,
    /// The texts of audit events the batch means to append.
    audits: Vec<String>,
}

const WRITES: &str =
    "SELECT workspace_id, crm, idempotency_key, status, retry_count, next_retry_at, in_doubt, error_code, lease_id,
    lease_until, object_id, request_hash, external_ids_json,
    (SELECT COUNT(*) FROM crm_write_attempts a
     WHERE a.workspace_id = w.workspace_id AND a.write_created_at = w.created_at AND a.crm = w.crm
         AND a.idempotency_key = w.idempotency_key AND a.lease_id = w.lease_id) AS attempts
    FROM crm_write_log w LIMIT 10000";
const CONNECTIONS: &str =
    "SELECT workspace_id, crm, external_account_id, status, token_generation, access_token_sealed, refresh_token_sealed
    FROM crm_connections LIMIT 1000";
const INSTALLS: &str = "SELECT id, status FROM pending_installs LIMIT 1000";

/// All writes of a database.
pub fn writes(database: &stub_db::SqliteDb) -> Vec<WriteRow> {
    rows(database, WRITES)
}

/// All connections of a database.
pub fn connections(database: &stub_db::SqliteDb) -> Vec<ConnectionRow> {
    rows(database, CONNECTIONS)
}

/// Rows of a statement of the simulator's own.
///
/// # Panics
/// When the database does not have them.
pub fn rows<T: serde::de::DeserializeOwned>(database: &stub_db::SqliteDb, sql: &'static str) -> Vec<T> {
    let outcome = block_on(database.batch(vec![Statement::new(sql, [])]));
    let rows = outcome.and_then(|outcomes| store::db::nth(&outcomes, 0)?.rows());
    rows.unwrap_or_else(|error| unreachable!("{error}: {:?}", database.last_failure()))
}

impl Before {
    /// Looks at what the batch may change; `None` when it only reads.
    pub fn look(desk: &Desk, index: usize, statements: &[Statement]) -> Option<Self> {
        if desk.place.hazard.get().is_some() {
            return None;
        }
        let database = &desk.place.databases[index];
        let writes_to = |table: &str| statements.iter().any(|s| !s.sql.starts_with("SELECT") && s.sql.contains(table));
        let (log, connections, installs) =
            (writes_to(" crm_write_log"), writes_to(" crm_connections"), writes_to(" pending_installs"));
        if !log && !connections && !installs {
            return None;
        }
        let audits =
            statements.iter().filter(|s| s.sql.contains("INTO audit_events") || s.sql.contains("INTO install_events"));
        Some(Self {
            index,
            writes: log.then(|| self::writes(database)),
            connections: connections.then(|| self::connections(database)),
            installs: installs.then(|| rows(database, INSTALLS)),
            audits: audits.map(|s| format!("{:?}", s.binds)).collect(),
        })
    }

    /// Compares.
    pub fn compare(self, desk: &Desk) {
        let database = &desk.place.databases[self.index];
        // Which of the announced events are there by now.
        let ids: Vec<EventId> = if self.audits.is_empty() {
            Vec::new()
        } else {
            rows(database, "SELECT id FROM audit_events ORDER BY at DESC LIMIT 50")
        };
        let install_events = self.index == 0 && self.installs.is_some();
        let stands = |text: &&String| ids.iter().any(|id| text.contains(&id.id));
        let audits: Vec<&String> = self.audits.iter().filter(|text| install_events || stands(text)).collect();
        if let Some(before) = self.writes {
            let before: BTreeMap<_, _> = before.into_iter().map(|row| (key(&row), row)).collect();
            for after in writes(database) {
                let was = before.get(&key(&after));
                if was != Some(&after) {
                    check::write_step(desk, was, &after, &audits);
                }
            }
        }
        if let Some(before) = self.connections {
            for after in connections(database) {
                let was = before.iter().find(|row| row.workspace_id == after.workspace_id && row.crm == after.crm);
                if was != Some(&after) {
                    check::connection_step(desk, was, &after, &audits);
                }
            }
        }
        if let Some(before) = self.installs {
            for after in rows::<InstallRow>(database, INSTALLS) {
                let was = before.iter().find(|row| row.id == after.id);
                if was != Some(&after) {
                    check::install_step(desk, was, &after, &audits);
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct EventId {
    id: String,
}

fn key(row: &WriteRow) -> (String, String, String) {
    (row.workspace_id.clone(), row.crm.clone(), row.idempotency_key.clone())
}

/// Epoch milliseconds of a request's clock.
pub fn at(now: Timestamp) -> i64 {
    now.0
}
