//! Words to an HTTP response: the only place with status codes, problem documents (RFC 9457) and security headers.

use std::borrow::Cow;

use flows::{Error, Kind};
use model::curated::Refusal;
use pages::Html;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;
use web_sys::{Headers, ResponseInit};

use crate::Outgoing;
use crate::reply::{Content, Reply};

/// On every answer. `no-store`: answers hold tenants' data, and callback URLs hold codes.
const EVERYWHERE: [(&str, &str); 4] = [
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
];

/// The status of a kind of trouble.
pub const fn status(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unauthenticated => 401,
        Kind::Forbidden => 403,
        Kind::NotFound => 404,
        Kind::Conflict => 409,
        Kind::TooLarge => 413,
        Kind::Unprocessable => 422,
        Kind::Provider => 502,
        Kind::Unavailable => 503,
        Kind::Internal => 500,
    }
}

const fn title(status: u16) -> &'static str {
    match status {
        400 => "The request is not acceptable",
        401 => "Who is calling is not known",
        403 => "Not allowed",
        404 => "Not found",
        405 => "Method not allowed",
        409 => "Contradicts what is there",
        413 => "Too large",
        422 => "The content is not acceptable",
        502 => "The CRM did not do its part",
        503 => "Not available for now",
        _ => "The operator has to act",
    }
}

#[inline(never)]
fn problem(status: u16, code: &str, detail: &str, request_id: &str) -> Value {
    json!({
        "type": format!("urn:conduit:problem:{code}"),
        "title": title(status),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    })
}

/// A refusal as a problem document.
pub fn problem_of(error: &Error, request_id: &str) -> Value {
    let mut problem = problem(status(error.kind()), error.code(), &error.to_string(), request_id);
    if let (Error::JobRunning { since }, Some(members)) = (error, problem.as_object_mut()) {
        members.insert("since".to_owned(), since.iso().into());
    }
    if let (Error::WritesRefused(refusals), Some(members)) = (error, problem.as_object_mut()) {
        let item = |(index, refusal): &(usize, Refusal)| {
            let (code, detail) = (refusal.code(), refusal.to_string());
            json!({"index": index, "code": code, "detail": detail})
        };
        members.insert("errors".to_owned(), refusals.iter().map(item).collect());
    }
    problem
}

/// Headers that a kind of trouble brings with it.
fn headers_of(error: &Error) -> Option<(&'static str, &'static str)> {
    match error.kind() {
        // RFC 6750, section 3.1: no error code when no token was sent.
        Kind::Unauthenticated if *error == Error::TokenRequired => Some(("WWW-Authenticate", "Bearer")),
        Kind::Unauthenticated => Some(("WWW-Authenticate", "Bearer error=\"invalid_token\"")),
        Kind::Unavailable => Some(("Retry-After", "2")),
        _ => None,
    }
}

