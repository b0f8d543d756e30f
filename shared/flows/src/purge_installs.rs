//! Purging installs that nobody claimed in time, or that a person declined: the grant is ended at the CRM, then the tokens are
//! erased (`withdraw_install`). Also deletes what is long over, and old sessions.

use crate::withdraw_install::{Withdrawn, withdraw_install};
use crate::{Error, World};
use model::install::INSTALL_KEPT_SECS;
use serde::Serialize;
use store::{connect_sessions, pending_installs};

/// How many in one run: up to three calls to a CRM each.
const INSTALLS_MAX: u32 = 20;
/// Links and sessions are kept a day, for support.
const SESSIONS_KEPT_SECS: i64 = 86_400;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Erased, their grants ended.
    pub revoked: u32,
    /// Erased although the CRM did not confirm it.
    pub erased_only: u32,
    /// Left for the next run.
    pub left: u32,
    /// A claim that had died before its last step was ended.
    pub claims_ended: u32,
}

/// Purges.
pub async fn purge_installs(world: &World<'_>) -> Result<Purged, Error> {
    let mut purged = Purged::default();
    for install in pending_installs::list_ended(world.directory, world.now, INSTALLS_MAX).await? {
        match withdraw_install(world, &install, "cron:purge-installs").await? {
            Withdrawn::Revoked => purged.revoked += 1,
            Withdrawn::ErasedOnly => purged.erased_only += 1,
            Withdrawn::Left => purged.left += 1,
            Withdrawn::ClaimEnded => purged.claims_ended += 1,
            Withdrawn::Reinstalled => {}
        }
    }
    let old = vec![
        pending_installs::delete_old(world.now.plus_secs(-INSTALL_KEPT_SECS)),
        connect_sessions::delete_old(world.now.plus_secs(-SESSIONS_KEPT_SECS)),
    ];
    world.directory.batch(old).await?;
    let (revoked, left) = (purged.revoked.to_string(), purged.left.to_string());
    world.log.event("installs_purged", &[("revoked", &revoked), ("left", &left)]);
    Ok(purged)
}
