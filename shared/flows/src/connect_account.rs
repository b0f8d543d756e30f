//! Connecting a workspace to an account: seal and store by compare-and-set on what was read, with the account taken, the audit
//! trail and the health in the same batch. A consent connects this way, and so does a claim.

use crate::end_grant::{Trouble, end_grant};
use crate::open_token::open_refresh;
use crate::own_account::{Changes, Refused, commit_owned};
use crate::{Error, Tenant, World, audit};
use crypto::{Aad, Column, vault};
use model::connection::ConnectionKey;
use model::health::next_check_of;
use model::{ConnectionId, ConnectionStatus, Health, Secret, Timestamp};
use providers::{Provider, provider};
use serde_json::json;
use store::Statement;
use store::connections::{self, Connected, Connection};
use store::replays;

/// What a connection is made of.
pub(crate) struct NewConnection<'a> {
    pub(crate) key: &'a ConnectionKey,
    pub(crate) actor: &'a str,
    pub(crate) external_account_id: &'a str,
    pub(crate) external_account_name: Option<&'a str>,
    pub(crate) external_user_id: Option<&'a str>,
    pub(crate) instance_url: Option<&'a str>,
    pub(crate) login_host: Option<&'a str>,
    pub(crate) scopes_json: &'a str,
    pub(crate) access_token: &'a Secret<String>,
    pub(crate) refresh_token: Option<&'a Secret<String>>,
    pub(crate) expires_at: Timestamp,
}

/// What stands or falls with it: the settling of an install.
#[derive(Default)]
pub(crate) struct Along {
    /// On the directory, first.
    pub(crate) before: Vec<Statement>,
    /// On the tenant's tables, after the connection.
    pub(crate) tenant: Vec<Statement>,
    /// On the directory, last.
    pub(crate) after: Vec<Statement>,
}

/// Refuses when the workspace is connected to another account.
pub(crate) fn same_account(existing: Option<&Connection>, key: &ConnectionKey, account: &str) -> Result<(), Error> {
    match existing.filter(|c| c.status != ConnectionStatus::Disconnected && c.external_account_id != account) {
        Some(other) => Err(Error::WrongAccount { crm: key.crm, connected: other.external_account_id.clone() }),
        None => Ok(()),
    }
}

/// Connects. `Err(Refused::Conflict)`: another request was faster.
pub(crate) async fn connect(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    existing: Option<&Connection>,
    new: &NewConnection<'_>,
    along: Along,
) -> Result<ConnectionId, Refused> {
    same_account(existing, new.key, new.external_account_id).map_err(Refused::Error)?;
    let id = match existing {
        Some(connection) => connection.id.clone(),
        None => mint_id(world).map_err(Refused::Error)?,
    };
    let mut changes = Changes { before: along.before, after: along.after, tenant: Vec::new() };
    changes.tenant = statements(world, tenant, existing, new, &id).map_err(Refused::Error)?;
    changes.tenant.extend(along.tenant);
    commit_owned(world, new.key, tenant, new.external_account_id, changes).await?;
    if let Some(was) = existing {
        end_replaced_grant(world, new, was).await;
    }
    Ok(id)
}

/// The grant that this one took the place of ends where the CRM keeps both: nobody has its tokens any more. Best effort.
async fn end_replaced_grant(world: &World<'_>, new: &NewConnection<'_>, was: &Connection) {
    let crm = new.key.crm;
    let (Ok(app), Ok(keys)) = (world.settings.app(crm), world.token_keys()) else { return };
    let Ok(Some(refresh)) = open_refresh(keys, new.key, was) else { return };
    if new.refresh_token.is_some_and(|kept| kept.expose() == refresh.expose()) {
        return;
    }
    let requests = provider(crm).discard_requests(app, None, Some(&refresh), was.login_host.as_deref());
    end_grant(world, crm, requests, Trouble::GoOn).await;
}

fn mint_id(world: &World<'_>) -> Result<ConnectionId, Error> {
    ConnectionId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)
}

fn statements(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    existing: Option<&Connection>,
    new: &NewConnection<'_>,
    id: &ConnectionId,
) -> Result<Vec<Statement>, Error> {
    let crm = new.key.crm;
    let generation = existing.map_or(1, |c| c.token_generation.saturating_add(1));
    let seal = |column, plain: &Secret<String>| {
        let aad = Aad { scope: new.key.workspace_id.as_str(), connection: id.as_str(), column, generation };
        vault::seal(world.token_keys()?, world.random, &aad, plain).map_err(|_| Error::NoRandom)
    };
    let access = seal(Column::AccessToken, new.access_token)?;
    let refresh = new.refresh_token.map(|plain| seal(Column::RefreshToken, plain)).transpose()?;
    let account = new.external_account_id;
    let detail = json!({"crm": crm, "external_account_id": account, "reconnected": existing.is_some()});
    let event = audit::event(world, new.actor, "connection_connected", id.as_str(), detail)?;
    let revived = audit::event(world, "system", "writes_revived", id.as_str(), json!({ "crm": crm }))?;
    let connected = Connected {
        id,
        crm,
        external_account_id: account,
        external_account_name: new.external_account_name,
        external_user_id: new.external_user_id,
        instance_url: new.instance_url,
        login_host: new.login_host,
        scopes_json: new.scopes_json,
        access_token_sealed: access.as_str(),
        refresh_token_sealed: refresh.as_ref().map(AsRef::as_ref),
        expires_at: Some(new.expires_at),
        token_generation: generation,
        connected_by: new.actor,
        at: world.now,
    };
    let check_at = next_check_of(new.key, world.now);
    Ok(vec![
        connections::connect(&tenant.scope, &connected),
        event.append_if_changed(&tenant.scope),
        connections::set_health_if_changed(&tenant.scope, crm, Health::Ok, None, Some(check_at), world.now),
        connections::must_hold(&tenant.scope, crm, id, generation),
        // What was in doubt when this account was disconnected can be looked for again; the reconciler rings.
        replays::revive(&tenant.scope, crm, account, world.now),
        revived.append_if_changed(&tenant.scope),
    ])
}
