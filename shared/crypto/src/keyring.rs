//! The vault's keys: one that seals, and older ones that only open.
//!
//! A key is 32 random bytes in base64. Its id is a key check value, eight hexadecimal characters of
//! HMAC-SHA-256(key, "conduit key id v1"): a wrong key in the environment is noticed by its id, before it is used.
//! Out of scope: reading the environment, and re-sealing rows (`vault::needs_reseal` tells which).

use crate::aead::KEY_BYTES;
use crate::{mac, text};
use model::Secret;
use std::fmt;

const ID_MESSAGE: &[u8] = b"conduit key id v1";

/// The characters of a key id: 32 bits.
pub(crate) const ID_CHARS: usize = 8;

/// Which of the configured keys an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The key that seals.
    Current,
    /// The n-th of the keys that only open, counted from 1.
    Previous(usize),
    /// The master key of the PII hashes.
    Pii,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the current key"),
            Self::Previous(n) => write!(f, "previous key {n}"),
            Self::Pii => f.write_str("the PII key"),
        }
    }
}

/// Why there is no key ring. Every one is a reason not to start; none shows a byte of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing, or only blanks, where a key was expected.
    #[error("{0} is missing: set 32 random bytes in base64")]
    Missing(Slot),
    /// Not base64 in either alphabet.
    #[error("{0} is not base64")]
    NotBase64(Slot),
    /// Base64 of another number of bytes than 32.
    #[error("{slot} has {bytes} bytes, not 32")]
    WrongLength {
        /// Which key.
        slot: Slot,
        /// The length found, in bytes.
        bytes: usize,
    },
    /// 32 zeros: a placeholder, not a key.
    #[error("{0} is all zeros")]
    AllZero(Slot),
    /// The same key, or another one with the same id (one pair in four thousand million), stands before it.
    #[error("{0} is configured twice")]
    Repeated(Slot),
}

/// A key and its id. No `Debug`: it must not be printed, not even by accident.
pub(crate) struct Key {
    id: String,
    bytes: [u8; KEY_BYTES],
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let [a, b, c, d, ..] = mac::hmac_sha256(&bytes, ID_MESSAGE);
        Self { id: format!("{:0ID_CHARS$x}", u32::from_be_bytes([a, b, c, d])), bytes }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

/// The keys of one deployment. There is no empty key ring: without a key nothing is sealed, and nothing is stored plain.
pub struct Keyring {
    current: Key,
    previous: Vec<Key>,
}

impl Keyring {
    /// Reads the current key and, for opening only, a comma-separated list of previous ones (blank means none).
    pub fn from_base64(current: &Secret<String>, previous: Option<&Secret<String>>) -> Result<Self, KeyError> {
        let mut ring = Self { current: Key::new(read_key(Slot::Current, current.expose())?), previous: Vec::new() };
        let previous = previous.map_or("", |list| list.expose().trim());
        if previous.is_empty() {
            return Ok(ring);
        }
        for (index, text) in previous.split(',').enumerate() {
            let slot = Slot::Previous(index + 1);
            let key = Key::new(read_key(slot, text)?);
            if ring.find(key.id()).is_some() {
                return Err(KeyError::Repeated(slot));
            }
            ring.previous.push(key);
        }
        Ok(ring)
    }

    /// The id of the key that seals: eight hexadecimal characters. Not a secret.
    pub fn current_id(&self) -> &str {
        self.current.id()
    }

    /// The ids of all keys, the current one first: for a health page.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current).chain(&self.previous).map(Key::id)
    }

    pub(crate) const fn current(&self) -> &Key {
        &self.current
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.id() == id)
    }
}

/// 32 bytes that may be a key.
pub(crate) fn read_key(slot: Slot, text: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    if text.trim().is_empty() {
        return Err(KeyError::Missing(slot));
    }
    let bytes = text::from_any(text).ok_or(KeyError::NotBase64(slot))?;
    let key: [u8; KEY_BYTES] =
        bytes.as_slice().try_into().map_err(|_| KeyError::WrongLength { slot, bytes: bytes.len() })?;
    if key == [0; KEY_BYTES] {
        return Err(KeyError::AllZero(slot));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::{KeyError, Keyring, Slot};
    use crate::text;
    use model::Secret;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn refusal(current: &str, previous: Option<&str>) -> KeyError {
        Keyring::from_base64(&secret(current), previous.map(secret).as_ref()).err().unwrap()
    }

    #[test]
    fn the_id_is_frozen() {
        let ring = Keyring::from_base64(&secret(&text::to_standard(&[7; 32])), None).unwrap();
        assert_eq!(ring.current_id(), "3b71b459");
    }

    #[test]
    fn every_usual_text_of_a_key_is_the_same_key() {
        let key = [0xfb; 32];
        let standard = text::to_standard(&key);
        let id = |text: &str| Keyring::from_base64(&secret(text), None).unwrap().current_id().to_owned();
        for text in [text::to_url(&key), standard.trim_end_matches('=').to_owned(), format!(" {standard}\n")] {
            assert_eq!(id(&text), id(&standard), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let good = text::to_standard(&[1; 32]);
        let other = text::to_standard(&[2; 32]);
        let zero = text::to_standard(&[0; 32]);
        for (current, previous, expected) in [
            ("", None, KeyError::Missing(Slot::Current)),
            (" \n", None, KeyError::Missing(Slot::Current)),
            ("correct horse battery staple", None, KeyError::NotBase64(Slot::Current)),
            ("c2hvcnQ=", None, KeyError::WrongLength { slot: Slot::Current, bytes: 5 }),
            (&text::to_standard(&[1; 33]), None, KeyError::WrongLength { slot: Slot::Current, bytes: 33 }),
            (&text::to_standard(&[1; 31]), None, KeyError::WrongLength { slot: Slot::Current, bytes: 31 }),
            (&zero, None, KeyError::AllZero(Slot::Current)),
            (&good, Some(good.as_str()), KeyError::Repeated(Slot::Previous(1))),
            (&good, Some(&format!("{other},{other}")), KeyError::Repeated(Slot::Previous(2))),
            (&good, Some(&format!("{other},")), KeyError::Missing(Slot::Previous(2))),
            (&good, Some(&format!("{other}, {zero}")), KeyError::AllZero(Slot::Previous(2))),
        ] {
            assert_eq!(refusal(current, previous), expected);
        }
    }

    #[test]
    fn blank_previous_keys_mean_none() {
        let good = secret(&text::to_standard(&[1; 32]));
        for blank in ["", "  "] {
            assert_eq!(Keyring::from_base64(&good, Some(&secret(blank))).unwrap().ids().count(), 1);
        }
    }
}
