//! Starting an OAuth flow: an administrator is sent to the CRM's consent page.
//!
//! The state is 256 random bits of which only the hash is stored; it lives ten minutes, is bound to the browser by a cookie
//! of its own, and carries the PKCE verifier sealed. RFC 6749 section 10.12, RFC 7636, RFC 9700 section 4.7.

use crate::authenticate::Caller;
use crate::{Error, World, return_to};
use crypto::state::{BrowserCookie, StateToken};
use crypto::{Aad, Column, pkce, vault};
use model::oauth::{Flow, STATE_LIFE_SECS};
use model::{Crm, Timestamp};
use providers::oauth::AuthorizeRequest;
use providers::{provider, stub};
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

/// The scope under which a state's verifier is sealed: its row has no workspace of its own to be bound to.
pub(crate) const STATE_SCOPE: &str = "oauth_states";

/// Starts a connect flow. One write to the directory.
pub async fn start_oauth(world: &World<'_>, caller: &Caller, crm: Crm, start: &Start) -> Result<Started, Error> {
    caller.require_admin()?;
    let app = world.settings.app(crm)?;
    let return_to = start.return_to.as_deref().map(|url| return_to::check(world.settings, url)).transpose()?;

    let state = StateToken::mint(world.random)?;
    let browser_cookie = BrowserCookie::mint(world.random)?;
    let verifier = pkce::verifier(world.random)?;
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

    let state_hash = state.hash();
    let aad = Aad { scope: STATE_SCOPE, connection: &state_hash, column: Column::PkceVerifier, generation: 0 };
    let verifier_sealed =
        vault::seal(world.state_keys()?, world.random, &aad, &verifier).map_err(|_| Error::NoRandom)?;
    let expires_at = world.now.plus_secs(STATE_LIFE_SECS);
    let mint = oauth_states::mint(&NewState {
        state_hash: &state_hash,
        crm,
        flow: Flow::Connect,
        workspace_id: Some(&caller.workspace_id),
        started_by: Some(&caller.actor),
        browser_hash: &browser_cookie.hash(),
        verifier_sealed: verifier_sealed.as_str(),
        return_to: return_to.as_deref(),
        login_host: start.login_host.as_deref(),
        created_at: world.now,
        expires_at,
    });
    run(world.directory, mint).await?;

    world.log.event("oauth_started", &[("crm", crm.as_str()), ("workspace_id", caller.workspace_id.as_str())]);
    let authorize_url = match &world.settings.stand_in_origin {
        Some(origin) => stub::on_stand_in(&authorize_url, origin),
        None => authorize_url,
    };
    Ok(Started { authorize_url, browser_cookie, expires_at })
}
