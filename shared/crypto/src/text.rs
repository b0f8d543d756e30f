//! Base64 in the two forms the crate writes: base64url without padding for our own text, standard with padding for the
//! CRMs'. Reading is strict (RFC 4648 section 3.5: no stray trailing bits), so that one value has exactly one text.
//!
//! Only keys that people paste ([`from_any`]) are read in either alphabet.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT, URL_SAFE_NO_PAD};

/// base64url without padding.
pub fn to_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding; `None` for anything else, padding included.
pub fn from_url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Standard base64 with padding.
pub fn to_standard(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64 with padding.
pub fn from_standard(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Reads base64 in either alphabet, padded or not, with blanks around it: what `openssl rand -base64 32`, a password
/// manager or a script may print.
pub fn from_any(text: &str) -> Option<Vec<u8>> {
    STANDARD_PAD_INDIFFERENT.decode(text.trim().replace('-', "+").replace('_', "/")).ok()
}
