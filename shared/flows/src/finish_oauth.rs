//! Finishing an OAuth flow: the callback.
//!
//! 1. The state is consumed before anything else: a crash afterwards costs the person a retry, never a replay.
//! 2. The code is exchanged with the verifier, at the token endpoint of the CRM the state was minted for, and the account is
//!    resolved.
//! 3. A connect: the account must be the one the workspace is connected to, if it is, and nobody else's. The tokens are
//!    sealed for this workspace, connection and generation, and stored with audit and health in one batch. An install of the
//!    account that waits to be claimed is settled by it: the consent is the proof.
//! 4. An install: there is no workspace yet, and the grant is parked.
//!
//! A connect takes three round trips to the database and two calls to the CRM at most. HubSpot's marketplace may also bring a
//! code without a state: see [`finish_oauth`].

use crate::authenticate::Caller;
use crate::connect_account::{self, Along, NewConnection};
use crate::exchange::{Granted, discard, exchange};
use crate::install_tokens::{end_replaced, event_if_changed};
use crate::own_account::{Refused, read_both};
pub use crate::park_install::Parked;
use crate::park_install::park;
use crate::read_session::read_session;
use crate::{Error, World, audit};
use crypto::pkce;
use model::connection::ConnectionKey;
use model::install::Proof;
use model::oauth::Flow;
use model::{ConnectionId, Crm, Role, Secret, WorkspaceId};
use providers::hubspot::hosts::return_url;
use providers::oauth::Grant;
use serde_json::json;
use store::crm_accounts;
use store::oauth_states::{self, Consumed, Unusable};
use store::pending_installs;

/// What the browser brought back.
#[derive(Clone, Debug, Default)]
pub struct Callback {
    /// Ours.
    pub state: Option<String>,
    /// The CRM's.
    pub code: Option<Secret<String>>,
    /// The CRM's, instead of a code.
    pub error: Option<String>,
    /// The cookie that was set at the start.
    pub browser_cookie: Option<String>,
    /// HubSpot's marketplace: where its own flow goes on.
    pub return_url: Option<String>,
    /// HubSpot's marketplace: `finalize` is the second leg of a flow with a state of ours.
    pub step: Option<String>,
    /// Of our own pages, where one is open in this browser.
    pub session: Option<Secret<String>>,
}

/// How a flow ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// A workspace is connected.
    Connected(Finished),
    /// An install waits to be claimed.
    Parked(Parked),
}

/// A finished connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where the browser goes, without the result.
    pub return_to: Option<String>,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The connection.
    pub connection_id: ConnectionId,
    /// The hub id or org id.
    pub external_account_id: String,
    /// A name people know it by.
    pub external_account_name: Option<String>,
}

/// A refusal, and where the person may go from there: known once the state was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Why.
    pub error: Error,
    /// Where the browser may be sent back to.
    pub return_to: Option<String>,
    /// Which flow it was. An install can be begun again without anybody's product.
    pub flow: Option<Flow>,
}

impl From<Error> for Unfinished {
    fn from(error: Error) -> Self {
        Self { error, return_to: None, flow: None }
    }
}

/// Finishes a flow of `crm`. A code without a state is accepted from HubSpot's marketplace only, which shows itself by a
/// `returnUrl` on its own app; it is parked, connects nothing, and its browser proves nothing.
pub async fn finish_oauth(world: &World<'_>, crm: Crm, callback: &Callback) -> Result<Ended, Unfinished> {
    let outcome = route(world, crm, callback).await;
    if let Err(unfinished) = &outcome {
        let cause = match &unfinished.error {
            Error::ExchangeFailed { cause, .. } => cause.to_string(),
            _ => String::new(),
        };
        let fields = [("crm", crm.as_str()), ("code", unfinished.error.code()), ("reason", cause.as_str())];
        world.log.event("oauth_failed", &fields);
    }
    outcome
}

