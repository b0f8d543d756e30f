//! Secrets that a person's browser carries for us: an install's claim secret, a link to our pages, the session it becomes,
//! and the token of that session's forms.
//!
//! Each is 256 random bits in base64url, stored as a hash under a domain of its own, so that none can stand in for another.
//! A form's token is derived from the session's secret, which no page and no script can read: nothing is stored for it.
//! Out of scope: life and single use (`store`), the OAuth state (`state`).

use crate::random::{NoRandom, Random, array};
use crate::{digest, mac, text};

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shows that this browser made an install.
    Claim,
    /// Opens our pages once.
    Link,
    /// Keeps them open.
    Session,
}

impl Purpose {
    const fn domain(self) -> &'static str {
        match self {
            Self::Claim => "conduit.claim-secret.v1",
            Self::Link => "conduit.connect-link.v1",
            Self::Session => "conduit.connect-session.v1",
        }
    }
}

/// A new secret. No `Debug`: it must not go into a log.
pub struct OneTime {
    purpose: Purpose,
    value: String,
}

impl OneTime {
    /// Draws 256 bits.
    pub fn mint(random: &dyn Random, purpose: Purpose) -> Result<Self, NoRandom> {
        Ok(Self { purpose, value: text::to_url(&array::<32>(random)?) })
    }

    /// The 43 characters for the cookie or link.
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// What the database stores.
    pub fn hash(&self) -> String {
        hash(self.purpose, &self.value)
    }
}

/// The stored form of a secret. Any text may come in; one that was never minted is simply not found.
pub fn hash(purpose: Purpose, value: &str) -> String {
    text::to_url(&digest::of_parts(purpose.domain(), &[value.as_bytes()]))
}

/// The token that the forms of a session carry.
pub fn form_token(session: &str) -> String {
    text::to_url(&mac::hmac_sha256(session.as_bytes(), b"conduit.form-token.v1"))
}

/// Whether a form's token is that of the session, in a time that tells nothing.
pub fn is_form_token(session: &str, given: &str) -> bool {
    mac::same_bytes(form_token(session).as_bytes(), given.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{OneTime, Purpose, form_token, hash, is_form_token};
    use crate::random::{OsRandom, SeededRandom};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_secret_of_one_purpose_is_none_of_another() {
        let secret = OneTime::mint(&SeededRandom::new(1), Purpose::Claim).unwrap();
        assert_eq!(secret.as_str().len(), 43);
        assert_eq!(secret.hash(), hash(Purpose::Claim, secret.as_str()));
        assert_ne!(secret.hash(), hash(Purpose::Link, secret.as_str()));
        assert_ne!(hash(Purpose::Link, "a"), hash(Purpose::Session, "a"));
        assert_ne!(secret.as_str(), OneTime::mint(&OsRandom, Purpose::Claim).unwrap().as_str());
    }

    #[test]
    fn a_form_token_is_its_sessions_only() {
        assert!(is_form_token("session", &form_token("session")));
        for (session, given) in [("session", ""), ("session", "session"), ("other", form_token("session").as_str())] {
            assert!(!is_form_token(session, given), "{session} {given}");
        }
    }
}
