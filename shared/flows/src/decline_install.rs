//! Declining an install: the person in whose browser it was made does not want it. It ends at once, its grant is ended at the
//! CRM and its tokens are erased; what the CRM does not confirm now, the purge goes on with.
//!
//! The claim cookie shows whose install it is, as it does for a claim; neither a session nor an account with us is needed to say
//! no. A cookie that proves nothing for a claim (`Proof::Consent`) is enough here: whoever holds it brought the code.

use crate::install_tokens::event_if_changed;
use crate::read_install::proven;
use crate::withdraw_install::{Withdrawn, withdraw_install};
use crate::{Error, World};
use crypto::one_time::{form_token, is_form_token};
use model::install::CLAIM_STALE_SECS;
use model::{Crm, InstallStatus};
use serde::Serialize;
use serde_json::json;
use store::{db, pending_installs};

/// A declined install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declined {
    /// Which CRM.
    pub crm: Crm,
    /// The hub id or org id.
    pub external_account_id: String,
    /// A name people know it by.
    pub external_account_name: Option<String>,
    /// The CRM confirmed that the grant is dead. False: the purge tries again, except in dry run.
    pub revoked: bool,
}

/// The token of the form that declines the cookie's install.
pub fn decline_token(claim_cookie: &str) -> String {
    form_token(claim_cookie)
}

/// Declines the install named, which must be the cookie's, by a form with its token. Declining twice is no error.
pub async fn decline_install(
    world: &World<'_>,
    claim_cookie: Option<&str>,
    named: &str,
    token: Option<&str>,
) -> Result<Declined, Error> {
    let cookie = claim_cookie.ok_or(Error::InstallNotProven)?;
    if !token.is_some_and(|token| is_form_token(cookie, token)) {
        return Err(Error::FormRefused);
    }
    let install = proven(world, Some(cookie), Some(named)).await?;
    if install.status == InstallStatus::Claimed {
        return Err(Error::InstallClaimed);
    }
    let stale_before = world.now.plus_secs(-CLAIM_STALE_SECS);
    let batch = vec![
        pending_installs::decline(&install.id, world.now, stale_before),
        event_if_changed(world, &install.id, "install_declined", json!({"crm": install.crm})),
    ];
    let outcomes = world.directory.batch(batch).await?;
    let now = pending_installs::fetch(world.directory, &install.id).await?.ok_or(Error::InstallNotProven)?;
    if db::nth(&outcomes, 0)?.changes == 0 && now.status != InstallStatus::Expired {
        return Err(Error::InstallClaimed);
    }
    world.log.event("install_declined", &[("crm", now.crm.as_str()), ("install_id", now.id.as_str())]);
    let revoked = match now.access_token_sealed {
        None => true,
        Some(_) => match withdraw_install(world, &now, "decline").await? {
            Withdrawn::ClaimEnded => return Err(Error::InstallClaimed),
            withdrawn => withdrawn == Withdrawn::Revoked,
        },
    };
    let (external_account_id, external_account_name) = (now.external_account_id, now.external_account_name);
    Ok(Declined { crm: now.crm, external_account_id, external_account_name, revoked })
}
