//! The Salesforce adapter.

use crate::Provider;
use crate::http::{Answer, Request};
use crate::lot::{Call, Lot};
use crate::oauth::{Account, AppCredentials, AuthorizeRequest, Grant, HostRefused, Token, TokenRefusal};
use model::{Crm, Secret, Timestamp};

/// The Salesforce adapter.
pub struct Salesforce;

impl Provider for Salesforce {
    fn crm(&self) -> Crm {
        Crm::Salesforce
    }
    fn authorize_url(&self, _: &AppCredentials, _: &AuthorizeRequest<'_>) -> Result<String, HostRefused> {
        Err(HostRefused)
    }
    fn token_request(&self, _: &AppCredentials, _: &Grant<'_>, _: Option<&str>) -> Result<Request, HostRefused> {
        Err(HostRefused)
    }
    fn read_token(&self, _: &Answer) -> Result<Token, TokenRefusal> {
        Err(TokenRefusal::Lost)
    }
    fn account_request(&self, _: &AppCredentials, _: &Token, _: Option<&str>) -> Option<Request> {
        None
    }
    fn read_account(&self, _: &Token, _: Option<&Answer>) -> Option<Account> {
        None
    }
    fn revoke_requests(
        &self,
        _: &AppCredentials,
        _: Option<&Secret<String>>,
        _: Option<&Secret<String>>,
        _: Option<&str>,
    ) -> Vec<Request> {
        Vec::new()
    }
    fn next_call(&self, _: &mut Lot) -> Option<Call> {
        None
    }
    fn read_call(&self, _: &mut Lot, _: &Call, _: &Answer, _: Timestamp) {}
    fn dry_run(&self, _: &Lot) -> Vec<Request> {
        Vec::new()
    }
    fn health_request(&self, _: &model::connection::ConnectionFacts) -> Request {
        Request::get(String::new())
    }
    fn read_health(&self, _: &Answer, _: &model::connection::ConnectionFacts) -> Result<(), model::write::Failure> {
        Ok(())
    }
}
