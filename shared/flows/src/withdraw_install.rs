//! Withdrawing an install that is over: its grant is ended at the CRM, then the tokens are erased. The purge does it to what
//! nobody claimed in time, a person who declines does it at once.
//!
//! Removing the app needs an access token that works, and the install's own has ended after half an hour: it is renewed first
//! (`renew_install`). An account that has an owner or a newer install is not uninstalled: only the old grant is ended, where the
//! CRM has one grant per consent. A CRM that is away is asked again for a day; then the tokens are erased without. In dry run
//! nothing is sent, and the tokens are erased after that day.

use crate::end_grant::{Ending, Trouble, end_grant, needs_access_token};
use crate::install_tokens::{Extent, Tokens, event_if_changed, open, requests};
use crate::renew_install::{Renewal, renew_install};
use crate::{Error, World};
use model::install::REVOKE_TRIES_SECS;
use model::{ConnectionStatus, InstallStatus};
use serde_json::json;
use store::crm_accounts::{self, Owner};
use store::pending_installs::{self, Install};
use store::{connections, db};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// Erased, the grant ended.
    Revoked,
    /// Erased although the CRM did not confirm it.
    ErasedOnly,
    /// The tokens are kept for another try.
    Left,
    /// It was claimed, but for the last step: that was made.
    ClaimEnded,
    /// Installed again at this very moment: it is somebody's hope once more.
    Reinstalled,
}

/// Withdraws it. The row is `expired` first, so that nothing can claim it meanwhile.
pub(crate) async fn withdraw_install(
    world: &World<'_>,
    install: &Install,
    actor: &'static str,
) -> Result<Withdrawn, Error> {
    let read = vec![
        crm_accounts::select_owner(install.crm, &install.external_account_id),
        pending_installs::select_pending(install.crm, &install.external_account_id),
    ];
    let outcomes = world.directory.batch(read).await?;
    let owner = db::nth(&outcomes, 0)?.first::<Owner>()?;
    let waiting = db::nth(&outcomes, 1)?.first::<Install>()?;
    if let Some(owner) = &owner
        && ends_a_claim(world, install, owner, actor).await?
    {
        return Ok(Withdrawn::ClaimEnded);
    }
    if install.status == InstallStatus::Pending {
        let expire = vec![
            pending_installs::expire(&install.id, world.now),
            event_if_changed(world, &install.id, "install_expired", json!({"crm": install.crm})),
        ];
        let outcomes = world.directory.batch(expire).await?;
        if db::nth(&outcomes, 0)?.changes == 0 {
            return Ok(Withdrawn::Reinstalled);
        }
    }
    let newer = waiting.is_some_and(|waiting| waiting.id != install.id);
    let extent = if owner.is_some() || newer { Extent::Grant } else { Extent::Account };
    let last = world.now >= install.expires_at.plus_secs(REVOKE_TRIES_SECS);
    let ending = end(world, install, extent, if last { Trouble::GoOn } else { Trouble::Stop }).await?;
    let revoked = ending == Ending::Confirmed;
    if !revoked && !last {
        return Ok(Withdrawn::Left);
    }
    let event =
        event_if_changed(world, &install.id, "install_revoked", json!({"crm": install.crm, "revoked": revoked}));
    world.directory.batch(vec![pending_installs::erase(&install.id, revoked, world.now), event]).await?;
    Ok(if revoked { Withdrawn::Revoked } else { Withdrawn::ErasedOnly })
}

/// Ends the grant, with tokens that can.
async fn end(world: &World<'_>, install: &Install, extent: Extent, trouble: Trouble) -> Result<Ending, Error> {
    let Ok(Ok(tokens)) = world.token_keys().map(|keys| open(keys, install)) else { return Ok(Ending::Unconfirmed) };
    let calls = |tokens: &Tokens| requests(world, install.crm, install, tokens, extent);
    let Some(first) = calls(&tokens) else { return Ok(Ending::Unconfirmed) };
    if world.settings.dry_run || !needs_access_token(&first) || !has_ended(world, install) {
        return Ok(end_grant(world, install.crm, first, trouble).await);
    }
    match renew_install(world, install, &tokens).await? {
        Renewal::Renewed(fresh) => Ok(end_grant(world, install.crm, calls(&fresh).unwrap_or_default(), trouble).await),
        Renewal::Dead => Ok(Ending::Confirmed),
        Renewal::NotNow if trouble == Trouble::Stop => Ok(Ending::Unconfirmed),
        // The refresh token is all there is, and the last try.
        Renewal::NotNow | Renewal::Impossible => {
            let without = Tokens { access: None, refresh: tokens.refresh };
            Ok(end_grant(world, install.crm, calls(&without).unwrap_or_default(), trouble).await)
        }
    }
}

/// Whether the access token has ended, or will before a call is through.
fn has_ended(world: &World<'_>, install: &Install) -> bool {
    install.token_expires_at.is_none_or(|at| at <= world.now.plus_secs(60))
}

/// A claim whose connection stands and whose last step is missing: its tokens are the connection's and must not be revoked.
async fn ends_a_claim(world: &World<'_>, install: &Install, owner: &Owner, actor: &str) -> Result<bool, Error> {
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
        let end = pending_installs::finish_claim(&install.id, &owner.workspace_id, actor, world.now);
        db::run(world.directory, end).await?;
    }
    Ok(stands)
}
