//! Salesforce's OAuth (RFC 6749, RFC 7636; providers reference 2.2).
//!
//! In scope: the authorize URL, token exchange and refresh, introspection for the token's end, revoke, and what each refusal
//! means. Out of scope: verifying the signature (`crypto::mac`; the client secret is the key), when to refresh.

use super::{hosts, ids};
use crate::http::{Answer, Effect, Method, Request, Response};
use crate::oauth::{Account, AppCredentials, AuthorizeRequest, Grant, HostRefused, Signed, Token, TokenRefusal};
use crate::{encode, hostile, oauth};
use model::{Secret, Timestamp};
use serde_json::Value;

/// A host of the right kind; none given is production.
fn checked_host(login_host: Option<&str>) -> Result<String, HostRefused> {
    login_host.map_or(Ok(hosts::LOGIN.to_owned()), |host| hosts::login_host(host).ok_or(HostRefused))
}

pub(super) fn authorize_url(app: &AppCredentials, ask: &AuthorizeRequest<'_>) -> Result<String, HostRefused> {
    let scopes = app.scopes.join(" ");
    let query = encode::query(&[
        ("response_type", "code"),
        ("client_id", &app.client_id),
        ("redirect_uri", &app.redirect_uri),
        ("scope", &scopes),
        ("state", ask.state),
        ("code_challenge", ask.code_challenge),
        ("code_challenge_method", "S256"),
    ]);
    Ok(format!("{}?{query}", hosts::oauth(&checked_host(ask.login_host)?, "authorize")))
}

/// Exchange or refresh, at the host family the person logged in at. The secret goes along on refresh too: apps can be set
/// to demand it.
pub(super) fn token_request(
    app: &AppCredentials,
    grant: &Grant<'_>,
    login_host: Option<&str>,
) -> Result<Request, HostRefused> {
    let mut pairs = vec![("client_id", app.client_id.as_str()), ("client_secret", app.client_secret.expose().as_str())];
    match grant {
        Grant::Code { code, verifier } => pairs.extend([
            ("grant_type", "authorization_code"),
            ("code", code.expose().as_str()),
            ("redirect_uri", app.redirect_uri.as_str()),
            ("code_verifier", verifier.expose().as_str()),
        ]),
        // Salesforce begins no flow by itself; written out because the adapter does not know that.
        Grant::InstallCode(code) => pairs.extend([
            ("grant_type", "authorization_code"),
            ("code", code.expose().as_str()),
            ("redirect_uri", app.redirect_uri.as_str()),
        ]),
        Grant::Refresh(token) => {
            pairs.extend([("grant_type", "refresh_token"), ("refresh_token", token.expose().as_str())]);
        }
    }
    let url = hosts::oauth(&checked_host(login_host)?, "token");
    Ok(Request::new(Method::Post, url, encode::form(&pairs), Effect::Creates))
}

/// Reads the token endpoint's answer. There is no `expires_in`; the org and user are the last two segments of `id`.
pub(super) fn read_token(answer: &Answer) -> Result<Token, TokenRefusal> {
    let (response, body) = oauth::read_envelope(answer)?;
    if !response.is_success() {
        return Err(refusal(response, &body));
    }
    let access_token = hostile::token(&body, "access_token").ok_or(TokenRefusal::Malformed("no access token"))?;
    let instance_url = hostile::text(&body, "instance_url").and_then(hosts::instance_url);
    let id = hostile::text(&body, "id").ok_or(TokenRefusal::Malformed("no identity"))?;
    let (org, user) = org_and_user(id).ok_or(TokenRefusal::Malformed("an identity without an org id"))?;
    Ok(Token {
        access_token: Secret::new(access_token),
        // Only with rotation on does a refresh bring another one.
        refresh_token: hostile::token(&body, "refresh_token").map(Secret::new),
        expires_in_secs: None,
        scopes: hostile::text(&body, "scope").map(|scopes| hostile::scopes(scopes.split(' '))),
        external_account_id: Some(org),
        external_user_id: user,
        instance_url: Some(instance_url.ok_or(TokenRefusal::Malformed("an instance URL that is not Salesforce's"))?),
        signed: Some(signed(id, &body).ok_or(TokenRefusal::Malformed("no signature"))?),
    })
}

