//! AES-256-GCM with a 96-bit nonce and a 128-bit tag behind the ciphertext (NIST SP 800-38D), over bytes.
//!
//! In scope: the cipher, which Wycheproof judges. Out of scope: keys, nonces and AAD, which [`crate::vault`] chooses.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};

pub const KEY_BYTES: usize = 32;
pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;

/// Ciphertext and tag; `None` when the text is longer than GCM allows (64 GiB).
pub fn seal(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES], aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new(&(*key).into()).encrypt(&(*nonce).into(), Payload { msg, aad }).ok()
}

/// The text; `None` when key, nonce, AAD or a byte of the ciphertext is not the one it was sealed with. The tag is
/// compared in constant time, and no unauthenticated byte comes out.
pub fn open(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES], aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new(&(*key).into()).decrypt(&(*nonce).into(), Payload { msg, aad }).ok()
}
