//! PKCE (RFC 7636): the code verifier and its S256 challenge. `plain` does not exist here.
//!
//! The verifier is an HMAC of the state under a key of the deployment, so that there is nothing to store between the start and the
//! callback: the database knows the state's hash only, a browser the state only, and neither makes a verifier.

use crate::keyring::Keyring;
use crate::{digest, mac, text};
use model::Secret;

/// The `code_challenge_method` to send.
pub const METHOD: &str = "S256";

/// The verifier of a state of 256 random bits: 32 bytes as 43 characters, the shortest length section 4.1 allows and its
/// recommended entropy. `None` when the ring has no key of that id any more.
pub fn verifier(keys: &Keyring, key_id: &str, state: &str) -> Option<Secret<String>> {
    let key = keys.find(key_id)?;
    let tag = mac::hmac_sha256(key.bytes(), &digest::frame("conduit.pkce-verifier.v1", &[state.as_bytes()]));
    Some(Secret::new(text::to_url(&tag)))
}

/// The challenge: base64url(SHA-256(verifier)), 43 characters (section 4.2).
pub fn challenge(verifier: &Secret<String>) -> String {
    text::to_url(&digest::sha256(verifier.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{challenge, verifier};
    use crate::keyring::Keyring;
    use crate::text;
    use model::Secret;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    fn ring(byte: u8) -> Keyring {
        Keyring::from_base64(&Secret::new(text::to_standard(&[byte; 32])), None).unwrap()
    }

    fn made(keys: &Keyring, state: &str) -> String {
        verifier(keys, keys.current_id(), state).unwrap().expose().clone()
    }

    #[test]
    fn the_verifier_of_a_state_is_frozen() {
        assert_eq!(made(&ring(7), "a-state"), "8SlPxtoRsI7LQm_gPcqkyjXK3XeH_IvLxj8QmYM9qjU");
    }

    #[test]
    fn a_verifier_has_a_length_and_alphabet_the_rfc_allows() {
        let made = made(&ring(7), "a-state");
        assert!((43..=128).contains(&made.len()));
        assert!(made.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)));
    }

    #[test]
    fn another_state_or_another_key_gives_another_verifier() {
        let one = made(&ring(7), "a-state");
        assert_ne!(one, made(&ring(7), "b-state"));
        assert_ne!(one, made(&ring(8), "a-state"));
        assert!(verifier(&ring(7), ring(8).current_id(), "a-state").is_none());
    }
}
