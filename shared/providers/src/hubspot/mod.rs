//! The HubSpot adapter.
//!
//! Where things are: [`hosts`] and versions, `oauth`, [`probe`] (what the portal takes), `write` (which call next), `batch`
//! (contacts, tasks, notes and deals in as few calls as there can be), `labels` and `tie` (their associations), `deals` (their stages),
//! `look` and `search` (after a lost answer), `records` (our words as properties), [`journal`] (installs
//! and removals), [`errors`].

pub mod errors;
pub mod hosts;
pub mod journal;
pub mod probe;

mod batch;
mod deals;
mod labels;
mod look;
mod oauth;
mod records;
mod search;
mod tie;
mod write;

use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request};
use crate::lot::{Call, Lot};
use crate::oauth::{Account, AppCredentials, AuthorizeRequest, Grant, HostRefused, Token, TokenRefusal};
use crate::probe::Probe;
use crate::{Provider, hubspot, limits};
use model::budget::Told;
use model::connection::ConnectionFacts;
use model::write::{ErrorClass, Failure};
use model::{Crm, Secret, Timestamp};

/// The HubSpot adapter.
pub struct HubSpot;

impl Provider for HubSpot {
    fn crm(&self) -> Crm {
        Crm::Hubspot
    }

    fn authorize_url(&self, app: &AppCredentials, ask: &AuthorizeRequest<'_>) -> Result<String, HostRefused> {
        no_login_host(ask.login_host)?;
        Ok(oauth::authorize_url(app, ask))
    }

    fn token_request(
        &self,
        app: &AppCredentials,
        grant: &Grant<'_>,
        login_host: Option<&str>,
    ) -> Result<Request, HostRefused> {
        no_login_host(login_host)?;
        Ok(oauth::token_request(app, grant))
    }

    fn read_token(&self, answer: &Answer) -> Result<Token, TokenRefusal> {
        oauth::read_token(answer)
    }

    fn account_request(&self, app: &AppCredentials, token: &Token, _: Option<&str>) -> Option<Request> {
        Some(oauth::account_request(app, token))
    }

    fn read_account(&self, token: &Token, answer: Option<&Answer>) -> Option<Account> {
        oauth::read_account(token, answer)
    }

    fn refresh_token_request(
        &self,
        app: &AppCredentials,
        refresh_token: &Secret<String>,
        login_host: Option<&str>,
    ) -> Result<Request, HostRefused> {
        no_login_host(login_host)?;
        Ok(oauth::refresh_token_request(app, refresh_token))
    }

    fn read_limits(&self, headers: &[(String, String)]) -> Told {
        limits::hubspot(headers)
    }

    fn revoke_requests(
        &self,
        app: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        _: Option<&str>,
    ) -> Vec<Request> {
        oauth::revoke_requests(app, access_token, refresh_token)
    }

    /// None: uninstalling is for the whole portal, and a portal's refresh tokens may be one and the same.
    fn discard_requests(
        &self,
        _: &AppCredentials,
        _: Option<&Secret<String>>,
        _: Option<&Secret<String>>,
        _: Option<&str>,
    ) -> Vec<Request> {
        Vec::new()
    }

    fn confirms_end(&self, answer: &Answer) -> bool {
        oauth::confirms_end(answer)
    }

    fn next_call(&self, lot: &mut Lot) -> Option<Call> {
        write::next_call(lot)
    }

    fn expected_calls(&self, lot: &Lot) -> u32 {
        write::expected_calls(lot)
    }

    fn read_call(&self, lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
        write::read_call(lot, call, answer, now);
    }

    fn dry_run(&self, lot: Lot) -> Vec<Request> {
        write::dry_run(lot)
    }

    fn probe_call(&self, probe: &mut Probe, _: &ConnectionFacts) -> Option<Request> {
        probe::next(probe)
    }

    fn read_probe(&self, probe: &mut Probe, answer: &Answer, _: &ConnectionFacts) {
        probe::read(probe, answer);
    }

    fn health_request(&self, _: &ConnectionFacts) -> Request {
        Request::get(hosts::account_info())
    }

    /// The portal's number is compared: a token of another portal is not a healthy connection.
    fn read_health(&self, answer: &Answer, facts: &ConnectionFacts) -> Result<(), Failure> {
        let portal = batch::success(answer).and_then(|(_, body)| hostile::id(body.get("portalId")));
        let outcome = match portal {
            Some(portal) if portal == facts.external_account_id => return Ok(()),
            Some(_) => Verdict::new(
                ErrorClass::Auth,
                "account_mismatch",
                "the token belongs to another HubSpot account than the connection",
            )
            .outcome(Some(200), None, Timestamp(0)),
            None => hubspot::errors::classify(answer, Effect::Reads, Timestamp(0)),
        };
        failure::of(outcome).map_or(Ok(()), |failure| Err(Failure { not_before: None, ..failure }))
    }
}

/// HubSpot has one login host for everybody; a host that came with a request is a mistake or an attack.
const fn no_login_host(login_host: Option<&str>) -> Result<(), HostRefused> {
    match login_host {
        None => Ok(()),
        Some(_) => Err(HostRefused),
    }
}