async fn route(world: &World<'_>, crm: Crm, callback: &Callback) -> Result<Ended, Unfinished> {
    let asked = match callback.return_url.as_deref() {
        // Before anything is spent: a foreign address is an attack, whatever comes with it.
        Some(url) if crm == Crm::Hubspot => Some(return_url(url).ok_or(Error::ReturnUrlRefused)?),
        _ => None,
    };
    // A second leg without its state is refused here and never bounced back: HubSpot would only send it again.
    if callback.state.is_none()
        && callback.step.is_none()
        && let Some(url) = asked
    {
        return Ok(Ended::Parked(stateless(world, crm, callback, url).await?));
    }
    let (state, consumed) = consume(world, crm, callback).await?;
    let unfinished = |error| Unfinished { error, return_to: consumed.return_to.clone(), flow: Some(consumed.flow) };
    // Ten minutes may have passed: who has lost the role since connects nothing, and no code is exchanged for them.
    if consumed.flow == Flow::Connect && !consumed.role.is_some_and(Role::may_administer) {
        return Err(unfinished(Error::AdminRequired));
    }
    let granted = exchanged(world, crm, callback, state, &consumed).await.map_err(unfinished)?;
    let ended = match (consumed.flow, &consumed.workspace_id, &consumed.shard) {
        (Flow::Connect, Some(workspace_id), Some(shard)) => {
            let key = ConnectionKey { workspace_id: workspace_id.clone(), shard: shard.clone(), crm };
            let actor = consumed.user_id.as_deref().unwrap_or("system");
            connect(world, &key, actor, &granted, consumed.return_to.clone()).await.map(Ended::Connected)
        }
        _ => install(world, crm, callback, &granted, asked, consumed.return_to.clone()).await,
    };
    ended.map_err(unfinished)
}

/// Step 1.
async fn consume<'a>(world: &World<'_>, crm: Crm, callback: &'a Callback) -> Result<(&'a str, Consumed), Error> {
    let state = callback.state.as_deref().ok_or(Error::StateMissing)?;
    let state_hash = crypto::state::hash(state);
    let browser_hash = crypto::state::hash_cookie(callback.browser_cookie.as_deref().unwrap_or_default());
    let consumed = oauth_states::consume(world.directory, crm, &state_hash, &browser_hash, world.now).await?;
    let consumed = consumed.map_err(|why| match why {
        Unusable::Unknown => Error::StateUnknown,
        Unusable::Used => Error::StateUsed,
        Unusable::Expired => Error::StateExpired,
        Unusable::ForeignBrowser => Error::StateForeignBrowser,
    })?;
    Ok((state, consumed))
}

/// An error beside a code is an error: nothing is exchanged.
fn code(crm: Crm, callback: &Callback) -> Result<&Secret<String>, Error> {
    if callback.error.is_some() {
        return Err(Error::ConsentDenied(crm));
    }
    callback.code.as_ref().ok_or(Error::CodeMissing(crm))
}

/// Step 2.
async fn exchanged(
    world: &World<'_>,
    crm: Crm,
    callback: &Callback,
    state: &str,
    consumed: &Consumed,
) -> Result<Granted, Error> {
    let code = code(crm, callback)?;
    let verifier;
    let grant = match &consumed.verifier_key_id {
        Some(key_id) => {
            verifier = pkce::verifier(world.state_keys()?, key_id, state).ok_or(Error::StateUnknown)?;
            Grant::Code { code, verifier: &verifier }
        }
        // HubSpot's marketplace made the authorize request, without a challenge of ours.
        None => Grant::InstallCode(code),
    };
    exchange(world, crm, &grant, consumed.login_host.as_deref()).await
}

