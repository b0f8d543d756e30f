//! Finishing an OAuth flow: the callback.
//!
//! 1. The state is consumed before anything else: a crash afterwards costs the person a retry, never a replay.
//! 2. The code is exchanged with the verifier, at the token endpoint of the CRM the state was minted for.
//! 3. The account is resolved, and must be the one the workspace is connected to, if it is.
//! 4. The tokens are sealed for this workspace, connection and generation, and stored with audit and health in one batch.
//!
//! Three round trips to the database and two calls to the CRM at most.

use crate::start_oauth::STATE_SCOPE;
use crate::{Error, Tenant, World, audit};
use crypto::{Aad, Column, mac, vault};
use model::connection::ConnectionKey;
use model::oauth::{Flow, SALESFORCE_SESSION_ASSUMED_SECS};
use model::{ConnectionId, ConnectionStatus, Crm, Health, Secret, Timestamp, WorkspaceId};
use providers::oauth::{Account, AppCredentials, Grant, Token, TokenRefusal};
use providers::provider;
use serde_json::json;
use store::connections::{self, Connected, Connection};
use store::oauth_states::{self, Consumed, Unusable};

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
}

impl From<Error> for Unfinished {
    fn from(error: Error) -> Self {
        Self { error, return_to: None }
    }
}

/// Finishes a flow of `crm`.
pub async fn finish_oauth(world: &World<'_>, crm: Crm, callback: &Callback) -> Result<Finished, Unfinished> {
    let outcome = match consume(world, crm, callback).await {
        Ok((state_hash, consumed)) => connect(world, crm, callback, &state_hash, &consumed)
            .await
            .map_err(|error| Unfinished { error, return_to: consumed.return_to.clone() }),
        Err(error) => Err(Unfinished::from(error)),
    };
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

/// Step 1.
async fn consume(world: &World<'_>, crm: Crm, callback: &Callback) -> Result<(String, Consumed), Error> {
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
    Ok((state_hash, consumed))
}

/// Steps 2 to 4.
async fn connect(
    world: &World<'_>,
    crm: Crm,
    callback: &Callback,
    state_hash: &str,
    consumed: &Consumed,
) -> Result<Finished, Error> {
    let (Flow::Connect, Some(workspace_id), Some(shard)) = (consumed.flow, &consumed.workspace_id, &consumed.shard)
    else {
        return Err(Error::InstallNotSupported);
    };
    // An error beside a code is an error: nothing is exchanged.
    if callback.error.is_some() {
        return Err(Error::ConsentDenied(crm));
    }
    let code = callback.code.as_ref().ok_or(Error::CodeMissing(crm))?;
    let app = world.settings.app(crm)?;
    let login_host = consumed.login_host.as_deref();

    let token = exchange(world, crm, app, code, state_hash, consumed).await?;
    let account = account(world, crm, app, &token, login_host).await?;

    let tenant = world.tenant(workspace_id, shard)?;
    let existing = connections::fetch(tenant.db, &tenant.scope, crm).await?;
    let key = ConnectionKey { workspace_id: workspace_id.clone(), shard: shard.clone(), crm };
    let actor = consumed.user_id.as_deref().unwrap_or("system");
    let new = NewConnection { key: &key, actor, login_host, token: &token, account: &account };
    let connection_id = store_connection(world, &tenant, existing.as_ref(), &new).await?;
    world.gate.forget(&key).await;

    world.log.event("oauth_finished", &[("crm", crm.as_str()), ("workspace_id", workspace_id.as_str())]);
    Ok(Finished {
        return_to: consumed.return_to.clone(),
        workspace_id: workspace_id.clone(),
        connection_id,
        external_account_id: account.external_account_id,
        external_account_name: account.name,
    })
}

/// Step 2: the code for a token, whose signature is checked where the CRM signs.
async fn exchange(
    world: &World<'_>,
    crm: Crm,
    app: &AppCredentials,
    code: &Secret<String>,
    state_hash: &str,
    consumed: &Consumed,
) -> Result<Token, Error> {
    let aad = Aad { scope: STATE_SCOPE, connection: state_hash, column: Column::PkceVerifier, generation: 0 };
    let verifier = vault::open(world.state_keys()?, &aad, &consumed.verifier_sealed).map_err(|_| Error::Unsealable)?;
    let request = provider(crm)
        .token_request(app, &Grant::Code { code, verifier: &verifier }, consumed.login_host.as_deref())
        .map_err(|_| Error::LoginHostRefused)?;
    let answer = world.http.send(request).await;
    let token = provider(crm).read_token(&answer).map_err(|cause| Error::ExchangeFailed { crm, cause })?;
    if let Some(signed) = &token.signed {
        let secret = app.client_secret.expose().as_bytes();
        if !mac::verify_base64(secret, signed.message.as_bytes(), &signed.signature) {
            return Err(Error::SignatureInvalid(crm));
        }
    }
    if token.refresh_token.is_none() {
        let cause = TokenRefusal::Malformed("it holds no refresh token: add the offline scope to the app");
        return Err(Error::ExchangeFailed { crm, cause });
    }
    Ok(token)
}

/// Step 3: which account it is.
async fn account(
    world: &World<'_>,
    crm: Crm,
    app: &AppCredentials,
    token: &Token,
    login_host: Option<&str>,
) -> Result<Account, Error> {
    let answer = match provider(crm).account_request(app, token, login_host) {
        Some(request) => Some(world.http.send(request).await),
        None => None,
    };
    provider(crm).read_account(token, answer.as_ref()).ok_or(Error::AccountUnknown(crm))
}

struct NewConnection<'a> {
    key: &'a ConnectionKey,
    actor: &'a str,
    login_host: Option<&'a str>,
    token: &'a Token,
    account: &'a Account,
}

