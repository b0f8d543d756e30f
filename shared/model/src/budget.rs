//! A connection's request budget: how many calls may be made now, and when there is room for more.
//!
//! HubSpot counts calls in a rolling window, Salesforce over a day and by how many run at once. What is known comes from
//! our own calls and from the CRM's headers ([`Told`]): whoever else uses the same account is seen there, and left room
//! for. A call counts from the moment it was reported, less what the quickest call takes: the way to the CRM delays those
//! that come later as well, so no call counts shorter here than there.
//!
//! In scope: numbers and times. Out of scope: who comes first (`line`), headers (`providers`), waiting (`flows`).

mod snapshot;
mod window;

use crate::{Crm, Timestamp};
use serde::{Deserialize, Serialize};
use window::Window;

/// Who waits for the answer: a share of the budget is kept for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A person waits.
    Interactive,
    /// Queued writes.
    Writes,
    /// Sync, backfill.
    Background,
    /// A health check: waits as background work does, and may also look at a connection that checks gave up.
    Check,
}

impl Purpose {
    /// Whose line it stands in.
    #[must_use]
    pub const fn in_line(self) -> Self {
        match self {
            Self::Check => Self::Background,
            other => other,
        }
    }
}

/// Calls somebody means to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Ordinary ones.
    pub ordinary: u32,
    /// Searches, which HubSpot counts on their own.
    pub searches: u32,
}

/// What the CRM's headers told with an answer. What is absent is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Calls allowed in a window.
    pub max: Option<u32>,
    /// Left in it, whoever used the others.
    pub remaining: Option<u32>,
    /// The window's length.
    pub window_ms: Option<i64>,
    /// Used of the day's calls, by everybody.
    pub daily_used: Option<u32>,
    /// The day's calls.
    pub daily_max: Option<u32>,
}

impl Told {
    /// Less than half is left: the gate wants to know.
    pub fn is_tight(&self) -> bool {
        let half = |used: u32, max: u32| used.saturating_mul(2) > max;
        let window = self.max.zip(self.remaining).is_some_and(|(max, left)| half(max.saturating_sub(left), max));
        window || self.daily_used.zip(self.daily_max).is_some_and(|(used, max)| half(used, max))
    }
}

/// A refusal by the CRM for too many calls, told apart by what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The rolling window of ordinary calls.
    Window,
    /// The searches of a second.
    Searches,
    /// The day's calls, or a limit that is not known: everything waits.
    Daily,
    /// Too many calls at once: fewer, for a while.
    Concurrent,
    /// Two calls wrote to one record: one after the other, for a while.
    Lock,
}

impl Limit {
    /// For logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Searches => "searches",
            Self::Daily => "daily",
            Self::Concurrent => "concurrent",
            Self::Lock => "lock",
        }
    }
}

/// Permission for calls, until it is reported what became of them.
#[derive(Clone, Copy, Debug)]
struct Open {
    permit: u64,
    calls: Calls,
    at: Timestamp,
}

/// HubSpot, for a public app (providers reference 1.11). Headers correct it.
const HUBSPOT_MAX: u32 = 110;
const HUBSPOT_WINDOW_MS: i64 = 10_000;
const SEARCHES_MAX: u32 = 5;
const SEARCH_WINDOW_MS: i64 = 1_000;

/// Salesforce has no such window; this only keeps a runaway of ours from eating a customer's day.
const SALESFORCE_MAX: u32 = 250;

/// Until a first header came, no more are under way at once: another consumer may have used nearly everything.
const UNLEARNED_OPEN_MAX: u32 = 10;

/// A permit nobody reports on counts as used this long after it was given, when a report was asked for, and otherwise.
const REPORT_SECS: i64 = 60;
const UNREPORTED_MS: i64 = 2_000;

/// How long a quickest call is remembered, and how long it may be.
const QUICKEST_SPAN_SECS: i64 = 60;
const QUICKEST_MS_MAX: i64 = 500;

/// Once half of the budget was used, reports are wanted for so long.
const TIGHT_SECS: i64 = 30;

/// After a refusal for concurrency or a locked row.
const NARROW_SECS: i64 = 60;
const CONCURRENT_OPEN_MAX: usize = 2;

/// A day's limit that is reached is looked at again after this long, by one caller: some of it may be free again.
const DAILY_LOOK_SECS: i64 = 900;

/// Whoever has others before it looks again no earlier.
const SOON_MS: i64 = 10;

/// Whoever waits for a report looks again after this long.
const REPORT_WAIT_MS: i64 = 250;

