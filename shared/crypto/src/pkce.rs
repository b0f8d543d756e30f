//! PKCE (RFC 7636): the code verifier and its S256 challenge. `plain` does not exist here.

use crate::random::{NoRandom, Random, array};
use crate::{digest, text};
use model::Secret;

/// The `code_challenge_method` to send.
pub const METHOD: &str = "S256";

/// A new verifier: 32 random bytes as 43 characters, the shortest length section 4.1 allows and its recommended entropy.
pub fn verifier(random: &dyn Random) -> Result<Secret<String>, NoRandom> {
    array::<32>(random).map(|bytes| Secret::new(text::to_url(&bytes)))
}

/// The challenge: base64url(SHA-256(verifier)), 43 characters (section 4.2).
pub fn challenge(verifier: &Secret<String>) -> String {
    text::to_url(&digest::sha256(verifier.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{challenge, verifier};
    use crate::random::OsRandom;
    use model::Secret;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_verifier_has_a_length_and_alphabet_the_rfc_allows() {
        let made = verifier(&OsRandom).unwrap();
        assert!((43..=128).contains(&made.expose().len()));
        assert!(made.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)));
        assert!(made != verifier(&OsRandom).unwrap());
    }
}
