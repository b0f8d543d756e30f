//! Ending what a removed app had in its accounts: connections in whichever workspace, and installs that wait.
//!
//! The rule: a removal by the CRM's word ends a connection as a disconnect does. It is `disconnected` with a reason a person can
//! act on, its dead tokens are erased, its health is `error`, an alarm is raised, and the account is let go, so that whoever
//! installs the app there next may have it. What was connected or installed after the removal stands.

use crate::install_tokens::event_if_changed;
use crate::{Error, World, alarm, audit, world};
use model::connection::ConnectionKey;
use model::install::CLAIM_STALE_SECS;
use model::{Crm, Health, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use store::db;
use store::uninstalls::{self, Connected, Removal};

/// The stable code on the connection.
const CODE: &str = "app_uninstalled";

/// The job, as the audit trail names it.
const ACTOR: &str = "cron:watch-installs";

/// Rows of one look; an account has one workspace, so this is as many as an entry names accounts, within reason.
const ROWS_MAX: u32 = 1_000;

/// Accounts looked for in one statement.
const ACCOUNTS_MAX: usize = 500;

/// From which accounts the app was removed, and when.
pub(crate) struct Removed {
    pub(crate) crm: Crm,
    pub(crate) accounts: BTreeMap<String, Timestamp>,
}

/// What ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Removals told of.
    pub(crate) accounts: u32,
    /// Connections that ended by them.
    pub(crate) connections: u32,
    /// Waiting installs that ended by them.
    pub(crate) installs: u32,
}

/// Ends it.
pub(crate) async fn end_removed(world: &World<'_>, removed: &Removed) -> Result<Ended, Error> {
    let mut ended = Ended { accounts: u32::try_from(removed.accounts.len()).unwrap_or(u32::MAX), ..Ended::default() };
    let all: Vec<&str> = removed.accounts.keys().map(String::as_str).collect();
    for accounts in all.chunks(ACCOUNTS_MAX) {
        let accounts_json = model::json::text(&json!(accounts));
        for shard in world.shards.names() {
            let Some(db) = world.shards.open(&shard) else { continue };
            for found in uninstalls::list_connected(db, removed.crm, &accounts_json, ROWS_MAX).await? {
                ended.connections += u32::from(end_connection(world, removed, &shard, found).await?);
            }
        }
        for waiting in uninstalls::list_waiting(world.directory, removed.crm, &accounts_json, ROWS_MAX).await? {
            let Some(removed_at) = removed.accounts.get(&waiting.external_account_id) else { continue };
            let stale_before = world.now.plus_secs(-CLAIM_STALE_SECS);
            let batch = vec![
                uninstalls::expire(&waiting.id, *removed_at, stale_before, world.now),
                event_if_changed(world, &waiting.id, "install_uninstalled", json!({"crm": removed.crm})),
            ];
            let outcomes = world.directory.batch(batch).await?;
            ended.installs += u32::from(db::nth(&outcomes, 0)?.changes > 0);
        }
    }
    Ok(ended)
}

/// Ends one connection, with audit, health and the account: one batch where all is in one database. False: it was made after the
/// removal.
async fn end_connection(world: &World<'_>, removed: &Removed, shard: &str, found: Connected) -> Result<bool, Error> {
    let (crm, account) = (removed.crm, found.external_account_id.as_str());
    let Some(removed_at) = removed.accounts.get(account) else { return Ok(false) };
    let key = ConnectionKey { workspace_id: found.workspace_id, shard: shard.to_owned(), crm };
    let tenant = world.tenant_of(&key)?;
    let advice = format!("The app was removed in {}: install it again, or connect again.", crm.title());
    let detail = json!({"crm": crm, "external_account_id": account, "removed_at": removed_at.iso()});
    let event = audit::event(world, ACTOR, "connection_uninstalled", found.id.as_str(), detail)?;
    let removal =
        Removal { external_account_id: account, removed_at: *removed_at, code: CODE, advice: &advice, at: world.now };
    let mut batch = vec![
        uninstalls::disconnect(&tenant.scope, crm, &removal),
        event.append_if_changed(&tenant.scope),
        alarm::connection_failed(world, &tenant.scope, &key, found.id.as_str(), CODE)?,
        store::connections::set_health_if_changed(&tenant.scope, crm, Health::Error, Some(&advice), None, world.now),
    ];
    let release = store::crm_accounts::release(crm, account, &key.workspace_id);
    let in_one = shard == world::DIRECTORY;
    if in_one {
        batch.push(uninstalls::release_if_changed(crm, account, &key.workspace_id));
    }
    let outcomes = tenant.db.batch(batch).await?;
    if db::nth(&outcomes, 0)?.changes == 0 {
        return Ok(false);
    }
    if !in_one {
        // A crash before this leaves an account without a connection, which the next to want it takes over.
        db::run(world.directory, release).await?;
    }
    world.gate.forget(&key).await;
    let fields = [("crm", crm.as_str()), ("workspace_id", key.workspace_id.as_str())];
    world.log.event("connection_uninstalled", &fields);
    Ok(true)
}
