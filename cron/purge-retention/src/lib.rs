//! Every night: removes what has reached its end under the workspaces' policies. Three further ticks go on where a run had to
//! stop, and find nothing where it had not.

use edge::Uses;
use edge::configuration::{audit_keys, pii_master};
use edge::objects::Attachments;
use flows::purge_retention::{PurgeKeys, purge_retention};
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    let attachments = Attachments::from_env(&env);
    let keys = audit_keys(&env).and_then(|audit| Ok(PurgeKeys { audit, pii: pii_master(&env)? }));
    edge::scheduled("purge-retention", Uses::NONE, env, async |world| {
        purge_retention(world, &attachments, &keys?).await.map(|_| ())
    })
    .await;
}
