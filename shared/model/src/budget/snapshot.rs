//! A budget as one line of numbers, so that it outlives the memory it is in.

use super::window::Window;
use super::{Budget, Daily};
use crate::{Crm, Timestamp};

const VERSION: i64 = 1;

/// A snapshot is due after so many calls, and with the first call after so long: what is lost is bounded.
const CALLS_MAX: u32 = 16;
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
            i64::from(self.ordinary.count(self.ordinary.length_ms, now).saturating_add(open.ordinary)),
            i64::from(self.searches.count(self.searches.length_ms, now).saturating_add(open.searches)),
        ];
        let mut line = String::new();
        for number in numbers {
            line.push_str(&number.to_string());
            line.push(' ');
        }
        Some(line)
    }

    /// The budget of a kept line. What may have been permitted after it was kept counts as used now.
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
        let (ordinary, searches) = (count(next()?)?, count(next()?)?);
        // A snapshot comes with the first call after its age: what is not in it was permitted within that time after it.
        if now < saved_at.plus_ms(budget.ordinary.length_ms + AGE_MS) {
            budget.ordinary.used_at(ordinary.saturating_add(CALLS_MAX), now);
            budget.searches.used_at(searches.saturating_add(CALLS_MAX), now);
        }
        budget.saved_at = saved_at;
        Some(budget)
    }
}
