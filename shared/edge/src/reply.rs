//! What a door answers with, before it is an HTTP response. Headers that every answer carries are `respond`'s business.

use flows::Error;
use pages::Html;
use serde::Serialize;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Content {
    None,
    Json(String),
    Text {
        content_type: &'static str,
        text: String,
    },
    Html(Html),
    Refusal {
        error: Error,
        page: Option<Html>,
    },
    Problem {
        code: &'static str,
        detail: &'static str,
    },
    /// What another Worker of ours answered, as it is.
    Passed(crate::Outgoing),
}

impl Reply {
    /// JSON.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(text) => Self::new(status, Content::Json(text)),
            Err(_) => Self::problem(500, "not_serialisable", "the answer could not be written; tell the operator"),
        }
    }

    /// JSON that is text already and known to be valid.
    pub fn json_text(status: u16, text: String) -> Self {
        Self::new(status, Content::Json(text))
    }

    /// Text of another kind: `application/x-ndjson`.
    pub const fn text(status: u16, content_type: &'static str, text: String) -> Self {
        Self::new(status, Content::Text { content_type, text })
    }

    /// A page. Only `pages` makes one, and nothing but its one stylesheet runs in it.
    pub const fn html(status: u16, page: Html) -> Self {
        Self::new(status, Content::Html(page))
    }

    /// A refusal whose page knows more than the error does (where to begin again); without one, as an `Err` of the deed.
    pub const fn refused(error: Error, page: Option<Html>) -> Self {
        Self::new(0, Content::Refusal { error, page })
    }

    /// Sends a browser on (302).
    pub fn found(location: String) -> Self {
        Self::new(302, Content::None).with_header("Location", location)
    }

    /// Sends a browser on with a `GET` (303): after a form, and away from a URL that carried a code.
    pub fn see_other(location: String) -> Self {
        Self::new(303, Content::None).with_header("Location", location)
    }

    /// What another Worker of ours answered.
    pub const fn passed(answer: crate::Outgoing) -> Self {
        Self::new(0, Content::Passed(answer))
    }

    /// No body (204).
    pub const fn no_content() -> Self {
        Self::new(204, Content::None)
    }

    /// A problem that no flow can have, such as a path nobody has.
    pub const fn problem(status: u16, code: &'static str, detail: &'static str) -> Self {
        Self::new(status, Content::Problem { code, detail })
    }

    /// Nobody is at this path.
    pub const fn not_found() -> Self {
        Self::problem(404, "not_found", "there is nothing at this path: see /functions/v1/openapi.json")
    }

    /// Not with this method. `allow` lists those there are: `GET, POST`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::problem(405, "method_not_allowed", "this path does not have this method: see the Allow header")
            .with_header("Allow", allow.to_owned())
    }

    /// With a cookie; the whole value of `Set-Cookie`.
    #[must_use]
    pub fn with_cookie(self, cookie: String) -> Self {
        self.with_header("Set-Cookie", cookie)
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) const fn refusal(&self) -> Option<&Error> {
        match &self.content {
            Content::Refusal { error, .. } => Some(error),
            _ => None,
        }
    }

    const fn new(status: u16, content: Content) -> Self {
        Self { status, content, headers: Vec::new() }
    }
}
