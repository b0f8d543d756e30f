//! Every ten minutes: joins new audit events to the chain of their workspace.

use edge::Uses;
use edge::configuration::audit_keys;
use flows::seal_audit::seal_audit;
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    let keys = audit_keys(&env);
    edge::scheduled("seal-audit", Uses::NONE, env, async |world| seal_audit(world, &keys?).await.map(|_| ())).await;
}
