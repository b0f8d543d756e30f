//! Text rules of requests, as pure functions: where a path ends, form decoding, cookies, the bearer scheme.

use flows::Error;

/// Path and query of an absolute URL as the runtime writes it: the first `/` after the host begins the path, and `?` and
/// `#` within the path are always encoded.
pub fn split_url(url: &str) -> (&str, &str) {
    let after_scheme = url.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//")).unwrap_or(url);
    let from_path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    let without_fragment = from_path.split_once('#').map_or(from_path, |(before, _)| before);
    without_fragment.split_once('?').unwrap_or((without_fragment, ""))
}

/// The pairs of a query, decoded as forms are (`+` is a space). What is not UTF-8 becomes U+FFFD, which no parameter
/// of ours accepts.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The value of a name. Given twice it is refused: two readers of one text must not disagree (RFC 6749, section 3.1).
pub fn once<'a>(pairs: &'a [(String, String)], name: &'static str) -> Result<Option<&'a str>, Error> {
    let mut values = pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Error::Parameter { name, rule: "must be given once" }),
    }
}

fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The first cookie of that name in a `Cookie` header.
pub fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| pair.trim().split_once('=').filter(|(n, _)| *n == name).map(|(_, value)| value))
}

/// The token of a `Bearer` authorization; the scheme in any case (RFC 9110, section 11.1).
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether text may be a request id: what the gateway makes of `cf-ray` or chance.
pub fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::{bearer, cookie, is_request_id, pairs, split_url};

    #[test]
    fn a_url_is_cut_at_the_path_and_the_query() {
        for (url, path, query) in [
            ("https://a.example/functions/v1/x?a=1&b=/y?z", "/functions/v1/x", "a=1&b=/y?z"),
            ("https://a.example/x#frag?no", "/x", ""),
            ("http://127.0.0.1:8787/", "/", ""),
            ("https://a.example", "/", ""),
        ] {
            assert_eq!(split_url(url), (path, query), "{url}");
        }
    }

    #[test]
    fn forms_decode_and_nothing_panics() {
        let one = |text: &str| pairs(text).into_iter().next();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(one("return_to=https%3A%2F%2Fa.example%2Fb%3Fc%3Dd"), pair("return_to", "https://a.example/b?c=d"));
        assert_eq!(one("a+b=%C3%A4"), pair("a b", "ä"));
        assert_eq!(one("flag"), pair("flag", ""));
        assert_eq!(one("a=%"), pair("a", "%"));
        assert_eq!(one("a=%2"), pair("a", "%2"));
        assert_eq!(one("a=%zz"), pair("a", "%zz"));
        assert_eq!(one("a=%ff"), pair("a", "\u{fffd}"));
        assert_eq!(pairs("&&a=1&"), vec![("a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn cookies_and_bearers_are_found() {
        assert_eq!(cookie("a=1; __Host-conduit=x=y; a=2", "__Host-conduit"), Some("x=y"));
        assert_eq!(cookie("a=1; a=2", "a"), Some("1"));
        assert_eq!(cookie("ab=1", "a"), None);
        assert_eq!(bearer("bearer  t.o.k "), Some("t.o.k"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);
    }

    #[test]
    fn an_id_from_outside_is_an_id_or_nothing() {
        assert!(is_request_id("8f1c2d3e4f5a6b7c-FRA"));
        for text in ["", "short", "with space in it", "quote\"quote\"quote", &"a".repeat(65)] {
            assert!(!is_request_id(text), "{text}");
        }
    }
}
