//! Once a day: seals every stored token again that is not under the current key. After a key was changed its log line says
//! when none is left and the old key can go.

use edge::Uses;
use flows::reseal_tokens::reseal_tokens;
use worker::{Env, ScheduleContext, ScheduledEvent, event};

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    edge::scheduled("reseal-tokens", Uses::NONE.tokens(), env, async |world| reseal_tokens(world).await.map(|_| ()))
        .await;
}
