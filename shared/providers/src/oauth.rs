//! The words of OAuth between flows and adapters (RFC 6749, RFC 7636).

use crate::failure;
use crate::hostile;
use crate::http::{Answer, NoAnswer, Response};
use model::{Secret, Timestamp};
use serde_json::Value;

/// The app registered with the CRM.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    /// The client id (Salesforce: consumer key).
    pub client_id: String,
    /// The client secret.
    pub client_secret: Secret<String>,
    /// The scopes asked for.
    pub scopes: Vec<String>,
    /// HubSpot only: asked for, and granted where the portal can.
    pub optional_scopes: Vec<String>,
    /// Our callback, exactly as registered.
    pub redirect_uri: String,
}

/// What an authorize URL carries.
#[derive(Clone, Debug)]
pub struct AuthorizeRequest<'a> {
    /// The state, in plain.
    pub state: &'a str,
    /// The PKCE S256 challenge.
    pub code_challenge: &'a str,
    /// Salesforce: `login.salesforce.com`, `test.salesforce.com` or a My Domain host; `None` is production. HubSpot: `None`.
    pub login_host: Option<&'a str>,
}

/// What is given to the token endpoint.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// A code from the redirect, with the PKCE verifier.
    Code {
        /// Single use.
        code: &'a Secret<String>,
        /// Its challenge went out with the authorize request.
        verifier: &'a Secret<String>,
    },
    /// A code of a flow that the CRM's marketplace began: there was no authorize request of ours, so there is no verifier.
    InstallCode(&'a Secret<String>),
    /// A refresh token.
    Refresh(&'a Secret<String>),
}

/// What the token endpoint gave.
#[derive(Clone, Debug)]
pub struct Token {
    /// Opaque, of any length.
    pub access_token: Secret<String>,
    /// A new one when given: it always replaces the stored one.
    pub refresh_token: Option<Secret<String>>,
    /// Life of the access token, when told (HubSpot 1800; Salesforce never).
    pub expires_in_secs: Option<i64>,
    /// Granted scopes, when told.
    pub scopes: Option<Vec<String>>,
    /// The hub id or 18-character org id, when the answer names it.
    pub external_account_id: Option<String>,
    /// The id of the user who consented, when told.
    pub external_user_id: Option<String>,
    /// Salesforce: checked against the host rule, without a trailing slash.
    pub instance_url: Option<String>,
    /// Salesforce: message and base64 signature to be verified with the client secret (`crypto::mac`).
    pub signed: Option<Signed>,
}

/// A message and its base64 HMAC-SHA-256 under the client secret.
#[derive(Clone, Debug)]
pub struct Signed {
    /// `id` followed by `issued_at`.
    pub message: String,
    /// As received.
    pub signature: String,
}

/// The CRM account behind a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// A name people know it by (domain, org name), when known.
    pub name: Option<String>,
    /// Granted scopes, when known.
    pub scopes: Option<Vec<String>>,
    /// When the access token ends, when the account call told.
    pub expires_at: Option<Timestamp>,
}

/// Why the token endpoint gave no token. Decided on HubSpot's `status` first, then on `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// The grant is dead (revoked, expired, rotated away, uninstalled): only a person can reconnect.
    #[error("the CRM no longer accepts this grant ({code})")]
    Dead {
        /// The provider's code.
        code: String,
    },
    /// The code or its verifier was refused: start the flow again.
    #[error("the CRM refused the authorization code ({code})")]
    CodeRefused {
        /// The provider's code.
        code: String,
    },
    /// Our app's settings are wrong; tenants are not at fault.
    #[error("the CRM refused this app's credentials or settings ({code})")]
    Configuration {
        /// The provider's code.
        code: String,
    },
    /// Passes by itself; the grant was not spent.
    #[error("the CRM's token endpoint is not available ({code})")]
    Transient {
        /// The provider's code or `http_503`.
        code: String,
        /// The provider's `Retry-After`, in seconds.
        retry_after_secs: Option<i64>,
    },
    /// No answer, or one that does not say (500, 502, 504, 52x): a rotated refresh token may be spent.
    #[error("the CRM's token endpoint did not answer; whether it issued a token is not known")]
    Lost,
    /// An answer that is not a token (missing fields, foreign `instance_url`).
    #[error("the CRM's token answer could not be used: {0}")]
    Malformed(&'static str),
}

