//! Starting an OAuth flow: an administrator is sent to the CRM's consent page.
//!
//! The state is 256 random bits of which only the hash is stored; it lives ten minutes, is bound to the browser by a cookie
//! of its own, and the PKCE verifier is made of it. RFC 6749 section 10.12, RFC 7636, RFC 9700 section 4.7.

use crate::authenticate::Caller;
use crate::{Error, World, return_to};
use crypto::pkce;
use crypto::state::{BrowserCookie, StateToken};
use model::oauth::{Flow, STATE_LIFE_SECS};
use model::{Crm, Timestamp};
use providers::oauth::AuthorizeRequest;
use providers::{Provider, provider};
use store::db::run;
use store::oauth_states::{self, NewState};

/// What the caller wants.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Where the browser goes at the end; one of the allowed origins.
    pub return_to: Option<String>,
    /// Salesforce: production, sandbox or a My Domain.
    pub login_host: Option<String>,
}

/// Where the browser is sent, and what it must bring back.
pub struct Started {
    /// The CRM's consent page.
    pub authorize_url: String,
    /// The value of the cookie that binds the state to the browser.
    pub browser_cookie: BrowserCookie,
    /// When the state ends.
    pub expires_at: Timestamp,
}

/// Starts a connect flow. One write to the directory.
pub async fn start_oauth(world: &World<'_>, caller: &Caller, crm: Crm, start: &Start) -> Result<Started, Error> {
    caller.require_admin()?;
    begin(world, crm, Some(caller), start).await
}

/// Starts a flow: for the caller's workspace, or, without one, an install.
pub(crate) async fn begin(
    world: &World<'_>,
    crm: Crm,
    caller: Option<&Caller>,
    start: &Start,
) -> Result<Started, Error> {
    let app = world.settings.app(crm)?;
    let return_to = start.return_to.as_deref().map(|url| return_to::check(world.settings, url)).transpose()?;

    let state = StateToken::mint(world.random)?;
    let keys = world.state_keys()?;
    let key_id = keys.current_id();
    let verifier = pkce::verifier(keys, key_id, state.as_str()).ok_or(Error::StateUnknown)?;
    let authorize_url = provider(crm)
        .authorize_url(
            app,
            &AuthorizeRequest {
                state: state.as_str(),
                code_challenge: &pkce::challenge(&verifier),
                login_host: start.login_host.as_deref(),
            },
        )
        .map_err(|_| Error::LoginHostRefused)?;
    let new =
        Minting { crm, caller, verifier_key_id: Some(key_id), return_to, login_host: start.login_host.as_deref() };
    let (browser_cookie, expires_at) = mint(world, &state, new).await?;
    Ok(Started { authorize_url: world.browser_url(authorize_url), browser_cookie, expires_at })
}

/// What a state is minted with.
pub(crate) struct Minting<'a> {
    pub(crate) crm: Crm,
    /// None: an install.
    pub(crate) caller: Option<&'a Caller>,
    /// None where the CRM makes the authorize request.
    pub(crate) verifier_key_id: Option<&'a str>,
    /// Checked.
    pub(crate) return_to: Option<String>,
    pub(crate) login_host: Option<&'a str>,
}

/// Stores a state, bound to a new cookie of the browser.
pub(crate) async fn mint(
    world: &World<'_>,
    state: &StateToken,
    new: Minting<'_>,
) -> Result<(BrowserCookie, Timestamp), Error> {
    let browser_cookie = BrowserCookie::mint(world.random)?;
    let expires_at = world.now.plus_secs(STATE_LIFE_SECS);
    let row = oauth_states::mint(&NewState {
        state_hash: &state.hash(),
        crm: new.crm,
        flow: if new.caller.is_some() { Flow::Connect } else { Flow::Install },
        workspace_id: new.caller.map(|caller| &caller.workspace_id),
        started_by: new.caller.map(|caller| caller.actor.as_str()),
        browser_hash: &browser_cookie.hash(),
        verifier_key_id: new.verifier_key_id,
        return_to: new.return_to.as_deref(),
        login_host: new.login_host,
        created_at: world.now,
        expires_at,
    });
    run(world.directory, row).await?;
    let workspace = new.caller.map_or("", |caller| caller.workspace_id.as_str());
    world.log.event("oauth_started", &[("crm", new.crm.as_str()), ("workspace_id", workspace)]);
    Ok((browser_cookie, expires_at))
}
