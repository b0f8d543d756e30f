//! One run of a job, on schedule or by hand: begun under a lease, ended with a report. While a run is going on another says
//! since when; a run that died is taken over when its lease is over.

use crate::{Error, World};
use model::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use store::{db, jobs};

/// A run may take the platform's 15 minutes, and a little.
pub const LEASE_SECS: i64 = 16 * 60;

/// A run that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    job: &'static str,
    run_id: String,
    started_at: Timestamp,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobRun {
    /// The job's name.
    pub job: String,
    /// Names the run, also in its log lines.
    pub run_id: String,
    /// When it began.
    pub started_at: String,
    /// None: it is going on, or died.
    pub ended_at: Option<String>,
    /// `running`, `done` or `failed`.
    pub outcome: String,
    /// What it did, in the job's own words: counts.
    pub report: Option<Value>,
}

/// Begins a run, or refuses because one is going on.
pub async fn begin_job(world: &World<'_>, job: &'static str) -> Result<Begun, Error> {
    let run_id = world.request_id.clone();
    let lease_until = world.now.plus_secs(LEASE_SECS);
    let row = jobs::begin(world.directory, job, &run_id, lease_until, world.now).await?;
    if row.run_id != run_id {
        return Err(Error::JobRunning { since: row.started_at });
    }
    world.log.event("job_started", &[("job", job)]);
    Ok(Begun { job, run_id, started_at: world.now })
}

/// Ends a run with its report. A report that cannot be stored is logged all the same, and the lease runs out by itself.
pub async fn end_job(world: &World<'_>, begun: Begun, outcome: Result<Value, Error>) -> Result<JobRun, Error> {
    let (ended, report, error) = match outcome {
        Ok(report) => ("done", report, None),
        Err(error) => ("failed", json!({"code": error.code()}), Some(error)),
    };
    let text = report.to_string();
    let end = jobs::end(begun.job, &begun.run_id, ended, &text, world.now);
    let stored = db::run(world.directory, end).await;
    let ms = world.now.0.saturating_sub(begun.started_at.0).to_string();
    let event = if error.is_none() { "job_done" } else { "job_failed" };
    let code = error.as_ref().map_or("ok", Error::code);
    world.log.event(event, &[("job", begun.job), ("ms", &ms), ("code", code), ("report", &text)]);
    if let Err(error) = stored {
        world.log.event("job_report_lost", &[("job", begun.job), ("code", Error::Db(error).code())]);
    }
    match error {
        Some(error) => Err(error),
        None => Ok(JobRun {
            job: begun.job.to_owned(),
            run_id: begun.run_id,
            started_at: begun.started_at.iso(),
            ended_at: Some(world.now.iso()),
            outcome: ended.to_owned(),
            report: Some(report),
        }),
    }
}

/// Every job that ever ran, with its last run.
pub async fn list_jobs(world: &World<'_>) -> Result<Vec<JobRun>, Error> {
    let rows = jobs::list(world.directory).await?;
    Ok(rows
        .into_iter()
        .map(|row| JobRun {
            job: row.job,
            run_id: row.run_id,
            started_at: row.started_at.iso(),
            ended_at: row.ended_at.map(Timestamp::iso),
            outcome: row.outcome.unwrap_or_else(|| "running".to_owned()),
            report: row.report_json.and_then(|text| serde_json::from_str(&text).ok()),
        })
        .collect())
}
