//! Every quarter of an hour: reads HubSpot's journal of the app's life, and ends what a removed app had in its accounts.

use edge::Uses;
use flows::watch_installs::watch_installs;
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    edge::scheduled("watch-installs", Uses::NONE.http().gate(), env, async |world| {
        watch_installs(world).await.map(|_| ())
    })
    .await;
}
