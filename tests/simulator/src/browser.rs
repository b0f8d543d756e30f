//! A person's browser: follows the redirects of a connect, with its cookie, and presses Approve or Deny.

use crate::Sim;
use flows::finish_oauth::{Callback, Finished, Unfinished, finish_oauth};
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

    /// Starts as the owner of the workspace; answers the CRM's consent page.
    pub fn start(&mut self, crm: Crm, start: &Start) -> Result<String, flows::Error> {
        let world = self.sim.world();
        let started = block_on(start_oauth(&world, &self.sim.caller(Role::Owner), crm, start))?;
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
        let location = answer.header("location").unwrap_or_default().to_owned();
        let query = location.split_once('?').map_or("", |(_, query)| query).to_owned();
        let part =
            |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded);
        Callback {
            state: part("state"),
            code: part("code").map(Secret::new),
            error: part("error"),
            browser_cookie: self.cookie.clone(),
        }
    }

    /// The callback.
    pub fn finish(&self, crm: Crm, callback: &Callback) -> Result<Finished, Unfinished> {
        block_on(finish_oauth(&self.sim.world(), crm, callback))
    }

    /// All of it, approving.
    pub fn connect(&mut self, crm: Crm) -> Result<Finished, Unfinished> {
        let url = self.start(crm, &Start::default())?;
        let callback = self.consent(&url, "approve");
        self.finish(crm, &callback)
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
