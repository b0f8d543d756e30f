//! What the two OAuth servers have in common: codes, grants, refresh and access tokens, PKCE.
//!
//! Not their words: `hubspot/oauth.rs` and `salesforce/oauth.rs` make the tokens' looks, the pages and the errors. The
//! rules are RFC 6749 and RFC 7636.

use crate::config::Rotation;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What a person agreed to, before the app has fetched it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Code {
    /// Hub id or organisation id.
    pub account: String,
    /// User id.
    pub user: String,
    /// The app.
    pub client_id: String,
    /// Must be repeated at the token endpoint.
    pub redirect_uri: String,
    /// Granted.
    pub scopes: Vec<String>,
    /// S256 challenge, when one was sent.
    pub challenge: Option<String>,
    /// Epoch milliseconds.
    pub expires_at: i64,
    /// Codes work once.
    pub used: bool,
}

/// An app's standing in an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Grant {
    /// Hub id or organisation id.
    pub account: String,
    /// User id.
    pub user: String,
    /// The app.
    pub client_id: String,
    /// Granted.
    pub scopes: Vec<String>,
    /// False after revoking or uninstalling.
    pub alive: bool,
}

/// An access token's life.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Access {
    /// Whose.
    pub grant: u64,
    /// Epoch milliseconds.
    pub issued_at: i64,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

/// Why a code is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// Unknown, used, expired or another app's.
    Bad,
    /// Not the redirect URI of the authorize request.
    RedirectUri,
    /// PKCE.
    Verifier,
}

/// Everything one OAuth server remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Authority {
    codes: BTreeMap<String, Code>,
    grants: BTreeMap<u64, Grant>,
    /// Refresh tokens that work.
    refresh: BTreeMap<String, u64>,
    /// Refresh tokens that were rotated away.
    spent: BTreeMap<String, u64>,
    access: BTreeMap<String, Access>,
}

/// What the token endpoint was shown with a code.
#[derive(Clone, Copy, Debug)]
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a str,
    /// The app.
    pub client_id: &'a str,
    /// Must match.
    pub redirect_uri: &'a str,
    /// PKCE; may be empty.
    pub verifier: &'a str,
}

impl Authority {
    /// Keeps a code.
    pub fn add_code(&mut self, value: &str, code: Code) {
        self.codes.insert(value.to_owned(), code);
    }

    /// Turns a code into a grant, once. A wrong verifier or redirect URI uses the code up, too.
    pub fn redeem(&mut self, shown: Redemption<'_>, now_ms: i64) -> Result<u64, CodeError> {
        let code = self.codes.get_mut(shown.code).ok_or(CodeError::Bad)?;
        if code.used || now_ms >= code.expires_at || code.client_id != shown.client_id {
            return Err(CodeError::Bad);
        }
        code.used = true;
        if code.redirect_uri != shown.redirect_uri {
            return Err(CodeError::RedirectUri);
        }
        if code.challenge.as_ref().is_some_and(|challenge| *challenge != challenge_of(shown.verifier)) {
            return Err(CodeError::Verifier);
        }
        let id = self.grants.len() as u64 + 1;
        let Code { account, user, client_id, scopes, .. } = code.clone();
        self.grants.insert(id, Grant { account, user, client_id, scopes, alive: true });
        Ok(id)
    }

    /// A grant, alive or not.
    pub fn grant(&self, id: u64) -> Option<&Grant> {
        self.grants.get(&id)
    }

    /// Keeps a refresh token.
    pub fn add_refresh(&mut self, token: &str, grant: u64) {
        self.refresh.insert(token.to_owned(), grant);
    }

    /// Keeps an access token.
    pub fn add_access(&mut self, token: &str, access: Access) {
        self.access.insert(token.to_owned(), access);
    }

