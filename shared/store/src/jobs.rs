//! `job_runs`: one row per job, its lease and its last report. Directory table.
//!
//! The lease keeps runs from overlapping; jobs are harmless when they do, since a run that died is taken over while it may
//! still be working.

use crate::db::{Bind, Db, DbError, Statement, nth, run};
use model::Timestamp;
use serde::Deserialize;

/// A job's row.
#[derive(Clone, Debug, Deserialize)]
pub struct JobRow {
    /// Its name.
    pub job: String,
    /// The run that is going on, or the last one.
    pub run_id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Until when nobody else begins.
    pub lease_until: Timestamp,
    /// None: it has not ended.
    pub ended_at: Option<Timestamp>,
    /// `done` or `failed`.
    pub outcome: Option<String>,
    /// What the last run that ended said.
    pub report_json: Option<String>,
}

/// Begins a run unless one is going on, and answers the row there is then: ours if its `run_id` is. Safe to repeat.
pub async fn begin(
    db: &dyn Db,
    job: &str,
    run_id: &str,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<JobRow, DbError> {
    let begin = Statement::new(
        "INSERT INTO job_runs (job, run_id, started_at, lease_until) VALUES (?1, ?2, ?4, ?3)
         ON CONFLICT (job) DO UPDATE SET run_id = excluded.run_id, started_at = excluded.started_at,
             lease_until = excluded.lease_until, ended_at = NULL, outcome = NULL
         WHERE job_runs.ended_at IS NOT NULL OR job_runs.lease_until <= excluded.started_at",
        [Bind::from(job), run_id.into(), lease_until.into(), now.into()],
    );
    let read = Statement::new(
        "SELECT job, run_id, started_at, lease_until, ended_at, outcome, report_json FROM job_runs WHERE job = ?1",
        [Bind::from(job)],
    );
    nth(&db.batch(vec![begin, read]).await?, 1)?.first()?.ok_or(DbError::Shape)
}

/// Ends a run, unless it was taken over.
pub fn end(job: &str, run_id: &str, outcome: &str, report: &str, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE job_runs SET ended_at = ?5, outcome = ?3, report_json = ?4
         WHERE job = ?1 AND run_id = ?2 AND ended_at IS NULL",
        [Bind::from(job), run_id.into(), outcome.into(), report.into(), now.into()],
    )
}

/// Every job that ever ran.
pub async fn list(db: &dyn Db) -> Result<Vec<JobRow>, DbError> {
    let statement = Statement::new(
        "SELECT job, run_id, started_at, lease_until, ended_at, outcome, report_json FROM job_runs ORDER BY job LIMIT 100",
        [],
    );
    run(db, statement).await?.rows()
}
