//! Every night: removes what has reached its end under the workspaces' policies. Three further ticks go on where a run had to
//! stop, and find nothing where it had not.

use edge::Uses;
use edge::configuration::audit_keys;
use edge::objects::Attachments;
use flows::purge_retention::purge_retention;
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    let (attachments, keys) = (Attachments::from_env(&env), audit_keys(&env));
    edge::scheduled("purge-retention", Uses::NONE, env, async |world| {
        purge_retention(world, &attachments, &keys?).await.map(|_| ())
    })
    .await;
}
