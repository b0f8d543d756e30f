//! The way in for health checks: messages to connections, a few at a time, each message settled by itself.
//!
//! A message comes back when one of its connections could not be looked at; the others are then not due any more. What a
//! message loses, the job's next run finds overdue.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use flows::world::Log;
use flows::{Error, World};
use model::connection::ConnectionKey;
use model::health::CheckRound;
use serde::Deserialize as _;
use std::cell::Cell;
use worker::Env;

use crate::consume::{RETRY_SECS, body, settle};
use crate::log::Lines;
use crate::{Batch, Heard, Ports, Uses, entry, log, waiting};

/// Checks under way at once: the platform lets six requests wait for their headers.
const AT_ONCE: usize = 5;

/// Takes one batch of health checks. `uses` is for the checks alone.
pub async fn check_rounds<F>(
    worker: &'static str,
    uses: Uses,
    batch: Batch,
    env: Env,
    deed: F,
) -> Result<(), Infallible>
where
    F: AsyncFn(&World<'_>, &ConnectionKey) -> Result<Heard, Error>,
{
    log::on_panic(worker);
    for message in batch.raw_iter() {
        let Some(round) = body(&message).and_then(|body| CheckRound::deserialize(&body).ok()) else {
            Lines::new(worker, entry::random_id()).event("message_unreadable", &[]);
            settle(&message, Heard::Done);
            continue;
        };
        let lines = Rc::new(Lines::new(worker, round.request_id.clone()));
        let heard = match Ports::open(&env, &lines, uses) {
            Ok(ports) => hear(&ports, &lines, round, &deed).await,
            Err(error) => {
                entry::refused(&lines, &error, &[]);
                Heard::AgainAfterSecs(RETRY_SECS)
            }
        };
        settle(&message, heard);
    }
    Ok(())
}

async fn hear<F>(ports: &Ports, lines: &Lines, round: CheckRound, deed: &F) -> Heard
where
    F: AsyncFn(&World<'_>, &ConnectionKey) -> Result<Heard, Error>,
{
    let shard = &round.shard;
    let heard = Cell::new(Heard::Done);
    for some in round.connections.chunks(AT_ONCE) {
        let heard = &heard;
        let work = some.iter().map(|(workspace_id, crm)| -> Pin<Box<dyn Future<Output = ()> + '_>> {
            let key = ConnectionKey { workspace_id: workspace_id.clone(), shard: shard.clone(), crm: *crm };
            Box::pin(async move {
                let came_to = deed(&ports.world(), &key).await.unwrap_or_else(|error| {
                    let fields = [("crm", key.crm.as_str()), ("workspace_id", key.workspace_id.as_str())];
                    entry::refused(lines, &error, &fields);
                    Heard::AgainAfterSecs(RETRY_SECS)
                });
                heard.set(heard.get().max(came_to));
            })
        });
        waiting::all(work.collect()).await;
    }
    heard.get()
}
