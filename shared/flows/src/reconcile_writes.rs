//! Reconciling writes: finds what is due in every shard and rings for it. Takes no input, so the rare path (a lost doorbell, a
//! crash) and the common one (a retry that has come due) are the same code, and a second run at once does no harm: the lease
//! decides who works.

use crate::{Error, World};
use model::connection::ConnectionKey;
use model::doorbell::{Doorbell, WRITES_PER_DOORBELL_MAX};
use model::{Crm, WorkspaceId, WriteId};
use serde::Serialize;
use std::collections::BTreeMap;
use store::writes;

/// At most this many writes per shard and run: 20 doorbells a run keep the job far from the platform's limits, and what is
/// left is due in the next run too.
pub const DUE_PER_RUN_MAX: u32 = 2_000;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Writes found due.
    pub due: u32,
    /// Doorbells rung.
    pub doorbells: u32,
    /// Shards that could not be read.
    pub shards_failed: u32,
}

/// One run.
pub async fn reconcile_writes(world: &World<'_>) -> Result<Reconciled, Error> {
    let mut report = Reconciled::default();
    for shard in world.shards.names() {
        let Some(db) = world.shards.open(&shard) else { continue };
        let due = match writes::list_due(db, world.now, DUE_PER_RUN_MAX).await {
            Ok(due) => due,
            Err(error) => {
                // The other shards must not wait for this one.
                world.log.event("shard_failed", &[("shard", &shard), ("code", Error::Db(error).code())]);
                report.shards_failed += 1;
                continue;
            }
        };
        report.due += u32::try_from(due.len()).unwrap_or(u32::MAX);
        let mut by_connection: BTreeMap<(WorkspaceId, Crm), Vec<WriteId>> = BTreeMap::new();
        for write in due {
            if let Some(id) = WriteId::of(write.crm, &write.idempotency_key) {
                by_connection.entry((write.workspace_id, write.crm)).or_default().push(id);
            }
        }
        for ((workspace_id, crm), ids) in by_connection {
            let connection = ConnectionKey { workspace_id, shard: shard.clone(), crm };
            let doorbells: Vec<Doorbell> = ids
                .chunks(WRITES_PER_DOORBELL_MAX)
                .map(|ids| Doorbell {
                    connection: connection.clone(),
                    writes: ids.to_vec(),
                    request_id: world.request_id.clone(),
                })
                .collect();
            let count = u32::try_from(doorbells.len()).unwrap_or(u32::MAX);
            match world.queue.ring(doorbells, 0).await {
                Ok(()) => report.doorbells += count,
                Err(_) => world.log.event("doorbell_lost", &[("workspace_id", connection.workspace_id.as_str())]),
            }
        }
    }
    world
        .log
        .event("writes_reconciled", &[("due", &report.due.to_string()), ("doorbells", &report.doorbells.to_string())]);
    Ok(report)
}
