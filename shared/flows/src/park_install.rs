//! Parking an install: a grant without a workspace waits, sealed for itself, to be claimed.
//!
//! A second install of an account that waits refreshes the row and replaces the claim secret: whoever consented last holds
//! it, since each consent shows power over the account. An account that is connected is not parked at all.

use crate::exchange::Granted;
use crate::install_tokens::{aad, end_replaced, event_if_changed};
use crate::own_account::{Refused, is_live};
use crate::{Error, World};
use crypto::one_time::{OneTime, Purpose};
use crypto::{Column, vault};
use model::install::{INSTALL_LIFE_SECS, Proof};
use model::{Crm, InstallId, Secret, Timestamp};
use serde_json::json;
use store::crm_accounts::{self, Owner};
use store::pending_installs::{self, Install};

/// An install that waits.
#[derive(Clone, Debug)]
pub struct Parked {
    /// Its id; opens nothing.
    pub install_id: InstallId,
    /// The value of the claim cookie: the id and the secret.
    pub claim_cookie: Secret<String>,
    /// The hub id or org id.
    pub external_account_id: String,
    /// When it can no longer be claimed.
    pub expires_at: Timestamp,
    /// HubSpot's marketplace: where the browser goes on, as it can open it.
    pub return_url: Option<String>,
}

/// Parks a grant.
pub(crate) async fn park(
    world: &World<'_>,
    crm: Crm,
    granted: &Granted,
    proof: Proof,
    return_url: Option<&str>,
) -> Result<Parked, Refused> {
    let account = granted.account.external_account_id.as_str();
    let waiting = waiting(world, crm, account).await.map_err(Refused::Error)?;
    if let Some(earlier) = &waiting {
        // Before its tokens are overwritten: afterwards nobody could.
        end_replaced(world, earlier).await;
    }
    store(world, crm, granted, proof, return_url, waiting.as_ref()).await
}

/// The account's pending install. Refuses when the account is somebody's.
async fn waiting(world: &World<'_>, crm: Crm, account: &str) -> Result<Option<Install>, Error> {
    let read = vec![crm_accounts::select_owner(crm, account), pending_installs::select_pending(crm, account)];
    let outcomes = world.directory.batch(read).await?;
    if let Some(owner) = store::db::nth(&outcomes, 0)?.first::<Owner>()?
        && is_live(world, crm, account, &owner).await?
    {
        return Err(Error::AccountOwnedElsewhere(crm));
    }
    Ok(store::db::nth(&outcomes, 1)?.first()?)
}

async fn store(
    world: &World<'_>,
    crm: Crm,
    granted: &Granted,
    proof: Proof,
    return_url: Option<&str>,
    waiting: Option<&Install>,
) -> Result<Parked, Refused> {
    let outcome = write(world, crm, granted, proof, waiting).await.map_err(Refused::Error)?;
    let Some((install_id, secret)) = outcome else { return Err(Refused::Conflict) };
    world.log.event("install_parked", &[("crm", crm.as_str()), ("install_id", install_id.as_str())]);
    Ok(Parked {
        claim_cookie: Secret::new(format!("{install_id}.{}", secret.as_str())),
        external_account_id: granted.account.external_account_id.clone(),
        expires_at: world.now.plus_secs(INSTALL_LIFE_SECS),
        return_url: return_url.map(|url| world.browser_url(url.to_owned())),
        install_id,
    })
}

/// The id and the new claim secret, or nothing when another callback was faster.
async fn write(
    world: &World<'_>,
    crm: Crm,
    granted: &Granted,
    proof: Proof,
    waiting: Option<&Install>,
) -> Result<Option<(InstallId, OneTime)>, Error> {
    let id = match waiting {
        Some(install) => install.id.clone(),
        None => InstallId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?,
    };
    let generation = waiting.map_or(1, |install| install.token_generation.saturating_add(1));
    let secret = OneTime::mint(world.random, Purpose::Claim)?;
    let seal = |column, plain: &Secret<String>| {
        vault::seal(world.token_keys()?, world.random, &aad(&id, column, generation), plain)
            .map_err(|_| Error::NoRandom)
    };
    let access = seal(Column::AccessToken, &granted.token.access_token)?;
    let refresh = granted.token.refresh_token.as_ref().map(|plain| seal(Column::RefreshToken, plain)).transpose()?;
    let parked = pending_installs::Parked {
        id: &id,
        crm,
        external_account_id: &granted.account.external_account_id,
        external_account_name: granted.account.name.as_deref(),
        external_user_id: granted.token.external_user_id.as_deref(),
        instance_url: granted.token.instance_url.as_deref(),
        login_host: granted.login_host.as_deref(),
        scopes_json: &granted.scopes_json(),
        access_token_sealed: access.as_str(),
        refresh_token_sealed: refresh.as_ref().map(AsRef::as_ref),
        token_expires_at: granted.expires_at(world.now),
        token_generation: generation,
        claim_secret_hash: &secret.hash(),
        proof,
        at: world.now,
        expires_at: world.now.plus_secs(INSTALL_LIFE_SECS),
    };
    let name = if waiting.is_some() { "install_refreshed" } else { "install_parked" };
    let detail =
        json!({"crm": crm, "external_account_id": granted.account.external_account_id, "proof": proof.as_str()});
    let batch = vec![pending_installs::park(&parked), event_if_changed(world, &id, name, detail)];
    let outcomes = match world.directory.batch(batch).await {
        // Another id for the same account stood first.
        Err(store::DbError::Constraint) => return Ok(None),
        other => other?,
    };
    Ok((store::db::nth(&outcomes, 0)?.changes > 0).then_some((id, secret)))
}