/// Step 4: seal and store, by compare-and-set on what was read.
async fn store_connection(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    existing: Option<&Connection>,
    new: &NewConnection<'_>,
) -> Result<ConnectionId, Error> {
    let crm = new.key.crm;
    if let Some(other) = existing
        .filter(|c| c.status != ConnectionStatus::Disconnected)
        .filter(|c| c.external_account_id != new.account.external_account_id)
    {
        return Err(Error::WrongAccount { crm, connected: other.external_account_id.clone() });
    }
    let id = match existing {
        Some(connection) => connection.id.clone(),
        None => ConnectionId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?,
    };
    let generation = existing.map_or(1, |c| c.token_generation.saturating_add(1));
    let seal = |column, plain: &Secret<String>| {
        let aad = Aad { scope: new.key.workspace_id.as_str(), connection: id.as_str(), column, generation };
        vault::seal(world.token_keys()?, world.random, &aad, plain).map_err(|_| Error::NoRandom)
    };
    let access = seal(Column::AccessToken, &new.token.access_token)?;
    let refresh = new.token.refresh_token.as_ref().map(|plain| seal(Column::RefreshToken, plain)).transpose()?;
    let scopes = new.token.scopes.as_ref().or(new.account.scopes.as_ref());

    let event = audit::event(
        world,
        new.actor,
        "connection_connected",
        id.as_str(),
        json!({"crm": crm, "external_account_id": new.account.external_account_id, "reconnected": existing.is_some()}),
    )?;
    let outcomes = tenant
        .db
        .batch(vec![
            connections::connect(
                &tenant.scope,
                &Connected {
                    id: &id,
                    crm,
                    external_account_id: &new.account.external_account_id,
                    external_account_name: new.account.name.as_deref(),
                    external_user_id: new.token.external_user_id.as_deref(),
                    instance_url: new.token.instance_url.as_deref(),
                    login_host: new.login_host,
                    scopes_json: &json!(scopes.map(Vec::as_slice).unwrap_or_default()).to_string(),
                    access_token_sealed: access.as_str(),
                    refresh_token_sealed: refresh.as_ref().map(AsRef::as_ref),
                    expires_at: Some(expires_at(new.token, new.account, world.now)),
                    token_generation: generation,
                    connected_by: new.actor,
                    at: world.now,
                },
            ),
            event.append_if_changed(&tenant.scope),
            connections::set_health_if_changed(&tenant.scope, crm, Health::Ok, None, world.now),
        ])
        .await?;
    // Two consents of one workspace at once: the one whose row stood first is connected; this one begins again.
    if store::db::nth(&outcomes, 0)?.changes == 0 {
        return Err(Error::StateUsed);
    }
    Ok(id)
}

/// When the token ends, as far as anyone told; Salesforce tells nothing unless introspection does.
pub(crate) fn expires_at(token: &Token, account: &Account, now: Timestamp) -> Timestamp {
    token
        .expires_in_secs
        .map(|secs| now.plus_secs(secs))
        .or(account.expires_at)
        .unwrap_or_else(|| now.plus_secs(SALESFORCE_SESSION_ASSUMED_SECS))
}
