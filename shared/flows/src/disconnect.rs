//! Disconnecting: the tokens are forgotten here first and the account is let go, then they are revoked at the CRM.
//!
//! The order is chosen for the crash in between: a revoked token that is still stored would be used and fail; a forgotten one
//! that is still valid at the CRM is reported (`revoked: false`), and a person can remove the app there.

use crate::authenticate::Caller;
use crate::own_account::{Changes, commit};
use crate::{Error, World, audit};
use crypto::{Aad, Column, vault};
use model::{Crm, Secret};
use providers::provider;
use serde_json::json;
use store::connections::{self, Connection};
use store::crm_accounts;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Disconnected {
    /// The CRM confirmed that the grant is dead. False: remove the app in the CRM's own settings to be sure.
    pub revoked: bool,
    /// It was connected until now.
    pub was_connected: bool,
}

/// Disconnects the workspace from a CRM. Disconnecting twice is no error.
pub async fn disconnect(world: &World<'_>, caller: &Caller, crm: Crm) -> Result<Disconnected, Error> {
    caller.require_admin()?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let connection = connections::fetch(tenant.db, &tenant.scope, crm).await?.ok_or(Error::NotConnected(crm))?;
    let tokens = open_tokens(world, caller, &connection);

    let event = audit::event(
        world,
        &caller.actor,
        "connection_disconnected",
        connection.id.as_str(),
        json!({"crm": crm, "external_account_id": connection.external_account_id}),
    )?;
    let key = caller.connection(crm);
    let changes = Changes {
        before: Vec::new(),
        tenant: vec![connections::disconnect(&tenant.scope, crm, world.now), event.append_if_changed(&tenant.scope)],
        after: vec![crm_accounts::release(crm, &connection.external_account_id, &key.workspace_id)],
    };
    let outcomes = commit(world, &key, &tenant, changes).await?;
    let was_connected = store::db::nth(&outcomes, 0)?.changes > 0;
    world.gate.forget(&key).await;

    let revoked = match tokens {
        Some((access, refresh)) => revoke(world, crm, &connection, access.as_ref(), refresh.as_ref()).await,
        None => false,
    };
    world
        .log
        .event("connection_disconnected", &[("crm", crm.as_str()), ("workspace_id", caller.workspace_id.as_str())]);
    Ok(Disconnected { revoked, was_connected })
}

type Tokens = (Option<Secret<String>>, Option<Secret<String>>);

/// The tokens to be revoked. Tokens that cannot be opened (a lost key) do not keep anyone from disconnecting.
fn open_tokens(world: &World<'_>, caller: &Caller, connection: &Connection) -> Option<Tokens> {
    let keys = world.keys.tokens.as_ref()?;
    let open = |column, sealed: &Option<String>| {
        let aad = Aad {
            scope: caller.workspace_id.as_str(),
            connection: connection.id.as_str(),
            column,
            generation: connection.token_generation,
        };
        vault::open(keys, &aad, sealed.as_deref()?).ok()
    };
    let access = open(Column::AccessToken, &connection.access_token_sealed);
    let refresh = open(Column::RefreshToken, &connection.refresh_token_sealed);
    (access.is_some() || refresh.is_some()).then_some((access, refresh))
}

/// All of the CRM's revoking calls; true when the last one, which ends the grant, worked.
async fn revoke(
    world: &World<'_>,
    crm: Crm,
    connection: &Connection,
    access: Option<&Secret<String>>,
    refresh: Option<&Secret<String>>,
) -> bool {
    let Ok(app) = world.settings.app(crm) else { return false };
    let mut revoked = false;
    for request in provider(crm).revoke_requests(app, access, refresh, connection.login_host.as_deref()) {
        revoked = world.http.send(request).await.is_ok_and(|response| response.is_success());
    }
    revoked
}
