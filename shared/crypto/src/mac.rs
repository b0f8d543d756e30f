//! HMAC-SHA-256 (RFC 2104, FIPS 198-1), and constant-time comparison.
//!
//! In scope: Salesforce's `signature` (base64 of HMAC-SHA-256 over `id` and `issued_at` under the client secret), the
//! building block of the other modules. Out of scope: what a signed message means.

use crate::{digest, text};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// SHA-256's block, the size HMAC brings every key to.
const BLOCK: usize = 64;

/// The 32-byte tag of a message under a key of any length.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; digest::SIZE] {
    // `new_from_slice` answers a Result that is never an error; a whole block needs none. A longer key is hashed first
    // and a shorter one filled with zeros: RFC 2104 section 2, and the long and short keys of Wycheproof.
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = digest::sha256(key);
        &hashed
    } else {
        key
    };
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The tag as standard base64 with padding, 44 characters.
pub fn hmac_sha256_base64(key: &[u8], message: &[u8]) -> String {
    text::to_standard(&hmac_sha256(key, message))
}

/// Whether `given` is the message's whole tag in standard base64. In constant time once it is 32 bytes of base64.
pub fn verify_base64(key: &[u8], message: &[u8], given: &str) -> bool {
    text::from_standard(given).is_some_and(|tag| same_bytes(&hmac_sha256(key, message), &tag))
}

/// Whether a given secret is the right one, in a time that tells nothing of either, not even a length: their tags are compared.
pub fn is_same(right: &[u8], given: &[u8]) -> bool {
    same_bytes(&digest::sha256(right), &digest::sha256(given))
}

/// Whether two byte strings are the same, in a time that tells nothing but their lengths.
pub(crate) fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::{hmac_sha256_base64, verify_base64};
    #[test]
    fn only_the_same_secret_is_the_same() {
        assert!(super::is_same(b"one", b"one"));
        for given in [&b"one "[..], b"on", b"", b"two"] {
            assert!(!super::is_same(b"one", given));
        }
    }

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const SECRET: &[u8] = b"s3cr3t-of-the-connected-app";
    const ID: &str = "https://login.salesforce.com/id/00DXX0000000001AAA/005XX0000000001AAA";
    const ISSUED_AT: &str = "1795176000123";
    const SIGNATURE: &str = "knFZntK7+4kjJHhYCVY/vKnLRyuTnNyJjVBeodT9fdc=";

    #[test]
    fn the_recorded_salesforce_signature_verifies() {
        let message = format!("{ID}{ISSUED_AT}");
        assert_eq!(hmac_sha256_base64(SECRET, message.as_bytes()), SIGNATURE);
        assert!(verify_base64(SECRET, message.as_bytes(), SIGNATURE));
    }

    #[test]
    fn anything_else_does_not_verify() {
        let message = format!("{ID}{ISSUED_AT}");
        assert!(!verify_base64(b"other", message.as_bytes(), SIGNATURE));
        assert!(!verify_base64(SECRET, b"other", SIGNATURE));
        for given in
            ["", "=", "knFZ", SIGNATURE.trim_end_matches('='), &SIGNATURE.replace('k', "l"), "not base64 at all"]
        {
            assert!(!verify_base64(SECRET, message.as_bytes(), given), "{given}");
        }
    }
}
