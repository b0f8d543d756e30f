//! The daily look through the audit chains, the one that was not looked through for longest first: a few each run, so that it
//! costs the same however long they are.

use super::PurgeReport;
use crate::allowance::Allowance;
use crate::verify_audit::{EVENTS_PER_PAGE, Place, verify};
use crate::{Error, World};
use crypto::Keyring;
use store::audit_chain::{ToVerify, list_to_verify, note_verified};
use store::db::run;

/// Chains of one shard and run.
const CHAINS_MAX: u32 = 50;
/// Pages of a thousand events, of one chain and run; a longer one is gone on with.
const PAGES_PER_CHAIN: u32 = 20;
/// A chain is looked through once a day at most.
const AGAIN_AFTER_SECS: i64 = 20 * 3_600;

/// Looks through chains while there are queries left.
pub(super) async fn verify_chains(
    world: &World<'_>,
    keys: &Keyring,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) {
    for shard in world.shards.names() {
        if let Err(error) = verify_shard(world, keys, &shard, allowance, report).await {
            world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
            report.shards_failed += 1;
        }
    }
}

async fn verify_shard(
    world: &World<'_>,
    keys: &Keyring,
    shard: &str,
    allowance: &mut Allowance<'_>,
    report: &mut PurgeReport,
) -> Result<(), Error> {
    let Some(db) = world.shards.open(shard).filter(|_| allowance.take(1)) else { return Ok(()) };
    for chain in list_to_verify(db, world.now.plus_secs(-AGAIN_AFTER_SECS), CHAINS_MAX).await? {
        if !allowance.take(2 * PAGES_PER_CHAIN + 2) {
            return Ok(());
        }
        let ToVerify { workspace_id, verify_cursor } = chain;
        let tenant = world.tenant(&workspace_id, shard)?;
        let from = verify_cursor.as_deref().and_then(Place::read).unwrap_or_else(Place::beginning);
        let seen = verify(&tenant, keys, from, PAGES_PER_CHAIN).await?;
        report.events_verified += seen.verified;
        let pages = seen.verified / EVENTS_PER_PAGE + 1;
        allowance.give_back(2 * PAGES_PER_CHAIN.saturating_sub(pages));
        if let Some(broken) = &seen.broken {
            report.chains_broken += 1;
            let seq = broken.seq.to_string();
            let fields = [("workspace_id", workspace_id.as_str()), ("code", broken.fault.as_str()), ("seq", &seq)];
            world.log.event("audit_chain_broken", &fields);
        } else if seen.cursor.is_none() {
            report.chains_verified += 1;
        }
        run(db, note_verified(&tenant.scope, seen.cursor.as_deref(), world.now)).await?;
    }
    Ok(())
}
