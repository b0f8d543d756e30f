//! Service tokens: the bearer tokens of a host product's back end, scoped to one workspace and stored hashed.
//!
//! `cst_` and 256 random bits. A plain SHA-256 is enough for storage: a value of 256 random bits cannot be guessed, so it
//! needs no slow hash. The prefix lets secret scanners, and a person, see what leaked. Out of scope: scope and revocation.

use crate::random::{NoRandom, Random, array};
use crate::{digest, text};
use model::Secret;

/// What every service token begins with, and no JWT does.
pub const PREFIX: &str = "cst_";

const BODY_CHARS: usize = 43;

/// A new token. It is shown once; only [`hash`] is stored.
pub fn mint(random: &dyn Random) -> Result<Secret<String>, NoRandom> {
    array::<32>(random).map(|bytes| Secret::new(format!("{PREFIX}{}", text::to_url(&bytes))))
}

/// The stored form: 43 characters of base64url.
pub fn hash(token: &str) -> String {
    text::to_url(&digest::of_parts("conduit.service-token.v1", &[token.as_bytes()]))
}

/// Whether a bearer token has the form of a service token. Says nothing of its validity: look the hash up.
pub fn looks_like(bearer: &str) -> bool {
    bearer.strip_prefix(PREFIX).is_some_and(|body| {
        body.len() == BODY_CHARS && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::{hash, looks_like, mint};
    use crate::random::OsRandom;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_token_is_recognised_and_its_hash_shows_nothing_of_it() {
        let token = mint(&OsRandom).unwrap();
        assert_eq!(token.expose().len(), 47);
        assert!(looks_like(token.expose()));
        assert!(!hash(token.expose()).contains(&token.expose()[4..]));
        assert!(token != mint(&OsRandom).unwrap());
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        for text in ["", "cst_", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", &format!("cst_{}", "a".repeat(42)), "cst_a b"] {
            assert!(!looks_like(text), "{text}");
        }
    }

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(hash("cst_example"), "9GqyaFE7JjyfZ5GcVmzq1LWcNaLyjZb6WM177S_qbEQ");
    }
}