/// `https://login.salesforce.com/id/{org}/{user}`: org ids begin with `00D`.
fn org_and_user(id: &str) -> Option<(String, Option<String>)> {
    let mut segments = id.rsplit('/');
    let user = segments.next()?;
    let org = segments.next().filter(|org| org.starts_with("00D"))?;
    Some((ids::to_18(org)?, ids::to_18(user)))
}

/// The message is `id` and `issued_at`, one after the other, as received.
fn signed(id: &str, body: &Value) -> Option<Signed> {
    let signature = hostile::text(body, "signature").filter(|s| !s.is_empty() && s.len() <= 256)?;
    let issued_at = hostile::text(body, "issued_at").filter(|at| !at.is_empty() && at.len() <= 32)?;
    Some(Signed { message: format!("{id}{issued_at}"), signature: signature.to_owned() })
}

/// `invalid_grant` is for codes and refresh tokens alike: only its description tells which. What is not known is a fault of
/// ours, never "revoked".
fn refusal(response: &Response, body: &Value) -> TokenRefusal {
    let error = hostile::text(body, "error").unwrap_or_default();
    if let Some(transient) = oauth::transient(response, error) {
        return transient;
    }
    let words = hostile::text(body, "error_description").unwrap_or_default().to_ascii_lowercase();
    let about_the_code = ["authorization code", "code verifier", "code challenge"].iter().any(|it| words.contains(it));
    match error {
        "invalid_grant" if about_the_code => TokenRefusal::CodeRefused { code: error.to_owned() },
        "invalid_grant" | "inactive_user" | "inactive_org" => TokenRefusal::Dead { code: error.to_owned() },
        _ => TokenRefusal::Configuration { code: oauth::code_or_status(response, error) },
    }
}

/// Introspection: the only way to learn when an access token ends.
pub(super) fn account_request(app: &AppCredentials, token: &Token, login_host: Option<&str>) -> Option<Request> {
    introspection(app, token.access_token.expose(), "access_token", login_host).ok()
}

/// Introspection of a refresh token. Whether every org answers it is not confirmed: another answer than `active` counts as
/// none.
pub(super) fn refresh_token_request(
    app: &AppCredentials,
    refresh_token: &Secret<String>,
    login_host: Option<&str>,
) -> Result<Request, HostRefused> {
    introspection(app, refresh_token.expose(), "refresh_token", login_host)
}

fn introspection(
    app: &AppCredentials,
    token: &str,
    hint: &str,
    login_host: Option<&str>,
) -> Result<Request, HostRefused> {
    let form = encode::form(&[
        ("token", token),
        ("token_type_hint", hint),
        ("client_id", &app.client_id),
        ("client_secret", app.client_secret.expose()),
    ]);
    Ok(Request::new(Method::Post, hosts::oauth(&checked_host(login_host)?, "introspect"), form, Effect::Reads))
}

/// The token itself names the org, so a failed or unlikely introspection costs the expiry alone.
pub(super) fn read_account(token: &Token, answer: Option<&Answer>) -> Option<Account> {
    let body = answer.and_then(|a| a.as_ref().ok()).filter(|r| r.is_success()).and_then(Response::json);
    let exp = body.as_ref().and_then(|body| body.get("exp")).and_then(Value::as_i64).filter(|secs| *secs > 0);
    let scope = body.as_ref().and_then(|body| hostile::text(body, "scope"));
    Some(Account {
        external_account_id: token.external_account_id.clone()?,
        name: None,
        scopes: scope.map(|scope| hostile::scopes(scope.split(' '))).or_else(|| token.scopes.clone()),
        expires_at: exp.map(|secs| Timestamp(0).plus_secs(secs)),
    })
}

/// One call: revoking the refresh token ends its access tokens too; without one, the access token is revoked.
pub(super) fn revoke_requests(
    access_token: Option<&Secret<String>>,
    refresh_token: Option<&Secret<String>>,
    login_host: Option<&str>,
) -> Vec<Request> {
    let (Some(token), Ok(host)) = (refresh_token.or(access_token), checked_host(login_host)) else {
        return Vec::new();
    };
    let form = encode::form(&[("token", token.expose())]);
    vec![Request::new(Method::Post, hosts::oauth(&host, "revoke"), form, Effect::Idempotent)]
}
