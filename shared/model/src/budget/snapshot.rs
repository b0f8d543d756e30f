//! A budget as one line of numbers, so that it outlives the memory it is in.

use super::window::Window;
use super::{Budget, Daily};
use crate::{Crm, Timestamp};

const VERSION: i64 = 2;

/// A snapshot is due after so many calls, and with the first call after so long: what is lost is bounded.
pub(super) const CALLS_MAX: u32 = 16;
const AGE_MS: i64 = 10_000;

impl Budget {
    /// The line to be kept, when it is time to keep one.
    pub fn due_snapshot(&mut self, now: Timestamp) -> Option<String> {
        let due = self.unsaved >= CALLS_MAX || self.unsaved > 0 && now >= self.saved_at.plus_ms(AGE_MS);
        if !due {
            return None;
        }
        self.unsaved = 0;
        self.saved_at = now;
        let open = self.open_calls();
        let daily = self.daily.unwrap_or(Daily { used: 0, max: 0, at: Timestamp::default() });
        let numbers = [
            VERSION,
            now.0,
            i64::from(self.learned),
            i64::from(self.ordinary.max),
            self.ordinary.length_ms,
            self.ordinary.not_before.0,
            self.searches.not_before.0,
            self.not_before.0,
            i64::from(daily.used),
            i64::from(daily.max),
            daily.at.0,
            i64::from(open.ordinary),
            i64::from(open.searches),
        ];
        let mut line = String::new();
        let mut put = |number: i64| {
            line.push_str(&number.to_string());
            line.push(' ');
        };
        numbers.into_iter().for_each(&mut put);
        for (second, calls) in self.ordinary.by_second(now) {
            put(second);
            put(i64::from(calls));
        }
        Some(line)
    }

    /// The budget of a kept line. What was used leaves the window when it would have, however often the line is kept and read
    /// in between; what may have been permitted after it was kept, or used later than that, counts as used now.
    pub fn restored(crm: Crm, line: &str, now: Timestamp) -> Self {
        Self::read(crm, line, now).unwrap_or_else(|| Self::new(crm))
    }

    fn read(crm: Crm, line: &str, now: Timestamp) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
        let mut next = || numbers.next().and_then(Result::ok);
        let count = |number: i64| u32::try_from(number).ok();
        if next()? != VERSION {
            return None;
        }
        let mut budget = Self::new(crm);
        let saved_at = Timestamp(next()?);
        budget.learned = next()? != 0;
        budget.ordinary = Window::new(count(next()?)?.max(2), next()?.clamp(100, 600_000));
        budget.ordinary.not_before = Timestamp(next()?);
        budget.searches.not_before = Timestamp(next()?);
        budget.not_before = Timestamp(next()?);
        let daily = Daily { used: count(next()?)?, max: count(next()?)?, at: Timestamp(next()?) };
        budget.daily = Some(daily).filter(|daily| daily.max > 0);
        let (open, searches) = (count(next()?)?, count(next()?)?);
        while let Some(second) = next() {
            budget.ordinary.used_at(count(next()?)?, Timestamp(second.checked_mul(1_000)?));
        }
        // A snapshot comes with the first call after its age: what is not in it was permitted within that time after it.
        if now < saved_at.plus_ms(budget.ordinary.length_ms + AGE_MS) {
            budget.ordinary.used_at(open.saturating_add(CALLS_MAX), now);
            budget.searches.used_at(searches.saturating_add(CALLS_MAX), now);
        }
        budget.saved_at = saved_at;
        Some(budget)
    }
}
