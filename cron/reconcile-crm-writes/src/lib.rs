//! Every ten minutes: finds the writes that are due, whatever made them so, and rings for them; and delivers alarms to the
//! webhook, where one is set up.

use edge::{Incoming, Job, Served, Uses};
use flows::reconcile_crm_writes::reconcile_crm_writes;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const JOB: Job = Job::new("reconcile-crm-writes", Uses::NONE.queue().http().meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    JOB.on_schedule(env, async |world| reconcile_crm_writes(world).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    JOB.on_request(request, env, async |world| reconcile_crm_writes(world).await).await
}
