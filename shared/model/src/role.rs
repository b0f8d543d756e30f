//! What a caller may do in a workspace.

use serde::{Deserialize, Serialize};

/// A member's role. `Owner` and `Admin` may connect and disconnect CRMs; every role may read and submit writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and submits writes.
    Member,
    /// Also connects, disconnects and sets policies.
    Admin,
    /// As admin; the host product decides what else.
    Owner,
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
