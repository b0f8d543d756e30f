//! One rolling window of a budget: what was used of it, by us and by others.

use super::Purpose;
use crate::Timestamp;
use std::collections::VecDeque;

/// Uses this close together are kept as one, at the later time.
const MERGE_MS: i64 = 20;

/// Kept free for people, out of a hundred.
const RESERVED_PERCENT: u32 = 20;

/// Never less than this is left for us, whatever others use: otherwise nothing would tell that they stopped.
const OWN_MIN: u32 = 2;

/// What others use is learned in spans of two windows' length, and believed for one more span.
const SPAN_WINDOWS: i64 = 2;

/// So much more is taken for used by others with every refusal: what the headers told came too late to prevent it.
const REFUSED_STEP: u32 = 2;

#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) max: u32,
    pub(super) length_ms: i64,
    pub(super) not_before: Timestamp,
    /// Our uses, oldest first.
    used: VecDeque<(Timestamp, u32)>,
    /// Others' uses: the most seen in this span, and in the one before.
    others: u32,
    others_before: u32,
    span_began: Timestamp,
}

impl Window {
    pub(super) fn new(max: u32, length_ms: i64) -> Self {
        Self {
            max,
            length_ms,
            not_before: Timestamp::default(),
            used: VecDeque::new(),
            others: 0,
            others_before: 0,
            span_began: Timestamp::default(),
        }
    }

    /// Notes uses. `at` is not before any other by more than the little that permits without report are dated ahead.
    pub(super) fn used_at(&mut self, calls: u32, at: Timestamp) {
        if calls == 0 {
            return;
        }
        let index = self.used.iter().rposition(|(earlier, _)| *earlier <= at).map_or(0, |index| index + 1);
        let is_newest = index == self.used.len();
        match self.used.back_mut() {
            Some((newest, count)) if is_newest && at.0 - newest.0 <= MERGE_MS => {
                *newest = at;
                *count = count.saturating_add(calls);
                return;
            }
            _ => {}
        }
        self.used.insert(index, (at, calls));
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let over = now.plus_ms(-self.length_ms);
        while self.used.front().is_some_and(|(at, _)| *at <= over) {
            self.used.pop_front();
        }
        self.turn(now);
    }

    /// What the headers of an answer told, while `open` calls may be on their way.
    pub(super) fn learn(
        &mut self,
        max: u32,
        length_ms: Option<i64>,
        remaining: Option<u32>,
        open: u32,
        now: Timestamp,
    ) {
        // Absurd values are not believed: a budget of nothing would never end.
        self.max = max.clamp(OWN_MIN, 100_000);
        self.length_ms = length_ms.filter(|ms| (100..=600_000).contains(ms)).unwrap_or(self.length_ms);
        if let Some(remaining) = remaining {
            let ours = self.count(self.length_ms, now).saturating_add(open);
            self.others = self.others.max(self.max.saturating_sub(remaining).saturating_sub(ours));
        }
    }

    pub(super) fn refused(&mut self, until: Timestamp, now: Timestamp) {
        self.not_before = self.not_before.max(until);
        self.turn(now);
        self.others = self.others.max(self.others_before).saturating_add(REFUSED_STEP).min(self.max);
    }

    /// When `wanted` calls have room, with `before` ones under way or going first.
    pub(super) fn earliest(&self, wanted: u32, before: u32, purpose: Purpose, now: Timestamp) -> Timestamp {
        let at = self.not_before.max(self.room_at(wanted, before, self.capacity(), self.length_ms, now));
        if purpose == Purpose::Interactive {
            return at;
        }
        // What is kept for people need not be free now: it may also become free within a fifth of the window. So the
        // others may use all of it in the long run, and not at once.
        let share = self.capacity().saturating_mul(100 - RESERVED_PERCENT).div_ceil(100).max(OWN_MIN);
        at.max(self.room_at(wanted, before, share, self.length_ms * 79 / 100, now))
    }

    pub(super) fn is_tight(&self, open: u32, now: Timestamp) -> bool {
        self.others_now() > 0
            || self.count(self.length_ms, now).saturating_add(open).saturating_mul(2) > self.capacity()
    }

    pub(super) fn pace_ms(&self, calls: u32) -> i64 {
        i64::from(calls) * self.length_ms / i64::from(self.capacity())
    }

    /// Our uses in the window.
    pub(super) fn count(&self, length_ms: i64, now: Timestamp) -> u32 {
        let from = now.plus_ms(-length_ms);
        self.used.iter().filter(|(at, _)| *at > from).fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Our uses in the window by the whole second (since 1970) at whose end they are counted.
    pub(super) fn by_second(&self, now: Timestamp) -> Vec<(i64, u32)> {
        let from = now.plus_ms(-self.length_ms);
        let mut seconds: Vec<(i64, u32)> = Vec::new();
        for (at, count) in self.used.iter().filter(|(at, _)| *at > from) {
            let second = at.0.div_euclid(1_000) + i64::from(at.0.rem_euclid(1_000) > 0);
            match seconds.iter_mut().find(|(known, _)| *known == second) {
                Some((_, sum)) => *sum = sum.saturating_add(*count),
                None => seconds.push((second, *count)),
            }
        }
        seconds
    }

    fn others_now(&self) -> u32 {
        self.others.max(self.others_before)
    }

    fn capacity(&self) -> u32 {
        self.max.saturating_sub(self.others_now()).max(OWN_MIN)
    }

    /// When the uses that are in the way have left the window. Calls under way leave it a window after they are reported.
    fn room_at(&self, wanted: u32, before: u32, limit: u32, length_ms: i64, now: Timestamp) -> Timestamp {
        // More than there can ever be has room when nothing else is there.
        let allowed = limit.saturating_sub(wanted);
        let from = now.plus_ms(-length_ms);
        let mut in_the_way = self.count(length_ms, now).saturating_add(before).saturating_sub(allowed);
        for (at, count) in self.used.iter().filter(|(at, _)| *at > from) {
            if in_the_way == 0 {
                break;
            }
            in_the_way = in_the_way.saturating_sub(*count);
            if in_the_way == 0 {
                return at.plus_ms(length_ms);
            }
        }
        now.plus_ms(i64::from(in_the_way) * length_ms / i64::from(limit.max(1)))
    }

    fn turn(&mut self, now: Timestamp) {
        let span_ms = self.length_ms.saturating_mul(SPAN_WINDOWS);
        if now < self.span_began.plus_ms(span_ms) {
            return;
        }
        let skipped = now >= self.span_began.plus_ms(span_ms.saturating_mul(2));
        self.others_before = if skipped { 0 } else { self.others };
        self.others = 0;
        self.span_began = now;
    }
}
