//! A write's states and the one decision between them.
//!
//! `planned` → `in_flight` → `succeeded` | `failed` (tried again at `next_retry_at`) | `unknown` | `permanent_failure`.
//! [`next`] is total: every outcome in every count of attempts has an answer, shown by a table test.

use crate::Timestamp;
use crate::backoff::{self, Schedule};
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

/// An `unknown` write is looked at no sooner than this: longer than a CRM's index lag (HubSpot search: 5 to 60 s seen).
pub const UNKNOWN_LOOK_AFTER_SECS: i64 = 90;

/// The state after an attempt. `retry_count` is the number of attempts before this one; `chance` is uniform over `u32`.
///
/// Attempts that the provider postponed (rate limits) and refused tokens do not use up the bound: the first is not the
/// write's fault, the second stops the whole connection until a person reconnects, and the write waits for that.
pub fn next(retry_count: u32, outcome: WriteOutcome, schedule: Schedule, chance: u32, now: Timestamp) -> Transition {
    let made = retry_count.saturating_add(1);
    match outcome {
        WriteOutcome::Applied => {
            Transition { status: WriteStatus::Succeeded, retry_count: made, next_retry_at: None, failure: None }
        }
        WriteOutcome::Rejected(failure) => Transition {
            status: WriteStatus::PermanentFailure,
            retry_count: made,
            next_retry_at: None,
            failure: Some(failure),
        },
        WriteOutcome::RetryAfter(failure) if failure.class == ErrorClass::RateLimited => {
            postponed(retry_count, failure, schedule, chance, now)
        }
        WriteOutcome::RetryAfter(failure) => {
            match backoff::next_try_at(schedule, made, chance, failure.not_before, now) {
                Some(at) => Transition {
                    status: WriteStatus::Failed,
                    retry_count: made,
                    next_retry_at: Some(at),
                    failure: Some(failure),
                },
                None => Transition {
                    status: WriteStatus::PermanentFailure,
                    retry_count: made,
                    next_retry_at: None,
                    failure: Some(failure),
                },
            }
        }
        WriteOutcome::Unauthorized(failure) => postponed(retry_count, failure, schedule, chance, now),
        WriteOutcome::Unknown(failure) => Transition {
            status: WriteStatus::Unknown,
            retry_count: made,
            next_retry_at: Some(now.plus_secs(UNKNOWN_LOOK_AFTER_SECS)),
            failure: Some(failure),
        },
    }
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
    use super::{ErrorClass, Failure, WriteOutcome, WriteStatus, next};
    use crate::Timestamp;
    use crate::backoff::WRITES;

    const NOW: Timestamp = Timestamp(1_000_000);

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

    #[test]
    fn every_outcome_has_its_state() {
        use ErrorClass as C;
        use WriteOutcome as O;
        use WriteStatus as S;
        let last = WRITES.attempts_max - 1;
        for (outcome, attempts, status, counted, due) in [
            (O::Applied, 0, S::Succeeded, 1, false),
            (O::Rejected(failure(C::Mapping)), 0, S::PermanentFailure, 1, false),
            (O::Rejected(failure(C::Conflict)), 3, S::PermanentFailure, 4, false),
            (O::RetryAfter(failure(C::Transient)), 0, S::Failed, 1, true),
            (O::RetryAfter(failure(C::Transient)), last, S::PermanentFailure, last + 1, false),
            (O::RetryAfter(failure(C::RateLimited)), last, S::Failed, last, true),
            (O::Unauthorized(failure(C::Auth)), last, S::Failed, last, true),
            (O::Unknown(failure(C::UnknownOutcome)), last, S::Unknown, last + 1, true),
        ] {
            let t = next(attempts, outcome.clone(), WRITES, 7, NOW);
            assert_eq!((t.status, t.retry_count, t.next_retry_at.is_some()), (status, counted, due), "{outcome:?}");
            assert_eq!(t.failure.is_none(), outcome == O::Applied);
            assert!(t.next_retry_at.is_none_or(|at| at > NOW));
            assert_eq!(t.status.is_final(), t.next_retry_at.is_none());
        }
    }

    #[test]
    fn status_text_reads_back() {
        for status in WriteStatus::ALL {
            assert_eq!(WriteStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
        }
    }
}
