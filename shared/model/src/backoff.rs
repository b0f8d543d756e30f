//! How long to wait before the next try: bounded attempts, exponential growth, full jitter, the provider's own word first.
//!
//! One pure function for writes, refreshes and any other retry. Chance comes in as a number so that a replay is exact.

use crate::Timestamp;

/// A retry schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The first delay's upper bound.
    pub base_ms: i64,
    /// No computed delay is longer.
    pub cap_ms: i64,
    /// Attempts in all, the first included.
    pub attempts_max: u32,
}

/// Writes: 8 attempts; upper bounds 10 s, 20 s, 40 s … capped at an hour. The longest sum is about 21 minutes.
pub const WRITES: Schedule = Schedule { base_ms: 10_000, cap_ms: 3_600_000, attempts_max: 8 };

/// The outgoing webhook: 10 tries; upper bounds 5 min, 10 min … capped at 12 hours. The longest sum is about a day and a half.
pub const WEBHOOKS: Schedule = Schedule { base_ms: 300_000, cap_ms: 43_200_000, attempts_max: 10 };

/// When to try again after `attempts` attempts were made, or `None` when they are used up.
///
/// `chance` is uniform over all of `u32` and picks the point between zero and the bound ("full jitter"). `not_before` is the
/// provider's `Retry-After` or window reset: the delay is then counted from there, so that callers told the same time
/// do not return together.
pub fn next_try_at(
    schedule: Schedule,
    attempts: u32,
    chance: u32,
    not_before: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if attempts >= schedule.attempts_max {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(30);
    let bound = schedule.base_ms.saturating_mul(1_i64 << doublings).min(schedule.cap_ms);
    let jitter = i64::try_from((i128::from(bound) * i128::from(chance)) >> 32).unwrap_or(0);
    let from = not_before.map_or(now, |at| at.max(now));
    Some(from.plus_ms(jitter.max(1)))
}

#[cfg(test)]
mod tests {
    use super::{Schedule, WRITES, next_try_at};
    use crate::Timestamp;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        for (attempts, bound) in [(1, 10_000), (2, 20_000), (3, 40_000), (7, 640_000)] {
            let latest = next_try_at(WRITES, attempts, u32::MAX, None, NOW).unwrap();
            assert!((bound - 1..=bound).contains(&(latest.0 - NOW.0)), "attempt {attempts}: {latest:?}");
            assert_eq!(next_try_at(WRITES, attempts, 0, None, NOW), Some(NOW.plus_ms(1)), "never now, never earlier");
        }
        let slow = Schedule { attempts_max: 100, ..WRITES };
        assert!(next_try_at(slow, 99, u32::MAX, None, NOW).unwrap().0 - NOW.0 <= WRITES.cap_ms);
    }

    #[test]
    fn attempts_are_bounded() {
        assert_eq!(next_try_at(WRITES, WRITES.attempts_max, 0, None, NOW), None);
    }

    #[test]
    fn the_providers_time_is_a_floor() {
        let told = NOW.plus_secs(60);
        assert!(next_try_at(WRITES, 1, 0, Some(told), NOW).unwrap() > told);
        assert!(next_try_at(WRITES, 1, 0, Some(Timestamp(0)), NOW).unwrap() > NOW);
    }
}
