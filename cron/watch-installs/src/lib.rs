//! Every quarter of an hour: reads HubSpot's journal of the app's life, and ends what a removed app had in its accounts.

use edge::{Incoming, Job, Served, Uses};
use flows::watch_installs::watch_installs;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const JOB: Job = Job::new("watch-installs", Uses::NONE.http().gate().meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    JOB.on_schedule(env, async |world| watch_installs(world).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    JOB.on_request(request, env, async |world| watch_installs(world).await).await
}
