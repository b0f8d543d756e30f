//! HubSpot's OAuth (RFC 6749, RFC 7636; providers reference 1.2 and 1.3).
//!
//! In scope: the authorize URL, token exchange and refresh, introspection for the portal's name, revoke and uninstall, and
//! what each refusal means. Out of scope: when to refresh, where tokens are kept.

use super::hosts;
use crate::http::{Answer, Effect, Method, Request, Response};
use crate::oauth::{Account, AppCredentials, AuthorizeRequest, Grant, Token, TokenRefusal};
use crate::{encode, failure, hostile, oauth};
use model::Secret;
use serde_json::Value;

/// The consent page. `response_type` is not documented for HubSpot's normal app flow and not sent.
pub(super) fn authorize_url(app: &AppCredentials, ask: &AuthorizeRequest<'_>) -> String {
    let scopes = app.scopes.join(" ");
    let optional = app.optional_scopes.join(" ");
    let mut pairs = vec![
        ("client_id", app.client_id.as_str()),
        ("redirect_uri", app.redirect_uri.as_str()),
        ("scope", scopes.as_str()),
    ];
    if !optional.is_empty() {
        // Singular, as HubSpot's SDK and its quickstart spell it; one prose page has a plural.
        pairs.push(("optional_scope", optional.as_str()));
    }
    pairs.extend([("state", ask.state), ("code_challenge", ask.code_challenge), ("code_challenge_method", "S256")]);
    format!("{}?{}", hosts::AUTHORIZE, encode::query(&pairs))
}

/// Exchange or refresh; everything in the form, nothing in the URL.
pub(super) fn token_request(app: &AppCredentials, grant: &Grant<'_>) -> Request {
    let mut pairs = vec![("client_id", app.client_id.as_str()), ("client_secret", app.client_secret.expose().as_str())];
    match grant {
        Grant::Code { code, verifier } => pairs.extend([
            ("grant_type", "authorization_code"),
            ("code", code.expose().as_str()),
            ("redirect_uri", app.redirect_uri.as_str()),
            ("code_verifier", verifier.expose().as_str()),
        ]),
        Grant::InstallCode(code) => pairs.extend([
            ("grant_type", "authorization_code"),
            ("code", code.expose().as_str()),
            ("redirect_uri", app.redirect_uri.as_str()),
        ]),
        Grant::Refresh(token) => {
            pairs.extend([("grant_type", "refresh_token"), ("refresh_token", token.expose().as_str())]);
        }
    }
    Request::new(Method::Post, hosts::oauth("token"), encode::form(&pairs), Effect::Creates)
}

/// Reads the token endpoint's answer. `hub_id` and `scopes` have been in every token answer since 2025-08-18, `user_id` only
/// in some.
pub(super) fn read_token(answer: &Answer) -> Result<Token, TokenRefusal> {
    let (response, body) = oauth::read_envelope(answer)?;
    if !response.is_success() {
        return Err(refusal(response, &body));
    }
    let access_token = hostile::token(&body, "access_token").ok_or(TokenRefusal::Malformed("no access token"))?;
    // Absent or absurd is "not told": the token is good, and losing it would cost a reconnect.
    let expires_in_secs = body.get("expires_in").and_then(Value::as_i64).filter(|secs| (1..=86_400).contains(secs));
    Ok(Token {
        access_token: Secret::new(access_token),
        refresh_token: hostile::token(&body, "refresh_token").map(Secret::new),
        expires_in_secs,
        scopes: scopes(&body),
        external_account_id: hostile::id(body.get("hub_id")),
        external_user_id: hostile::id(body.get("user_id")),
        instance_url: None,
        signed: None,
    })
}

/// `status` first: a dead refresh token has been seen with `error: invalid_request`, by which alone it would look like a
/// fault of ours. What is not known is never "revoked".
fn refusal(response: &Response, body: &Value) -> TokenRefusal {
    let status = hostile::text(body, "status").unwrap_or_default();
    let error = hostile::text(body, "error").unwrap_or_default();
    if let Some(transient) = oauth::transient(response, error) {
        return transient;
    }
    match status {
        "BAD_REFRESH_TOKEN" | "BAD_HUB" => TokenRefusal::Dead { code: status.to_owned() },
        "BAD_AUTH_CODE" | "BAD_CODE_VERIFIER" => TokenRefusal::CodeRefused { code: status.to_owned() },
        _ if status.starts_with("BAD_") => TokenRefusal::Configuration { code: hostile::code(status) },
        _ => match error {
            "invalid_grant" if about_the_code(body) => TokenRefusal::CodeRefused { code: error.to_owned() },
            "invalid_grant" | "access_denied" => TokenRefusal::Dead { code: error.to_owned() },
            _ => TokenRefusal::Configuration { code: oauth::code_or_status(response, error) },
        },
    }
}

