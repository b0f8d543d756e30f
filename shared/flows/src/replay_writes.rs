//! Replaying dead letters: one by its id, or those that match a filter, which is shown before it is done.
//!
//! A replay keeps the write's key, payload, what the CRM already has for it and its doubt, so it can never make a second
//! effect; only the count of attempts begins anew. Each is in the audit trail with who asked for it.

use crate::authenticate::Caller;
use crate::read_writes::WriteView;
use crate::ring::ring;
use crate::{Error, World, audit};
use model::write::WriteStatus;
use model::{Crm, Timestamp, WriteId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::db::nth;
use store::replays::{self, DeadLetter, DeadLetters};
use store::writes::{self, Key, Write};

/// One request replays at most this many; `remaining` says whether to ask again.
pub const REPLAYS_MAX: u32 = 100;
/// Dead letters are counted up to this.
const COUNT_MAX: u32 = 10_000;

/// What a replay by filter did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// Nothing was changed.
    pub dry_run: bool,
    /// How many are due again by this request; in a dry run, how many would be by the next.
    pub replayed: usize,
    /// How many match and were not replayed, counted up to 10,000.
    pub remaining: u32,
    /// Which, oldest first.
    pub writes: Vec<WriteId>,
}

/// Replays one dead letter.
pub async fn replay_write(world: &World<'_>, caller: &Caller, id: &str) -> Result<WriteView, Error> {
    caller.require_admin()?;
    let id = WriteId::parse(id).ok_or(Error::WriteNotFound)?;
    let (crm, key) = id.parts().ok_or(Error::WriteNotFound)?;
    let keys = [Key { crm, key: key.to_owned() }];
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let event = audit::event(world, &caller.actor, "write_replayed", id.as_str(), json!({ "crm": crm }))?;
    let outcomes = tenant
        .db
        .batch(vec![
            replays::replay(&tenant.scope, &keys, world.now),
            event.append_if_changed(&tenant.scope),
            writes::select_by_keys(&tenant.scope, &keys),
        ])
        .await?;
    let row = nth(&outcomes, 2)?.first::<Write>()?.ok_or(Error::WriteNotFound)?;
    if nth(&outcomes, 0)?.changes == 0 {
        let is_dead = row.status == WriteStatus::PermanentFailure;
        return Err(if is_dead { Error::NotConnected(crm) } else { Error::NotADeadLetter(row.status) });
    }
    ring(world, |crm| caller.connection(crm), [id], 0).await;
    Ok(WriteView::of(&row))
}

/// Replays the dead letters that match, or tells which they are: unless the body says `"dry_run": false`, nothing is changed.
pub async fn replay_dead_letters(world: &World<'_>, caller: &Caller, body: &Value) -> Result<Replay, Error> {
    caller.require_admin()?;
    let (which, dry_run) = read(body)?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let count = replays::count(&tenant.scope, &which, COUNT_MAX);
    let outcomes = tenant.db.batch(vec![count.clone(), replays::select(&tenant.scope, &which, REPLAYS_MAX)]).await?;
    let found: Vec<Key> = nth(&outcomes, 1)?
        .rows::<DeadLetter>()?
        .into_iter()
        .map(|row| Key { crm: row.crm, key: row.idempotency_key })
        .collect();
    let ids: Vec<WriteId> = found.iter().filter_map(|key| WriteId::of(key.crm, &key.key)).collect();
    if dry_run || found.is_empty() {
        let remaining = counted(&outcomes, 0)?.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        return Ok(Replay { dry_run, replayed: found.len(), remaining, writes: ids });
    }
    let detail = json!({"filter": told(&which), "writes": ids});
    let event = audit::event(world, &caller.actor, "writes_replayed", caller.workspace_id.as_str(), detail)?;
    let outcomes = tenant
        .db
        .batch(vec![replays::replay(&tenant.scope, &found, world.now), event.append_if_changed(&tenant.scope), count])
        .await?;
    ring(world, |crm| caller.connection(crm), ids.iter().cloned(), 0).await;
    let replayed = usize::try_from(nth(&outcomes, 0)?.changes).unwrap_or(usize::MAX);
    Ok(Replay { dry_run, replayed, remaining: counted(&outcomes, 2)?, writes: ids })
}

fn counted(outcomes: &[store::Outcome], index: usize) -> Result<u32, Error> {
    #[derive(Deserialize)]
    struct Count {
        n: u32,
    }
    Ok(nth(outcomes, index)?.first::<Count>()?.map_or(0, |count| count.n))
}

/// The filter and whether it is only to be shown. An unknown member is refused: a filter that is misspelt would match all.
fn read(body: &Value) -> Result<(DeadLetters, bool), Error> {
    let members = body.as_object().ok_or_else(|| refuse("send an object"))?;
    let mut which = DeadLetters::default();
    let mut dry_run = true;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("dry_run", Value::Bool(told)) => dry_run = *told,
            ("crm", Value::String(text)) => which.crm = Some(Crm::parse(text).ok_or(Error::UnknownCrm)?),
            ("error_class", Value::String(text)) => which.error_class = Some(text.clone()),
            ("error_code", Value::String(text)) => which.error_code = Some(text.clone()),
            ("after", Value::String(text)) => which.after = Some(time(text)?),
            ("before", Value::String(text)) => which.before = Some(time(text)?),
            _ => return Err(refuse("only `dry_run`, `crm`, `error_class`, `error_code`, `after` and `before`")),
        }
    }
    Ok((which, dry_run))
}

fn time(text: &str) -> Result<Timestamp, Error> {
    Timestamp::parse(text).ok_or_else(|| refuse("`after` and `before` are ISO-8601 times"))
}

fn refuse(why: &str) -> Error {
    Error::MalformedJson(why.to_owned())
}

/// The filter as the audit trail keeps it.
fn told(which: &DeadLetters) -> Value {
    json!({
        "crm": which.crm, "error_class": which.error_class, "error_code": which.error_code,
        "after": which.after.map(Timestamp::iso), "before": which.before.map(Timestamp::iso),
    })
}
