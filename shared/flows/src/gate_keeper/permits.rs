//! Permits: the connection's request budget, and who waits for it.
//!
//! A caller whose calls have no room yet waits here in order (`model::line`), up to ten seconds, and is then let in; whoever
//! would wait longer is told a time of its own. Nobody polls. The budget is kept in the host's memory as a line of
//! numbers, so that it survives this instance.

use super::{Keeper, State};
use crate::gate::{Ask, GateRefusal, Purpose, Report};
use model::Timestamp;
use model::budget::{Budget, Calls, Permit, Told};
use model::line::{Line, PARK_MS};
use providers::{Provider, provider};
use std::rc::Rc;

/// The kept line's name in the host's memory.
const BUDGET: &str = "budget";

/// No `Retry-After` is believed beyond two days.
const RETRY_AFTER_SECS_MAX: i64 = 172_800;

/// A place in the line, given up when its holder leaves.
struct Place {
    keeper: Rc<Keeper>,
    ticket: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keeper.state.borrow_mut().line.leave(self.ticket);
    }
}

/// Waits for room and takes a permit. `None`: nothing was asked for, or no report is wanted.
pub(super) async fn permit(keeper: &Rc<Keeper>, ask: &Ask) -> Result<Option<u64>, GateRefusal> {
    let calls = Calls { ordinary: ask.calls, searches: ask.searches };
    if calls == Calls::default() {
        return Ok(None);
    }
    let began = keeper.now();
    let told = keeper.with_budget(|_, line, now| line.take_told(ask.purpose.in_line(), calls, now));
    let mut place: Option<Place> = None;
    loop {
        let at = match keeper.try_permit(ask.purpose, calls, place.as_ref().map(|place| place.ticket), told) {
            Ok(permit) => return Ok(permit.report.then_some(permit.id)),
            Err(at) => at,
        };
        if at > began.plus_ms(PARK_MS) {
            drop(place);
            let at = keeper
                .with_budget(|budget, line, _| line.tell(ask.purpose.in_line(), calls, at, budget.pace_ms(calls)));
            return Err(GateRefusal::Wait(at));
        }
        if place.is_none() {
            let ticket = keeper.state.borrow_mut().line.join(ask.purpose.in_line(), calls);
            place = Some(Place { keeper: Rc::clone(keeper), ticket });
        }
        let wait_ms = u32::try_from(at.0.saturating_sub(keeper.now().0)).unwrap_or(1).max(1);
        keeper.host.sleep(wait_ms).await;
    }
}

impl Keeper {
    fn try_permit(&self, purpose: Purpose, calls: Calls, ticket: Option<u64>, told: bool) -> Result<Permit, Timestamp> {
        let permit = self.with_budget(|budget, line, now| {
            if ticket.is_none() && !told {
                // Those who were told a time come before those who come now.
                let open_at = line.open_at(purpose.in_line(), calls);
                if open_at > now.plus_ms(PARK_MS) {
                    return Err(open_at);
                }
            }
            let permit = budget.take(purpose, calls, line.ahead(purpose.in_line(), calls, ticket), now)?;
            line.served(purpose);
            Ok(permit)
        });
        self.keep_budget();
        permit
    }

    /// What became of a permit, and what the CRM said of its limits.
    pub(super) fn note(&self, report: &Report) {
        let told = provider(self.key.crm).read_limits(&report.limits);
        let made = Calls { ordinary: report.calls, searches: report.searches };
        self.with_budget(|budget, _, now| {
            budget.report(report.permit, made, &told, now);
            if let Some(limit) = report.refused {
                let until = report.not_before.unwrap_or(now);
                budget.refused(limit, until, retry_after(report, now), now);
            }
        });
        if let Some(limit) = report.refused {
            self.log("crm_limit_met", limit.as_str());
        }
        self.keep_budget();
    }

    /// A permit that will not be used.
    pub(super) fn give_back(&self, permit: Option<u64>) {
        self.with_budget(|budget, _, now| budget.report(permit, Calls::default(), &Told::default(), now));
    }

    fn with_budget<T>(&self, act: impl FnOnce(&mut Budget, &mut Line, Timestamp) -> T) -> T {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let State { budget, line, .. } = &mut *state;
        let budget = budget.get_or_insert_with(|| match self.host.recall(BUDGET) {
            Some(kept) => Budget::restored(self.key.crm, &kept, now),
            None => Budget::new(self.key.crm),
        });
        act(budget, line, now)
    }

    fn keep_budget(&self) {
        if let Some(kept) = self.with_budget(|budget, _, now| budget.due_snapshot(now)) {
            self.host.remember(BUDGET, Some(&kept));
        }
    }
}

/// The CRM's own word, where it gave one.
fn retry_after(report: &Report, now: Timestamp) -> Option<Timestamp> {
    let (_, secs) = report.limits.iter().find(|(name, _)| name == "retry-after")?;
    let secs: i64 = secs.trim().parse().ok()?;
    Some(now.plus_secs(secs.clamp(0, RETRY_AFTER_SECS_MAX)))
}