    /// The live grant of a refresh token of this app.
    pub fn refreshable(&self, token: &str, client_id: &str) -> Option<u64> {
        let id = *self.refresh.get(token)?;
        self.grants.get(&id).filter(|grant| grant.alive && grant.client_id == client_id).map(|_| id)
    }

    /// Puts `fresh` in the place of `token`, as the policy says. Says which refresh token is valid from now on.
    pub fn rotate(&mut self, token: &str, fresh: String, policy: Rotation) -> String {
        if policy == Rotation::Off {
            return token.to_owned();
        }
        if let Some(grant) = self.refresh.remove(token) {
            self.spent.insert(token.to_owned(), grant);
            self.refresh.insert(fresh.clone(), grant);
        }
        fresh
    }

    /// A rotated-away token was shown: under the strict policy its whole connection ends.
    pub fn punish_reuse(&mut self, token: &str, policy: Rotation) {
        if let (Rotation::Strict, Some(grant)) = (policy, self.spent.get(token).copied()) {
            self.end(grant);
        }
    }

    /// The grant and life of an access token, whatever its age; none if its grant is gone.
    pub fn access(&self, token: &str) -> Option<(&Access, &Grant)> {
        let access = self.access.get(token)?;
        self.grants.get(&access.grant).filter(|grant| grant.alive).map(|grant| (access, grant))
    }

    /// Lengthens an access token's life.
    pub fn extend(&mut self, token: &str, expires_at: i64) {
        if let Some(access) = self.access.get_mut(token) {
            access.expires_at = access.expires_at.max(expires_at);
        }
    }

    /// Forgets a refresh token; access tokens live on. Says whether it was known.
    pub fn forget_refresh(&mut self, token: &str) -> bool {
        self.refresh.remove(token).is_some()
    }

    /// Forgets an access token. Says whether it was known.
    pub fn forget_access(&mut self, token: &str) -> bool {
        self.access.remove(token).is_some()
    }

    /// The grant of a refresh token that still works.
    pub fn grant_of_refresh(&self, token: &str) -> Option<(u64, &Grant)> {
        let id = *self.refresh.get(token)?;
        self.grants.get(&id).filter(|grant| grant.alive).map(|grant| (id, grant))
    }

    /// Ends a grant with all its tokens.
    pub fn end(&mut self, id: u64) {
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.alive = false;
        }
    }

    /// Ends every grant of an app in an account.
    pub fn end_all(&mut self, account: &str, client_id: &str) {
        for grant in self.grants.values_mut() {
            if grant.account == account && grant.client_id == client_id {
                grant.alive = false;
            }
        }
    }

    /// How many grants live, for the overview.
    pub fn living(&self) -> usize {
        self.grants.values().filter(|grant| grant.alive).count()
    }
}

/// The S256 challenge of a verifier.
pub fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Whether a redirect URI may be used: registered, or, with none registered, https or this machine. (`HubSpot` wants a
/// domain and not an address; `127.0.0.1` is let through here because local servers print it.)
pub fn may_redirect_to(registered: &[String], uri: &str) -> bool {
    if !registered.is_empty() {
        return registered.iter().any(|known| known == uri);
    }
    let local = ["http://localhost", "http://127.0.0.1"]
        .iter()
        .filter_map(|base| uri.strip_prefix(base))
        .any(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    local || uri.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::{challenge_of, may_redirect_to};

    #[test]
    fn the_rfc_7636_vector() {
        assert_eq!(
            challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn redirects_go_to_registered_places() {
        let known = ["https://app.example/cb".to_owned()];
        for (registered, uri, allowed) in [
            (&known[..], "https://app.example/cb", true),
            (&known[..], "https://app.example/cb/", false),
            (&[], "https://app.example/cb", true),
            (&[], "http://localhost:8787/cb", true),
            (&[], "http://localhost.evil.example/cb", false),
            (&[], "http://app.example/cb", false),
            (&[], "", false),
        ] {
            assert_eq!(may_redirect_to(registered, uri), allowed, "{uri}");
        }
    }
}