/// A host outside of the provider's allowed patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the login host is not one of this CRM's")]
pub struct HostRefused;

/// The token endpoint's answer and its JSON object; what both CRMs' endpoints have in common when there is none.
pub(crate) fn read_envelope(answer: &Answer) -> Result<(&Response, Value), TokenRefusal> {
    let response = match answer {
        Ok(response) => response,
        Err(NoAnswer::Lost) => return Err(TokenRefusal::Lost),
        Err(NoAnswer::NotSent) => {
            return Err(TokenRefusal::Transient { code: "not_sent".to_owned(), retry_after_secs: None });
        }
    };
    if let Some(body) = response.json().filter(Value::is_object) {
        return Ok((response, body));
    }
    let is_html = response.header("content-type").is_some_and(|kind| kind.contains("html"))
        || response.body.expose().trim_ascii_start().starts_with(b"<");
    Err(match response.status {
        status if is_doubtful(status) => TokenRefusal::Lost,
        // An edge's error page, whatever its status.
        _ if is_html => {
            let retry_after_secs = failure::retry_after_secs(response);
            TokenRefusal::Transient { code: format!("http_{}_html", response.status), retry_after_secs }
        }
        // A token was issued and its text is cut off: the same as no answer.
        200..=299 => TokenRefusal::Lost,
        _ => transient(response, "")
            .unwrap_or_else(|| TokenRefusal::Configuration { code: code_or_status(response, "") }),
    })
}

/// Behind these a token may have been issued: something broke while the request was worked on, or its answer was lost on
/// the way. 503 is not one of them: the endpoint did not take the request.
const fn is_doubtful(status: u16) -> bool {
    matches!(status, 408 | 500..=599) && status != 503
}

/// The refusal when the endpoint only is not available now: 429, 503, a redirect, or a code that says so; or when it is not
/// known what became of the request.
pub(crate) fn transient(response: &Response, error: &str) -> Option<TokenRefusal> {
    if is_doubtful(response.status) {
        return Some(TokenRefusal::Lost);
    }
    let by_code = matches!(error, "temporarily_unavailable" | "server_error" | "rate_limit_exceeded" | "unknown_error");
    (by_code || matches!(response.status, 300..=399 | 429 | 503)).then(|| TokenRefusal::Transient {
        code: code_or_status(response, error),
        retry_after_secs: failure::retry_after_secs(response),
    })
}

/// What introspection (RFC 7662) tells of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Active,
    /// It is spent or revoked.
    Inactive,
    /// The CRM answered, and not this question.
    Untold,
    /// The CRM did not answer, or not now, or its answer was cut off.
    Unreachable,
}

impl Standing {
    /// For logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Untold => "untold",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Reads an introspection. Only a plain `active` counts.
pub(crate) fn read_standing(answer: &Answer) -> Standing {
    let Ok(response) = answer else { return Standing::Unreachable };
    if matches!(response.status, 300..=399 | 408 | 429 | 500..=599) {
        return Standing::Unreachable;
    }
    let body = response.json();
    if response.is_success() && body.is_none() {
        return Standing::Unreachable;
    }
    match body.as_ref().filter(|_| response.is_success()).and_then(|body| body.get("active")).and_then(Value::as_bool) {
        Some(true) => Standing::Active,
        Some(false) => Standing::Inactive,
        None => Standing::Untold,
    }
}

/// The provider's code, or `http_400`.
pub(crate) fn code_or_status(response: &Response, error: &str) -> String {
    let code = hostile::code(error);
    if code.is_empty() { format!("http_{}", response.status) } else { code }
}
