//! What is spent whatever a workspace's policy says: OAuth states in the directory, old alarms in every shard. (Installs and
//! sessions: `purge_installs`, every hour.)

use super::PurgeReport;
use crate::allowance::Allowance;
use crate::slices::{SLICE, delete_in_slices};
use crate::{Error, World};
use store::{alarms, oauth_states};

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
    let states = [oauth_states::delete_old(world.now.plus_secs(-STATES_KEPT_SECS), SLICE)];
    let (deleted, is_all) = delete_in_slices(world.directory, &states, allowance).await?;
    report.states += deleted;
    report.unfinished |= !is_all;
    let old_alarms = [alarms::delete_old(world.now.plus_secs(-ALARMS_KEPT_SECS), SLICE)];
    for shard in world.shards.names() {
        let Some(db) = world.shards.open(&shard) else { continue };
        match delete_in_slices(db, &old_alarms, allowance).await {
            Ok((deleted, is_all)) => {
                report.alarms += deleted;
                report.unfinished |= !is_all;
            }
            Err(error) => {
                world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
                report.shards_failed += 1;
            }
        }
    }
    Ok(())
}
