//! A write's states and the one decision between them.
//!
//! `planned` → `in_flight` → `succeeded` | `failed` (tried again at `next_retry_at`) | `unknown` | `permanent_failure`.
//! [`next`] is total: every outcome in every count of attempts has an answer, shown by a table test.

use crate::backoff::{self, Schedule};
use crate::{Crm, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteStatus {
    /// Accepted, not yet tried.
    Planned,
    /// Leased by a processor, its attempt row written.
    InFlight,
    /// The effect is in the CRM, proven by its answer.
    Succeeded,
    /// Certainly not applied; due again at `next_retry_at`.
    Failed,
    /// Perhaps applied; left only by proof from the CRM.
    Unknown,
    /// Certainly not applied and not tried again by itself; a person repairs and replays it.
    PermanentFailure,
}

impl WriteStatus {
    /// Every status, in a fixed order.
    pub const ALL: [Self; 6] =
        [Self::Planned, Self::InFlight, Self::Succeeded, Self::Failed, Self::Unknown, Self::PermanentFailure];

    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::InFlight => "in_flight",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::PermanentFailure => "permanent_failure",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing more happens to the write by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::PermanentFailure)
    }
}

/// What kind of failure: decided once, in the provider's adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Passes by itself; certainly not applied.
    Transient,
    /// The provider's limit; certainly not applied.
    RateLimited,
    /// Token, scope or permission.
    Auth,
    /// The CRM does not accept this content.
    Mapping,
    /// The CRM holds something that contradicts it.
    Conflict,
    /// Nobody knows whether it was applied.
    UnknownOutcome,
}

impl ErrorClass {
    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Auth => "auth",
            Self::Mapping => "mapping",
            Self::Conflict => "conflict",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }
}

/// A classified failure. `detail` is for people: the provider's words, cut to 300 characters, without personal data where
/// the adapter can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub class: ErrorClass,
    /// The provider's code, or ours: `TEN_SECONDLY_ROLLING`, `REQUIRED_FIELD_MISSING`, `timeout`.
    pub code: String,
    /// A sentence.
    pub detail: String,
    /// The HTTP status, when there was an answer.
    pub http_status: Option<u16>,
    /// The provider's correlation id, when it gave one.
    pub correlation_id: Option<String>,
    /// The provider said not to come before.
    pub not_before: Option<Timestamp>,
}

/// Ids of what a write made or found in the CRM, by our name for it: `contact`, `lead`, `task`, `note`.
pub type ExternalIds = BTreeMap<String, String>;

/// What one try at a write came to. A value, not an error: the state machine decides what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The CRM answered that the effect is there.
    Applied,
    /// The CRM refused this content for good (mapping, conflict).
    Rejected(Failure),
    /// Certainly not applied; worth trying again (transient, rate limited).
    RetryAfter(Failure),
    /// The token was refused; certainly not applied.
    Unauthorized(Failure),
    /// Perhaps applied.
    Unknown(Failure),
}

/// What the log row becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The new status.
    pub status: WriteStatus,
    /// Attempts made that count against the bound.
    pub retry_count: u32,
    /// When it is due again; none when final.
    pub next_retry_at: Option<Timestamp>,
    /// Why, unless it succeeded.
    pub failure: Option<Failure>,
}

/// What is known of an earlier try that may have reached the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// No try may have.
    None,
    /// One may have, and nothing proves that it did or did not.
    Open,
    /// The CRM was asked, and showed that none did.
    Disproved,
}

impl Doubt {
    /// Every state of knowledge.
    pub const ALL: [Self; 3] = [Self::None, Self::Open, Self::Disproved];
}

/// Where a write stood when its attempt began, and what the attempt showed of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The CRM it goes to.
    pub crm: Crm,
    /// Attempts before this one that count against the bound.
    pub retry_count: u32,
    /// What is known of them now.
    pub doubt: Doubt,
}

/// How long after a request was sent it may still take effect although no answer came, in seconds. Nobody looks for its
/// effect, and takes not finding it for a proof, before that.
///
/// HubSpot: its search index lags 5 to 60 s (providers reference 1.12). Salesforce: a request may run for ten minutes (2.12).
pub const fn may_still_land_secs(crm: Crm) -> i64 {
    match crm {
        Crm::Hubspot => 90,
        Crm::Salesforce => 600,
    }
}

/// A look that proved nothing is repeated after this, twice this, … in seconds.
const LOOK_AGAIN_SECS: i64 = 90;
/// And at the latest after this.
const LOOK_AGAIN_SECS_MAX: i64 = 3_600;

