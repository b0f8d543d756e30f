//! Going on with the erasures that a request could not finish.

use super::{ACTOR, PurgeReport};
use crate::allowance::Allowance;
use crate::erase_person::go_on;
use crate::remove_attachments::Objects;
use crate::{Error, World};
use crypto::pii::{PiiMaster, WorkspacePiiKey};
use store::erasures::list_open;

/// Of one shard and run.
const ERASURES_MAX: u32 = 100;

/// Goes on with them while there are queries left.
pub(super) async fn resume(
    world: &World<'_>,
    objects: &dyn Objects,
    master: &PiiMaster,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) {
    for shard in world.shards.names() {
        if let Err(error) = resume_in(world, objects, master, &shard, allowance, report).await {
            world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
            report.shards_failed += 1;
        }
    }
}

async fn resume_in(
    world: &World<'_>,
    objects: &dyn Objects,
    master: &PiiMaster,
    shard: &str,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<(), Error> {
    let Some(db) = world.shards.open(shard).filter(|_| allowance.take(1)) else { return Ok(()) };
    for erasure in list_open(db, ERASURES_MAX).await? {
        let tenant = world.tenant(&erasure.workspace_id, shard)?;
        let key = WorkspacePiiKey::derive(master, &erasure.workspace_id);
        if !allowance.take(3) {
            report.unfinished = true;
            return Ok(());
        }
        match go_on(world, &tenant, objects, &key, erasure, ACTOR, allowance).await?.0 {
            "finished" => report.erasures_finished += 1,
            "running" => report.unfinished = true,
            _ => report.erasures_waiting += 1,
        }
    }
    Ok(())
}
