//! HTTP as values: what came in, taken apart once; what goes out; and whether the caller ever gets to see it.
//!
//! Not a server and not a client: `worker.rs` and `examples/serve.rs` carry these over a wire, the simulator over nothing.

use serde_json::Value;

/// A request as a caller sent it. The URL is absolute; its host may be the provider's own or a local one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// In the order sent; names in any case.
    pub headers: Vec<(String, String)>,
    /// Raw.
    pub body: Vec<u8>,
}

/// What becomes of an answer on its way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// The caller reads it.
    #[default]
    Deliver,
    /// The effect happened; the caller sees a broken connection.
    LoseAnswer,
    /// The request never arrived; the caller sees a broken connection.
    LoseRequest,
}

/// What the stand-in says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// Raw.
    pub body: Vec<u8>,
    /// Whether the caller gets it.
    pub fate: Fate,
    /// How long the carrier should wait first.
    pub delay_ms: u64,
}

/// An answer, or the answer that explains why not.
pub type Reply = Result<Answer, Answer>;

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json;charset=utf-8", serde_json::to_vec(body).unwrap_or_default())
    }

    /// An HTML page that may load and run nothing.
    pub fn html(status: u16, body: String) -> Self {
        Self::typed(status, "text/html;charset=utf-8", body.into_bytes())
            .with("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'")
    }

    /// Plain text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::typed(status, "text/plain;charset=utf-8", body.into())
    }

    /// A status and nothing else.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A redirect.
    pub fn found(location: &str) -> Self {
        Self::empty(302).with("location", location)
    }

    fn typed(status: u16, kind: &str, body: Vec<u8>) -> Self {
        Self { status, body, ..Self::default() }.with("content-type", kind)
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The body as JSON; `Null` when it is not.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// A request taken apart.
#[derive(Debug)]
pub struct Call<'a> {
    request: &'a Request,
    /// `https://api.hubapi.com` or `http://localhost:8787`.
    pub origin: &'a str,
    /// As sent, still percent-encoded, without the query.
    pub path: &'a str,
    /// The path's parts, decoded; empty ones dropped.
    pub segments: Vec<String>,
    query: Vec<(String, String)>,
    /// Epoch milliseconds on the stand-in's clock.
    pub now_ms: i64,
}

impl<'a> Call<'a> {
    /// Takes a request apart.
    pub fn new(request: &'a Request, now_ms: i64) -> Self {
        let url = request.url.split('#').next().unwrap_or_default();
        let from = url.find("://").map_or(0, |at| at + 3);
        let path_at = url.get(from..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| from + at);
        let (origin, rest) = url.split_at_checked(path_at).unwrap_or((url, ""));
        let (path, query_text) = rest.split_once('?').unwrap_or((rest, ""));
        let segments = path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        Self { request, origin, path, segments, query: pairs(query_text), now_ms }
    }

    /// Upper case.
    pub fn method(&self) -> &'a str {
        &self.request.method
    }

    /// The decoded path's parts as slices, to match on.
    pub fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The first query parameter of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        find_pair(&self.query, name)
    }

    /// Every query parameter in order.
    pub fn queries(&self) -> &[(String, String)] {
        &self.query
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        find_header(&self.request.headers, name)
    }

    /// The bearer token.
    pub fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth")).then(|| token.trim())
    }

    /// The raw body.
    pub fn body(&self) -> &'a [u8] {
        &self.request.body
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.request.body).ok()
    }

    /// The body as a form.
    pub fn form(&self) -> Form {
        Form(pairs(&String::from_utf8_lossy(&self.request.body)))
    }

    /// Whether the caller addressed a provider's own host, not a local stand-in of it.
    pub fn is_real_host(&self, suffix: &str) -> bool {
        self.origin.starts_with("https://") && self.origin.ends_with(suffix)
    }
}

/// A decoded form.
#[derive(Debug)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The first field of that name, or nothing at all.
    pub fn get(&self, name: &str) -> &str {
        find_pair(&self.0, name).unwrap_or_default()
    }

    /// Every field in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

fn find_pair<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// `a=1&b=2`, decoded.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        })
        .collect()
}

/// Undoes percent-encoding once; `+` is a space in forms and queries only.
pub fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The URL with more query parameters behind it.
pub fn with_query(url: &str, parameters: &[(&str, &str)]) -> String {
    let mut out = url.to_owned();
    for (name, value) in parameters {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encode(value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Call, Request, decode, encode};

    #[test]
    fn a_url_is_taken_apart_once() {
        let request =
            Request { url: "http://localhost:8787/crm/a%20b/%40x?q=a+b&e=%3D%3D#f".into(), ..Request::default() };
        let call = Call::new(&request, 0);
        assert_eq!((call.origin, call.path), ("http://localhost:8787", "/crm/a%20b/%40x"));
        assert_eq!(call.parts(), ["crm", "a b", "@x"]);
        assert_eq!((call.query("q"), call.query("e"), call.query("z")), (Some("a b"), Some("=="), None));
        let bare = Request { url: "https://api.hubapi.com?x=1".into(), ..Request::default() };
        assert_eq!(Call::new(&bare, 0).query("x"), Some("1"));
    }

    #[test]
    fn bad_escapes_stay_as_they_are() {
        for (text, plain) in [("%zz", "%zz"), ("%4", "%4"), ("%", "%"), ("%C3%A9", "é"), ("a+b", "a+b")] {
            assert_eq!(decode(text, false), plain);
        }
        assert_eq!(encode("a b/é="), "a%20b%2F%C3%A9%3D");
    }
}