/// A refusal as a response: a problem document, or the page a door made of it.
#[inline(never)]
fn refuse(
    error: &Error,
    page: Option<&Html>,
    own: &[(&'static str, String)],
    request_id: &str,
    counts: Option<&str>,
) -> Outgoing {
    let written;
    let body = if let Some(page) = page {
        Body::page(page)
    } else {
        written = problem_of(error, request_id).to_string();
        Body::problem(&written)
    };
    let brought = headers_of(error).map(|(name, value)| (name, value.to_owned()));
    let own: Vec<_> = own.iter().cloned().chain(brought).collect();
    response(status(error.kind()), &body, &own, request_id, counts)
}

/// An answer as a response.
pub fn answer(reply: &Reply, request_id: &str, counts: Option<&str>) -> Outgoing {
    let written;
    let body = match &reply.content {
        Content::None => Body::NONE,
        Content::Json(text) => Body { text: Some(text), content_type: Some("application/json"), ..Body::NONE },
        Content::Text { content_type, text } => {
            Body { text: Some(text), content_type: Some(content_type), ..Body::NONE }
        }
        Content::Html(page) => Body::page(page),
        Content::Refusal { error, page } => return refuse(error, page.as_ref(), &reply.headers, request_id, counts),
        Content::Passed(answer) => return Clone::clone(answer),
        Content::Problem { code, detail } => {
            written = model::json::text(&problem(reply.status, code, detail, request_id));
            Body::problem(&written)
        }
    };
    response(reply.status, &body, &reply.headers, request_id, counts)
}

struct Body<'a> {
    text: Option<&'a str>,
    content_type: Option<&'static str>,
    page: Option<&'a Html>,
}

impl<'a> Body<'a> {
    const NONE: Self = Self { text: None, content_type: None, page: None };

    fn page(page: &'a Html) -> Self {
        Self { text: Some(page.as_str()), content_type: Some("text/html; charset=utf-8"), page: Some(page) }
    }

    const fn problem(text: &'a str) -> Self {
        Self { text: Some(text), content_type: Some("application/problem+json"), page: None }
    }
}

fn response(
    status: u16,
    body: &Body<'_>,
    own: &[(&'static str, String)],
    request_id: &str,
    counts: Option<&str>,
) -> Outgoing {
    try_response(status, body, own, request_id, counts).unwrap_or_else(|_| {
        // A header the runtime does not accept, such as a Location beyond Latin-1.
        let init = ResponseInit::new();
        init.set_status(500);
        Outgoing::new_with_opt_str_and_init(None, &init).unwrap_or_else(|_| Outgoing::error())
    })
}

fn try_response(
    status: u16,
    body: &Body<'_>,
    own: &[(&'static str, String)],
    request_id: &str,
    counts: Option<&str>,
) -> Result<Outgoing, JsValue> {
    let headers = Headers::new()?;
    for (name, value) in EVERYWHERE {
        headers.set(name, value)?;
    }
    headers.set("Content-Security-Policy", &policy(body.page))?;
    headers.set("X-Request-Id", request_id)?;
    if let Some(content_type) = body.content_type {
        headers.set("Content-Type", content_type)?;
    }
    if let Some(counts) = counts {
        headers.set(crate::rounds::HEADER, counts)?;
    }
    for (name, value) in own {
        // Appended, because there may be several cookies.
        headers.append(name, value)?;
    }
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(&headers);
    Outgoing::new_with_opt_str_and_init(body.text, &init)
}

/// A page may use the one stylesheet of `pages`, by its hash, and send its forms where `pages` says; what is not a page may do
/// nothing.
fn policy(page: Option<&Html>) -> Cow<'static, str> {
    let Some(page) = page else { return Cow::Borrowed("default-src 'none'; frame-ancestors 'none'") };
    let style = pages::STYLE_SHA256;
    let forms = if page.has_forms() { pages::FORM_ACTION } else { "'none'" };
    Cow::Owned(format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
    ))
}

#[cfg(test)]
mod tests {
    use super::{policy, problem_of, status};
    use flows::{Error, Kind};
    use model::curated::Refusal;

    #[test]
    fn every_kind_has_its_status() {
        for (kind, code) in [
            (Kind::Malformed, 400),
            (Kind::Unauthenticated, 401),
            (Kind::Forbidden, 403),
            (Kind::NotFound, 404),
            (Kind::Conflict, 409),
            (Kind::TooLarge, 413),
            (Kind::Unprocessable, 422),
            (Kind::Internal, 500),
            (Kind::Provider, 502),
            (Kind::Unavailable, 503),
        ] {
            assert_eq!(status(kind), code);
        }
    }

    #[test]
    fn refused_writes_are_listed_by_their_place() {
        let error = Error::WritesRefused(vec![(3, Refusal::Email), (7, Refusal::NotCurated("raw_body".into()))]);
        let problem = problem_of(&error, "r1");
        assert_eq!(problem["status"], 422);
        assert_eq!(problem["code"], "writes_refused");
        assert_eq!(problem["request_id"], "r1");
        assert_eq!(problem["errors"][0]["index"], 3);
        assert_eq!(problem["errors"][1]["code"], "not_curated");
        assert_eq!(problem_of(&Error::StateUsed, "r1").get("errors"), None);
    }

    #[test]
    fn nothing_runs_but_the_stylesheet_of_pages() {
        let plain = pages::connected("HubSpot", "Acme", None);
        let one = [pages::Choice { id: "ws_a", name: "A" }];
        let forms = pages::connections(&one[0], "t", &[], None);
        assert!(policy(Some(&plain)).contains(&format!("style-src 'sha256-{}'", pages::STYLE_SHA256)));
        assert!(policy(Some(&plain)).contains("form-action 'none'"));
        assert!(policy(Some(&forms)).contains("form-action 'self' https://*.hubspot.com"));
        for page in [Some(&plain), Some(&forms), None] {
            let policy = policy(page);
            assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
            assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
        }
    }
}
