//! Where a browser may be sent when a flow ends: a URL on one of the deployment's allowed origins, and nowhere else.
//!
//! Compared as text, not parsed: after the exact text of an allowed origin only `/`, `?`, `#` or the end may follow, so no
//! parser's reading of what is in between matters, and no parser is linked (15 KB gzip in every start).

use crate::{Error, Settings};

/// More than any product's settings page needs.
const LENGTH_MAX: usize = 2_048;

/// The URL, if it is on exactly one of the allowed origins (scheme, host, port; lower case). A path alone is taken as one on
/// the first allowed origin.
pub fn check(settings: &Settings, given: &str) -> Result<String, Error> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}');
    if given.is_empty() || given.len() > LENGTH_MAX || !given.chars().all(plain) {
        return Err(Error::ReturnToRefused);
    }
    let absolute = match settings.return_to_origins.first() {
        Some(origin) if given.starts_with('/') && !given.starts_with("//") => format!("{origin}{given}"),
        _ => given.to_owned(),
    };
    let on = |origin: &String| {
        absolute.strip_prefix(origin.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    };
    if settings.return_to_origins.iter().any(on) { Ok(absolute) } else { Err(Error::ReturnToRefused) }
}

/// The return URL with the result put on: `conduit=connected` or a code, and the CRM. Never a secret.
pub fn with_result(return_to: &str, result: &str, crm: model::Crm) -> String {
    let (url, fragment) = match return_to.split_once('#') {
        Some((url, fragment)) => (url, format!("#{fragment}")),
        None => (return_to, String::new()),
    };
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}conduit={result}&crm={crm}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::{check, with_result};
    use crate::Settings;

    fn settings() -> Settings {
        let origins = ["https://app.example.com", "http://localhost:8787"].map(str::to_owned);
        Settings { return_to_origins: origins.to_vec(), ..Settings::default() }
    }

    #[test]
    fn only_allowed_origins_are_returned_to() {
        for (given, expected) in [
            ("https://app.example.com/settings?tab=crm", Some("https://app.example.com/settings?tab=crm")),
            ("https://app.example.com", Some("https://app.example.com")),
            ("https://app.example.com?tab=crm#top", Some("https://app.example.com?tab=crm#top")),
            ("https://APP.example.com/x", None),
            ("http://localhost:8787/done", Some("http://localhost:8787/done")),
            ("/settings", Some("https://app.example.com/settings")),
            ("http://app.example.com/settings", None),
            ("https://app.example.com:8443/", None),
            ("https://app.example.com.evil.example/", None),
            ("https://user@app.example.com/", None),
            ("https://app.example.com@evil.example/", None),
            ("//evil.example", None),
            ("/\\evil.example", None),
            ("https:evil.example", None),
            ("javascript:alert(1)", None),
            ("/a\r\nSet-Cookie:x", None),
            ("https://app.example.com\\@evil.example/", None),
            ("https://app.example.com/a b", None),
            (" https://app.example.com/", None),
            ("", None),
        ] {
            assert_eq!(check(&settings(), given).ok().as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn the_result_is_appended() {
        assert_eq!(
            with_result("https://app.example.com/s?tab=crm", "connected", model::Crm::Hubspot),
            "https://app.example.com/s?tab=crm&conduit=connected&crm=hubspot"
        );
        assert_eq!(
            with_result("https://app.example.com/s#top", "consent_denied", model::Crm::Salesforce),
            "https://app.example.com/s?conduit=consent_denied&crm=salesforce#top"
        );
    }
}
