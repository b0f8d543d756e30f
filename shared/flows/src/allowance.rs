//! What one invocation may still do: a number of queries, until a time. A job that has used it up stops between two slices, and
//! the next one goes on.

use crate::World;
use crate::world::Clock;
use model::Timestamp;

/// D1 allows a Worker's invocation 1,000 queries, and a batch counts with each of its statements.
pub(crate) const QUERIES_PER_RUN: u32 = 900;
/// A scheduled run may take 15 minutes; the slice it is at when the time is over is finished.
pub(crate) const SECS_PER_RUN: i64 = 10 * 60;

/// The queries and the time that are left.
pub(crate) struct Allowance<'a> {
    left: u32,
    clock: &'a dyn Clock,
    until: Timestamp,
}

impl<'a> Allowance<'a> {
    /// So many queries, in so many seconds from now.
    pub(crate) fn of(world: &World<'a>, queries: u32, secs: i64) -> Self {
        Self { left: queries, clock: world.clock, until: world.clock.now().plus_secs(secs) }
    }

    /// Takes so many queries, or nothing.
    pub(crate) fn take(&mut self, queries: u32) -> bool {
        if self.left < queries || self.clock.now() >= self.until {
            return false;
        }
        self.left -= queries;
        true
    }

    /// Gives back what was taken and not used.
    pub(crate) const fn give_back(&mut self, queries: u32) {
        self.left = self.left.saturating_add(queries);
    }

    /// Sets queries aside, as many as there are.
    pub(crate) fn set_aside(&mut self, queries: u32) -> Self {
        let queries = queries.min(self.left);
        self.left -= queries;
        Self { left: queries, clock: self.clock, until: self.until }
    }

    /// Takes back what was set aside and not used.
    pub(crate) const fn take_back(&mut self, aside: &Self) {
        self.give_back(aside.left);
    }
}
