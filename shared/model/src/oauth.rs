//! Words and limits of the OAuth flows.

use serde::{Deserialize, Serialize};

/// A state lives this long: long enough for a consent page, short enough that a leaked one is stale.
pub const STATE_LIFE_SECS: i64 = 600;

/// Tokens with this much life left or less are refreshed before use.
pub const REFRESH_AHEAD_SECS: i64 = 120;

/// The access-token life assumed for Salesforce, which sends no `expires_in`, until introspection or the first
/// `INVALID_SESSION_ID` tells better. Two hours is the default session time-out; 15 minutes is the shortest one an org
/// can set, so half of that is always safe to call "fresh". Source: reference of the session settings, unconfirmed here.
pub const SALESFORCE_SESSION_ASSUMED_SECS: i64 = 7_200;

/// Which flow a state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// An administrator connects a CRM to a workspace.
    Connect,
    /// A person installs from the CRM's marketplace; there is no workspace yet.
    Install,
}

impl Flow {
    /// The text form used in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Install => "install",
        }
    }
}
