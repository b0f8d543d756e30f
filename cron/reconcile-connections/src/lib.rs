//! Every hour: rings for each connection's health check at the connection's own time, and hears the rings: one small call to the
//! CRM each, through the connection's gate.

use edge::{Batch, Heard, Uses, check_rounds};
use flows::check_health::{Checked, check_health};
use flows::reconcile_connections::reconcile_connections;
use std::convert::Infallible;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const WORKER: &str = "reconcile-connections";

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    edge::scheduled(WORKER, Uses::NONE.checks(), env, async |world| reconcile_connections(world).await.map(|_| ()))
        .await;
}

#[event(queue)]
async fn queue(batch: Batch, env: Env, _: Context) -> Result<(), Infallible> {
    check_rounds(WORKER, Uses::NONE.http().gate(), batch, env, async |world, connection| {
        Ok(match check_health(world, connection).await? {
            Checked::Later(secs) => Heard::AgainAfterSecs(secs),
            Checked::NotDue | Checked::AtRest | Checked::As(_) => Heard::Done,
        })
    })
    .await
}
