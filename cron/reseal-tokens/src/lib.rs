//! Once a day: seals every stored token again that is not under the current key. After a key was changed its report says
//! when none is left and the old key can go.

use edge::{Incoming, Job, Served, Uses};
use flows::reseal_tokens::reseal_tokens;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const JOB: Job = Job::new("reseal-tokens", Uses::NONE.tokens().meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    JOB.on_schedule(env, async |world| reseal_tokens(world).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    JOB.on_request(request, env, async |world| reseal_tokens(world).await).await
}
