//! Pseudonyms for e-mail addresses and phone numbers: HMAC-SHA-256 under a key of the workspace.
//!
//! A plain hash of an address is reversed by a dictionary, and one key for all would tell which tenants know the same
//! person. So every workspace has its own key, HMAC-SHA-256(master, "conduit pii v1", workspace id) (one step of HKDF's
//! expand, RFC 5869, from a master that is uniform already). Out of scope: Unicode normalisation of addresses (NFC): its
//! tables cost more than such addresses occur.

use crate::keyring::{KeyError, Slot, read_key};
use crate::{digest, mac, text};
use model::{Secret, WorkspaceId};

/// The master key, 32 bytes. No `Debug`.
pub struct PiiMaster([u8; digest::SIZE]);

impl PiiMaster {
    /// Reads 32 random bytes of base64 (either alphabet, padded or not).
    pub fn from_base64(text: &Secret<String>) -> Result<Self, KeyError> {
        read_key(Slot::Pii, text.expose()).map(Self)
    }
}

/// A workspace's key. No `Debug`.
pub struct WorkspacePiiKey([u8; digest::SIZE]);

impl WorkspacePiiKey {
    /// Derives the key; the same for the same master and workspace.
    pub fn derive(master: &PiiMaster, workspace: &WorkspaceId) -> Self {
        Self(mac::hmac_sha256(&master.0, &digest::frame("conduit pii v1", &[workspace.as_str().as_bytes()])))
    }

    /// The pseudonym of an e-mail address, 43 characters; trimmed and in lower case first (a `+tag` stays: it may be
    /// another person). `None` when nothing is left: two empty fields are not one person.
    pub fn email_hmac(&self, email: &str) -> Option<String> {
        self.hmac("email", &email.trim().to_lowercase())
    }

    /// The pseudonym of a phone number, 43 characters, over its digits and a leading `+`: `+1 (555) 010-99` and
    /// `+155501099` are one. `None` without a digit. The country of a number without `+` is not guessed.
    pub fn phone_hmac(&self, phone: &str) -> Option<String> {
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        let plus = if phone.trim_start().starts_with('+') && !digits.is_empty() { "+" } else { "" };
        self.hmac("phone", &format!("{plus}{digits}"))
    }

    fn hmac(&self, kind: &str, normal: &str) -> Option<String> {
        (!normal.is_empty())
            .then(|| text::to_url(&mac::hmac_sha256(&self.0, &digest::frame(kind, &[normal.as_bytes()]))))
    }
}

#[cfg(test)]
mod tests {
    use super::{PiiMaster, WorkspacePiiKey};
    use crate::keyring::{KeyError, Slot};
    use crate::text;
    use model::{Secret, WorkspaceId};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn key(master: u8, workspace: &str) -> WorkspacePiiKey {
        let master = PiiMaster::from_base64(&Secret::new(text::to_standard(&[master; 32]))).ok().unwrap();
        WorkspacePiiKey::derive(&master, &WorkspaceId::parse(workspace).unwrap())
    }

    #[test]
    fn one_person_has_one_pseudonym_in_a_workspace() {
        let key = key(1, "ws_acme");
        let ada = key.email_hmac("ada@acme.example");
        for same in ["Ada@Acme.Example", "  ada@acme.example\n"] {
            assert_eq!(key.email_hmac(same), ada, "{same}");
        }
        assert_ne!(key.email_hmac("ada+crm@acme.example"), ada);
        let phone = key.phone_hmac("+155501099");
        for same in ["+1 (555) 010-99", " +1.555.010.99 "] {
            assert_eq!(key.phone_hmac(same), phone, "{same}");
        }
        assert_ne!(key.phone_hmac("155501099"), phone);
    }

    #[test]
    fn workspaces_masters_and_kinds_do_not_meet() {
        let all = [
            key(1, "ws_acme").email_hmac("155501099"),
            key(2, "ws_acme").email_hmac("155501099"),
            key(1, "ws_other").email_hmac("155501099"),
            key(1, "ws_acme").phone_hmac("155501099"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn an_empty_field_is_nobody() {
        let key = key(1, "ws_acme");
        for empty in ["", "  ", "+", "n/a"] {
            assert_eq!(key.phone_hmac(empty), None, "{empty}");
        }
        assert_eq!(key.email_hmac(" \t"), None);
    }

    #[test]
    fn the_pseudonym_is_frozen() {
        assert_eq!(
            key(1, "ws_acme").email_hmac("ada@acme.example").unwrap(),
            "m32Fkx9d3EnQJIUh7AdaJeQQ4-2eXoZKzxsSI4aJICc"
        );
    }

    #[test]
    fn a_bad_master_is_refused_by_name() {
        let refusal = PiiMaster::from_base64(&Secret::new(String::new())).err();
        assert_eq!(refusal, Some(KeyError::Missing(Slot::Pii)));
    }
}
