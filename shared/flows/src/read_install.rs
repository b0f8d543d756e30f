//! Reading an install, for the page that claims it: which account, since when, what a claim needs. Never a token.
//!
//! The claim cookie is the only way to it: an install's id opens nothing, here or anywhere.

use crate::{Error, World};
use crypto::one_time::{self, Purpose};
use model::install::{Proof, Unclaimable, claimable};
use model::{Crm, InstallId, InstallStatus};
use serde::Serialize;
use store::pending_installs::{self, Install};

/// An install as the page and the API show it.
#[derive(Clone, Debug, Serialize)]
pub struct InstallView {
    /// `in_…`
    pub id: String,
    /// `hubspot` or `salesforce`.
    pub crm: Crm,
    /// What became of it.
    pub status: InstallStatus,
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// A name people know it by, as the CRM gave it.
    pub external_account_name: Option<String>,
    /// What a claim must show.
    pub proof: Proof,
    /// When it was made.
    pub installed_at: String,
    /// When it can no longer be claimed.
    pub expires_at: String,
}

/// The install whose claim cookie this is.
pub async fn read_install(world: &World<'_>, claim_cookie: Option<&str>) -> Result<InstallView, Error> {
    let install = proven(world, claim_cookie, None).await?;
    let over = claimable(install.status, install.proof, install.expires_at, world.now) == Err(Unclaimable::Expired);
    Ok(InstallView {
        id: install.id.to_string(),
        crm: install.crm,
        status: if over { InstallStatus::Expired } else { install.status },
        external_account_id: install.external_account_id,
        external_account_name: install.external_account_name,
        proof: install.proof,
        installed_at: install.created_at.iso(),
        expires_at: install.expires_at.iso(),
    })
}

/// The row whose secret the cookie carries. `named` is the install the request speaks of, which must be the same.
pub(crate) async fn proven(world: &World<'_>, cookie: Option<&str>, named: Option<&str>) -> Result<Install, Error> {
    let (id, secret) = cookie.and_then(|cookie| cookie.split_once('.')).ok_or(Error::InstallNotProven)?;
    if named.is_some_and(|named| named != id) {
        return Err(Error::InstallNotProven);
    }
    let id = InstallId::parse(id).ok_or(Error::InstallNotProven)?;
    let install = pending_installs::fetch(world.directory, &id).await?.ok_or(Error::InstallNotProven)?;
    let hash = one_time::hash(Purpose::Claim, secret);
    if crypto::state::same(&hash, &install.claim_secret_hash) { Ok(install) } else { Err(Error::InstallNotProven) }
}
