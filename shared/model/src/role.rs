//! What a caller may do in a workspace.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A member's role. `Owner` and `Admin` may connect and disconnect CRMs; every role may read and submit writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and submits writes.
    Member,
    /// Also connects, disconnects and sets policies.
    Admin,
    /// As admin; the host product decides what else.
    Owner,
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = [Self::Member, Self::Admin, Self::Owner].into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| D::Error::custom("not a role"))
    }
}

impl Role {
    /// Whether this role may connect, disconnect and claim.
    pub const fn may_administer(self) -> bool {
        matches!(self, Self::Admin | Self::Owner)
    }

    /// The text form used in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}
