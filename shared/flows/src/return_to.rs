//! Where a browser may be sent when a flow ends: a URL on one of the deployment's allowed origins, and nowhere else.

use crate::{Error, Settings};
use url::Url;

/// The normalised URL, if its origin (scheme, host, port) is exactly one of the allowed ones. A path alone is taken as one on
/// the first allowed origin.
pub fn check(settings: &Settings, given: &str) -> Result<String, Error> {
    if given.len() > 2_048 || given.chars().any(|c| c.is_control() || c == '\\') {
        return Err(Error::ReturnToRefused);
    }
    let absolute = match settings.return_to_origins.first() {
        Some(origin) if given.starts_with('/') && !given.starts_with("//") => format!("{origin}{given}"),
        _ => given.to_owned(),
    };
    let url = Url::parse(&absolute).map_err(|_| Error::ReturnToRefused)?;
    let origin = url.origin().ascii_serialization();
    let allowed = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.scheme(), "https" | "http")
        && settings.return_to_origins.contains(&origin);
    if allowed { Ok(url.to_string()) } else { Err(Error::ReturnToRefused) }
}

/// The return URL with the result put on: `conduit=connected` or a code, and the CRM. Never a secret.
pub fn with_result(return_to: &str, result: &str, crm: model::Crm) -> String {
    match Url::parse(return_to) {
        Ok(mut url) => {
            url.query_pairs_mut().append_pair("conduit", result).append_pair("crm", crm.as_str());
            url.to_string()
        }
        Err(_) => return_to.to_owned(),
    }
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
            ("https://APP.example.com/x", Some("https://app.example.com/x")),
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
    }
}
