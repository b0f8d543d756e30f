//! Deleting what is spent in slices, each a batch of its own that may be the last: whatever stops a run, the next one goes on.

use crate::Error;
use crate::allowance::Allowance;
use store::{Db, Statement};

/// Rows of one slice.
pub(crate) const SLICE: u32 = 1_000;

/// Runs a slice until one is not full, or the allowance ends; its last statement deletes what is counted, at most [`SLICE`]
/// rows of it. How many in all, and whether that was all.
pub(crate) async fn delete_in_slices(
    db: &dyn Db,
    slice: &[Statement],
    allowance: &mut Allowance<'_>,
) -> Result<(u32, bool), Error> {
    let mut all = 0_u32;
    while allowance.take(u32::try_from(slice.len()).unwrap_or(u32::MAX)) {
        let deleted = db.batch(slice.to_vec()).await?.last().map_or(0, |outcome| outcome.changes);
        all = all.saturating_add(u32::try_from(deleted).unwrap_or(u32::MAX));
        if deleted < u64::from(SLICE) {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}
