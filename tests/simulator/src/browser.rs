//! A person's browser: follows the redirects of a connect, with its cookie, and presses Approve or Deny.

use crate::Sim;
use flows::authenticate::Caller;
use flows::authorize_install::authorize_install;
use flows::finish_oauth::{Callback, Ended, Finished, Parked, Unfinished, finish_oauth};
use flows::start_install::start_install;
use flows::start_oauth::{Start, start_oauth};
use model::{Crm, Role, Secret};
use pollster::block_on;

/// One browser.
pub struct Browser<'a> {
    sim: &'a Sim,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    /// A browser without cookies.
    pub const fn new(sim: &'a Sim) -> Self {
        Self { sim, cookie: None }
    }

    /// The cookie that binds its flow.
    pub fn cookie(&self) -> Option<String> {
        self.cookie.clone()
    }

    /// Starts as the owner of the workspace; answers the CRM's consent page.
    pub fn start(&mut self, crm: Crm, start: &Start) -> Result<String, flows::Error> {
        self.start_as(&self.sim.caller(Role::Owner), crm, start)
    }

    /// Starts as anybody.
    pub fn start_as(&mut self, caller: &Caller, crm: Crm, start: &Start) -> Result<String, flows::Error> {
        let world = self.sim.world();
        let started = block_on(start_oauth(&world, caller, crm, start))?;
        self.cookie = Some(started.browser_cookie.as_str().to_owned());
        Ok(started.authorize_url)
    }

    /// Opens the consent page and decides; answers what the redirect brings to the callback.
    pub fn consent(&self, authorize_url: &str, decision: &str) -> Callback {
        let request = stub_crm::Request {
            method: "GET".to_owned(),
            url: format!("{authorize_url}&decision={decision}"),
            ..stub_crm::Request::default()
        };
        let answer = self.sim.ports.ask_crm(&request);
        self.brought(answer.header("location").unwrap_or_default())
    }

    fn brought(&self, location: &str) -> Callback {
        brought(location, self.cookie.clone())
    }

    /// The callback.
    pub fn land(&self, crm: Crm, callback: &Callback) -> Result<Ended, Unfinished> {
        block_on(finish_oauth(&self.sim.world(), crm, callback))
    }

    /// The callback of a connect.
    ///
    /// # Panics
    /// When the flow was an install.
    pub fn finish(&self, crm: Crm, callback: &Callback) -> Result<Finished, Unfinished> {
        self.land(crm, callback).map(|ended| match ended {
            Ended::Connected(finished) => finished,
            Ended::Parked(parked) => unreachable!("an install was parked: {}", parked.install_id),
        })
    }

    /// The callback of an install.
    ///
    /// # Panics
    /// When the flow was a connect.
    pub fn finish_install(&self, crm: Crm, callback: &Callback) -> Result<Parked, Unfinished> {
        self.land(crm, callback).map(|ended| match ended {
            Ended::Parked(parked) => parked,
            Ended::Connected(finished) => unreachable!("connected: {}", finished.connection_id),
        })
    }

    /// Starts an install; answers the CRM's consent page.
    pub fn start_install(&mut self, crm: Crm) -> Result<String, flows::Error> {
        let started = block_on(start_install(&self.sim.world(), crm, &Start::default()))?;
        self.cookie = Some(started.browser_cookie.as_str().to_owned());
        Ok(started.authorize_url)
    }

    /// Installs through our own start, approving.
    pub fn install(&mut self, crm: Crm) -> Result<Parked, Unfinished> {
        let url = self.start_install(crm)?;
        let callback = self.consent(&url, "approve");
        self.finish_install(crm, &callback)
    }

    /// Presses a button of the marketplace, or follows where it sends the browser; answers the redirect.
    pub fn press(&self, path: &str, form: &str) -> String {
        let request = stub_crm::Request {
            method: "POST".to_owned(),
            url: format!("https://app.hubspot.com/marketplace/hubspot/{path}"),
            body: form.as_bytes().to_vec(),
            ..stub_crm::Request::default()
        };
        self.sim.ports.ask_crm(&request).header("location").unwrap_or_default().to_owned()
    }

    /// What HubSpot's marketplace brings to the callback without a sign-in of ours: a code, a `returnUrl`, no state.
    pub fn marketplace(&self, hub: &str) -> Callback {
        self.brought(&self.press("install", &format!("hub_id={hub}")))
    }

    /// HubSpot's marketplace with a sign-in of ours, both legs; answers what the second brings.
    ///
    /// # Panics
    /// When the first leg is refused.
    pub fn marketplace_with_sign_in(&mut self, hub: &str) -> Callback {
        let asked = self.brought(&self.press("install-with-sign-in", &format!("hub_id={hub}"))).return_url;
        let authorized = block_on(authorize_install(&self.sim.world(), asked.as_deref()));
        let authorized = authorized.unwrap_or_else(|error| unreachable!("{error}"));
        self.cookie = Some(authorized.browser_cookie.as_str().to_owned());
        let state = authorized.location.rsplit_once("state=").map_or("", |(_, state)| state).to_owned();
        self.brought(&self.press("consent", &format!("hub_id={hub}&state={state}")))
    }

    /// All of it, approving.
    pub fn connect(&mut self, crm: Crm) -> Result<Finished, Unfinished> {
        let url = self.start(crm, &Start::default())?;
        let callback = self.consent(&url, "approve");
        self.finish(crm, &callback)
    }
}

/// What a redirect to our callback brings, with the browser's cookie.
pub(crate) fn brought(location: &str, browser_cookie: Option<String>) -> Callback {
    let query = location.split_once('?').map_or("", |(_, query)| query);
    let part = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded);
    Callback {
        state: part("state"),
        code: part("code").map(Secret::new),
        error: part("error"),
        browser_cookie,
        return_url: part("returnUrl"),
        step: part("step"),
        session: None,
    }
}

/// Percent-decoding, once.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let value = match byte {
            b'%' => hex(rest.next())
                .zip(hex(rest.next()))
                .map_or(byte, |(high, low)| u8::try_from(high * 16 + low).unwrap_or(byte)),
            b'+' => b' ',
            other => other,
        };
        bytes.push(value);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