/// The budget of one connection.
#[derive(Clone, Debug)]
pub struct Budget {
    ordinary: Window,
    searches: Window,
    daily: Option<Daily>,
    /// The CRM asked that nothing be sent before.
    not_before: Timestamp,
    /// Not more than so many lots at once, until then.
    narrow: Option<(usize, Timestamp)>,
    open: Vec<Open>,
    quickest: Quickest,
    learned: bool,
    /// Reports are wanted until then.
    tight_until: Timestamp,
    permits: u64,
    /// Calls permitted since the last snapshot, and when that was.
    unsaved: u32,
    saved_at: Timestamp,
}

/// The shortest time from a permit to its report, in this span and the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Quickest {
    ms: Option<i64>,
    before_ms: Option<i64>,
    span_began: Timestamp,
}

impl Quickest {
    /// Milliseconds; a single one is not believed to be the quickest.
    fn learn(&mut self, ms: i64, now: Timestamp) -> i64 {
        if now >= self.span_began.plus_secs(QUICKEST_SPAN_SECS) {
            self.before_ms = self.ms.take();
            self.span_began = now;
        }
        let ms = ms.clamp(0, QUICKEST_MS_MAX);
        let known = self.ms.into_iter().chain(self.before_ms).min();
        self.ms = Some(self.ms.map_or(ms, |least| least.min(ms)));
        known.map_or(0, |known| known.min(ms))
    }
}

#[derive(Clone, Copy, Debug)]
struct Daily {
    used: u32,
    max: u32,
    at: Timestamp,
}

/// Calls are permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Named in the report.
    pub id: u64,
    /// A report is wanted even if there is nothing special in it: the budget is tight, or not known yet.
    pub report: bool,
}

impl Budget {
    /// The budget of a connection nothing is known of.
    pub fn new(crm: Crm) -> Self {
        let max = if crm == Crm::Hubspot { HUBSPOT_MAX } else { SALESFORCE_MAX };
        Self {
            ordinary: Window::new(max, HUBSPOT_WINDOW_MS),
            searches: Window::new(if crm == Crm::Hubspot { SEARCHES_MAX } else { max }, SEARCH_WINDOW_MS),
            daily: None,
            not_before: Timestamp::default(),
            narrow: None,
            open: Vec::new(),
            quickest: Quickest::default(),
            learned: false,
            tight_until: Timestamp::default(),
            permits: 0,
            unsaved: 0,
            saved_at: Timestamp::default(),
        }
    }

    /// Permits the calls, or says when there may be room, given that `ahead` come first.
    pub fn take(&mut self, purpose: Purpose, calls: Calls, ahead: Calls, now: Timestamp) -> Result<Permit, Timestamp> {
        self.expire(now);
        let at = self.earliest(purpose, calls, ahead, now);
        if at > now || ahead != Calls::default() {
            return Err(at.max(now.plus_ms(SOON_MS)));
        }
        self.permits = self.permits.wrapping_add(1);
        self.unsaved = self.unsaved.saturating_add(calls.ordinary + calls.searches);
        if self.is_tight(calls, now) {
            self.tight_until = now.plus_secs(TIGHT_SECS);
        }
        let permit = Permit { id: self.permits, report: !self.learned || now < self.tight_until };
        if permit.report {
            self.open.push(Open { permit: permit.id, calls, at: now });
        } else {
            let by = now.plus_ms(UNREPORTED_MS);
            self.ordinary.used_at(calls.ordinary, by);
            self.searches.used_at(calls.searches, now.plus_ms(SEARCH_WINDOW_MS / 2));
        }
        if let Some(daily) = &mut self.daily {
            daily.used = daily.used.saturating_add(calls.ordinary + calls.searches);
            if daily.is_over(purpose) {
                daily.at = now;
            }
        }
        Ok(permit)
    }

    /// What became of a permit: what was not used of it is free at once. A permit that is not known was another instance's.
    pub fn report(&mut self, permit: Option<u64>, made: Calls, told: &Told, now: Timestamp) {
        let known = permit.and_then(|id| self.open.iter().position(|open| open.permit == id));
        if let Some(open) = known.map(|index| self.open.swap_remove(index)) {
            let at = now.plus_ms(-self.quickest.learn(now.0.saturating_sub(open.at.0), now));
            self.ordinary.used_at(made.ordinary, at);
            self.searches.used_at(made.searches, at);
        }
        self.expire(now);
        let open = self.open_calls();
        if let Some(max) = told.max {
            self.learned = true;
            self.ordinary.learn(max, told.window_ms, told.remaining, open.ordinary, now);
        }
        if let Some((used, max)) = told.daily_used.zip(told.daily_max) {
            self.learned = true;
            self.daily = Some(Daily { used, max, at: now });
        }
    }

