//! Who comes first when a budget is used up: people, then queued writes and background work by turns, each in order of
//! arrival; and the time told to those for whom it is too long to wait.
//!
//! Times told are a lane's own: one after the other, at the pace of the budget. Whoever comes at a time that was told goes
//! before whoever comes for the first time. In scope: the order. Out of scope: the budget itself (`budget`).

use crate::Timestamp;
use crate::budget::{Calls, Purpose};
use std::collections::VecDeque;

/// Nobody is kept waiting longer inside of the gate; whoever would be is told a time.
pub const PARK_MS: i64 = 10_000;

/// A told time is kept this long for whoever does not come.
const KEPT_SECS: i64 = 60;

/// Times told and not taken, at most, per lane; later ones are told without being kept.
const TOLD_MAX: usize = 8_192;

/// Queued writes go first so often, then background work once.
const WRITES_PER_TURN: u32 = 3;

/// The callers of one gate that wait.
#[derive(Clone, Debug, Default)]
pub struct Line {
    tickets: u64,
    waiting: Vec<Waiter>,
    /// By purpose, ordinary calls and searches apart: they have budgets of their own.
    lanes: [[Lane; 2]; 3],
    /// Writes that went since background work did.
    writes_served: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: u64,
    purpose: Purpose,
    calls: Calls,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    told: VecDeque<Timestamp>,
    next_at: Timestamp,
}

impl Line {
    /// Takes a place at the end.
    pub fn join(&mut self, purpose: Purpose, calls: Calls) -> u64 {
        self.tickets = self.tickets.wrapping_add(1);
        self.waiting.push(Waiter { ticket: self.tickets, purpose, calls });
        self.tickets
    }

    /// Gives a place up.
    pub fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|waiter| waiter.ticket != ticket);
    }

    /// A caller went.
    pub fn served(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Interactive => {}
            Purpose::Writes => self.writes_served = self.writes_served.saturating_add(1),
            Purpose::Background | Purpose::Check => self.writes_served = 0,
        }
    }

    /// What goes before the holder of this ticket, or before one who comes now: those who wait for the same kind of call.
    pub fn ahead(&self, purpose: Purpose, calls: Calls, ticket: Option<u64>) -> Calls {
        let background_turn = self.writes_served >= WRITES_PER_TURN;
        let mut ahead = Calls::default();
        let mut first_of_other = true;
        let competes = |waiter: &&Waiter| {
            calls.ordinary > 0 && waiter.calls.ordinary > 0 || calls.searches > 0 && waiter.calls.searches > 0
        };
        for waiter in self.waiting.iter().filter(competes) {
            let earlier = ticket.is_none_or(|own| waiter.ticket < own);
            let before = match (waiter.purpose, purpose) {
                (of, own) if of == own => earlier && ticket != Some(waiter.ticket),
                (Purpose::Interactive, _) => true,
                (_, Purpose::Interactive) => false,
                // Of the other lane only its first counts, when it is that lane's turn.
                (of, _) => {
                    let turn = (of == Purpose::Background) == background_turn;
                    std::mem::take(&mut first_of_other) && turn
                }
            };
            if before {
                ahead.ordinary = ahead.ordinary.saturating_add(waiter.calls.ordinary);
                ahead.searches = ahead.searches.saturating_add(waiter.calls.searches);
            }
        }
        ahead
    }

    /// Whether a time was told that is now due: it is taken.
    pub fn take_told(&mut self, purpose: Purpose, calls: Calls, now: Timestamp) -> bool {
        let lane = self.lane(purpose, calls);
        while lane.told.front().is_some_and(|at| now > at.plus_secs(KEPT_SECS)) {
            lane.told.pop_front();
        }
        let due = lane.told.front().is_some_and(|at| *at <= now);
        if due {
            lane.told.pop_front();
        }
        due
    }

    /// Before this time the lane belongs to those who were told to come.
    pub fn open_at(&mut self, purpose: Purpose, calls: Calls) -> Timestamp {
        let lane = self.lane(purpose, calls);
        if lane.told.is_empty() { Timestamp::default() } else { lane.next_at }
    }

    /// Tells a time, not before `at`; the next one is `pace_ms` later, or more while another lane has told times too.
    pub fn tell(&mut self, purpose: Purpose, calls: Calls, at: Timestamp, pace_ms: i64) -> Timestamp {
        let other = match purpose {
            Purpose::Writes => Some((Purpose::Background, WRITES_PER_TURN + 1, WRITES_PER_TURN)),
            Purpose::Background | Purpose::Check => Some((Purpose::Writes, WRITES_PER_TURN + 1, 1)),
            Purpose::Interactive => None,
        };
        let pace_ms = match other {
            Some((other, all, share)) if !self.lane(other, calls).told.is_empty() => {
                pace_ms * i64::from(all) / i64::from(share)
            }
            _ => pace_ms,
        };
        let lane = self.lane(purpose, calls);
        let told = if lane.told.is_empty() { at } else { at.max(lane.next_at) };
        lane.next_at = told.plus_ms(pace_ms.max(1));
        if lane.told.len() < TOLD_MAX {
            lane.told.push_back(told);
        }
        told
    }

    fn lane(&mut self, purpose: Purpose, calls: Calls) -> &mut Lane {
        let [interactive, writes, background] = &mut self.lanes;
        let [ordinary, searches] = match purpose {
            Purpose::Interactive => interactive,
            Purpose::Writes => writes,
            Purpose::Background | Purpose::Check => background,
        };
        if calls.searches > 0 { searches } else { ordinary }
    }
}
