//! Every hour: rings for each connection's health check at the connection's own time, and hears the rings: one small call to the
//! CRM each, through the connection's gate.

use edge::{Batch, Heard, Incoming, Job, Served, Uses, check_rounds};
use flows::check_health::{Checked, check_health};
use flows::reconcile_connections::reconcile_connections;
use std::convert::Infallible;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const NAME: &str = "reconcile-connections";
const JOB: Job = Job::new(NAME, Uses::NONE.checks().meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    JOB.on_schedule(env, async |world| reconcile_connections(world).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    JOB.on_request(request, env, async |world| reconcile_connections(world).await).await
}

#[event(queue)]
async fn queue(batch: Batch, env: Env, _: Context) -> Result<(), Infallible> {
    check_rounds(NAME, Uses::NONE.http().gate().meter(), batch, env, async |world, connection| {
        Ok(match check_health(world, connection).await? {
            Checked::Later(secs) => Heard::AgainAfterSecs(secs),
            Checked::NotDue | Checked::AtRest | Checked::As(_) => Heard::Done,
        })
    })
    .await
}
