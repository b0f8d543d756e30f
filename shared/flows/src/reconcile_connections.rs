//! Reconciling connections: every hour, finds the connections whose check is due within the coming hour and rings for each at
//! its own time, so that thousands of them are spread over it. Takes no input; a second run at once rings twice, and a
//! check that was made is not due again.

use crate::{Error, World};
use model::health::{CHECK_EVERY_SECS, CHECKS_PER_ROUND_MAX, CheckRound};
use model::{Timestamp, WorkspaceId};
use serde::Serialize;
use store::health::{self, DueCheck};

/// Rows of one page.
const PAGE: u32 = 1_000;

/// At most this many pages per shard and run: 20,000 connections, whose checks are 50 queue requests.
const PAGES_PER_RUN_MAX: u32 = 20;

/// Connections due within so long of one another go in one message.
const TOGETHER_MS: i64 = 60_000;

/// Checks that are overdue are spread over this time: after an outage all of them are.
const OVERDUE_SECS: i64 = 1_800;

/// A check that is overdue by no more than this fell due while this run began, or is being made: it is not spread, or
/// connections whose own second is just before the job's would be late by it.
const JUST_DUE_SECS: i64 = 300;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionsReconciled {
    /// Connections due within the hour.
    pub due: u32,
    /// Of them, due before this run: an earlier check was lost.
    pub overdue: u32,
    /// Messages rung.
    pub rounds: u32,
    /// Messages the queue did not take.
    pub rounds_lost: u32,
    /// Shards that could not be read, or had more than one run takes.
    pub shards_unfinished: u32,
}

/// One run.
pub async fn reconcile_connections(world: &World<'_>) -> Result<ConnectionsReconciled, Error> {
    let mut report = ConnectionsReconciled::default();
    for shard in world.shards.names() {
        if let Err(error) = reconcile_shard(world, &shard, &mut report).await {
            // The other shards must not wait for this one.
            world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
            report.shards_unfinished += 1;
        }
    }
    let count = |number: u32| number.to_string();
    world.log.event(
        "connections_reconciled",
        &[
            ("due", &count(report.due)),
            ("overdue", &count(report.overdue)),
            ("rounds", &count(report.rounds)),
            ("rounds_lost", &count(report.rounds_lost)),
            ("shards_unfinished", &count(report.shards_unfinished)),
        ],
    );
    Ok(report)
}

async fn reconcile_shard(world: &World<'_>, shard: &str, report: &mut ConnectionsReconciled) -> Result<(), Error> {
    let Some(db) = world.shards.open(shard) else { return Ok(()) };
    let until = world.now.plus_secs(CHECK_EVERY_SECS);
    let mut after: Option<DueCheck> = None;
    for _ in 0..PAGES_PER_RUN_MAX {
        let due = health::list_due(db, until, after.as_ref(), PAGE).await?;
        let Some(last) = due.last() else { return Ok(()) };
        after = Some(last.clone());
        report.due += length(due.len());
        report.overdue += length(due.iter().filter(|check| check.check_at <= world.now).count());
        let rounds = rounds(world, shard, &due);
        let count = length(rounds.len());
        match world.queue.check(rounds).await {
            Ok(()) => report.rounds += count,
            // Perhaps some were taken: what was not is overdue in the next run.
            Err(_) => report.rounds_lost += count,
        }
        if length(due.len()) < PAGE {
            return Ok(());
        }
    }
    report.shards_unfinished += 1;
    Ok(())
}

/// The messages for these checks, each with its delay in seconds.
fn rounds(world: &World<'_>, shard: &str, due: &[DueCheck]) -> Vec<(CheckRound, u32)> {
    let mut timed: Vec<(Timestamp, &DueCheck)> = due.iter().map(|check| (time(check, world.now), check)).collect();
    timed.sort_by_key(|(at, _)| *at);
    let mut rounds: Vec<(CheckRound, u32)> = Vec::new();
    let mut first_at = Timestamp::default();
    for (at, check) in timed {
        let delay_secs = u32::try_from(at.0.saturating_sub(world.now.0).max(0) / 1_000 + 1).unwrap_or(u32::MAX);
        let one: (WorkspaceId, _) = (check.workspace_id.clone(), check.crm);
        match rounds.last_mut() {
            Some((round, delay))
                if at.0 - first_at.0 < TOGETHER_MS && round.connections.len() < CHECKS_PER_ROUND_MAX =>
            {
                round.connections.push(one);
                *delay = delay_secs;
            }
            _ => {
                first_at = at;
                let request_id = world.request_id.clone();
                let round = CheckRound { shard: shard.to_owned(), connections: vec![one], request_id };
                rounds.push((round, delay_secs));
            }
        }
    }
    rounds
}

/// When to check: as planned; at once when that has just passed; else spread by that plan's own second.
fn time(check: &DueCheck, now: Timestamp) -> Timestamp {
    if check.check_at > now.plus_secs(-JUST_DUE_SECS) {
        return check.check_at.max(now);
    }
    now.plus_ms(check.check_at.0.rem_euclid(OVERDUE_SECS * 1_000))
}

fn length(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{JUST_DUE_SECS, OVERDUE_SECS, time};
    use model::{Crm, Timestamp, WorkspaceId};
    use store::health::DueCheck;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn waits_secs(check_at: Timestamp) -> i64 {
        let workspace_id = WorkspaceId::parse("ws_acme").expect("an id");
        (time(&DueCheck { workspace_id, crm: Crm::Hubspot, check_at }, NOW).0 - NOW.0) / 1_000
    }

    #[test]
    fn a_check_is_made_at_its_time_or_at_once_and_only_what_an_outage_left_is_spread() {
        assert_eq!(waits_secs(NOW.plus_secs(1_200)), 1_200);
        for just in [0, 2, JUST_DUE_SECS - 1] {
            assert_eq!(waits_secs(NOW.plus_secs(-just)), 0, "{just} s ago");
        }
        let spread: Vec<i64> = (0..30).map(|n| waits_secs(NOW.plus_secs(-JUST_DUE_SECS - 60 * n))).collect();
        assert!(spread.iter().all(|secs| (0..OVERDUE_SECS).contains(secs)), "{spread:?}");
        assert!(spread.iter().any(|secs| *secs > OVERDUE_SECS / 2), "{spread:?}");
    }
}
