//! What is spent whatever a workspace's policy says: OAuth states in the directory, old alarms in every shard. (Installs and
//! sessions: `purge_installs`, every hour.)

use super::PurgeReport;
use crate::allowance::Allowance;
use crate::{Error, World};
use store::db::run;
use store::{Db, Statement, alarms, oauth_states};

/// Rows of one slice.
const SLICE: u32 = 1_000;
/// A state is kept a day beyond its end, so that a late click is told what happened.
const STATES_KEPT_SECS: i64 = 86_400;
/// An alarm is kept for a month, delivered or not.
const ALARMS_KEPT_SECS: i64 = 30 * 86_400;

/// Deletes it.
pub(super) async fn delete(
    world: &World<'_>,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<(), Error> {
    let states = oauth_states::delete_old(world.now.plus_secs(-STATES_KEPT_SECS), SLICE);
    report.states += in_slices(world.directory, &states, allowance, &mut report.unfinished).await?;
    let old_alarms = alarms::delete_old(world.now.plus_secs(-ALARMS_KEPT_SECS), SLICE);
    for shard in world.shards.names() {
        let Some(db) = world.shards.open(&shard) else { continue };
        match in_slices(db, &old_alarms, allowance, &mut report.unfinished).await {
            Ok(deleted) => report.alarms += deleted,
            Err(error) => {
                world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
                report.shards_failed += 1;
            }
        }
    }
    Ok(())
}

/// Deletes slice by slice until one is not full; how many in all.
async fn in_slices(
    db: &dyn Db,
    slice: &Statement,
    allowance: &mut Allowance<'_>,
    unfinished: &mut bool,
) -> Result<u32, Error> {
    let mut all = 0_u32;
    while allowance.take(1) {
        let deleted = run(db, slice.clone()).await?.changes;
        all = all.saturating_add(u32::try_from(deleted).unwrap_or(u32::MAX));
        if deleted < u64::from(SLICE) {
            return Ok(all);
        }
    }
    *unfinished = true;
    Ok(all)
}
