//! The Salesforce adapter.
//!
//! Where things are: [`hosts`] and versions, [`ids`], `oauth`, `write` (which call next), `read` (what came of it), `single` (one
//! write in one call), `people` (whom an address belongs to), `plan` (what goes in one call), `look` (what an earlier try may
//! have made), `deals` (stages), `keys` (our External Id), `probe` (whether the org has it), `composite` (many requests in one),
//! `records` (our words as fields), [`errors`].

pub mod errors;
pub mod hosts;
pub mod ids;

mod composite;
mod deals;
mod keys;
mod look;
mod oauth;
mod people;
mod plan;
mod probe;
mod read;
mod records;
mod single;
mod write;

use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Request};
use crate::lot::{Call, Lot};
use crate::oauth::{Account, AppCredentials, AuthorizeRequest, Grant, HostRefused, Token, TokenRefusal};
use crate::probe::Probe;
use crate::{Provider, limits};
use model::budget::Told;
use model::connection::ConnectionFacts;
use model::write::{ErrorClass, Failure};
use model::{Crm, Secret, Timestamp};
use serde_json::Value;

/// The Salesforce adapter.
pub struct Salesforce;

impl Provider for Salesforce {
    fn crm(&self) -> Crm {
        Crm::Salesforce
    }

    fn authorize_url(&self, app: &AppCredentials, ask: &AuthorizeRequest<'_>) -> Result<String, HostRefused> {
        oauth::authorize_url(app, ask)
    }

    fn token_request(
        &self,
        app: &AppCredentials,
        grant: &Grant<'_>,
        login_host: Option<&str>,
    ) -> Result<Request, HostRefused> {
        oauth::token_request(app, grant, login_host)
    }

    fn read_token(&self, answer: &Answer) -> Result<Token, TokenRefusal> {
        oauth::read_token(answer)
    }

    fn account_request(&self, app: &AppCredentials, token: &Token, login_host: Option<&str>) -> Option<Request> {
        oauth::account_request(app, token, login_host)
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
        oauth::refresh_token_request(app, refresh_token, login_host)
    }

    fn read_limits(&self, headers: &[(String, String)]) -> Told {
        limits::salesforce(headers)
    }

    fn revoke_requests(
        &self,
        _: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        login_host: Option<&str>,
    ) -> Vec<Request> {
        oauth::revoke_requests(access_token, refresh_token, login_host)
    }

    /// Each consent has a refresh token of its own.
    fn discard_requests(
        &self,
        _: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        login_host: Option<&str>,
    ) -> Vec<Request> {
        oauth::revoke_requests(access_token, refresh_token, login_host)
    }

    /// A token that is unknown by now is answered with 400 (providers reference 2.2).
    fn confirms_end(&self, answer: &Answer) -> bool {
        let Ok(response) = answer else { return false };
        let body = response.json().unwrap_or_default();
        let error = hostile::text(&body, "error").unwrap_or_default();
        response.is_success() || (response.status == 400 && matches!(error, "unsupported_token_type" | "invalid_token"))
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

    fn probe_call(&self, probe: &mut Probe, facts: &ConnectionFacts) -> Option<Request> {
        probe::next(probe, facts)
    }

    fn read_probe(&self, probe: &mut Probe, answer: &Answer, facts: &ConnectionFacts) {
        probe::read(probe, answer, facts);
    }

    /// Without a usable instance URL the request goes to the login host, which knows no such path; [`Self::read_health`]
    /// then says what is wrong, whatever was answered.
    fn health_request(&self, facts: &ConnectionFacts) -> Request {
        let origin = facts.instance_url.as_deref().and_then(hosts::instance_url);
        let origin = origin.unwrap_or_else(|| format!("https://{}", hosts::LOGIN));
        Request::get(format!("{origin}{}", hosts::data_path("limits")))
    }

    fn read_health(&self, answer: &Answer, facts: &ConnectionFacts) -> Result<(), Failure> {
        let outcome = if facts.instance_url.as_deref().and_then(hosts::instance_url).is_none() {
            write::no_instance().outcome(None, None, Timestamp(0))
        } else {
            match answer.as_ref().ok().filter(|response| response.is_success()).and_then(|r| Some((r, r.json()?))) {
                Some((_, body)) if body.pointer("/DailyApiRequests/Remaining").and_then(Value::as_i64) == Some(0) => {
                    Verdict::new(ErrorClass::RateLimited, "daily_limit", "the org's API requests of today are used up")
                        .outcome(Some(200), None, Timestamp(0))
                }
                Some((_, body)) if body.is_object() => return Ok(()),
                _ => errors::classify(answer, Effect::Reads, Timestamp(0)),
            }
        };
        match failure::of(outcome) {
            // Some orgs show limits only to users who may view the set-up: the token was accepted all the same.
            Some(failure) if failure.code.starts_with("INSUFFICIENT_ACCESS") => Ok(()),
            Some(failure) => Err(Failure { not_before: None, ..failure }),
            None => Ok(()),
        }
    }
}
