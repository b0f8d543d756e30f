//! Every hour: ends the installs that nobody claimed in time, at the CRM and here, and forgets old sessions.

use edge::Uses;
use flows::purge_installs::purge_installs;
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    edge::scheduled("purge-installs", Uses::NONE.http().tokens(), env, async |world| {
        purge_installs(world).await.map(|_| ())
    })
    .await;
}
