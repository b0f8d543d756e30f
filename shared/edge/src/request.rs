//! A request as doors see it: method, path, query, cookies, bearer, capped body. Read from the runtime's own URL text,
//! which is normalised already, so that no URL parser is linked for it.

use flows::Error;
use model::Secret;
use serde_json::Value;

use crate::query;
use crate::{Incoming, body};

/// A body of at most this many bytes is read where a door does not say otherwise: a hundred writes of 16 KB, and their
/// brackets.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One HTTP request.
pub struct Request {
    raw: Incoming,
    id: String,
    path: String,
    query: Vec<(String, String)>,
    bearer: Option<Secret<String>>,
}

impl Request {
    /// Reads the URL; the body stays unread.
    pub fn new(raw: Incoming, id: String) -> Self {
        let url = raw.url();
        let (path, query) = query::split_url(&url);
        let authorization = raw.headers().get("authorization").ok().flatten();
        let bearer = authorization.as_deref().and_then(query::bearer).map(|token| Secret::new(token.to_owned()));
        Self { path: path.to_owned(), query: query::pairs(query), bearer, raw, id }
    }

    /// `GET`, `POST`, …
    pub fn method(&self) -> String {
        self.raw.method()
    }

    /// The path, still percent-encoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows `/functions/v1/{name}/`, when something does: an id.
    pub fn rest(&self) -> Option<&str> {
        let mut parts = self.path.strip_prefix("/functions/v1/")?.splitn(2, '/');
        parts.next()?;
        parts.next().filter(|rest| !rest.is_empty())
    }

    /// A query parameter. Given twice it is refused: two readers of one URL must not disagree (RFC 6749, section 3.1).
    pub fn query(&self, name: &'static str) -> Result<Option<&str>, Error> {
        query::once(&self.query, name)
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.raw.headers().get(name).ok().flatten()
    }

    /// The first cookie of that name.
    pub fn cookie(&self, name: &str) -> Option<String> {
        query::cookie(&self.header("cookie")?, name).map(str::to_owned)
    }

    /// The token of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_ref().map(|token| token.expose().as_str())
    }

    /// Whether a browser asks for a page, rather than a program for data.
    pub fn accepts_html(&self) -> bool {
        self.header("accept").is_some_and(|accept| accept.split([',', ';']).any(|kind| kind.trim() == "text/html"))
    }

    /// The id every log line, audit event and problem of this request carries.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The body, or a refusal when it has more than `max` bytes; no more than that is ever held.
    pub async fn body(&self, max: usize) -> Result<Vec<u8>, Error> {
        match body::read(self.raw.body(), max).await {
            Ok(read) if !read.cut => Ok(read.bytes),
            Ok(_) => Err(Error::BodyTooLarge { max }),
            Err(_) => Err(Error::MalformedJson("the body ended early".to_owned())),
        }
    }

    /// The body as JSON. The refusal tells the place of the fault, not the content.
    pub async fn json(&self, max: usize) -> Result<Value, Error> {
        let bytes = self.body(max).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::MalformedJson(error.to_string()))
    }
}
