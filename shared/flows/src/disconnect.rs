//! Disconnecting: the tokens are forgotten here first and the account is let go, then they are revoked at the CRM.
//!
//! The order is chosen for the crash in between: a revoked token that is still stored would be used and fail; a forgotten one
//! that is still valid at the CRM is reported (`revoked: false`), and a person can remove the app there. In dry run the
//! connection ends here and nothing is sent: the answer and the audit trail say so.

use crate::authenticate::Caller;
use crate::end_grant::{Ending, Trouble, end_grant, needs_access_token};
use crate::gate::{Ask, Purpose};
use crate::own_account::{Changes, commit};
use crate::{Error, Tenant, World, audit, open_token};
use crypto::{Column, vault};
use model::connection::ConnectionKey;
use model::refresh::USABLE_MARGIN_SECS;
use model::{ConnectionStatus, Crm};
use providers::http::Request;
use providers::{Provider, provider};
use serde_json::json;
use store::connections::{self, Connection};
use store::crm_accounts;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Disconnected {
    /// The CRM confirmed that the grant is dead. False: remove the app in the CRM's own settings to be sure.
    pub revoked: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_revoked: Option<NotRevoked>,
    /// It was connected until now.
    pub was_connected: bool,
}

/// Why a grant may still live at the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotRevoked {
    /// `DRY_RUN`: nothing was sent.
    DryRun,
    /// The CRM did not answer, or not with a yes.
    Unconfirmed,
    /// There were no tokens that could be revoked.
    NoTokens,
}

/// Disconnects the workspace from a CRM. Disconnecting twice is no error.
pub async fn disconnect(world: &World<'_>, caller: &Caller, crm: Crm) -> Result<Disconnected, Error> {
    caller.require_admin()?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let key = caller.connection(crm);
    let (connection, requests) = prepare(world, &key, &tenant).await?;

    let account = &connection.external_account_id;
    let detail = json!({"crm": crm, "external_account_id": account, "dry_run": world.settings.dry_run});
    let event = audit::event(world, &caller.actor, "connection_disconnected", connection.id.as_str(), detail)?;
    let changes = Changes {
        before: Vec::new(),
        tenant: vec![connections::disconnect(&tenant.scope, crm, world.now), event.append_if_changed(&tenant.scope)],
        after: vec![crm_accounts::release(crm, account, &key.workspace_id)],
    };
    let outcomes = commit(world, &key, &tenant, changes).await?;
    let was_connected = store::db::nth(&outcomes, 0)?.changes > 0;
    world.gate.forget(&key).await;

    let not_revoked = match requests {
        None => Some(NotRevoked::NoTokens),
        Some(requests) => match end_grant(world, crm, requests, Trouble::GoOn).await {
            Ending::Confirmed => None,
            Ending::Unconfirmed => Some(NotRevoked::Unconfirmed),
            Ending::HeldBack => Some(NotRevoked::DryRun),
        },
    };
    world
        .log
        .event("connection_disconnected", &[("crm", crm.as_str()), ("workspace_id", caller.workspace_id.as_str())]);
    Ok(Disconnected { revoked: not_revoked.is_none(), not_revoked, was_connected })
}

/// The connection, and the calls that end its grant. Removing the app needs an access token that works: where the stored one
/// has ended, the gate is asked for another first, since it alone may refresh.
async fn prepare(
    world: &World<'_>,
    key: &ConnectionKey,
    tenant: &Tenant<'_>,
) -> Result<(Connection, Option<Vec<Request>>), Error> {
    let fetch =
        async || connections::fetch(tenant.db, &tenant.scope, key.crm).await?.ok_or(Error::NotConnected(key.crm));
    let connection = fetch().await?;
    let requests = revoke_requests(world, key, &connection);
    let ended = connection.expires_at.is_none_or(|at| at <= world.now.plus_secs(USABLE_MARGIN_SECS));
    let can_refresh = connection.status == ConnectionStatus::Connected && !world.settings.dry_run;
    if !(ended && can_refresh && requests.as_deref().is_some_and(needs_access_token)) {
        return Ok((connection, requests));
    }
    let ask = Ask { calls: 1, searches: 0, purpose: Purpose::Interactive, refused_generation: None };
    if world.gate.admit(key, ask).await.is_err() {
        return Ok((connection, requests));
    }
    let connection = fetch().await?;
    let requests = revoke_requests(world, key, &connection);
    Ok((connection, requests))
}

/// All of the CRM's revoking calls. `None`: nothing to make them with. Tokens that cannot be opened (a lost key) do not keep
/// anyone from disconnecting.
fn revoke_requests(world: &World<'_>, key: &ConnectionKey, connection: &Connection) -> Option<Vec<Request>> {
    let keys = world.keys.tokens.as_ref()?;
    let open = |column, sealed: &Option<String>| {
        let aad = open_token::aad(key, connection, column, connection.token_generation);
        vault::open(keys, &aad, sealed.as_deref()?).ok()
    };
    let access = open(Column::AccessToken, &connection.access_token_sealed);
    let refresh = open(Column::RefreshToken, &connection.refresh_token_sealed);
    let app = world.settings.app(key.crm).ok()?;
    let login_host = connection.login_host.as_deref();
    let requests = provider(key.crm).revoke_requests(app, access.as_ref(), refresh.as_ref(), login_host);
    (!requests.is_empty()).then_some(requests)
}
