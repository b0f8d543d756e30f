//! Sealing every stored token again under the current key, while the product runs: those of connections, in every shard, and
//! those of installs that wait, in the directory.
//!
//! A page of rows after the other: opened, sealed for the same place and generation, and stored where the row is still as it
//! was read. Whatever stops a run, the next one finds what is left: a row under the current key is not found any more. A
//! row under a key that is not configured is reported and left as it is: with that key among the previous ones again, the
//! next run takes it.

use crate::{Error, World, install_tokens};
use crypto::{Aad, Column, Keyring, vault};
use model::{Crm, InstallId, WorkspaceId};
use serde::Serialize;
use store::resealing::{self, InstallResealed, Resealed};

/// Rows of one page: a statement of about 150 KB.
const PAGE: u32 = 100;

/// At most this many pages per shard and run; the next run goes on.
const PAGES_PER_RUN_MAX: u32 = 200;

/// At most this many rows are named in the log; all are counted.
const NAMED_MAX: u32 = 20;

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResealReport {
    /// Rows found under another key than the current one.
    pub found: u32,
    /// Sealed again.
    pub resealed: u32,
    /// Changed by somebody else meanwhile: sealed under the current key by that.
    pub moved: u32,
    /// Under a key that is not configured.
    pub unknown_key: u32,
    /// Not sealed text, or not of this place.
    pub unreadable: u32,
    /// Of those found, how many were installs that wait to be claimed.
    pub installs: u32,
    /// Databases that failed, or had more than one run takes. The installs count as one.
    pub shards_unfinished: u32,
}

/// One run.
pub async fn reseal_tokens(world: &World<'_>) -> Result<ResealReport, Error> {
    let keys = world.token_keys()?;
    let mut report = ResealReport::default();
    for shard in world.shards.names() {
        if let Err(error) = reseal_shard(world, keys, &shard, &mut report).await {
            // The other shards must not wait for this one.
            world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
            report.shards_unfinished += 1;
        }
    }
    if let Err(error) = reseal_installs(world, keys, &mut report).await {
        world.log.event("shard_failed", &[("shard", "pending_installs"), ("code", error.code())]);
        report.shards_unfinished += 1;
    }
    let count = |number: u32| number.to_string();
    world.log.event(
        "tokens_resealed",
        &[
            ("key_id", keys.current_id()),
            ("found", &count(report.found)),
            ("resealed", &count(report.resealed)),
            ("moved", &count(report.moved)),
            ("unknown_key", &count(report.unknown_key)),
            ("unreadable", &count(report.unreadable)),
            ("installs", &count(report.installs)),
            ("shards_unfinished", &count(report.shards_unfinished)),
        ],
    );
    Ok(report)
}

