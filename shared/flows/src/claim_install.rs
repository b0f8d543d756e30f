//! Claiming an install for a workspace: by a person who may administer it, in the browser that made the install.
//!
//! 1. The claim cookie shows that the install is this browser's; its id alone opens nothing.
//! 2. It must be pending, in time, and of a flow that began in this browser (else: connect the CRM, the consent is the proof).
//! 3. The workspace must not be connected to another account, nor the account to another workspace.
//! 4. The tokens are opened, sealed anew for the connection, and stored with audit, health, the account and the install's
//!    end: one batch where the workspace's shard is the directory's database. Of several claims one wins; the others change
//!    nothing.
//!
//! On another shard the claim is begun in the directory, stored in the shard and ended in the directory. A claim that died in
//! between is found by the next attempt of the same workspace, or by the purge, and ended, not done again.

use crate::authenticate::Caller;
use crate::connect_account::{self, Along, NewConnection};
use crate::install_tokens::{event_if_changed, opened};
use crate::own_account::Refused;
use crate::read_install::proven;
use crate::{Error, Tenant, World, audit};
use model::connection::ConnectionKey;
use model::install::{CLAIM_STALE_SECS, Unclaimable, claimable};
use model::{ConnectionId, ConnectionStatus, Crm, InstallStatus, UserId};
use serde_json::json;
use store::connections::{self, Connection};
use store::db::run;
use store::pending_installs::{self, Claim, Install};

/// A claimed install.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Claimed {
    /// Which CRM.
    pub crm: Crm,
    /// The workspace it is connected to now.
    pub workspace_id: String,
    /// The connection.
    pub connection_id: String,
    /// The hub id or org id.
    pub external_account_id: String,
    /// A name people know it by.
    pub external_account_name: Option<String>,
}

/// Claims the install named, or, without a name, the cookie's.
pub async fn claim_install(
    world: &World<'_>,
    caller: &Caller,
    claim_cookie: Option<&str>,
    named: Option<&str>,
) -> Result<Claimed, Error> {
    caller.require_admin()?;
    UserId::parse(&caller.actor).ok_or(Error::UserRequired)?;
    let install = proven(world, claim_cookie, named).await?;
    let key = caller.connection(install.crm);
    let tenant = world.tenant_of(&key)?;
    let existing = connections::fetch(tenant.db, &tenant.scope, install.crm).await?;
    if let Some(connection) = existing.as_ref().filter(|connection| is_claim_of(&key, &install, connection)) {
        return finish(world, caller, &key, &install, &connection.id).await;
    }
    claimable(install.status, install.proof, install.expires_at, world.now).map_err(|why| match why {
        Unclaimable::Claimed => Error::InstallClaimed,
        Unclaimable::Expired => Error::InstallExpired,
        Unclaimable::NeedsConsent => Error::ConsentRequired(install.crm),
    })?;
    connect_account::same_account(existing.as_ref(), &key, &install.external_account_id)?;
    let id = connect(world, caller, &key, &tenant, existing.as_ref(), &install).await?;
    world.gate.forget(&key).await;
    let fields = [
        ("crm", install.crm.as_str()),
        ("install_id", install.id.as_str()),
        ("workspace_id", key.workspace_id.as_str()),
    ];
    world.log.event("install_claimed", &fields);
    Ok(claimed(&key, &install, &id))
}

/// Whether the connection came of an earlier attempt of this very claim: its answer was lost, or it died before its last step.
fn is_claim_of(key: &ConnectionKey, install: &Install, connection: &Connection) -> bool {
    install.claim_workspace_id.as_ref() == Some(&key.workspace_id)
        && connection.status != ConnectionStatus::Disconnected
        && connection.external_account_id == install.external_account_id
        && install.claim_started_at.is_some_and(|began| connection.connected_at >= began)
}

/// Ends a claim whose connection stands already. Repeating a claim that succeeded is no error.
async fn finish(
    world: &World<'_>,
    caller: &Caller,
    key: &ConnectionKey,
    install: &Install,
    id: &ConnectionId,
) -> Result<Claimed, Error> {
    if install.status != InstallStatus::Claimed {
        let end = pending_installs::finish_claim(&install.id, &key.workspace_id, &caller.actor, world.now);
        run(world.directory, end).await?;
    }
    Ok(claimed(key, install, id))
}

fn claimed(key: &ConnectionKey, install: &Install, id: &ConnectionId) -> Claimed {
    Claimed {
        crm: install.crm,
        workspace_id: key.workspace_id.to_string(),
        connection_id: id.to_string(),
        external_account_id: install.external_account_id.clone(),
        external_account_name: install.external_account_name.clone(),
    }
}

/// Step 4.
async fn connect(
    world: &World<'_>,
    caller: &Caller,
    key: &ConnectionKey,
    tenant: &Tenant<'_>,
    existing: Option<&Connection>,
    install: &Install,
) -> Result<ConnectionId, Error> {
    let tokens = opened(world, install)?;
    let access = tokens.access.as_ref().ok_or(Error::InstallClaimed)?;
    let new = NewConnection {
        key,
        actor: &caller.actor,
        external_account_id: &install.external_account_id,
        external_account_name: install.external_account_name.as_deref(),
        external_user_id: install.external_user_id.as_deref(),
        instance_url: install.instance_url.as_deref(),
        login_host: install.login_host.as_deref(),
        scopes_json: &install.scopes_json,
        access_token: access,
        refresh_token: tokens.refresh.as_ref(),
        expires_at: install.token_expires_at.unwrap_or(world.now),
    };
    let along = along(world, caller, key, tenant, install)?;
    match connect_account::connect(world, tenant, existing, &new, along).await {
        Ok(id) => Ok(id),
        Err(Refused::Error(error)) => Err(error),
        // Another claim, a second install or the purge was faster; or another connect of this workspace.
        Err(Refused::Conflict) => match pending_installs::fetch(world.directory, &install.id).await? {
            Some(now) if now.status == InstallStatus::Expired => Err(Error::InstallExpired),
            _ => Err(Error::InstallClaimed),
        },
    }
}

/// What stands or falls with the connection.
fn along(
    world: &World<'_>,
    caller: &Caller,
    key: &ConnectionKey,
    tenant: &Tenant<'_>,
    install: &Install,
) -> Result<Along, Error> {
    let (crm, id) = (key.crm, &install.id);
    let detail =
        json!({"crm": crm, "external_account_id": install.external_account_id, "proof": install.proof.as_str()});
    let event = audit::event(world, &caller.actor, "install_claimed", id.as_str(), detail)?;
    let claim = Claim {
        id,
        token_generation: install.token_generation,
        workspace_id: &key.workspace_id,
        actor: &caller.actor,
        at: world.now,
        stale_before: world.now.plus_secs(-CLAIM_STALE_SECS),
    };
    Ok(Along {
        before: vec![pending_installs::begin_claim(&claim)],
        tenant: vec![event.append(&tenant.scope)],
        after: vec![
            pending_installs::finish_claim(id, &key.workspace_id, &caller.actor, world.now),
            event_if_changed(
                world,
                id,
                "install_claimed",
                json!({"workspace_id": key.workspace_id, "proof": "browser"}),
            ),
        ],
    })
}
