//! Words and rules of installs from a CRM's marketplace, and of the sessions in which they are claimed.
//!
//! Out of scope: tokens, storage, whose browser it is.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// An install may be claimed for so long: long enough to sign up and to confirm an address, short enough that a grant that
/// nobody wants does not lie about.
pub const INSTALL_LIFE_SECS: i64 = 86_400;

/// A claim, or the taking of an account, that has not ended by then died on the way.
pub const CLAIM_STALE_SECS: i64 = 600;

/// After its end an install's grant is tried to be revoked for so long; then it is erased without.
pub const REVOKE_TRIES_SECS: i64 = 86_400;

/// Rows without tokens are kept so long, for support.
pub const INSTALL_KEPT_SECS: i64 = 90 * 86_400;

/// A link to our pages opens within this time, once.
pub const LINK_LIFE_SECS: i64 = 120;

/// A session on our pages, from its opening.
pub const SESSION_LIFE_SECS: i64 = 1_800;

/// What became of an install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstallStatus {
    /// Waits for a workspace.
    Pending,
    /// Has one.
    Claimed,
    /// Found none in time.
    Expired,
}

/// What a claim must show besides who is claiming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The secret of the browser in which the flow began and ended.
    Browser,
    /// A new consent to the same account: the code came without a state, so the browser proves nothing.
    Consent,
}

/// Which of our pages a link opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Page {
    /// The workspace's connections.
    Connect,
    /// The install to be claimed.
    Claim,
}

/// Why an install that was shown to be the caller's cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclaimable {
    /// Somebody has.
    Claimed,
    /// Too late.
    Expired,
    /// The browser's secret is not enough.
    NeedsConsent,
}

impl InstallStatus {
    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Expired => "expired",
        }
    }
}

impl Proof {
    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Consent => "consent",
        }
    }
}

impl Page {
    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Claim => "claim",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Connect, Self::Claim].into_iter().find(|page| page.as_str() == text)
    }
}

/// Whether an install may be claimed with the secret of the installing browser.
pub fn claimable(
    status: InstallStatus,
    proof: Proof,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), Unclaimable> {
    match (status, proof) {
        (InstallStatus::Claimed, _) => Err(Unclaimable::Claimed),
        (InstallStatus::Expired, _) => Err(Unclaimable::Expired),
        (InstallStatus::Pending, _) if expires_at <= now => Err(Unclaimable::Expired),
        (InstallStatus::Pending, Proof::Consent) => Err(Unclaimable::NeedsConsent),
        (InstallStatus::Pending, Proof::Browser) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{InstallStatus, Page, Proof, Unclaimable, claimable};
    use crate::Timestamp;

    #[test]
    fn only_a_pending_install_of_this_browser_in_time_is_claimable() {
        let (end, before, after) = (Timestamp(10), Timestamp(9), Timestamp(11));
        for (status, proof, now, expected) in [
            (InstallStatus::Pending, Proof::Browser, before, Ok(())),
            (InstallStatus::Pending, Proof::Browser, end, Err(Unclaimable::Expired)),
            (InstallStatus::Pending, Proof::Browser, after, Err(Unclaimable::Expired)),
            (InstallStatus::Pending, Proof::Consent, before, Err(Unclaimable::NeedsConsent)),
            (InstallStatus::Pending, Proof::Consent, after, Err(Unclaimable::Expired)),
            (InstallStatus::Claimed, Proof::Browser, before, Err(Unclaimable::Claimed)),
            (InstallStatus::Claimed, Proof::Consent, after, Err(Unclaimable::Claimed)),
            (InstallStatus::Expired, Proof::Browser, before, Err(Unclaimable::Expired)),
        ] {
            assert_eq!(claimable(status, proof, end, now), expected, "{status:?} {proof:?} {now:?}");
        }
    }

    #[test]
    fn a_page_reads_back() {
        assert_eq!(
            [Page::parse("claim"), Page::parse("connect"), Page::parse("x")],
            [Some(Page::Claim), Some(Page::Connect), None]
        );
    }
}
