//! Words to an HTTP response: the only place with status codes, problem documents (RFC 9457) and security headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flows::{Error, Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
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

/// On what is not a page.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

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
    if let (Error::WritesRefused(refusals), Some(members)) = (error, problem.as_object_mut()) {
        let item = |(index, refusal): &(usize, model::curated::Refusal)| json!({"index": index, "code": refusal.code(), "detail": refusal.to_string()});
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
pub fn refuse(
    error: &Error,
    page: Option<String>,
    request_id: &str,
    counts: Option<&str>,
) -> Result<Outgoing, JsValue> {
    let (content_type, policy, body) = match page {
        Some(page) => ("text/html; charset=utf-8", page_policy(&page), page),
        None => ("application/problem+json", DATA_POLICY.to_owned(), problem_of(error, request_id).to_string()),
    };
    let own = headers_of(error).map(|(name, value)| (name, value.to_owned()));
    let headers = headers(request_id, counts, own.as_slice(), Some(content_type), &policy)?;
    response(status(error.kind()), Some(&body), &headers)
}

/// An answer as a response.
pub fn answer(reply: &Reply, request_id: &str, counts: Option<&str>) -> Result<Outgoing, JsValue> {
    let written;
    let (content_type, policy, body) = match &reply.content {
        Content::None => (None, DATA_POLICY.to_owned(), None),
        Content::Json(text) => (Some("application/json"), DATA_POLICY.to_owned(), Some(text)),
        Content::Html(page) => (Some("text/html; charset=utf-8"), page_policy(page), Some(page)),
        Content::Problem { code, detail } => {
            written = problem(reply.status, code, detail, request_id).to_string();
            (Some("application/problem+json"), DATA_POLICY.to_owned(), Some(&written))
        }
    };
    let headers = headers(request_id, counts, &reply.headers, content_type, &policy)?;
    response(reply.status, body.map(String::as_str), &headers)
}

fn headers(
    request_id: &str,
    counts: Option<&str>,
    own: &[(&'static str, String)],
    content_type: Option<&str>,
    policy: &str,
) -> Result<Headers, JsValue> {
    let headers = Headers::new()?;
    for (name, value) in EVERYWHERE {
        headers.set(name, value)?;
    }
    headers.set("Content-Security-Policy", policy)?;
    headers.set("X-Request-Id", request_id)?;
    if let Some(content_type) = content_type {
        headers.set("Content-Type", content_type)?;
    }
    if let Some(counts) = counts {
        headers.set(crate::rounds::HEADER, counts)?;
    }
    for (name, value) in own {
        // Appended, because there may be several cookies.
        headers.append(name, value)?;
    }
    Ok(headers)
}

fn response(status: u16, body: Option<&str>, headers: &Headers) -> Result<Outgoing, JsValue> {
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(headers);
    Outgoing::new_with_opt_str_and_init(body, &init)
}

/// A page may use its own `<style>` elements, by their hashes, and send its forms home: nothing else.
fn page_policy(page: &str) -> String {
    let mut styles = String::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("<style>") {
        let Some((style, tail)) = after.split_once("</style>") else { break };
        styles += " 'sha256-";
        STANDARD.encode_string(Sha256::digest(style.as_bytes()), &mut styles);
        styles.push('\'');
        rest = tail;
    }
    let styles = if styles.is_empty() { " 'none'".to_owned() } else { styles };
    format!("default-src 'none'; style-src{styles}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
}

#[cfg(test)]
mod tests {
    use super::{page_policy, problem_of, status};
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
    fn only_a_pages_own_styles_are_allowed() {
        // echo -n 'b{}' | openssl dgst -sha256 -binary | base64
        let hash = "'sha256-7yqHVAesot11p6HczDsgKRipvI5UPgs97z80zNXlans='";
        let policy = page_policy("<style>b{}</style><p><style>b{}</style>");
        assert_eq!(policy.matches(hash).count(), 2, "{policy}");
        assert!(page_policy("<p>").contains("style-src 'none'"));
        assert!(page_policy("<style>unclosed").contains("style-src 'none'"));
        assert!(!policy.contains("unsafe"));
    }
}
