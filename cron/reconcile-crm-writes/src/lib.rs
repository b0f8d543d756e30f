//! Every ten minutes: finds the writes that are due, whatever made them so, and rings for them.

use edge::Uses;
use flows::reconcile_writes::reconcile_writes;
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    edge::scheduled("reconcile-crm-writes", Uses::NONE.queue(), env, async |world| {
        reconcile_writes(world).await.map(|_| ())
    })
    .await;
}
