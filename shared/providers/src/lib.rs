//! Our words to a CRM's HTTP and back: adapters build requests and read answers, and send nothing (sans I/O).
//!
//! In scope: URLs, bodies, error bodies and their classes, host rules, what a call guarantees, for HubSpot and
//! Salesforce. Out of scope: sending, tokens at rest, retries, budgets, when to do what.
//!
//! An adapter works on a [`lot::Lot`]: one to a hundred writes of one connection. [`Provider::next_call`] says the next
//! request for the lot, [`Provider::read_call`] reads its answer into the lot, until every entry has an outcome. A lot of
//! one is the single case; batching is the same code.

pub mod http;
pub mod lot;
pub mod oauth;
pub mod probe;

pub mod adapter;
pub mod failure;
pub mod hubspot;
pub mod salesforce;
pub mod stub;

mod encode;
mod hostile;
mod json;
pub mod limits;

pub use adapter::{Adapter, provider};

use http::{Answer, Request};
use lot::{Call, Lot};
use model::budget::Told;
use model::connection::ConnectionFacts;
use model::write::Failure;
use model::{Crm, Secret};
use oauth::{Account, AppCredentials, AuthorizeRequest, Grant, Standing, Token, TokenRefusal};
use probe::Probe;

/// One CRM's adapter. Object-safe and synchronous; [`Adapter`] chooses one by [`Crm`].
pub trait Provider {
    /// Which CRM.
    fn crm(&self) -> Crm;

    /// Where the person's browser is sent. `Err` when `login_host` is not one this provider has.
    fn authorize_url(&self, app: &AppCredentials, ask: &AuthorizeRequest<'_>) -> Result<String, oauth::HostRefused>;

    /// The call that exchanges a code or refreshes a token. `login_host` is checked again.
    fn token_request(
        &self,
        app: &AppCredentials,
        grant: &Grant<'_>,
        login_host: Option<&str>,
    ) -> Result<Request, oauth::HostRefused>;

    /// Reads the token endpoint's answer.
    fn read_token(&self, answer: &Answer) -> Result<Token, TokenRefusal>;

    /// The one further call, if any, that completes what is known of the account after an exchange (HubSpot: introspection
    /// for the portal's domain; Salesforce: introspection for the token's expiry).
    fn account_request(&self, app: &AppCredentials, token: &Token, login_host: Option<&str>) -> Option<Request>;

    /// The account a token belongs to. `answer` is that of [`Self::account_request`]; where the token itself
    /// names the account, a failed answer only costs the name. `None`: the account cannot be told.
    fn read_account(&self, token: &Token, answer: Option<&Answer>) -> Option<Account>;

    /// The read-only call that tells whether a refresh token still works (RFC 7662). After a refresh whose answer was lost,
    /// it shows whether the token was spent. `login_host` is checked again.
    fn refresh_token_request(
        &self,
        app: &AppCredentials,
        refresh_token: &Secret<String>,
        login_host: Option<&str>,
    ) -> Result<Request, oauth::HostRefused>;

    /// Reads the answer of [`Self::refresh_token_request`].
    fn read_refresh_token(&self, answer: &Answer) -> Standing {
        oauth::read_standing(answer)
    }

    /// What the headers of an answer tell of the account's limits.
    fn read_limits(&self, headers: &[(String, String)]) -> Told;

    /// The calls that end a grant at the provider, in order. Failing ones do not stop the others.
    fn revoke_requests(
        &self,
        app: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        login_host: Option<&str>,
    ) -> Vec<Request>;

    /// The calls that end one grant of an account whose other grants must live on: a second install's, a superseded one's.
    /// None where the CRM has one grant per app and account: ending it would end the connection.
    fn discard_requests(
        &self,
        app: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        login_host: Option<&str>,
    ) -> Vec<Request>;

    /// Whether an answer to one of these says that the grant is dead, be it by this call or before it.
    fn confirms_end(&self, answer: &Answer) -> bool {
        answer.as_ref().is_ok_and(http::Response::is_success)
    }

    /// The next request for a lot, or `None` when every entry has an outcome.
    fn next_call(&self, lot: &mut Lot) -> Option<Call>;

    /// How many requests the lot will take in the ordinary case, without making them.
    fn expected_calls(&self, lot: &Lot) -> u32;

    /// Reads the answer of `call` into the lot: outcomes, external ids found, or what to ask next. The call's body is gone by
    /// then: it may be megabytes, and it was sent.
    fn read_call(&self, lot: &mut Lot, call: &Call, answer: &Answer, now: model::Timestamp);

    /// Every request the lot would send, in order, with `@{contact}`-like places where an id is not known yet. For dry runs.
    fn dry_run(&self, lot: Lot) -> Vec<Request>;

    /// The next request by which it is learnt how this account's records can be written with one effect, or `None` when the
    /// probe is over. By default there is nothing to ask.
    fn probe_call(&self, _probe: &mut Probe, _facts: &ConnectionFacts) -> Option<Request> {
        None
    }

    /// Reads the answer of [`Self::probe_call`] into the probe.
    fn read_probe(&self, _probe: &mut Probe, _answer: &Answer, _facts: &ConnectionFacts) {}

    /// The cheapest authenticated call that shows whether the connection works.
    fn health_request(&self, facts: &ConnectionFacts) -> Request;

    /// Reads the health check's answer. A failure's `not_before` is not set: checks have their own schedule.
    fn read_health(&self, answer: &Answer, facts: &ConnectionFacts) -> Result<(), Failure>;
}
