//! HTTP as values: what an adapter asks for and what came back. Nothing here sends.
//!
//! A request carries no token: the bearer is put on when it is sent (see [`Request::bearer`]), so a request can be
//! recorded (dry run), compared and logged by its method and path. Form bodies hold client secrets and codes and are
//! therefore [`Secret`].

use model::Secret;

/// The HTTP methods the adapters use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, and HubSpot's searches and batches.
    Post,
    /// HubSpot's associations.
    Put,
    /// Updates.
    Patch,
    /// Uninstalls and removals.
    Delete,
}

impl Method {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None.
    Empty,
    /// `application/json`.
    Json(String),
    /// `application/x-www-form-urlencoded`; may hold a client secret, a code or a token.
    Form(Secret<String>),
}

/// Whether repeating the request can change the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads only (searches and batch reads are `POST` and still read).
    Reads,
    /// Changes something, but a repeat changes nothing more (upsert by a unique key, association `PUT`, `PATCH`).
    Idempotent,
    /// A repeat does it twice.
    Creates,
}

/// One request to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute `https` URL; its host was checked by the adapter that built it.
    pub url: String,
    /// Further headers; `Content-Type` follows from the body and `Authorization` from `bearer`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
    /// The access token, put on by the flow that sends.
    pub bearer: Option<Secret<String>>,
    /// What a repeat would do.
    pub effect: Effect,
    /// No answer after this long is a time-out.
    pub deadline_ms: u32,
}

/// The deadline of ordinary calls: well under a queue consumer's lease, well over HubSpot's slow minutes.
pub const DEADLINE_MS: u32 = 20_000;

impl Request {
    /// A `GET`.
    pub fn get(url: String) -> Self {
        Self::new(Method::Get, url, Body::Empty, Effect::Reads)
    }

    /// A request without headers or token.
    pub fn new(method: Method, url: String, body: Body, effect: Effect) -> Self {
        Self { method, url, headers: Vec::new(), body, bearer: None, effect, deadline_ms: DEADLINE_MS }
    }

    /// With the access token on.
    #[must_use]
    pub fn with_bearer(mut self, token: Secret<String>) -> Self {
        self.bearer = Some(token);
        self
    }
}

/// A provider's answer. Bodies over 4 MB are cut off by the transport and then fail to decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; may hold tokens (OAuth) or personal data, so it does not print.
    pub body: Secret<Vec<u8>>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The body as JSON, when it is JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(self.body.expose()).ok()
    }
}

/// No answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The request certainly did not leave (DNS, refused connection, host not allowed).
    #[error("the provider could not be reached")]
    NotSent,
    /// The deadline passed or the connection broke after the request may have arrived.
    #[error("the provider did not answer in time")]
    Lost,
}

/// An answer, or the lack of one.
pub type Answer = Result<Response, NoAnswer>;
