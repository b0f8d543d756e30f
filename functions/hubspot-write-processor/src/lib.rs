//! Hears the doorbell of HubSpot's writes and carries the due ones there. A queue consumer: nothing reaches it over HTTP. It
//! links one CRM's adapter, and its queue is its own: the other CRM's bad hour is not felt here.

use edge::{Batch, Heard, consume};
use flows::process_writes::{HubSpot, process_writes};
use std::convert::Infallible;
use worker::{Context, Env, event};

#[event(queue)]
async fn queue(batch: Batch, env: Env, _: Context) -> Result<(), Infallible> {
    consume("hubspot-write-processor", batch, env, async |world, doorbell| {
        process_writes(world, &HubSpot, &doorbell).await?;
        Ok(Heard::Done)
    })
    .await
}
