//! Counts over all workspaces of a shard, for `metrics` and readiness. Each is bounded: by an index that holds only what is open,
//! and by a limit. Crosses workspaces on purpose, and reads states and counts only.

use crate::db::{Bind, Db, DbError, Statement, nth, run};
use model::{Crm, Timestamp};
use serde::Deserialize;

/// No count looks at more rows than this: beyond it the number is "at least".
pub const COUNTED_MAX: u32 = 10_000;

/// Writes of one state that did not arrive.
#[derive(Clone, Debug, Deserialize)]
pub struct Writes {
    /// Which CRM.
    pub crm: Crm,
    /// `planned`, `in_flight`, `failed`, `unknown`, `permanent_failure`.
    pub status: String,
    /// Of the last failure.
    pub class: Option<String>,
    /// How many.
    pub count: u64,
}

/// Connections of one state.
#[derive(Clone, Debug, Deserialize)]
pub struct Connections {
    /// Which CRM.
    pub crm: Crm,
    /// Of the connection.
    pub status: String,
    /// Of its health.
    pub health: Option<String>,
    /// How many.
    pub count: u64,
    /// Tokens stored since they were made: connects and refreshes.
    pub tokens_stored: u64,
    /// Of those that are checked: when the longest unchecked one was due.
    pub oldest_check_at: Option<Timestamp>,
    /// The nearest limit's used share, of whichever has most used, in thousandths.
    pub limit_used_permille: Option<u64>,
}

/// What a shard counts.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Writes that are not final.
    pub writes: Vec<Writes>,
    /// Writes that a person has to look after.
    pub dead_letters: Vec<Writes>,
    /// When the write that is due longest was due.
    pub oldest_due_at: Option<Timestamp>,
    /// Connections by state.
    pub connections: Vec<Connections>,
    /// Alarms that are to be delivered.
    pub alarms: u64,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Due {
    next_retry_at: Option<Timestamp>,
}

/// Everything, in one round trip.
pub async fn count(db: &dyn Db, now: Timestamp) -> Result<Counts, DbError> {
    let outcomes = db
        .batch(vec![
            Statement::new(
                "SELECT crm, status, error_class AS class, COUNT(*) AS count
                 FROM (SELECT crm, status, error_class FROM crm_write_log WHERE next_retry_at IS NOT NULL LIMIT ?1)
                 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 100",
                [Bind::from(COUNTED_MAX)],
            ),
            Statement::new(
                "SELECT crm, status, error_class AS class, COUNT(*) AS count
                 FROM (SELECT crm, status, error_class FROM crm_write_log WHERE permanent_failure = 1 LIMIT ?1)
                 GROUP BY 1, 2, 3 ORDER BY 1, 3 LIMIT 100",
                [Bind::from(COUNTED_MAX)],
            ),
            oldest_due(now),
            Statement::new(
                "SELECT crm, status, health, COUNT(*) AS count, SUM(token_generation) AS tokens_stored,
                     MIN(check_at) AS oldest_check_at, MAX(permille) AS limit_used_permille
                 FROM (SELECT c.crm, c.status, h.status AS health, c.token_generation, h.check_at,
                           CASE WHEN h.limit_max > 0 THEN h.limit_used * 1000 / h.limit_max END AS permille
                       FROM crm_connections c
                       LEFT JOIN connection_health h ON h.workspace_id = c.workspace_id AND h.crm = c.crm LIMIT ?1)
                 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 100",
                [Bind::from(COUNTED_MAX)],
            ),
            Statement::new(
                "SELECT COUNT(*) AS count FROM (SELECT 1 FROM alarms WHERE try_at IS NOT NULL LIMIT ?1)",
                [Bind::from(COUNTED_MAX)],
            ),
        ])
        .await?;
    Ok(Counts {
        writes: nth(&outcomes, 0)?.rows()?,
        dead_letters: nth(&outcomes, 1)?.rows()?,
        oldest_due_at: nth(&outcomes, 2)?.first::<Due>()?.and_then(|row| row.next_retry_at),
        connections: nth(&outcomes, 3)?.rows()?,
        alarms: nth(&outcomes, 4)?.first::<Count>()?.map_or(0, |row| row.count),
    })
}

/// When the write that is due longest was due: shows that the database answers, and how far the processor is behind.
pub async fn fetch_oldest_due(db: &dyn Db, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
    Ok(run(db, oldest_due(now)).await?.first::<Due>()?.and_then(|row| row.next_retry_at))
}

/// As `writes::list_due` looks for them.
fn oldest_due(now: Timestamp) -> Statement {
    Statement::new(
        "SELECT MIN(next_retry_at) AS next_retry_at FROM (
             SELECT * FROM (
                 SELECT next_retry_at FROM crm_write_log INDEXED BY crm_write_log_open
                 WHERE (calls IS NOT NULL) = 0 AND next_retry_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1)
                 LIMIT ?2)
             UNION ALL
             SELECT * FROM (
                 SELECT next_retry_at FROM crm_write_log INDEXED BY crm_write_log_waiting
                 WHERE calls IS NOT NULL AND next_retry_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?1)
                 ORDER BY next_retry_at LIMIT 1))",
        [Bind::from(now), COUNTED_MAX.into()],
    )
}
