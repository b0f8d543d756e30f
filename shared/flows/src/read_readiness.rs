//! Whether this deployment can do its work: its databases answer, its queue is being heard, its keys are keys.

use crate::World;
use serde::Serialize;
use store::metrics::fetch_oldest_due;

/// The reconciler rings every ten minutes: what has been due for twice as long was rung for and not heard.
const BEHIND_SECS: i64 = 1_200;

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// As it should be.
    Ok,
    /// It does not answer, or is not what it should be.
    Failed,
    /// It could not be looked at.
    Unknown,
}

/// The checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `ready` or `not_ready`.
    pub status: &'static str,
    /// Every database answers.
    pub database: Check,
    /// No write has been due for twenty minutes.
    pub queue: Check,
    /// The keys that open tokens are keys.
    pub keys: Check,
}

/// Looks. Whether the keys are keys is told by a Worker that holds them.
pub async fn read_readiness(world: &World<'_>, keys: Check) -> Readiness {
    let (mut database, mut queue) = (Check::Ok, Check::Ok);
    for shard in world.shards.names() {
        let Some(db) = world.shards.open(&shard) else { continue };
        match fetch_oldest_due(db, world.now).await {
            Ok(due_at) if due_at.is_some_and(|at| at.plus_secs(BEHIND_SECS) < world.now) => queue = Check::Failed,
            Ok(_) => {}
            Err(error) => {
                world.log.event("shard_failed", &[("shard", &shard), ("code", crate::Error::Db(error).code())]);
                (database, queue) = (Check::Failed, Check::Unknown);
            }
        }
    }
    let ready = [database, queue, keys].iter().all(|check| *check == Check::Ok);
    Readiness { status: if ready { "ready" } else { "not_ready" }, database, queue, keys }
}
