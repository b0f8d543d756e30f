//! Hears the doorbell and carries due writes to their CRM. A queue consumer: nothing reaches it over HTTP.

use edge::{Batch, Heard, consume};
use flows::process_writes::process_writes;
use std::convert::Infallible;
use worker::{Context, Env, event};

#[event(queue)]
async fn queue(batch: Batch, env: Env, _: Context) -> Result<(), Infallible> {
    consume("crm-write-processor", batch, env, async |world, doorbell| {
        process_writes(world, &doorbell).await?;
        Ok(Heard::Done)
    })
    .await
}
