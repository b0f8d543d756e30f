//! Reading the audit trail: a page for people, newest first, and a page of an export, oldest first, with everything that a
//! chain's hash is made of.

use crate::authenticate::Caller;
use crate::seal_audit::seal_workspace;
use crate::{Error, World, page};
use crypto::Keyring;
use model::Timestamp;
use serde_json::{Value, json};
use store::audit_chain::{Filter, Stored, list, select_after};
use store::db::run;

/// A page has this many events unless asked otherwise.
pub const PAGE_DEFAULT: u32 = 50;
/// A page of an export.
pub const EXPORTED_PER_PAGE: u32 = 1_000;

/// The year 10000, after everything.
const FOR_EVER: Timestamp = Timestamp(253_402_300_800_000);

/// Which events; all text as it came in the query.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// What happened: `connection_connected`.
    pub event: Option<String>,
    /// Not before this time.
    pub from: Option<String>,
    /// Before this time.
    pub to: Option<String>,
    /// From the page before.
    pub cursor: Option<String>,
    /// 1 to 100.
    pub limit: Option<String>,
}

/// A page of the trail, newest first. A page of a rare event may be short, or empty, and still not be the last.
pub async fn list_audit(world: &World<'_>, caller: &Caller, query: &Query) -> Result<Value, Error> {
    caller.require_admin()?;
    let filter = filter(query)?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let (events, next) = list(tenant.db, &tenant.scope, &filter).await?;
    Ok(json!({
        "events": events.iter().map(view).collect::<Vec<_>>(),
        "next_cursor": next.map(|(at, id)| place(at, &id)),
    }))
}

/// A page of an export.
pub struct Exported {
    /// One JSON object per line.
    pub ndjson: String,
    /// For the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// A page of the whole trail, oldest first, as NDJSON. What is old enough is sealed first, so that the lines carry their numbers
/// and hashes; a seal that cannot be had does not keep anyone from exporting.
pub async fn export_audit(
    world: &World<'_>,
    caller: &Caller,
    keys: &Keyring,
    cursor: Option<&str>,
) -> Result<Exported, Error> {
    caller.require_admin()?;
    let after = cursor.map(read_place).transpose()?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    if after.is_none() {
        seal_workspace(world, tenant.db, keys, &tenant.scope).await?;
    }
    let (at, id) = after.unwrap_or((Timestamp(0), String::new()));
    let outcome = run(tenant.db, select_after(&tenant.scope, (at, &id), EXPORTED_PER_PAGE)).await?;
    let events: Vec<Stored> = outcome.rows()?;
    let ndjson = events.iter().fold(String::new(), |lines, event| lines + &model::json::text(&view(event)) + "\n");
    let full = events.len() >= EXPORTED_PER_PAGE as usize;
    let next_cursor = events.last().filter(|_| full).map(|last| place(last.at, &last.id));
    Ok(Exported { ndjson, next_cursor })
}

/// The detail is parsed: written again compactly and with its names in order it is the text that was hashed.
fn view(event: &Stored) -> Value {
    json!({
        "seq": event.seq,
        "hash": event.hash,
        "at": event.at.iso(),
        "id": event.id,
        "actor": event.actor,
        "event": event.event,
        "subject": event.subject,
        "detail": serde_json::from_str::<Value>(&event.detail_json).unwrap_or_default(),
        "request_id": event.request_id,
    })
}

fn filter(query: &Query) -> Result<Filter, Error> {
    let time = |text: &Option<String>, name, otherwise| {
        text.as_deref().map_or(Ok(otherwise), |text| {
            let rule = "must be an ISO-8601 time such as `2026-11-20T09:00:00Z`";
            Timestamp::parse(text).ok_or(Error::Parameter { name, rule })
        })
    };
    Ok(Filter {
        event: query.event.clone(),
        from: time(&query.from, "from", Timestamp(0))?,
        to: time(&query.to, "to", FOR_EVER)?,
        before: query.cursor.as_deref().map(read_place).transpose()?,
        limit: page::limit(query.limit.as_deref(), PAGE_DEFAULT)?,
    })
}

/// A place in the trail. Scoped queries make it harmless in another workspace.
fn place(at: Timestamp, id: &str) -> String {
    format!("{}.{id}", at.0)
}

fn read_place(text: &str) -> Result<(Timestamp, String), Error> {
    let place = text.split_once('.').and_then(|(at, id)| Some((Timestamp(at.parse().ok()?), id.to_owned())));
    place.ok_or(page::not_a_cursor())
}
