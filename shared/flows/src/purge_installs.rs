//! Purging installs that nobody claimed in time: the grant is ended at the CRM, then the tokens are erased.
//!
//! The row is `expired` first, so that nothing can claim it meanwhile. A CRM that does not answer is asked again for a day;
//! then the tokens are erased without. An account that has an owner or a newer install is not uninstalled: only the old grant is
//! ended, where the CRM has one grant per consent. Also deletes what is long over, and old sessions.

use crate::install_tokens::{Extent, event_if_changed, open, revoke};
use crate::{Error, World};
use model::install::{INSTALL_KEPT_SECS, REVOKE_TRIES_SECS};
use model::{ConnectionStatus, InstallStatus};
use serde_json::json;
use store::connections;
use store::crm_accounts::{self, Owner};
use store::pending_installs::{self, Install};
use store::{connect_sessions, db};

/// How many in one run: two calls to a CRM each.
const INSTALLS_MAX: u32 = 20;
/// Links and sessions are kept a day, for support.
const SESSIONS_KEPT_SECS: i64 = 86_400;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        purge(world, &install, &mut purged).await?;
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

async fn purge(world: &World<'_>, install: &Install, purged: &mut Purged) -> Result<(), Error> {
    let read = vec![
        crm_accounts::select_owner(install.crm, &install.external_account_id),
        pending_installs::select_pending(install.crm, &install.external_account_id),
    ];
    let outcomes = world.directory.batch(read).await?;
    let owner = db::nth(&outcomes, 0)?.first::<Owner>()?;
    let waiting = db::nth(&outcomes, 1)?.first::<Install>()?;
    if let Some(owner) = &owner
        && ends_a_claim(world, install, owner).await?
    {
        purged.claims_ended += 1;
        return Ok(());
    }
    if install.status == InstallStatus::Pending {
        let expire = vec![
            pending_installs::expire(&install.id, world.now),
            event_if_changed(world, &install.id, "install_expired", json!({"crm": install.crm})),
        ];
        let outcomes = world.directory.batch(expire).await?;
        // Installed again at this very moment: it is somebody's hope once more.
        if db::nth(&outcomes, 0)?.changes == 0 {
            return Ok(());
        }
    }
    let newer = waiting.is_some_and(|waiting| waiting.id != install.id);
    let extent = if owner.is_some() || newer { Extent::Grant } else { Extent::Account };
    let revoked = match world.token_keys().map(|keys| open(keys, install)) {
        Ok(Ok(tokens)) => revoke(world, install.crm, install, &tokens, extent).await,
        _ => false,
    };
    if !revoked && world.now < install.expires_at.plus_secs(REVOKE_TRIES_SECS) {
        purged.left += 1;
        return Ok(());
    }
    let event =
        event_if_changed(world, &install.id, "install_revoked", json!({"crm": install.crm, "revoked": revoked}));
    world.directory.batch(vec![pending_installs::erase(&install.id, revoked, world.now), event]).await?;
    *(if revoked { &mut purged.revoked } else { &mut purged.erased_only }) += 1;
    Ok(())
}

/// A claim whose connection stands and whose last step is missing: its tokens are the connection's and must not be revoked.
async fn ends_a_claim(world: &World<'_>, install: &Install, owner: &Owner) -> Result<bool, Error> {
    if install.claim_workspace_id.as_ref() != Some(&owner.workspace_id) {
        return Ok(false);
    }
    let tenant = world.tenant(&owner.workspace_id, &owner.shard)?;
    let connection = connections::fetch(tenant.db, &tenant.scope, install.crm).await?;
    let stands = connection.is_some_and(|c| {
        c.status != ConnectionStatus::Disconnected
            && c.external_account_id == install.external_account_id
            && install.claim_started_at.is_some_and(|began| c.connected_at >= began)
    });
    if stands {
        let end = pending_installs::finish_claim(&install.id, &owner.workspace_id, "cron:purge-installs", world.now);
        db::run(world.directory, end).await?;
    }
    Ok(stands)
}