async fn reseal_shard(world: &World<'_>, keys: &Keyring, shard: &str, report: &mut ResealReport) -> Result<(), Error> {
    let Some(db) = world.shards.open(shard) else { return Ok(()) };
    let current = vault::prefix(keys);
    let mut after: Option<(WorkspaceId, Crm)> = None;
    for _ in 0..PAGES_PER_RUN_MAX {
        let from = after.as_ref().map(|(workspace_id, crm)| (workspace_id, *crm));
        let rows = resealing::list_sealed_otherwise(db, &current, from, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some((last.workspace_id.clone(), last.crm));
        report.found += length(rows.len());
        let mut sealed = Vec::new();
        for row in &rows {
            let (scope, connection, generation) = (row.workspace_id.as_str(), row.id.as_str(), row.token_generation);
            let place = |column| Aad { scope, connection, column, generation };
            match seal_again(world, keys, place, &row.access_token_sealed, row.refresh_token_sealed.as_deref()) {
                Ok(Some((access_token_sealed, refresh_token_sealed))) => {
                    sealed.push(Resealed { row, access_token_sealed, refresh_token_sealed });
                }
                Ok(None) => {}
                Err(unopened) => unopened.report(world, ("workspace_id", scope), row.crm, report),
            }
        }
        if !sealed.is_empty() {
            let stored = store::db::run(db, resealing::reseal(&sealed)).await?;
            report.stored(sealed.len(), stored.changes);
        }
    }
    report.shards_unfinished += 1;
    Ok(())
}

/// The same for installs: a claim, a renewal or a purge in between stands.
async fn reseal_installs(world: &World<'_>, keys: &Keyring, report: &mut ResealReport) -> Result<(), Error> {
    let current = vault::prefix(keys);
    let mut after: Option<InstallId> = None;
    for _ in 0..PAGES_PER_RUN_MAX {
        let rows = resealing::list_installs_sealed_otherwise(world.directory, &current, after.as_ref(), PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.id.clone());
        report.found += length(rows.len());
        report.installs += length(rows.len());
        let mut sealed = Vec::new();
        for row in &rows {
            let place = |column| install_tokens::aad(&row.id, column, row.token_generation);
            match seal_again(world, keys, place, &row.access_token_sealed, row.refresh_token_sealed.as_deref()) {
                Ok(Some((access_token_sealed, refresh_token_sealed))) => {
                    sealed.push(InstallResealed { row, access_token_sealed, refresh_token_sealed });
                }
                Ok(None) => {}
                Err(unopened) => unopened.report(world, ("install_id", row.id.as_str()), row.crm, report),
            }
        }
        if !sealed.is_empty() {
            let stored = store::db::run(world.directory, resealing::reseal_installs(&sealed)).await?;
            report.stored(sealed.len(), stored.changes);
        }
    }
    report.shards_unfinished += 1;
    Ok(())
}

impl ResealReport {
    fn stored(&mut self, sealed: usize, changes: u64) {
        let stored = u32::try_from(changes).unwrap_or(u32::MAX);
        self.resealed += stored;
        self.moved += length(sealed).saturating_sub(stored);
    }
}

/// A row that cannot be opened, and why.
enum Unopened {
    UnknownKey(String),
    Unreadable,
}

impl Unopened {
    fn report(self, world: &World<'_>, place: (&'static str, &str), crm: Crm, report: &mut ResealReport) {
        let (event, key_id) = match &self {
            Self::UnknownKey(id) => ("token_under_unknown_key", id.as_str()),
            Self::Unreadable => ("token_unopenable", ""),
        };
        if report.unknown_key + report.unreadable < NAMED_MAX {
            world.log.event(event, &[place, ("crm", crm.as_str()), ("key_id", key_id)]);
        }
        match self {
            Self::UnknownKey(_) => report.unknown_key += 1,
            Self::Unreadable => report.unreadable += 1,
        }
    }
}

/// Both tokens, sealed again.
type Pair = (String, Option<String>);

/// Both tokens for the same place. `None`: there is no random now, and the next run tries again.
fn seal_again<'a>(
    world: &World<'_>,
    keys: &Keyring,
    place: impl Fn(Column) -> Aad<'a>,
    access: &str,
    refresh: Option<&str>,
) -> Result<Option<Pair>, Unopened> {
    let again = |column, sealed: &str| {
        let aad = place(column);
        let plain = vault::open(keys, &aad, sealed).map_err(|error| match error {
            vault::OpenError::UnknownKey(id) => Unopened::UnknownKey(id),
            _ => Unopened::Unreadable,
        })?;
        Ok(vault::seal(keys, world.random, &aad, &plain).ok().map(crypto::Sealed::into_string))
    };
    let access = again(Column::AccessToken, access)?;
    let refresh = refresh.map(|sealed| again(Column::RefreshToken, sealed)).transpose()?;
    Ok(match (access, refresh) {
        (Some(access), None) => Some((access, None)),
        (Some(access), Some(Some(refresh))) => Some((access, Some(refresh))),
        _ => None,
    })
}

fn length(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