/// RFC 6749 has `invalid_grant` for codes and refresh tokens alike; only the words tell.
fn about_the_code(body: &Value) -> bool {
    let words = hostile::text(body, "error_description").or_else(|| hostile::text(body, "message")).unwrap_or_default();
    let words = words.to_ascii_lowercase();
    words.contains("code") && !words.contains("refresh token")
}

/// Introspection: the portal's domain, by which people know it, is told nowhere else.
pub(super) fn account_request(app: &AppCredentials, token: &Token) -> Request {
    let form = about(app, token.access_token.expose(), "access_token");
    Request::new(Method::Post, hosts::oauth("token/introspect"), form, Effect::Reads)
}

/// Introspection of a refresh token: `{"active": false}` for a spent or unknown one (seen live).
pub(super) fn refresh_token_request(app: &AppCredentials, refresh_token: &Secret<String>) -> Request {
    let form = about(app, refresh_token.expose(), "refresh_token");
    Request::new(Method::Post, hosts::oauth("token/introspect"), form, Effect::Reads)
}

/// The portal. An answer for another portal than the token's, or `active: false`, is no account.
pub(super) fn read_account(token: &Token, answer: Option<&Answer>) -> Option<Account> {
    let body = answer.and_then(|a| a.as_ref().ok()).filter(|r| r.is_success()).and_then(Response::json);
    let Some(body) = body else {
        return Some(Account {
            external_account_id: token.external_account_id.clone()?,
            name: None,
            scopes: token.scopes.clone(),
            expires_at: None,
        });
    };
    if body.get("active").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    let told = hostile::id(body.get("hub_id"));
    let external_account_id = match (&token.external_account_id, told) {
        (Some(own), Some(told)) if *own != told => return None,
        (Some(own), _) => own.clone(),
        (None, told) => told?,
    };
    Some(Account {
        external_account_id,
        name: hostile::text(&body, "hub_domain").map(failure::detail).filter(|name| !name.is_empty()),
        scopes: scopes(&body).or_else(|| token.scopes.clone()),
        expires_at: None,
    })
}

/// First out of the portal, then the refresh token; access tokens live on to the end of their 30 minutes either way.
pub(super) fn revoke_requests(
    app: &AppCredentials,
    access_token: Option<&Secret<String>>,
    refresh_token: Option<&Secret<String>>,
) -> Vec<Request> {
    let uninstall = access_token.map(|token| {
        let request = Request::new(Method::Delete, hosts::uninstall(), crate::http::Body::Empty, Effect::Idempotent);
        request.with_bearer(token.clone())
    });
    let revoke = refresh_token.map(|token| {
        let form = about(app, token.expose(), "refresh_token");
        Request::new(Method::Post, hosts::oauth("token/revoke"), form, Effect::Idempotent)
    });
    uninstall.into_iter().chain(revoke).collect()
}

/// Whether the grant is dead: by this call, or before it.
pub(super) fn confirms_end(answer: &Answer) -> bool {
    let Ok(response) = answer else { return false };
    let body = || response.json().unwrap_or_default();
    response.is_success() || matches!(hostile::text(&body(), "status"), Some("BAD_REFRESH_TOKEN" | "BAD_HUB"))
}

/// The form of introspection and revocation; the specification and the official SDK name the field `token`.
fn about(app: &AppCredentials, token: &str, hint: &str) -> crate::http::Body {
    encode::form(&[
        ("client_id", &app.client_id),
        ("client_secret", app.client_secret.expose()),
        ("token", token),
        ("token_type_hint", hint),
    ])
}

fn scopes(body: &Value) -> Option<Vec<String>> {
    let list = body.get("scopes").and_then(Value::as_array)?;
    Some(hostile::scopes(list.iter().filter_map(Value::as_str)))
}