/// Step 3.
async fn connect(
    world: &World<'_>,
    key: &ConnectionKey,
    actor: &str,
    granted: &Granted,
    return_to: Option<String>,
) -> Result<Finished, Error> {
    let account = &granted.account;
    let tenant = world.tenant_of(key)?;
    let (existing, install) = read_both(world, key, &tenant, &account.external_account_id).await?;
    let mut along = Along::default();
    if let Some(install) = &install {
        let detail = json!({"crm": key.crm, "install_id": install.id, "proof": "consent"});
        let event = audit::event(world, actor, "install_claimed", install.id.as_str(), detail)?;
        along.tenant.push(event.append(&tenant.scope));
        along.after.push(pending_installs::claim_by_consent(&install.id, &key.workspace_id, actor, world.now));
        let detail = json!({"workspace_id": key.workspace_id, "proof": "consent"});
        along.after.push(event_if_changed(world, &install.id, "install_claimed", detail));
    }
    let new = NewConnection {
        key,
        actor,
        external_account_id: &account.external_account_id,
        external_account_name: account.name.as_deref(),
        external_user_id: granted.token.external_user_id.as_deref(),
        instance_url: granted.token.instance_url.as_deref(),
        login_host: granted.login_host.as_deref(),
        scopes_json: &granted.scopes_json(),
        access_token: &granted.token.access_token,
        refresh_token: granted.token.refresh_token.as_ref(),
        expires_at: granted.expires_at(world.now),
    };
    let connection_id = match connect_account::connect(world, &tenant, existing.as_ref(), &new, along).await {
        Ok(id) => id,
        Err(refused) => return Err(give_up(world, key.crm, granted, refused).await),
    };
    world.gate.forget(key).await;
    if let Some(install) = &install {
        end_replaced(world, install).await;
    }
    world.log.event("oauth_finished", &[("crm", key.crm.as_str()), ("workspace_id", key.workspace_id.as_str())]);
    Ok(Finished {
        return_to,
        workspace_id: key.workspace_id.clone(),
        connection_id,
        external_account_id: account.external_account_id.clone(),
        external_account_name: account.name.clone(),
    })
}

/// Ends a grant that was certainly not stored. After a lost answer of the database it may have been: then it is left alone.
async fn give_up(world: &World<'_>, crm: Crm, granted: &Granted, refused: Refused) -> Error {
    // Two consents at once: the one whose row stood first is connected; this one begins again.
    let error = match refused {
        Refused::Conflict => Error::StateUsed,
        Refused::Error(error) => error,
    };
    if matches!(error, Error::StateUsed | Error::WrongAccount { .. } | Error::AccountOwnedElsewhere(_)) {
        discard(world, crm, granted).await;
    }
    error
}

/// Step 4. An account that is connected already is reconnected for a member who may, and nobody else gets anything of it.
async fn install(
    world: &World<'_>,
    crm: Crm,
    callback: &Callback,
    granted: &Granted,
    asked: Option<&str>,
    return_to: Option<String>,
) -> Result<Ended, Error> {
    let refused = match park(world, crm, granted, Proof::Browser, asked).await {
        Ok(parked) => return Ok(Ended::Parked(parked)),
        Err(refused) => refused,
    };
    if matches!(refused, Refused::Error(Error::AccountOwnedElsewhere(_)))
        && let Some(caller) = proven_member(world, crm, callback, granted).await?
    {
        return connect(world, &caller.connection(crm), &caller.actor, granted, return_to).await.map(Ended::Connected);
    }
    Err(give_up(world, crm, granted, refused).await)
}

/// The person of this browser's session, if they may administer the workspace that has the account.
async fn proven_member(
    world: &World<'_>,
    crm: Crm,
    callback: &Callback,
    granted: &Granted,
) -> Result<Option<Caller>, Error> {
    let Some(cookie) = &callback.session else { return Ok(None) };
    let account = &granted.account.external_account_id;
    let Some(owner) = crm_accounts::fetch_owner(world.directory, crm, account).await? else { return Ok(None) };
    let Ok(session) = read_session(world, Some(cookie.expose())).await else { return Ok(None) };
    let caller = session.caller(Some(owner.workspace_id.as_str())).ok();
    Ok(caller.filter(|caller| caller.role.may_administer()))
}

/// HubSpot's marketplace without a sign-in of ours. Anyone can make a browser open such an address, with a code of their own
/// account: so the install is parked, and this browser gets no proof that it is its own.
async fn stateless(world: &World<'_>, crm: Crm, callback: &Callback, asked: &str) -> Result<Parked, Error> {
    let code = code(crm, callback)?;
    let granted = exchange(world, crm, &Grant::InstallCode(code), None).await?;
    match park(world, crm, &granted, Proof::Consent, Some(asked)).await {
        Ok(parked) => Ok(parked),
        Err(refused) => Err(give_up(world, crm, &granted, refused).await),
    }
}
