//! From a code to a grant: the tokens, and the account they belong to. Nothing is stored here.

use crate::end_grant::{Trouble, end_grant};
use crate::{Error, World};
use crypto::mac;
use model::oauth::SALESFORCE_SESSION_ASSUMED_SECS;
use model::{Crm, Timestamp};
use providers::oauth::{Account, AppCredentials, Grant, Token, TokenRefusal};
use providers::{Provider, provider};
use serde_json::json;

/// What a consent gave.
pub(crate) struct Granted {
    pub(crate) token: Token,
    pub(crate) account: Account,
    /// Salesforce only.
    pub(crate) login_host: Option<String>,
}

impl Granted {
    /// Granted scopes as a JSON list; what the token says counts before what the account call says.
    pub(crate) fn scopes_json(&self) -> String {
        let scopes = self.token.scopes.as_ref().or(self.account.scopes.as_ref());
        model::json::text(&json!(scopes.map(Vec::as_slice).unwrap_or_default()))
    }

    /// When the token ends, as far as anyone told; Salesforce tells nothing unless introspection does.
    pub(crate) fn expires_at(&self, now: Timestamp) -> Timestamp {
        self.token
            .expires_in_secs
            .map(|secs| now.plus_secs(secs))
            .or(self.account.expires_at)
            .unwrap_or_else(|| now.plus_secs(SALESFORCE_SESSION_ASSUMED_SECS))
    }
}

/// Exchanges a code, checks the signature where the CRM signs, and resolves the account.
pub(crate) async fn exchange(
    world: &World<'_>,
    crm: Crm,
    grant: &Grant<'_>,
    login_host: Option<&str>,
) -> Result<Granted, Error> {
    let app = world.settings.app(crm)?;
    let token = token(world, crm, app, grant, login_host).await?;
    let answer = match provider(crm).account_request(app, &token, login_host) {
        Some(request) => Some(world.http.send(request).await),
        None => None,
    };
    let account = provider(crm).read_account(&token, answer.as_ref()).ok_or(Error::AccountUnknown(crm))?;
    Ok(Granted { token, account, login_host: login_host.map(str::to_owned) })
}

async fn token(
    world: &World<'_>,
    crm: Crm,
    app: &AppCredentials,
    grant: &Grant<'_>,
    login_host: Option<&str>,
) -> Result<Token, Error> {
    let request = provider(crm).token_request(app, grant, login_host).map_err(|_| Error::LoginHostRefused)?;
    let answer = world.http.send(request).await;
    let token = provider(crm).read_token(&answer).map_err(|cause| Error::ExchangeFailed { crm, cause })?;
    if let Some(signed) = &token.signed {
        let secret = app.client_secret.expose().as_bytes();
        if !mac::verify_base64(secret, signed.message.as_bytes(), &signed.signature) {
            return Err(Error::SignatureInvalid(crm));
        }
    }
    if token.refresh_token.is_none() {
        let cause = TokenRefusal::Malformed("it holds no refresh token: add the offline scope to the app");
        return Err(Error::ExchangeFailed { crm, cause });
    }
    Ok(token)
}

/// Ends a grant that will not be kept, while the account's other grants live on. Best effort: nobody holds its tokens.
pub(crate) async fn discard(world: &World<'_>, crm: Crm, granted: &Granted) {
    let Ok(app) = world.settings.app(crm) else { return };
    let (access, refresh) = (Some(&granted.token.access_token), granted.token.refresh_token.as_ref());
    let requests = provider(crm).discard_requests(app, access, refresh, granted.login_host.as_deref());
    // Whether it worked changes nothing: the tokens are gone with this request.
    end_grant(world, crm, requests, Trouble::GoOn).await;
}