/// The state after an attempt, `now` being when its last answer came. `chance` is uniform over `u32`.
///
/// Attempts that the provider postponed (rate limits) and refused tokens do not use up the bound: the first is not the
/// write's fault, the second stops the whole connection until a person reconnects, and the write waits for that.
///
/// While a doubt is open, whatever does not prove that the effect is there or not leaves the write `unknown`: there is no
/// bound on that. Only what stops all further looks (the connection ended, the account is another) makes it a dead letter,
/// of class `unknown_outcome`, which says that nobody knows.
pub fn next(was: Standing, outcome: WriteOutcome, schedule: Schedule, chance: u32, now: Timestamp) -> Transition {
    let made = was.retry_count.saturating_add(1);
    let settled =
        |status, retry_count, next_retry_at, failure| Transition { status, retry_count, next_retry_at, failure };
    match outcome {
        WriteOutcome::Applied => settled(WriteStatus::Succeeded, made, None, None),
        WriteOutcome::Rejected(mut failure) => {
            if was.doubt == Doubt::Open {
                failure.class = ErrorClass::UnknownOutcome;
            }
            settled(WriteStatus::PermanentFailure, made, None, Some(failure))
        }
        WriteOutcome::Unknown(failure) => {
            let at = look_at(was, &failure, now);
            settled(WriteStatus::Unknown, made, Some(at), Some(failure))
        }
        WriteOutcome::RetryAfter(failure) | WriteOutcome::Unauthorized(failure) if was.doubt == Doubt::Open => {
            let at = look_at(was, &failure, now);
            settled(WriteStatus::Unknown, made, Some(at), Some(failure))
        }
        WriteOutcome::RetryAfter(failure) if failure.class != ErrorClass::RateLimited => {
            let at = backoff::next_try_at(schedule, made, chance, failure.not_before, now);
            let status = if at.is_some() { WriteStatus::Failed } else { WriteStatus::PermanentFailure };
            settled(status, made, at, Some(failure))
        }
        WriteOutcome::RetryAfter(failure) | WriteOutcome::Unauthorized(failure) => {
            postponed(was.retry_count, failure, schedule, chance, now)
        }
    }
}

/// When an effect that may be there is looked for. A new doubt waits until the request can no longer take effect; an old one
/// is looked at again in growing steps, and so is one that comes again after each look. The provider's own word comes first.
fn look_at(was: Standing, failure: &Failure, now: Timestamp) -> Timestamp {
    let growing = (LOOK_AGAIN_SECS << was.retry_count.min(10)).min(LOOK_AGAIN_SECS_MAX);
    let wait_secs = match was.doubt {
        Doubt::None => may_still_land_secs(was.crm),
        Doubt::Disproved => growing.max(may_still_land_secs(was.crm)),
        Doubt::Open => growing,
    };
    failure.not_before.filter(|at| *at > now).unwrap_or_else(|| now.plus_secs(wait_secs))
}

/// The code of a failure whose `not_before` was told to this write alone: jitter would only make it late.
pub const RESERVED_CODE: &str = "budget";

/// The code of a transient failure that says: the mechanism the connection was probed to have is not there (the field is gone,
/// or not ours to use). The flow forgets the mechanisms, and the next lot probes anew.
pub const MECHANISM_GONE_CODE: &str = "mechanism_gone";

/// Tried again without using up an attempt: as after the first one, from the time the provider named.
fn postponed(retry_count: u32, failure: Failure, schedule: Schedule, chance: u32, now: Timestamp) -> Transition {
    if failure.code == RESERVED_CODE && failure.not_before.is_some() {
        return Transition {
            status: WriteStatus::Failed,
            retry_count,
            next_retry_at: failure.not_before,
            failure: Some(failure),
        };
    }
    let at = backoff::next_try_at(Schedule { attempts_max: 2, ..schedule }, 1, chance, failure.not_before, now);
    Transition { status: WriteStatus::Failed, retry_count, next_retry_at: at, failure: Some(failure) }
}

#[cfg(test)]
mod tests {
    use super::{Doubt, ErrorClass, Failure, Standing, WriteOutcome, WriteStatus, may_still_land_secs, next};
    use crate::backoff::WRITES;
    use crate::{Crm, Timestamp};

    const NOW: Timestamp = Timestamp(1_000_000);
    const LAST: u32 = WRITES.attempts_max - 1;

    fn failure(class: ErrorClass) -> Failure {
        Failure {
            class,
            code: "x".into(),
            detail: String::new(),
            http_status: None,
            correlation_id: None,
            not_before: None,
        }
    }

    fn was(retry_count: u32, doubt: Doubt) -> Standing {
        Standing { crm: Crm::Hubspot, retry_count, doubt }
    }

