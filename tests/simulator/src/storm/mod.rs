//! The storm: the real flows, SQL and adapters against the stand-in CRMs in simulated time, with everything that can go wrong
//! drawn from a seed, and every rule of DESIGN section 4 checked as it goes.
//!
//! A run is a [`Scenario`]: lists of steps and faults. It ends with a calm in which nothing fails, people reconnect what needs
//! it, and nothing may be left over. Latencies and the order of what happens at once come from the seed, so the same scenario is
//! the same run; a failing one is made smaller by leaving steps and faults out ([`shrink`]).

#![allow(
    clippy::indexing_slicing,
    reason = "a simulator: an index out of range is a bug of its own and must stop the run"
)]

mod book;
mod check;
mod coverage;
mod database;
mod deeds;
mod desk;
mod dice;
mod fault;
mod gates;
mod place;
pub mod planted;
mod scenario;
mod shrink;
pub mod side_by_side;
mod swaps;
mod time;
mod upkeep;
mod watch;
mod wire;

pub use coverage::Coverage;
pub use fault::{Fault, Kind, Site};
pub use place::Telling;
pub use planted::Bug;
pub use scenario::{Act, Scenario, Twist};
pub use shrink::shrink;

use model::Crm;
use place::{Place, account_of, caller};
use scenario::TENANTS;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How often the reconciler runs.
const CRON_MS: i64 = 600_000;
/// The calm lasts this long at most: longer than any wait a CRM may ask for, and every retry after it.
const CALM_MS: i64 = 24 * 3_600_000;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was against the rules.
    pub wrongs: Vec<String>,
    /// Which faults met which states.
    pub coverage: Coverage,
    /// How often each site was used before the calm.
    pub uses: BTreeMap<Site, u64>,
    /// What happened, when asked for.
    pub trace: Vec<String>,
    /// A planted bug was in the way of something.
    pub was_bent: bool,
    /// Words of it that no longer stand in their statement.
    pub stale: Option<&'static str>,
}

/// Runs a scenario.
pub fn run(scenario: &Scenario, bug: Option<Bug>, telling: Telling) -> Report {
    planted::begin();
    let place = Place::new(scenario.clone(), bug, telling);
    place.crm.borrow_mut().switches_mut().hubspot_unlimited = false;
    let end_ms = place.time.now_ms() + scenario.horizon_ms;
    for step in &scenario.steps {
        let (here, step) = (Rc::clone(&place), *step);
        place.time.spawn(0, async move {
            here.time.sleep(step.at_ms).await;
            deeds::act(here, step.act).await;
        });
    }
    let (here, last_ms) = (Rc::clone(&place), end_ms + CALM_MS);
    place.time.spawn(0, async move {
        let mut runs = 0;
        while here.time.now_ms() < end_ms {
            here.time.sleep(CRON_MS.min(end_ms - here.time.now_ms())).await;
            deeds::reconcile(&here).await;
            runs += 1;
            if runs % 6 == 0 {
                deeds::check_connections(&here).await;
            }
        }
        calm(&here, last_ms).await;
    });
    place.time.run_until(|| !place.wrongs.borrow().is_empty());
    if place.wrongs.borrow().is_empty() {
        check::nothing_is_left(&place);
    }
    let report = Report {
        wrongs: place.wrongs.take(),
        coverage: place.coverage.take(),
        uses: place.uses_before_calm.take(),
        trace: place.trace(),
        was_bent: planted::was_bent(),
        stale: planted::stale(),
    };
    place.dismantle();
    report
}

/// Nothing fails any more; people put right what needs them, and jobs go on until everything is settled.
async fn calm(place: &Rc<Place>, last_ms: i64) {
    place.is_calm.set(true);
    place.uses_before_calm.replace(place.uses());
    place.is_dry.set(false);
    place.tell(|| "== calm".to_owned());
    {
        let mut crm = place.crm.borrow_mut();
        let switches = crm.switches_mut();
        switches.hubspot_other_consumer = 0;
        switches.salesforce_locked_rows = 0;
    }
    // What was under way may take its time.
    place.time.sleep(30 * 60_000).await;
    while place.time.now_ms() < last_ms {
        for tenant in 0..TENANTS {
            for crm in Crm::ALL {
                if let Some(account) = needs_a_person(place, tenant, crm) {
                    deeds::connect(place, tenant, crm, account).await;
                }
            }
        }
        let unanswered: Vec<(usize, u32)> = {
            let book = place.book.borrow();
            let open = book.intents.values().filter(|intent| !intent.is_refused && is_unsettled(place, intent));
            open.map(|intent| (intent.tenant, intent.number)).collect()
        };
        for (tenant, number) in unanswered {
            deeds::submit(place, tenant, &[number]).await;
        }
        deeds::reconcile(place).await;
        place.time.sleep(CRON_MS).await;
        if all_final(place) {
            break;
        }
    }
    upkeep::finish(place).await;
}

/// Not answered yet, or recorded in dry run and to be submitted again.
fn is_unsettled(place: &Place, intent: &book::Intent) -> bool {
    let object = format!("th_{}", intent.number);
    let rests =
        |row: &watch::WriteRow| row.object_id == object && row.status == "planned" && row.next_retry_at.is_none();
    intent.accepted.is_none()
        || place.databases.iter().flat_map(|database| watch::writes(database)).any(|row| rests(&row))
}

/// The CRM no longer accepts the connection, or writes that were recorded in dry run wait for one that was disconnected. Answers
/// the account that a person connects then: one that failed is made anew in the account that it is to, since another is refused.
fn needs_a_person(place: &Place, tenant: usize, crm: Crm) -> Option<usize> {
    let workspace = caller(tenant).workspace_id;
    let database = &place.databases[usize::from(tenant == 2)];
    let rows = watch::connections(database);
    let row = rows.iter().find(|row| row.workspace_id == workspace.as_str() && row.crm == crm.as_str());
    let rests = |row: &watch::WriteRow| row.status == "planned" && row.next_retry_at.is_none();
    let waits = |row: &watch::WriteRow| row.workspace_id == workspace.as_str() && row.crm == crm.as_str() && rests(row);
    match row.map(|row| (row.status.as_str(), row)) {
        Some(("error", row)) => account_of(crm, &row.external_account_id),
        Some(("disconnected", _)) => watch::writes(database).iter().any(waits).then_some(tenant),
        _ => None,
    }
}

fn all_final(place: &Place) -> bool {
    let settled = place
        .databases
        .iter()
        .flat_map(|database| watch::writes(database))
        .all(|row| matches!(row.status.as_str(), "succeeded" | "permanent_failure"));
    settled && place.book.borrow().intents.values().all(|intent| intent.accepted.is_some() || intent.is_refused)
}
