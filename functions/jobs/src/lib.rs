//! `GET /functions/v1/jobs`: every job's last run. `POST /functions/v1/jobs/{name}/run`: runs one now, through its own Worker,
//! and answers what it did. For operators.

use edge::{Door, Incoming, Reply, Served, Uses, forward, operator, serve};
use flows::Error;
use flows::run_job::list_jobs;
use worker::{Context, Env, event};

/// A job's name, and the service binding of its Worker.
const JOBS: [(&str, &str); 7] = [
    ("purge-installs", "PURGE_INSTALLS"),
    ("purge-retention", "PURGE_RETENTION"),
    ("reconcile-connections", "RECONCILE_CONNECTIONS"),
    ("reconcile-crm-writes", "RECONCILE_CRM_WRITES"),
    ("reseal-tokens", "RESEAL_TOKENS"),
    ("seal-audit", "SEAL_AUDIT"),
    ("watch-installs", "WATCH_INSTALLS"),
];

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let services = env.clone();
    serve(Door::using("jobs", Uses::NONE), request, env, async |world, request| {
        operator::require(&services, request)?;
        match (request.method().as_str(), request.rest()) {
            ("GET", None) => {
                let jobs = list_jobs(world).await?;
                Ok(Reply::json(200, &serde_json::json!({ "jobs": jobs })))
            }
            ("POST", Some(rest)) => {
                let name = rest.strip_suffix("/run").ok_or(Error::JobNotFound)?;
                let (_, binding) = JOBS.iter().find(|(job, _)| *job == name).ok_or(Error::JobNotFound)?;
                world.log.event("job_ordered", &[("job", name)]);
                Ok(forward::post(&services, binding, request.id()).await)
            }
            (_, None) => Ok(Reply::method_not_allowed("GET")),
            _ => Ok(Reply::method_not_allowed("POST")),
        }
    })
    .await
}
