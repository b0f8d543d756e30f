//! The vault: a token goes in, text for a database column comes out, and only the same place opens it again.
//!
//! AES-256-GCM under the key ring's current key, with a random 96-bit nonce. The text is
//! `v1.<key id>.<nonce>.<ciphertext and tag>`, the last two in base64url without padding: text, because D1 sends a blob as
//! an array of numbers. The AAD names key, scope, connection, column and token generation, so that sealed text copied to
//! another row, column or tenant, or brought back from an older backup, does not open.
//!
//! Out of scope: storage, and wiping memory (see `model::secret`). A random nonce is sound up to 2^32 seals per key
//! (NIST SP 800-38D section 8.3): 136 years at one a second.

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::digest;
use crate::keyring::{ID_CHARS, Keyring};
use crate::random::{NoRandom, Random, array};
use crate::text;
use model::Secret;

const VERSION: &str = "v1";
const AAD_DOMAIN: &str = "conduit.vault.v1";

/// The column a sealed value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The access token of a connection or pending install.
    AccessToken,
    /// The refresh token of a connection or pending install.
    RefreshToken,
}

impl Column {
    /// Every column, in a fixed order.
    pub const ALL: [Self; 2] = [Self::AccessToken, Self::RefreshToken];

    /// The name in the AAD. Frozen: another text would make every sealed value of the column unreadable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
        }
    }
}

/// The place a value is sealed for. The same four parts open it, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aad<'a> {
    /// The workspace id; for a row without a workspace, the name of its table.
    pub scope: &'a str,
    /// The connection id; for a row without a connection, the row's own key.
    pub connection: &'a str,
    /// The column.
    pub column: Column,
    /// The row's token generation; 0 where a value is written once.
    pub generation: u64,
}

impl Aad<'_> {
    fn encode(&self, key_id: &str) -> Vec<u8> {
        digest::frame(
            AAD_DOMAIN,
            &[
                key_id.as_bytes(),
                self.scope.as_bytes(),
                self.connection.as_bytes(),
                self.column.as_str().as_bytes(),
                &self.generation.to_be_bytes(),
            ],
        )
    }
}

/// Sealed text, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(String);

impl Sealed {
    /// The text for the column.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text for the column, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl AsRef<str> for Sealed {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a value was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No nonce could be drawn.
    #[error("no nonce could be drawn")]
    NoRandom(#[from] NoRandom),
    /// The text is longer than GCM allows (64 GiB).
    #[error("the text is too long to seal")]
    TooLong,
}

/// Why sealed text does not open. None shows the text: a column that holds plain text by mistake must not reach a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Parts or bytes are missing at the end.
    #[error("the sealed text is cut short")]
    Truncated,
    /// Not the form of sealed text.
    #[error("the sealed text is malformed")]
    Malformed,
    /// A format this program does not know.
    #[error("the sealed text has a version this program does not know")]
    UnknownVersion,
    /// Sealed with a key that is not in the key ring: it was removed too early, or the environment is another one's.
    #[error("the sealed text needs the key `{0}`, which is not configured")]
    UnknownKey(String),
    /// Altered, or from another place, key or generation.
    #[error("the sealed text does not belong here or was altered")]
    Forged,
}

/// Seals a value for one place, under the current key. Two seals of one value differ.
pub fn seal(
    keyring: &Keyring,
    random: &dyn Random,
    aad: &Aad<'_>,
    plain: &Secret<String>,
) -> Result<Sealed, SealError> {
    let key = keyring.current();
    let nonce = array::<NONCE_BYTES>(random)?;
    let sealed =
        aead::seal(key.bytes(), &nonce, &aad.encode(key.id()), plain.expose().as_bytes()).ok_or(SealError::TooLong)?;
    Ok(Sealed(format!("{VERSION}.{}.{}.{}", key.id(), text::to_url(&nonce), text::to_url(&sealed))))
}

/// Opens what was sealed for this place, under the current key or a previous one. Any input gets an answer.
pub fn open(keyring: &Keyring, aad: &Aad<'_>, sealed: &str) -> Result<Secret<String>, OpenError> {
    let parts = Parts::read(sealed)?;
    let key = keyring.find(parts.key_id).ok_or_else(|| OpenError::UnknownKey(parts.key_id.to_owned()))?;
    let plain = aead::open(key.bytes(), &parts.nonce, &aad.encode(key.id()), &parts.sealed).ok_or(OpenError::Forged)?;
    String::from_utf8(plain).map(Secret::new).map_err(|_| OpenError::Malformed)
}

/// The id of the key the text names; `None` for what is not of the form. The name is not proof: only [`open`] is.
pub fn key_id_of(sealed: &str) -> Option<&str> {
    Parts::read(sealed).ok().map(|parts| parts.key_id)
}

/// How every text begins that the current key sealed.
pub fn prefix(keyring: &Keyring) -> String {
    format!("{VERSION}.{}.", keyring.current_id())
}

/// Whether the text opens with a previous key and should be sealed again. What cannot be opened cannot be re-sealed: no.
pub fn needs_reseal(keyring: &Keyring, sealed: &str) -> bool {
    key_id_of(sealed).is_some_and(|id| id != keyring.current_id() && keyring.find(id).is_some())
}

struct Parts<'a> {
    key_id: &'a str,
    nonce: [u8; NONCE_BYTES],
    sealed: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, OpenError> {
        let (version, rest) = text.split_once('.').ok_or(OpenError::Truncated)?;
        if version != VERSION {
            return Err(OpenError::UnknownVersion);
        }
        let (key_id, rest) = rest.split_once('.').ok_or(OpenError::Truncated)?;
        if key_id.len() != ID_CHARS || !key_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(OpenError::Malformed);
        }
        let (nonce, sealed) = rest.split_once('.').ok_or(OpenError::Truncated)?;
        let nonce = text::from_url(nonce).ok_or(OpenError::Malformed)?;
        let nonce = nonce.try_into().map_err(|_| OpenError::Malformed)?;
        if sealed.contains('.') {
            return Err(OpenError::Malformed);
        }
        let sealed = text::from_url(sealed).ok_or(OpenError::Malformed)?;
        if sealed.len() < TAG_BYTES {
            return Err(OpenError::Truncated);
        }
        Ok(Self { key_id, nonce, sealed })
    }
}

#[cfg(test)]
mod tests;
