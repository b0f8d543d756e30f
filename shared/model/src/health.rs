//! What a connection's checks come to, and when it is checked next: pure rules.
//!
//! Every connection is checked once an hour, at a minute of its own. In scope: what a check's finding makes of the health and
//! of the connection. Out of scope: making the check (`flows::check_health`), a dead grant (the gate marks that itself).

use crate::connection::ConnectionKey;
use crate::{Crm, Health, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

/// One check an hour.
pub const CHECK_EVERY_SECS: i64 = 3_600;

/// So many checks in a row in which the CRM knew the token and refused make the connection an error: one may be an
/// administrator in the middle of something, three hours are not.
pub const REFUSALS_UNTIL_ERROR: u32 = 3;

/// So many failures in a row that usually pass make the health an error: a day.
pub const FAILURES_UNTIL_ERROR: u32 = 24;

/// The code of a connection that checks gave up. Its tokens are kept and it is still checked: it comes back by itself.
pub const ACCESS_REFUSED: &str = "access_refused";

/// The code of a connection whose token belongs to another account.
pub const ACCOUNT_MISMATCH: &str = "account_mismatch";

/// At most this many connections travel in one message.
pub const CHECKS_PER_ROUND_MAX: usize = 20;

/// A queue message: connections to be checked now. Ids only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRound {
    /// The shard of all of them.
    pub shard: String,
    /// Which.
    pub connections: Vec<(WorkspaceId, Crm)>,
    /// The run of the job, for tracing.
    pub request_id: String,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The CRM answered, and for the right account.
    Works,
    /// It does not work now, and that usually passes: no answer, a fault of the CRM, a limit used up.
    Passing,
    /// The CRM knows the token and refuses: a permission is gone, its API is switched off.
    Refused,
    /// The token belongs to another account.
    OtherAccount,
}

/// What is known before a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// None: never checked.
    pub health: Option<Health>,
    /// In a row.
    pub failures: u32,
    /// In a row, with failures that pass in between.
    pub refusals: u32,
    /// An earlier check made the connection an error ([`ACCESS_REFUSED`]).
    pub given_up: bool,
}

/// What becomes of the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// It is marked with this code.
    Mark(&'static str),
    /// It is brought back.
    Restore,
}

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// The new health.
    pub health: Health,
    /// In a row.
    pub failures: u32,
    /// In a row.
    pub refusals: u32,
    /// For the connection.
    pub consequence: Consequence,
}

impl After {
    /// Whether this is news: only a change is audited.
    pub fn changes(&self, before: &Before) -> bool {
        before.health != Some(self.health) || self.consequence != Consequence::None
    }
}

/// The rules.
///
/// 1. A check that works clears everything, and brings back a connection that checks gave up.
/// 2. A failure that passes is a warning; [`FAILURES_UNTIL_ERROR`] in a row are an error of the health, never of the connection.
/// 3. A refusal is a warning; [`REFUSALS_UNTIL_ERROR`] in a row make the connection an error. A failure that passes neither
///    adds to them nor clears them: it says nothing of the permission.
/// 4. A token of another account is an error at once: a write would go to the wrong place.
/// 5. While checks have given the connection up, nothing but rule 1 and 4 changes that.
pub fn judge(before: &Before, finding: Finding) -> After {
    let failures = before.failures.saturating_add(1);
    let after = |health, refusals, consequence| After { health, failures, refusals, consequence };
    match finding {
        Finding::Works => {
            let consequence = if before.given_up { Consequence::Restore } else { Consequence::None };
            After { health: Health::Ok, failures: 0, refusals: 0, consequence }
        }
        Finding::OtherAccount => after(Health::Error, before.refusals, Consequence::Mark(ACCOUNT_MISMATCH)),
        Finding::Passing if before.given_up || failures >= FAILURES_UNTIL_ERROR => {
            after(Health::Error, before.refusals, Consequence::None)
        }
        Finding::Passing => after(Health::Warning, before.refusals, Consequence::None),
        Finding::Refused => {
            let refusals = before.refusals.saturating_add(1);
            if before.given_up {
                after(Health::Error, refusals, Consequence::None)
            } else if refusals >= REFUSALS_UNTIL_ERROR {
                after(Health::Error, refusals, Consequence::Mark(ACCESS_REFUSED))
            } else {
                after(Health::Warning, refusals, Consequence::None)
            }
        }
    }
}

/// When a connection is checked next: at its own second of the hour, at least half an hour from now.
pub fn next_check_at(workspace_id: &WorkspaceId, crm: Crm, now: Timestamp) -> Timestamp {
    const HOUR_MS: i64 = CHECK_EVERY_SECS * 1_000;
    let bytes = workspace_id.as_str().bytes().chain(crm.as_str().bytes());
    // FNV-1a: spreads names that differ in a digit.
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let own_ms = i64::from(hash % 3_600) * 1_000;
    let earliest = now.0.saturating_add(HOUR_MS / 2);
    let wait_ms = (own_ms - earliest.rem_euclid(HOUR_MS)).rem_euclid(HOUR_MS);
    Timestamp(earliest.saturating_add(wait_ms))
}

