//! `HubSpot`'s rate limits: 110 requests in ten seconds and 5 searches in a second for each account, both rolling.
//!
//! Not Salesforce's: its daily count is one number in `salesforce/mod.rs`. Headers and bodies follow `HubSpot`'s
//! usage-details page and recorded header dumps; search answers carry none of the headers.

use crate::http::Answer;
use crate::{Env, hubspot::errors};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What an account without limit tells as its limit.
const UNREACHED: usize = 1_000_000;

/// What one account used lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Limiter {
    calls: VecDeque<i64>,
    searches: VecDeque<i64>,
}

/// Which limit a call counts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Everything but search.
    TenSecondly,
    /// Search.
    Secondly,
}

impl Limiter {
    /// Lets a call through and counts it, or says which limit it met.
    pub fn admit(&mut self, budget: Budget, env: &mut Env<'_>) -> Result<(), Answer> {
        if env.switches.hubspot_unlimited {
            return Ok(());
        }
        let (used, window_ms, max) = match budget {
            Budget::TenSecondly => (&mut self.calls, 10_000, env.switches.hubspot_ten_secondly_max),
            Budget::Secondly => (&mut self.searches, 1000, env.switches.hubspot_secondly_search_max),
        };
        let others = if budget == Budget::TenSecondly { env.switches.hubspot_other_consumer } else { 0 };
        while used.front().is_some_and(|at| env.now_ms - at >= window_ms) {
            used.pop_front();
        }
        if used.len() + others >= max {
            return Err(errors::rate_limited(env, budget).with_limit_headers(self, budget, env));
        }
        used.push_back(env.now_ms);
        if used.len() > max.max(1000) {
            used.pop_front();
        }
        Ok(())
    }
}

impl Answer {
    /// The headers that tell what is left; an account without limit tells one that nobody reaches, and all of it left.
    #[must_use]
    pub(crate) fn with_limit_headers(self, limiter: &Limiter, budget: Budget, env: &Env<'_>) -> Self {
        if budget == Budget::Secondly {
            return self;
        }
        let (max, used) = if env.switches.hubspot_unlimited {
            (UNREACHED, 0)
        } else {
            (env.switches.hubspot_ten_secondly_max, limiter.calls.len() + env.switches.hubspot_other_consumer)
        };
        let left = max.saturating_sub(used);
        self.with("x-hubspot-ratelimit-max", &max.to_string())
            .with("x-hubspot-ratelimit-remaining", &left.to_string())
            .with("x-hubspot-ratelimit-interval-milliseconds", "10000")
    }
}
