//! The stand-in CRM as a transport: the adapters stay the real ones, only the way to them is another.
//!
//! Requests keep their real URLs and are carried to the stand-in by `Http` (a service binding in workerd, a function call in
//! native tests). What a person's browser must open is moved to the stand-in's origin here. Local and test only.

/// The same URL on the stand-in: scheme and host are replaced, path and query stay.
pub fn on_stand_in(url: &str, origin: &str) -> String {
    let rest = url.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//")).unwrap_or(url);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    format!("{}{path}", origin.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::on_stand_in;

    #[test]
    fn only_the_origin_is_replaced() {
        for (url, expected) in [
            ("https://app.hubspot.com/oauth/authorize?a=b%20c", "http://localhost:8787/oauth/authorize?a=b%20c"),
            ("https://login.salesforce.com", "http://localhost:8787/"),
        ] {
            assert_eq!(on_stand_in(url, "http://localhost:8787/"), expected);
        }
    }
}
