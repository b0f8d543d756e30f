//! Every ten minutes: joins new audit events to the chain of their workspace.

use edge::configuration::audit_keys;
use edge::{Incoming, Job, Served, Uses};
use flows::seal_audit::seal_audit;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const JOB: Job = Job::new("seal-audit", Uses::NONE.meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    let keys = audit_keys(&env);
    JOB.on_schedule(env, async |world| seal_audit(world, &keys?).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let keys = audit_keys(&env);
    JOB.on_request(request, env, async |world| seal_audit(world, &keys?).await).await
}
