//! SHA-256 and the one way in which several parts become one message.
//!
//! A message is the domain, then every part, each behind its length in bytes (8 bytes, big endian).

use sha2::{Digest, Sha256};

/// A SHA-256 digest or HMAC-SHA-256 tag.
pub const SIZE: usize = 32;

/// The domain and the parts, each behind its length. Injective: other parts, or other borders, give other bytes.
pub fn frame(domain: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut framed = Vec::new();
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        framed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        framed.extend_from_slice(part);
    }
    framed
}

/// SHA-256 of bytes as they are.
pub fn sha256(bytes: &[u8]) -> [u8; SIZE] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of [`frame`].
pub fn of_parts(domain: &str, parts: &[&[u8]]) -> [u8; SIZE] {
    sha256(&frame(domain, parts))
}

#[cfg(test)]
mod tests {
    use super::frame;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn borders_between_parts_are_part_of_the_message() {
        let all = [
            frame("d", &[b"ab", b"c"]),
            frame("d", &[b"a", b"bc"]),
            frame("d", &[b"abc"]),
            frame("d", &[b"abc", b""]),
            frame("d", &[b"", b"abc"]),
            frame("da", &[b"b", b"c"]),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in all.iter().skip(i + 1) {
                assert_ne!(a, b);
            }
        }
        assert_eq!(frame("d", &[b"x"]), b"\0\0\0\0\0\0\0\x01d\0\0\0\0\0\0\0\x01x");
    }
}
