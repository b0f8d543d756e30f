//! The OAuth `state` and the browser cookie bound to it (RFC 6749 section 10.12, RFC 9700 section 4.7).
//!
//! Both are 256 random bits in base64url; the database sees only their hashes, each under its own domain, so that neither
//! can stand in for the other and a leaked table opens nothing. Out of scope: life and single use (`store`).

use crate::random::{NoRandom, Random, array};
use crate::{digest, mac, text};

const BYTES: usize = 32;

/// A new `state`. It goes into the authorize URL; no `Debug`, so that it does not also go into a log.
pub struct StateToken(String);

impl StateToken {
    /// Draws a state of 256 bits.
    pub fn mint(random: &dyn Random) -> Result<Self, NoRandom> {
        token(random).map(Self)
    }

    /// The 43 characters for the URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the database stores and looks up.
    pub fn hash(&self) -> String {
        hash(&self.0)
    }
}

/// A new value for the browser's cookie. No `Debug`.
pub struct BrowserCookie(String);

impl BrowserCookie {
    /// Draws a cookie of 256 bits.
    pub fn mint(random: &dyn Random) -> Result<Self, NoRandom> {
        token(random).map(Self)
    }

    /// The 43 characters for `Set-Cookie`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the database stores beside the state.
    pub fn hash(&self) -> String {
        hash_cookie(&self.0)
    }
}

/// The stored form of a `state`: 43 characters. Any text may come in; one that was never minted is simply not found.
pub fn hash(state: &str) -> String {
    text::to_url(&digest::of_parts("conduit.oauth-state.v1", &[state.as_bytes()]))
}

/// The stored form of a cookie's value: 43 characters.
pub fn hash_cookie(value: &str) -> String {
    text::to_url(&digest::of_parts("conduit.browser-cookie.v1", &[value.as_bytes()]))
}

/// Whether two texts are the same, in a time that tells nothing but their lengths.
pub fn same(a: &str, b: &str) -> bool {
    mac::same_bytes(a.as_bytes(), b.as_bytes())
}

fn token(random: &dyn Random) -> Result<String, NoRandom> {
    array::<BYTES>(random).map(|bytes| text::to_url(&bytes))
}

#[cfg(test)]
mod tests {
    use super::{BrowserCookie, StateToken, hash, hash_cookie, same};
    use crate::random::{OsRandom, SeededRandom};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_state_has_256_bits_that_a_url_takes_as_they_are() {
        let state = StateToken::mint(&OsRandom).unwrap();
        assert_eq!(state.as_str().len(), 43);
        assert!(state.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(state.as_str(), StateToken::mint(&OsRandom).unwrap().as_str());
    }

    #[test]
    fn the_hashes_are_frozen_and_a_state_is_no_cookie() {
        let state = StateToken::mint(&SeededRandom::new(1)).unwrap();
        let cookie = BrowserCookie::mint(&SeededRandom::new(1)).unwrap();
        assert_eq!(state.as_str(), cookie.as_str());
        assert_eq!((state.hash(), cookie.hash()), (hash(state.as_str()), hash_cookie(cookie.as_str())));
        assert_eq!(hash("state"), "RbJ80EdZJmkyXmiWsm7RDSUoLwp55uiwN3bSu2NioHU");
        assert_eq!(hash_cookie("state"), "7wHHErgA55eCXT97N5kShoVAeYa-javPcKimwJ_IeL4");
    }

    #[test]
    fn only_the_same_text_is_the_same() {
        for (a, b, expected) in [("", "", true), ("ab", "ab", true), ("ab", "ac", false), ("ab", "abc", false)] {
            assert_eq!(same(a, b), expected);
        }
    }
}