/// [`next_check_at`] of a connection's key.
pub fn next_check_of(key: &ConnectionKey, now: Timestamp) -> Timestamp {
    next_check_at(&key.workspace_id, key.crm, now)
}

#[cfg(test)]
mod tests {
    use super::{
        ACCESS_REFUSED, ACCOUNT_MISMATCH, After, Before, Consequence, FAILURES_UNTIL_ERROR, Finding, judge,
        next_check_at,
    };
    use crate::{Crm, Health, Timestamp, WorkspaceId};

    fn before(health: Health, failures: u32, refusals: u32) -> Before {
        Before { health: Some(health), failures, refusals, given_up: false }
    }

    fn after(health: Health, failures: u32, refusals: u32, consequence: Consequence) -> After {
        After { health, failures, refusals, consequence }
    }

    #[test]
    fn every_finding_in_every_state_has_its_rule() {
        use Consequence::{Mark, None, Restore};
        use Finding::{OtherAccount, Passing, Refused, Works};
        use Health::{Error, Ok, Warning};
        let given_up = Before { given_up: true, ..before(Error, 3, 3) };
        let long = FAILURES_UNTIL_ERROR;
        for (state, finding, expected) in [
            (Before::default(), Works, after(Ok, 0, 0, None)),
            (Before::default(), Passing, after(Warning, 1, 0, None)),
            (before(Ok, 0, 0), Passing, after(Warning, 1, 0, None)),
            (before(Warning, 5, 0), Passing, after(Warning, 6, 0, None)),
            (before(Warning, long - 2, 0), Passing, after(Warning, long - 1, 0, None)),
            (before(Warning, long - 1, 0), Passing, after(Error, long, 0, None)),
            (before(Error, long, 0), Passing, after(Error, long + 1, 0, None)),
            (before(Error, long, 0), Works, after(Ok, 0, 0, None)),
            (before(Ok, 0, 0), Refused, after(Warning, 1, 1, None)),
            (before(Warning, 1, 1), Refused, after(Warning, 2, 2, None)),
            (before(Warning, 2, 2), Refused, after(Error, 3, 3, Mark(ACCESS_REFUSED))),
            (before(Warning, 2, 2), Passing, after(Warning, 3, 2, None)),
            (before(Warning, 3, 2), Refused, after(Error, 4, 3, Mark(ACCESS_REFUSED))),
            (before(Warning, 2, 2), Works, after(Ok, 0, 0, None)),
            (given_up, Refused, after(Error, 4, 4, None)),
            (given_up, Passing, after(Error, 4, 3, None)),
            (given_up, Works, after(Ok, 0, 0, Restore)),
            (given_up, OtherAccount, after(Error, 4, 3, Mark(ACCOUNT_MISMATCH))),
            (before(Ok, 0, 0), OtherAccount, after(Error, 1, 0, Mark(ACCOUNT_MISMATCH))),
        ] {
            assert_eq!(judge(&state, finding), expected, "{state:?} {finding:?}");
        }
    }

    #[test]
    fn only_a_change_is_news() {
        let ok = before(Health::Ok, 0, 0);
        assert!(!judge(&ok, Finding::Works).changes(&ok));
        assert!(judge(&ok, Finding::Passing).changes(&ok));
        let warned = before(Health::Warning, 1, 0);
        assert!(!judge(&warned, Finding::Passing).changes(&warned));
        assert!(judge(&Before::default(), Finding::Works).changes(&Before::default()));
        let given_up = Before { given_up: true, ..before(Health::Error, 3, 3) };
        assert!(!judge(&given_up, Finding::Refused).changes(&given_up));
    }

    #[test]
    fn each_connection_has_a_second_of_its_own_in_every_hour() {
        let mut buckets = [0_u32; 60];
        for n in 0..2_000 {
            let workspace_id = WorkspaceId::parse(&format!("ws_{n}")).unwrap();
            let now = Timestamp(1_795_165_200_000 + n * 997);
            let at = next_check_at(&workspace_id, Crm::Hubspot, now);
            assert!((1_800_000..1_800_000 + 3_600_000).contains(&(at.0 - now.0)), "{}", at.0 - now.0);
            assert_eq!(
                next_check_at(&workspace_id, Crm::Hubspot, at),
                at.plus_secs(3_600),
                "an hour later, on the second"
            );
            assert_eq!(
                next_check_at(&workspace_id, Crm::Hubspot, at.plus_secs(700)),
                at.plus_secs(3_600),
                "a late one too"
            );
            buckets[usize::try_from(at.0 / 60_000 % 60).unwrap()] += 1;
        }
        assert!(buckets.iter().all(|count| (10..80).contains(count)), "spread over the hour: {buckets:?}");
    }
}
