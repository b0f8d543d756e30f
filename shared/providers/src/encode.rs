//! Text for URLs and forms (`application/x-www-form-urlencoded`, WHATWG URL Standard).

use crate::http::Body;
use model::Secret;
use url::form_urlencoded::byte_serialize;

/// One value for a query or path, with a space as `%20`: both CRMs document that form, `+` is nowhere promised.
pub(crate) fn component(text: &str) -> String {
    // A literal plus is already `%2B` here, so every plus left is a space.
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// `a=1&b=2`.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", component(value))).collect();
    pairs.join("&")
}

/// A form body; it may hold secrets and does not print.
pub(crate) fn form(pairs: &[(&str, &str)]) -> Body {
    Body::Form(Secret::new(query(pairs)))
}

#[cfg(test)]
mod tests {
    use super::{component, query};

    #[test]
    fn a_space_is_percent_20_and_a_plus_survives() {
        assert_eq!(component("a b+c/d=é"), "a%20b%2Bc%2Fd%3D%C3%A9");
        assert_eq!(query(&[("a", "1 2"), ("b", "&")]), "a=1%202&b=%26");
    }
}
