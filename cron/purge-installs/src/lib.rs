//! Every hour: ends the installs that nobody claimed in time, at the CRM and here, and forgets old sessions.

use edge::{Incoming, Job, Served, Uses};
use flows::purge_installs::purge_installs;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const JOB: Job = Job::new("purge-installs", Uses::NONE.http().tokens().meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    JOB.on_schedule(env, async |world| purge_installs(world).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    JOB.on_request(request, env, async |world| purge_installs(world).await).await
}
