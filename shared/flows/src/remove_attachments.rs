//! Removing attachments: the bytes first, then the reference. A row that still has its key is removed by a later run, so that
//! nothing is forgotten that is still there.

use crate::{Error, Tenant, World};
use async_trait::async_trait;
use store::Statement;
use store::attachments::{self, Removable};

/// R2 takes so many keys in one call.
pub const OBJECTS_PER_CALL_MAX: usize = 1_000;

/// After so many failed calls the bucket counts as away: what is left is for the next run.
const FAILURES_MAX: u32 = 16;

/// Where the bytes of attachments are.
#[async_trait(?Send)]
pub trait Objects {
    /// Removes objects by their keys, at most [`OBJECTS_PER_CALL_MAX`]. One that is not there is no error.
    async fn remove(&self, keys: &[&str]) -> Result<(), ObjectsUnavailable>;
}

/// The objects are still there, or perhaps not: removing them again is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object store is not available: {0}")]
pub struct ObjectsUnavailable(pub String);

/// What came of some attachments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Bytes and reference are gone.
    pub gone: u32,
    /// Still there.
    pub failed: u32,
    /// The bucket does not answer at all.
    pub away: bool,
}

/// Removes them. `count` goes into the batch behind the forgotten references. One that cannot be removed does not keep the
/// others: a lot that fails is taken apart.
pub(crate) async fn remove_attachments(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    objects: &dyn Objects,
    rows: &[Removable],
    count: Option<Statement>,
) -> Result<Removed, Error> {
    let own = format!("{}/", tenant.scope.workspace_id());
    // A key of another workspace in our row is not ours to remove, however it came there.
    let (ours, foreign): (Vec<&Removable>, Vec<&Removable>) =
        rows.iter().partition(|row| row.object_key.starts_with(&own));
    if !foreign.is_empty() {
        let fields = [("workspace_id", tenant.scope.workspace_id().as_str()), ("code", "foreign_object_key")];
        world.log.event("attachment_kept", &fields);
    }
    let mut outcome = Removed { failed: length(foreign.len()), ..Removed::default() };
    let mut gone: Vec<&Removable> = Vec::new();
    let mut lots: Vec<Vec<&Removable>> = ours.chunks(OBJECTS_PER_CALL_MAX).map(<[_]>::to_vec).collect();
    let mut failures = 0;
    while let Some(mut lot) = lots.pop() {
        let keys: Vec<&str> = lot.iter().map(|row| row.object_key.as_str()).collect();
        match objects.remove(&keys).await {
            Ok(()) => gone.append(&mut lot),
            Err(ObjectsUnavailable(reason)) => {
                failures += 1;
                if failures == 1 {
                    let workspace = tenant.scope.workspace_id().as_str();
                    world.log.event("attachment_kept", &[("workspace_id", workspace), ("reason", &reason)]);
                }
                if failures >= FAILURES_MAX {
                    outcome.away = true;
                    outcome.failed += length(lot.len() + lots.iter().map(Vec::len).sum::<usize>());
                    break;
                }
                if lot.len() == 1 {
                    outcome.failed += 1;
                } else {
                    let rest = lot.split_off(lot.len() / 2);
                    lots.extend([lot, rest]);
                }
            }
        }
    }
    if !gone.is_empty() {
        let forget = attachments::forget(&tenant.scope, &gone, world.now);
        let outcomes = tenant.db.batch(std::iter::once(forget).chain(count).collect()).await?;
        outcome.gone = u32::try_from(store::db::nth(&outcomes, 0)?.changes).unwrap_or(u32::MAX);
    }
    Ok(outcome)
}

fn length(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
