//! What is spent in the directory: OAuth states. (Installs and sessions: `purge_installs`, every hour.)

use super::{Budget, PurgeReport};
use crate::{Error, World};
use store::db::run;
use store::oauth_states;

/// Rows of one slice.
const SLICE: u32 = 1_000;
/// A state is kept a day beyond its end, so that a late click is told what happened.
const STATES_KEPT_SECS: i64 = 86_400;

/// Deletes it.
pub(super) async fn delete(world: &World<'_>, budget: &mut Budget, report: &mut PurgeReport) -> Result<(), Error> {
    let before = world.now.plus_secs(-STATES_KEPT_SECS);
    while budget.take(1) {
        let deleted = run(world.directory, oauth_states::delete_old(before, SLICE)).await?.changes;
        report.states += u32::try_from(deleted).unwrap_or(u32::MAX);
        if deleted < u64::from(SLICE) {
            return Ok(());
        }
    }
    report.unfinished = true;
    Ok(())
}
