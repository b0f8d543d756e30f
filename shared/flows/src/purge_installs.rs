//! Purging installs that nobody claimed in time, or that a person declined: the grant is ended at the CRM, then the tokens are
//! erased (`withdraw_install`). Also deletes what is long over with its events, and old sessions.
//!
//! One install, or one slice of rows, after the other: a run that stops anywhere has done what it has done, and the next one
//! finds the rest. An install that cannot be withdrawn now is passed, and tried again in the next run.

use crate::allowance::{Allowance, QUERIES_PER_RUN, SECS_PER_RUN};
use crate::slices::{SLICE, delete_in_slices};
use crate::withdraw_install::{Withdrawn, withdraw_install};
use crate::{Error, World};
use model::install::INSTALL_KEPT_SECS;
use serde::Serialize;
use store::pending_installs::{self, Install};
use store::{connect_sessions, install_events};

/// How many are read at once.
const INSTALLS_PER_PAGE: u32 = 20;
/// What withdrawing one takes at most, beside three calls to a CRM.
const QUERIES_PER_INSTALL: u32 = 12;
/// Set aside for deleting, which must not wait for a CRM that is away.
const QUERIES_FOR_DELETING: u32 = 100;
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
    /// Deleted, with their events: long over.
    pub deleted: u32,
    /// Links and sessions deleted.
    pub sessions: u32,
    /// There was more than one run takes.
    pub unfinished: bool,
}

/// Purges.
pub async fn purge_installs(world: &World<'_>) -> Result<Purged, Error> {
    let mut purged = Purged::default();
    let mut allowance = Allowance::of(world, QUERIES_PER_RUN, SECS_PER_RUN);
    let aside = allowance.set_aside(QUERIES_FOR_DELETING);
    purged.unfinished = !withdraw_ended(world, &mut allowance, &mut purged).await?;
    allowance.take_back(&aside);
    delete_old(world, &mut allowance, &mut purged).await?;
    let (revoked, left) = (purged.revoked.to_string(), purged.left.to_string());
    world.log.event("installs_purged", &[("revoked", &revoked), ("left", &left)]);
    Ok(purged)
}

/// Whether it came to the end of them.
async fn withdraw_ended(world: &World<'_>, allowance: &mut Allowance<'_>, purged: &mut Purged) -> Result<bool, Error> {
    let mut after: Option<Install> = None;
    loop {
        if !allowance.take(1) {
            return Ok(false);
        }
        let page = pending_installs::list_ended(world.directory, world.now, after.as_ref(), INSTALLS_PER_PAGE).await?;
        for install in &page {
            if !allowance.take(QUERIES_PER_INSTALL) {
                return Ok(false);
            }
            match withdraw_install(world, install, "cron:purge-installs").await? {
                Withdrawn::Revoked => purged.revoked += 1,
                Withdrawn::ErasedOnly => purged.erased_only += 1,
                Withdrawn::Left => purged.left += 1,
                Withdrawn::ClaimEnded => purged.claims_ended += 1,
                Withdrawn::Reinstalled => {}
            }
        }
        if page.len() < INSTALLS_PER_PAGE as usize {
            return Ok(true);
        }
        after = page.into_iter().next_back();
    }
}

async fn delete_old(world: &World<'_>, allowance: &mut Allowance<'_>, purged: &mut Purged) -> Result<(), Error> {
    let before = world.now.plus_secs(-INSTALL_KEPT_SECS);
    let installs = [install_events::delete_of_old(before, SLICE), pending_installs::delete_old(before, SLICE)];
    let sessions = [connect_sessions::delete_old(world.now.plus_secs(-SESSIONS_KEPT_SECS), SLICE)];
    let (deleted, were_all) = delete_in_slices(world.directory, &installs, allowance).await?;
    let (ended, also_all) = delete_in_slices(world.directory, &sessions, allowance).await?;
    (purged.deleted, purged.sessions) = (deleted, ended);
    purged.unfinished |= !(were_all && also_all);
    Ok(())
}
