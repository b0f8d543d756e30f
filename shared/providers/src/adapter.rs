//! The adapter of a CRM chosen at run time, without a vtable: a call is a `match`, so a Worker links only the methods it calls.
//! (With `&dyn Provider` every Worker linked both adapters whole: 15 to 30 KB gzip.) A Worker for one CRM names its adapter
//! instead, and links that one only.

use crate::http::{Answer, Request};
use crate::lot::{Call, Lot};
use crate::oauth::{Account, AppCredentials, AuthorizeRequest, Grant, HostRefused, Standing, Token, TokenRefusal};
use crate::probe::Probe;
use crate::{Provider, hubspot, salesforce};
use model::budget::Told;
use model::connection::ConnectionFacts;
use model::write::Failure;
use model::{Crm, Secret, Timestamp};

/// One of the adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// HubSpot's.
    HubSpot,
    /// Salesforce's.
    Salesforce,
}

/// The adapter of a CRM.
pub const fn provider(crm: Crm) -> Adapter {
    match crm {
        Crm::Hubspot => Adapter::HubSpot,
        Crm::Salesforce => Adapter::Salesforce,
    }
}

macro_rules! delegate {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $answer:ty)?;)*) => {
        impl Provider for Adapter {$(
            fn $name(&self, $($arg: $type),*) $(-> $answer)? {
                match self {
                    Self::HubSpot => hubspot::HubSpot.$name($($arg),*),
                    Self::Salesforce => salesforce::Salesforce.$name($($arg),*),
                }
            }
        )*}
    };
}

delegate! {
    fn crm() -> Crm;
    fn authorize_url(app: &AppCredentials, ask: &AuthorizeRequest<'_>) -> Result<String, HostRefused>;
    fn token_request(app: &AppCredentials, grant: &Grant<'_>, login_host: Option<&str>) -> Result<Request, HostRefused>;
    fn read_token(answer: &Answer) -> Result<Token, TokenRefusal>;
    fn account_request(app: &AppCredentials, token: &Token, login_host: Option<&str>) -> Option<Request>;
    fn read_account(token: &Token, answer: Option<&Answer>) -> Option<Account>;
    fn refresh_token_request(
        app: &AppCredentials,
        refresh_token: &Secret<String>,
        login_host: Option<&str>
    ) -> Result<Request, HostRefused>;
    fn read_refresh_token(answer: &Answer) -> Standing;
    fn read_limits(headers: &[(String, String)]) -> Told;
    fn revoke_requests(
        app: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        login_host: Option<&str>
    ) -> Vec<Request>;
    fn discard_requests(
        app: &AppCredentials,
        access_token: Option<&Secret<String>>,
        refresh_token: Option<&Secret<String>>,
        login_host: Option<&str>
    ) -> Vec<Request>;
    fn confirms_end(answer: &Answer) -> bool;
    fn next_call(lot: &mut Lot) -> Option<Call>;
    fn expected_calls(lot: &Lot) -> u32;
    fn read_call(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp);
    fn dry_run(lot: Lot) -> Vec<Request>;
    fn probe_call(probe: &mut Probe, facts: &ConnectionFacts) -> Option<Request>;
    fn read_probe(probe: &mut Probe, answer: &Answer, facts: &ConnectionFacts);
    fn health_request(facts: &ConnectionFacts) -> Request;
    fn read_health(answer: &Answer, facts: &ConnectionFacts) -> Result<(), Failure>;
}
