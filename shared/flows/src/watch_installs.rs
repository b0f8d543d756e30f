//! Watching for removals: HubSpot's journal says when the app was removed from an account, long before the next refresh fails.
//!
//! 1. The app's own token, by client credentials.
//! 2. Both events of the app's life are subscribed to; looked at once a day. In dry run nothing is subscribed.
//! 3. The journal is read from where the last run came to, a bounded number of entries: each one's file is fetched, its
//!    removals are applied (`end_removed`), and only then does the cursor move. An entry that was read twice changes nothing.
//!
//! An offset that the journal no longer has is forgotten, and reading begins with the earliest entry there is.

use crate::end_removed::{Ended, Removed, end_removed};
use crate::{Error, World};
use model::{Crm, Secret, Timestamp};
use providers::http::{Answer, Request};
use providers::hubspot::journal::{self, Entry, Lifecycle, Next};
use serde::Serialize;
use std::collections::BTreeMap;
use store::db::run;
use store::journal_cursors;

/// Entries of one run: two calls each, of a Worker's thousand.
const ENTRIES_MAX: u32 = 50;

/// The subscriptions are looked at again after this time.
const SUBSCRIBED_SECS: i64 = 86_400;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Entries read to their end.
    pub files: u32,
    /// Removals they told of.
    pub uninstalls: u32,
    /// Connections that ended.
    pub connections: u32,
    /// Waiting installs that ended.
    pub installs: u32,
    /// Nothing is left to be read.
    pub caught_up: bool,
}

/// Watches.
pub async fn watch_installs(world: &World<'_>) -> Result<Watched, Error> {
    let crm = Crm::Hubspot;
    let app = world.settings.app(crm)?;
    let answer = world.http.send(journal::app_token_request(app)).await;
    let token = journal::read_app_token(&answer).map_err(|cause| Error::ExchangeFailed { crm, cause })?;
    let cursor = journal_cursors::fetch(world.directory, crm).await?.unwrap_or_default();
    if cursor.subscribed_at.is_none_or(|at| at <= world.now.plus_secs(-SUBSCRIBED_SECS)) {
        subscribe(world, &token).await?;
    }
    let watched = read(world, &token, cursor.read_after).await?;
    let count = |number: u32| number.to_string();
    world.log.event(
        "journal_read",
        &[
            ("crm", crm.as_str()),
            ("files", &count(watched.files)),
            ("uninstalls", &count(watched.uninstalls)),
            ("connections", &count(watched.connections)),
            ("installs", &count(watched.installs)),
            ("outcome", if watched.caught_up { "caught_up" } else { "more" }),
        ],
    );
    Ok(watched)
}

async fn send(world: &World<'_>, token: &Secret<String>, request: Request) -> Answer {
    world.http.send(request.with_bearer(token.clone())).await
}

/// Step 2. What is there already is not made again; where the list cannot be read, making it again is no error.
async fn subscribe(world: &World<'_>, token: &Secret<String>) -> Result<(), Error> {
    let answer = send(world, token, journal::subscriptions_request()).await;
    let there = journal::read_subscriptions(&answer).unwrap_or_default();
    for missing in Lifecycle::ALL.into_iter().filter(|event| !there.contains(event)) {
        if world.settings.dry_run {
            world.log.event("journal_not_subscribed", &[("kind", missing.event_type()), ("reason", "dry run")]);
            return Ok(());
        }
        let answer = send(world, token, journal::subscribe_request(missing)).await;
        if !journal::is_subscribed(&answer) {
            report(world, "subscribe", &answer);
            return Ok(());
        }
    }
    run(world.directory, journal_cursors::note_subscribed(Crm::Hubspot, world.now)).await?;
    Ok(())
}

/// What the CRM said to a step that did not come to its end. The next run tries again.
fn report(world: &World<'_>, step: &str, answer: &Answer) {
    let status = answer.as_ref().map_or_else(|_| "none".to_owned(), |response| response.status.to_string());
    world.log.event("journal_unreadable", &[("step", step), ("http_status", &status)]);
}

/// Step 3.
async fn read(world: &World<'_>, token: &Secret<String>, after: Option<String>) -> Result<Watched, Error> {
    let mut watched = Watched::default();
    let mut after = after;
    while watched.files < ENTRIES_MAX {
        let answer = send(world, token, journal::next_request(after.as_deref())).await;
        match journal::read_next(&answer) {
            Next::Entry(entry) => {
                let Some(ended) = apply(world, &entry).await? else { return Ok(watched) };
                let step = journal_cursors::advance(Crm::Hubspot, after.as_deref(), Some(&entry.offset), world.now);
                if run(world.directory, step).await?.changes == 0 {
                    // Another run is at it.
                    return Ok(watched);
                }
                watched.add(ended);
                after = Some(entry.offset);
            }
            Next::NotFound if after.is_some() && !is_latest(world, token, after.as_deref()).await => {
                world.log.event("journal_offset_lost", &[("crm", Crm::Hubspot.as_str())]);
                let anew = journal_cursors::advance(Crm::Hubspot, after.as_deref(), None, world.now);
                if run(world.directory, anew).await?.changes == 0 {
                    return Ok(watched);
                }
                after = None;
            }
            Next::Nothing | Next::NotFound => {
                watched.caught_up = true;
                return Ok(watched);
            }
            Next::Unreadable => {
                report(world, "next", &answer);
                return Ok(watched);
            }
        }
    }
    Ok(watched)
}

/// Whether nothing is newer than an offset that the journal answered with 404. When the newest cannot be told, the offset is
/// kept.
async fn is_latest(world: &World<'_>, token: &Secret<String>, after: Option<&str>) -> bool {
    let answer = send(world, token, journal::latest_request()).await;
    match journal::read_next(&answer) {
        Next::Entry(latest) => Some(latest.offset.as_str()) == after,
        Next::Nothing | Next::NotFound | Next::Unreadable => true,
    }
}

/// Reads an entry's file and ends what it says was removed. `None`: the file cannot be read now.
async fn apply(world: &World<'_>, entry: &Entry) -> Result<Option<Ended>, Error> {
    let answer = world.http.send(journal::file_request(entry)).await;
    let Some(events) = journal::read_file(&answer) else {
        report(world, "file", &answer);
        return Ok(None);
    };
    let mut removed: BTreeMap<String, Timestamp> = BTreeMap::new();
    for event in events.into_iter().filter(|event| event.what == Lifecycle::Uninstalled) {
        // A clock ahead of ours must not end what is connected later.
        let at = event.at.unwrap_or(world.now).min(world.now);
        removed.entry(event.portal).and_modify(|latest| *latest = at.max(*latest)).or_insert(at);
    }
    end_removed(world, &Removed { crm: Crm::Hubspot, accounts: removed }).await.map(Some)
}

impl Watched {
    fn add(&mut self, ended: Ended) {
        self.files += 1;
        self.uninstalls += ended.accounts;
        self.connections += ended.connections;
        self.installs += ended.installs;
    }
}
