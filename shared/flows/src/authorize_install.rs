//! HubSpot's marketplace with a sign-in of ours, first leg: `step=authorize` and `returnUrl`, no code yet.
//!
//! We mint a state, bind it to the browser, and send the browser back to HubSpot with it; HubSpot makes the authorize request,
//! so there is no PKCE verifier. The second leg (`step=finalize`) is `finish_oauth` like any other callback.

use crate::start_oauth::{Minting, mint};
use crate::{Error, World};
use crypto::state::{BrowserCookie, StateToken};
use model::Crm;
use providers::hubspot::hosts::{may_carry_state, return_url};

/// Where the browser is sent, and what it must bring back.
pub struct Authorized {
    /// HubSpot's page, with the state, as this deployment's browsers can open it.
    pub location: String,
    /// The value of the cookie that binds the state to the browser.
    pub browser_cookie: BrowserCookie,
}

/// Mints a state for HubSpot's own authorize request. One write to the directory.
pub async fn authorize_install(world: &World<'_>, asked: Option<&str>) -> Result<Authorized, Error> {
    let asked = asked.and_then(return_url).ok_or(Error::ReturnUrlRefused)?;
    if !may_carry_state(asked, world.settings.app(Crm::Hubspot)?) {
        return Err(Error::ReturnUrlRefused);
    }
    let state = StateToken::mint(world.random)?;
    let new = Minting { crm: Crm::Hubspot, caller: None, verifier_key_id: None, return_to: None, login_host: None };
    let (browser_cookie, _) = mint(world, &state, new).await?;
    let joint = if asked.contains('?') { '&' } else { '?' };
    let location = world.browser_url(format!("{asked}{joint}state={}", state.as_str()));
    Ok(Authorized { location, browser_cookie })
}