    /// The CRM refused a call for this limit; `told_until` is its own word, `until` ours where it gave none.
    pub fn refused(&mut self, limit: Limit, until: Timestamp, told_until: Option<Timestamp>, now: Timestamp) {
        self.unsaved = u32::MAX;
        self.learned = true;
        let soon = now.plus_ms(SEARCH_WINDOW_MS);
        match limit {
            Limit::Window => self.ordinary.refused(told_until.unwrap_or(soon), now),
            Limit::Searches => self.searches.refused(told_until.unwrap_or(soon), now),
            Limit::Daily => self.not_before = self.not_before.max(told_until.unwrap_or(until)),
            Limit::Concurrent => {
                self.not_before = self.not_before.max(told_until.unwrap_or(soon));
                self.narrow = Some((CONCURRENT_OPEN_MAX, now.plus_secs(NARROW_SECS)));
            }
            Limit::Lock => self.narrow = Some((1, now.plus_secs(NARROW_SECS))),
        }
    }

    /// The time between two calls when the budget is used up evenly, for `calls` of them. Milliseconds.
    pub fn pace_ms(&self, calls: Calls) -> i64 {
        self.ordinary.pace_ms(calls.ordinary).max(self.searches.pace_ms(calls.searches))
    }

    fn earliest(&self, purpose: Purpose, calls: Calls, ahead: Calls, now: Timestamp) -> Timestamp {
        let open = self.open_calls();
        let mut at = now.max(self.not_before);
        if calls.ordinary + ahead.ordinary > 0 {
            let before = open.ordinary.saturating_add(ahead.ordinary);
            at = at.max(self.ordinary.earliest(calls.ordinary, before, purpose, now));
        }
        if calls.searches + ahead.searches > 0 {
            let before = open.searches.saturating_add(ahead.searches);
            at = at.max(self.searches.earliest(calls.searches, before, purpose, now));
        }
        if purpose != Purpose::Interactive
            && self.narrow.is_some_and(|(most, until)| now < until && self.open.len() >= most)
        {
            at = at.max(now.plus_ms(REPORT_WAIT_MS));
        }
        if !self.learned && !self.open.is_empty() {
            let all = open.ordinary.saturating_add(open.searches).saturating_add(calls.ordinary + calls.searches);
            if all > UNLEARNED_OPEN_MAX {
                at = at.max(now.plus_ms(REPORT_WAIT_MS));
            }
        }
        match self.daily {
            Some(daily) if daily.is_over(purpose) => at.max(daily.at.plus_secs(DAILY_LOOK_SECS)),
            _ => at,
        }
    }

    fn is_tight(&self, calls: Calls, now: Timestamp) -> bool {
        let open = self.open_calls();
        self.narrow.is_some_and(|(_, until)| now < until)
            || self.ordinary.is_tight(open.ordinary.saturating_add(calls.ordinary), now)
            || calls.searches > 0
            || self.daily.is_some_and(|daily| daily.used.saturating_mul(2) > daily.max)
    }

    fn open_calls(&self) -> Calls {
        self.open.iter().fold(Calls::default(), |sum, open| Calls {
            ordinary: sum.ordinary.saturating_add(open.calls.ordinary),
            searches: sum.searches.saturating_add(open.calls.searches),
        })
    }

    /// Permits whose holder is gone count as used at the end of their time.
    fn expire(&mut self, now: Timestamp) {
        let mut index = 0;
        while let Some(open) = self.open.get(index).copied() {
            if now < open.at.plus_secs(REPORT_SECS) {
                index += 1;
                continue;
            }
            self.open.swap_remove(index);
            let by = open.at.plus_secs(REPORT_SECS);
            self.ordinary.used_at(open.calls.ordinary, by);
            self.searches.used_at(open.calls.searches, by);
        }
        self.ordinary.expire(now);
        self.searches.expire(now);
    }
}

impl Daily {
    /// Other tools of the customer live on the same calls: backfills stop first, people last.
    fn is_over(&self, purpose: Purpose) -> bool {
        let percent = match purpose {
            Purpose::Interactive => 100,
            Purpose::Writes | Purpose::Check => 95,
            Purpose::Background => 80,
        };
        u64::from(self.used) * 100 >= u64::from(self.max) * percent
    }
}

#[cfg(test)]
mod tests;
