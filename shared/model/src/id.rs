//! Ids with a visible prefix, so that one kind cannot be passed for another, in code or in a ticket.
//!
//! An id's body is 1 to 64 characters of `[A-Za-z0-9_-]`. Random bodies are minted by `crypto::id`; a write's body is
//! derived from its idempotency key (see [`WriteId`]).

use crate::Crm;
use serde::{Deserialize, Serialize};
use std::fmt;

const BODY_MAX: usize = 64;

fn is_body(text: &str) -> bool {
    (1..=BODY_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The visible prefix.
            pub const PREFIX: &'static str = $prefix;

            /// Reads an id; `None` unless it has the prefix and a well-formed body.
            pub fn parse(text: &str) -> Option<Self> {
                text.strip_prefix($prefix).filter(|body| is_body(body)).map(|_| Self(text.to_owned()))
            }

            /// Puts the prefix before a body made by `crypto::id`; `None` when the body is malformed.
            pub fn from_body(body: &str) -> Option<Self> {
                is_body(body).then(|| Self(format!("{}{body}", $prefix)))
            }

            /// The whole text, prefix included.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;
            fn try_from(text: String) -> Result<Self, MalformedId> {
                Self::parse(&text).ok_or(MalformedId($prefix))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

/// An id without its prefix or with characters outside of the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id beginning with `{0}` was expected")]
pub struct MalformedId(pub &'static str);

ids! {
    /// A tenant.
    WorkspaceId = "ws_";
    /// A user of the host product: the `sub` of its JWT, prefixed.
    UserId = "us_";
    /// A workspace's link to one CRM account.
    ConnectionId = "cx_";
    /// One intended effect in a CRM; the body names the CRM and the idempotency key.
    WriteId = "wr_";
    /// One try at a lot of writes.
    AttemptId = "at_";
    /// One audit event.
    AuditId = "ev_";
    /// A request to erase a person.
    ErasureId = "er_";
    /// An install from a CRM's marketplace.
    InstallId = "in_";
    /// Something a person should know of.
    AlarmId = "al_";
}

impl WriteId {
    /// The id of the write with this key: `wr_h…` for HubSpot, `wr_s…` for Salesforce, then the key's 43 characters.
    ///
    /// One write per (workspace, CRM, idempotency key) is thereby one unique index, and a lookup by id needs no second one.
    pub fn of(crm: Crm, idempotency_key: &str) -> Option<Self> {
        let letter = match crm {
            Crm::Hubspot => 'h',
            Crm::Salesforce => 's',
        };
        Self::from_body(&format!("{letter}{idempotency_key}"))
    }

    /// The CRM and idempotency key this id was made from.
    pub fn parts(&self) -> Option<(Crm, &str)> {
        let body = self.0.strip_prefix(Self::PREFIX)?;
        let crm = match body.chars().next()? {
            'h' => Crm::Hubspot,
            's' => Crm::Salesforce,
            _ => return None,
        };
        body.get(1..).map(|key| (crm, key))
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionId, WorkspaceId, WriteId};
    use crate::Crm;

    #[test]
    fn only_the_own_prefix_and_alphabet_parse() {
        assert!(WorkspaceId::parse("ws_acme-1").is_some());
        for text in ["ws_", "cx_acme", "acme", "ws_a b", "ws_ä", "ws_a'--", &format!("ws_{}", "a".repeat(65))] {
            assert_eq!(WorkspaceId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn serde_refuses_a_foreign_prefix() {
        assert!(serde_json::from_str::<ConnectionId>("\"ws_acme\"").is_err());
        assert_eq!(serde_json::to_string(&ConnectionId::parse("cx_1")).unwrap(), "\"cx_1\"");
    }

    #[test]
    fn a_write_id_gives_back_its_key() {
        let id = WriteId::of(Crm::Salesforce, "AbC-_9").unwrap();
        assert_eq!(id.as_str(), "wr_sAbC-_9");
        assert_eq!(id.parts(), Some((Crm::Salesforce, "AbC-_9")));
        assert_eq!(WriteId::parse("wr_x1").unwrap().parts(), None);
    }
}
