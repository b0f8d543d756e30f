//! Accepting curated writes: checked, given their keys, planned in the log, and rung through the queue.
//!
//! One round trip: plan, audit and read-back are one batch. The log is the truth from then on; a queue that cannot be rung
//! costs time until the reconciler comes by, never a write.

use crate::authenticate::Caller;
use crate::read_writes::WriteView;
use crate::ring::ring;
use crate::{Error, World, audit};
use model::curated::{CuratedWrite, WRITES_PER_REQUEST_MAX};
use model::write::WriteStatus;
use model::{Crm, WriteId};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::connections::{self, ConnectedCrm};
use store::db::nth;
use store::writes::{self, Key, NewWrite, Write};

/// The answer for one submitted write, in the order they came.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The row it has in the log.
    pub write: WriteView,
    /// It was there before this request, or earlier in it.
    pub duplicate: bool,
}

/// How many bytes of body a submit may have: a hundred of the largest writes, and their brackets.
pub const BODY_BYTES_MAX: usize = model::curated::WRITE_BYTES_MAX * WRITES_PER_REQUEST_MAX + 65_536;

/// Submits one write or `{"writes": [...]}`. `Err` when nothing was stored; inside, each write has its own answer, since one
/// whose key was used with other content must not keep the others out.
pub async fn submit_writes(
    world: &World<'_>,
    caller: &Caller,
    body: &Value,
) -> Result<Vec<Result<Accepted, Error>>, Error> {
    let curated = read(body)?;
    let planned = curated.iter().map(|write| plan(caller, write)).collect::<Vec<_>>();
    let rows = store(world, caller, &curated, &planned).await?;
    let answers = answer(world, &planned, &rows);
    // Also for duplicates that are not final, whose first doorbell may have been lost.
    let open = rows.values().filter(|row| !row.status.is_final()).filter_map(Write::id);
    ring(world, |crm| caller.connection(crm), open, 0).await;
    Ok(answers)
}

fn read(body: &Value) -> Result<Vec<CuratedWrite>, Error> {
    let submitted = match body.get("writes") {
        Some(Value::Array(writes)) => writes.as_slice(),
        Some(_) => return Err(Error::MalformedJson("`writes` must be a list".to_owned())),
        None => std::slice::from_ref(body),
    };
    if submitted.is_empty() {
        return Err(Error::MalformedJson("`writes` is empty".to_owned()));
    }
    if submitted.len() > WRITES_PER_REQUEST_MAX {
        return Err(Error::TooManyWrites { max: WRITES_PER_REQUEST_MAX, given: submitted.len() });
    }
    let mut accepted = Vec::with_capacity(submitted.len());
    let mut refused = Vec::new();
    for (index, value) in submitted.iter().enumerate() {
        match CuratedWrite::from_json(value) {
            Ok(write) => accepted.push(write),
            Err(why) => refused.push((index, why)),
        }
    }
    if refused.is_empty() { Ok(accepted) } else { Err(Error::WritesRefused(refused)) }
}

/// The row of a write: its key, and the fingerprint by which a repeat with other content is noticed.
fn plan(caller: &Caller, write: &CuratedWrite) -> NewWrite {
    let action = write.action.as_str();
    let key = crypto::idempotency::key(
        &caller.workspace_id,
        write.crm,
        &write.object_type,
        &write.object_id,
        action,
        &write.source_event_id,
    );
    let payload = model::json::text(&json!(write));
    let (kind, id) = write.target();
    NewWrite {
        crm: write.crm,
        key: key.as_str().to_owned(),
        request_hash: crypto::idempotency::fingerprint(payload.as_bytes()),
        target: crypto::idempotency::target(&caller.workspace_id, kind.as_str(), id),
        payload,
    }
}

type Rows = BTreeMap<(Crm, String), Write>;

/// The rows the writes have now: those that were there before as they are, new ones as they were just planned.
async fn store(
    world: &World<'_>,
    caller: &Caller,
    curated: &[CuratedWrite],
    planned: &[NewWrite],
) -> Result<Rows, Error> {
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let keys: Vec<Key> = planned.iter().map(|write| Key { crm: write.crm, key: write.key.clone() }).collect();
    let ids: Vec<Option<WriteId>> = planned.iter().map(|write| WriteId::of(write.crm, &write.key)).collect();
    let event = audit::event(
        world,
        &caller.actor,
        "writes_planned",
        caller.workspace_id.as_str(),
        json!({"submitted": planned.len(), "writes": ids}),
    )?;
    let outcomes = tenant
        .db
        .batch(vec![
            writes::plan(&tenant.scope, planned, &world.request_id, world.now),
            event.append_if_changed(&tenant.scope),
            writes::select_others(&tenant.scope, &keys, &world.request_id, world.now),
            connections::select_connected(&tenant.scope),
        ])
        .await?;
    let mut rows = Rows::new();
    for row in nth(&outcomes, 2)?.rows::<Write>()? {
        rows.insert((row.crm, row.idempotency_key.clone()), row);
    }
    let connected = nth(&outcomes, 3)?.rows::<ConnectedCrm>()?;
    for (write, new) in curated.iter().zip(planned) {
        if connected.iter().any(|connected| connected.crm == new.crm) {
            rows.entry((new.crm, new.key.clone())).or_insert_with(|| row_of(world, write, new));
        }
    }
    Ok(rows)
}

/// The row of a write that was planned just now.
fn row_of(world: &World<'_>, write: &CuratedWrite, new: &NewWrite) -> Write {
    Write {
        crm: new.crm,
        idempotency_key: new.key.clone(),
        request_hash: new.request_hash.clone(),
        action: write.action.as_str().to_owned(),
        object_type: write.object_type.clone(),
        object_id: write.object_id.clone(),
        source_event_id: write.source_event_id.clone(),
        status: WriteStatus::Planned,
        retry_count: 0,
        next_retry_at: Some(world.now),
        permanent_failure: 0,
        in_doubt: 0,
        error_class: None,
        error_code: None,
        error_detail: None,
        provider_correlation_id: None,
        external_ids_json: "{}".to_owned(),
        response_json: None,
        calls: None,
        dry_run_json: None,
        request_id: world.request_id.clone(),
        created_at: world.now,
        updated_at: world.now,
    }
}

fn answer(world: &World<'_>, planned: &[NewWrite], rows: &Rows) -> Vec<Result<Accepted, Error>> {
    let mut seen = std::collections::BTreeSet::new();
    planned
        .iter()
        .map(|write| {
            let place = (write.crm, write.key.clone());
            // No row: the plan left it out because there is no connection to write through.
            let row = rows.get(&place).ok_or(Error::NotConnected(write.crm))?;
            if row.request_hash != write.request_hash {
                return Err(Error::IdempotencyKeyReused);
            }
            let first_here = seen.insert(place);
            Ok(Accepted { write: WriteView::of(row), duplicate: !first_here || row.request_id != world.request_id })
        })
        .collect()
}

/// One answer as the API shows it.
#[derive(Serialize)]
pub struct AcceptedView<'a> {
    #[serde(flatten)]
    write: &'a WriteView,
    duplicate: bool,
}

impl Accepted {
    /// For the API.
    pub const fn view(&self) -> AcceptedView<'_> {
        AcceptedView { write: &self.write, duplicate: self.duplicate }
    }
}