    #[test]
    fn every_outcome_in_every_doubt_has_its_state() {
        use Doubt as D;
        use ErrorClass as C;
        use WriteOutcome as O;
        use WriteStatus as S;
        for (outcome, doubts, attempts, status, counted, due) in [
            (O::Applied, &D::ALL[..], 0, S::Succeeded, 1, false),
            (O::Rejected(failure(C::Mapping)), &D::ALL, 0, S::PermanentFailure, 1, false),
            (O::Rejected(failure(C::Conflict)), &D::ALL, 3, S::PermanentFailure, 4, false),
            (O::RetryAfter(failure(C::Transient)), &[D::None, D::Disproved], 0, S::Failed, 1, true),
            (
                O::RetryAfter(failure(C::Transient)),
                &[D::None, D::Disproved],
                LAST,
                S::PermanentFailure,
                LAST + 1,
                false,
            ),
            (O::RetryAfter(failure(C::Transient)), &[D::Open], LAST, S::Unknown, LAST + 1, true),
            (O::RetryAfter(failure(C::RateLimited)), &[D::None, D::Disproved], LAST, S::Failed, LAST, true),
            (O::RetryAfter(failure(C::RateLimited)), &[D::Open], LAST, S::Unknown, LAST + 1, true),
            (O::Unauthorized(failure(C::Auth)), &[D::None, D::Disproved], LAST, S::Failed, LAST, true),
            (O::Unauthorized(failure(C::Auth)), &[D::Open], LAST, S::Unknown, LAST + 1, true),
            (O::Unknown(failure(C::UnknownOutcome)), &D::ALL, LAST, S::Unknown, LAST + 1, true),
        ] {
            for doubt in doubts {
                let t = next(was(attempts, *doubt), outcome.clone(), WRITES, 7, NOW);
                let found = (t.status, t.retry_count, t.next_retry_at.is_some());
                assert_eq!(found, (status, counted, due), "{outcome:?} {doubt:?}");
                assert_eq!(t.failure.is_none(), outcome == O::Applied);
                assert!(t.next_retry_at.is_none_or(|at| at > NOW));
                assert_eq!(t.status.is_final(), t.next_retry_at.is_none());
            }
        }
    }

    #[test]
    fn a_doubt_that_cannot_be_settled_says_so_in_the_dead_letter() {
        let refusal = || WriteOutcome::Rejected(failure(ErrorClass::Auth));
        for (doubt, class) in [
            (Doubt::None, ErrorClass::Auth),
            (Doubt::Open, ErrorClass::UnknownOutcome),
            (Doubt::Disproved, ErrorClass::Auth),
        ] {
            assert_eq!(next(was(0, doubt), refusal(), WRITES, 7, NOW).failure.unwrap().class, class, "{doubt:?}");
        }
    }

    #[test]
    fn nobody_looks_while_the_request_may_still_take_effect() {
        let lost = || WriteOutcome::Unknown(failure(ErrorClass::UnknownOutcome));
        for crm in Crm::ALL {
            for (doubt, retry_count) in [(Doubt::None, 0), (Doubt::None, 7), (Doubt::Disproved, 0)] {
                let at = next(Standing { crm, retry_count, doubt }, lost(), WRITES, 0, NOW).next_retry_at;
                assert_eq!(at, Some(NOW.plus_secs(may_still_land_secs(crm))), "{crm} {doubt:?}");
            }
            // Lost again after every look: less and less often.
            let again = |retry_count| {
                let standing = Standing { crm, retry_count, doubt: Doubt::Disproved };
                next(standing, lost(), WRITES, 0, NOW).next_retry_at.unwrap()
            };
            assert_eq!([again(4), again(40)], [1_440, 3_600].map(|secs| NOW.plus_secs(secs)), "{crm}");
        }
        let again = |retry_count| next(was(retry_count, Doubt::Open), lost(), WRITES, 0, NOW).next_retry_at.unwrap();
        assert_eq!([again(0), again(1), again(40)], [90, 180, 3_600].map(|secs| NOW.plus_secs(secs)));
        let told = Failure { not_before: Some(NOW.plus_secs(7)), ..failure(ErrorClass::UnknownOutcome) };
        let at = next(was(0, Doubt::Open), WriteOutcome::Unknown(told), WRITES, 0, NOW).next_retry_at;
        assert_eq!(at, Some(NOW.plus_secs(7)), "the provider's word comes first");
    }

    #[test]
    fn status_text_reads_back() {
        for status in WriteStatus::ALL {
            assert_eq!(WriteStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
        }
    }
}
