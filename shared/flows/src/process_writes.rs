//! Processing due writes of one connection: leased together, sent together, settled together.
//!
//! 1. Lease: one compare-and-set that claims the due ones and writes their attempt rows. Who loses gets nothing and stops.
//! 2. Gate: one request for the token and the permits of the whole lot.
//! 3. Calls: the adapter says the next request until every write has an outcome. A refused token is refreshed once.
//! 4. Settle: every write's new state, its attempt and the audit event in one batch, under the lease.
//!
//! A crash between 1 and 4 leaves leases that run out; the writes are then in doubt, and are looked for in the CRM before
//! anything is created again. Two round trips to the database and one to the gate, whatever the lot's size.

use crate::send_lot::{CALLS_PER_LOT_MAX, failure, send_lot};
use crate::{Error, Tenant, World, audit};
use crypto::random;
use model::backoff::WRITES;
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use model::write::{ErrorClass, Transition, WriteOutcome, WriteStatus, next};
use model::{AttemptId, Crm, WriteId};
use providers::http::{DEADLINE_MS, Request};
use providers::lot::{Entry, Lot};
use providers::provider;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::connections::{self, Connection};
use store::db::nth;
use store::writes::{self, Leased, Settled};

/// A lease outlives the slowest lot: every call to its deadline, and four minutes for the gate, which is asked three times
/// at most and answers within 75 seconds, and for the database.
pub const LEASE_SECS: i64 = CALLS_PER_LOT_MAX as i64 * DEADLINE_MS as i64 / 1_000 + 240;

/// What processing a doorbell came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// Writes leased; the others were not due, or somebody else's.
    pub leased: u32,
    /// How many ended in which status.
    pub by_status: BTreeMap<WriteStatus, u32>,
    /// Requests made to the CRM.
    pub calls: u32,
}

/// Processes the writes of a doorbell.
pub async fn process_writes(world: &World<'_>, doorbell: &Doorbell) -> Result<Processed, Error> {
    let connection = &doorbell.connection;
    let tenant = world.tenant_of(connection)?;
    let lease = Lease::mint(world)?;
    let Some(mut lot) = lease.claim(world, &tenant, connection, &doorbell.writes).await? else {
        return Ok(Processed::default());
    };
    let calls = if world.settings.dry_run { 0 } else { send_lot(world, connection, &mut lot.lot).await };
    let settled = if world.settings.dry_run { lot.recorded() } else { lot.settled(world)? };
    lease.settle(world, &tenant, connection, &settled, calls).await?;
    ring_again(world, connection, &settled).await;
    Ok(tell(world, connection, &settled, calls))
}

/// The claim on a lot.
struct Lease {
    id: String,
}

/// A lot with what the log knows of each entry, in the same order.
struct LeasedLot {
    lot: Lot,
    rows: Vec<Leased>,
    /// Rows whose payload cannot be read (written by a newer version, or damaged).
    unreadable: Vec<Leased>,
}

impl Lease {
    fn mint(world: &World<'_>) -> Result<Self, Error> {
        let id = AttemptId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?;
        Ok(Self { id: id.into() })
    }

    async fn claim(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        connection: &ConnectionKey,
        ids: &[WriteId],
    ) -> Result<Option<LeasedLot>, Error> {
        let crm = connection.crm;
        let keys: Vec<String> =
            ids.iter().filter_map(WriteId::parts).filter(|(of, _)| *of == crm).map(|(_, key)| key.to_owned()).collect();
        let until = world.now.plus_secs(LEASE_SECS);
        let outcomes = tenant
            .db
            .batch(vec![
                writes::lease(&tenant.scope, crm, &keys, &self.id, until, world.now),
                writes::begin_attempts(&tenant.scope, crm, &keys, &self.id, world.now),
                connections::select(&tenant.scope, crm),
            ])
            .await?;
        let leased = nth(&outcomes, 0)?.rows::<Leased>()?;
        let connection = nth(&outcomes, 2)?.first::<Connection>()?;
        // A write is only ever planned for a connection, and its row stays; without one there is nothing to lease.
        Ok(connection.filter(|_| !leased.is_empty()).map(|connection| LeasedLot::new(&connection, leased)))
    }

    async fn settle(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        connection: &ConnectionKey,
        settled: &[Settled],
        calls: u32,
    ) -> Result<(), Error> {
        let crm = connection.crm;
        let event = audit::event(
            world,
            "system",
            "writes_settled",
            &self.id,
            json!({"crm": crm, "calls": calls, "writes": by_status_ids(crm, settled)}),
        )?;
        let batch = || {
            vec![
                writes::settle(&tenant.scope, crm, &self.id, settled, world.now),
                event.append_if_changed(&tenant.scope),
                writes::end_attempts(&tenant.scope, crm, &self.id, world.now, settled, calls, world.now),
            ]
        };
        // Named by the lease, so a repeat changes nothing more: worth one, since a lost settlement costs a look at the CRM.
        match tenant.db.batch(batch()).await {
            Ok(_) => Ok(()),
            Err(store::DbError::Unknown | store::DbError::Unavailable) => {
                tenant.db.batch(batch()).await.map(|_| ()).map_err(Error::Db)
            }
            Err(error) => Err(Error::Db(error)),
        }
    }
}

impl LeasedLot {
    fn new(connection: &Connection, leased: Vec<Leased>) -> Self {
        let crm = connection.crm;
        let mut entries = Vec::with_capacity(leased.len());
        let mut rows = Vec::with_capacity(leased.len());
        let mut unreadable = Vec::new();
        for row in leased {
            match (serde_json::from_str(&row.payload_json), WriteId::of(crm, &row.idempotency_key)) {
                (Ok(write), Some(id)) => {
                    entries.push(Entry {
                        external_ids: serde_json::from_str(&row.external_ids_json).unwrap_or_default(),
                        in_doubt: row.in_doubt != 0,
                        ..Entry::new(id, write, row.created_at)
                    });
                    rows.push(row);
                }
                _ => unreadable.push(row),
            }
        }
        Self { lot: Lot { crm, connection: connection.facts(), entries }, rows, unreadable }
    }

    /// What every write becomes.
    fn settled(self, world: &World<'_>) -> Result<Vec<Settled>, Error> {
        let mut settled = Vec::with_capacity(self.rows.len());
        for (row, entry) in self.rows.iter().zip(self.lot.entries) {
            let outcome = entry.outcome.unwrap_or_else(|| {
                WriteOutcome::RetryAfter(failure(
                    ErrorClass::RateLimited,
                    "lot_unfinished",
                    "the lot took too many calls",
                ))
            });
            let chance = random::number(world.random)?;
            settled.push(Settled {
                key: row.idempotency_key.clone(),
                transition: next(row.retry_count, outcome, WRITES, chance, world.now),
                external_ids: json!(entry.external_ids),
                response: entry.response,
                dry_run: None,
            });
        }
        settled.extend(self.unreadable.iter().map(|row| {
            let why = failure(ErrorClass::Mapping, "unreadable_payload", "the stored payload is not a curated write");
            Settled {
                key: row.idempotency_key.clone(),
                transition: next(row.retry_count, WriteOutcome::Rejected(why), WRITES, 0, world.now),
                external_ids: json!({}),
                response: None,
                dry_run: None,
            }
        }));
        Ok(settled)
    }

    /// Dry run: every write stays planned, at rest, with the requests that would have been sent.
    fn recorded(self) -> Vec<Settled> {
        let crm = self.lot.crm;
        let connection = self.lot.connection;
        self.rows
            .iter()
            .zip(self.lot.entries)
            .map(|(row, entry)| {
                let single = Lot { crm, connection: connection.clone(), entries: vec![entry] };
                let requests: Vec<Value> = provider(crm).dry_run(&single).iter().map(recorded).collect();
                Settled {
                    key: row.idempotency_key.clone(),
                    transition: Transition {
                        status: WriteStatus::Planned,
                        retry_count: row.retry_count,
                        next_retry_at: None,
                        failure: None,
                    },
                    external_ids: serde_json::from_str(&row.external_ids_json).unwrap_or(json!({})),
                    response: None,
                    dry_run: Some(json!({"requests": requests})),
                }
            })
            .collect()
    }
}

/// A request as the log keeps it: no token was ever on it.
fn recorded(request: &Request) -> Value {
    let body = match &request.body {
        providers::http::Body::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        providers::http::Body::Empty | providers::http::Body::Form(_) => Value::Null,
    };
    json!({"method": request.method.as_str(), "url": request.url, "body": body})
}

/// Rings again, after the shortest wait, for what is to be tried again soon; the reconciler takes the rest.
async fn ring_again(world: &World<'_>, connection: &ConnectionKey, settled: &[Settled]) {
    let soon = world.now.plus_secs(600);
    let due = |s: &Settled| s.transition.next_retry_at.filter(|at| *at <= soon);
    let Some(first) = settled.iter().filter_map(due).max() else { return };
    let writes: Vec<WriteId> =
        settled.iter().filter(|s| due(s).is_some()).filter_map(|s| WriteId::of(connection.crm, &s.key)).collect();
    let wait_secs = u32::try_from((first.0 - world.now.0) / 1_000 + 1).unwrap_or(600);
    let doorbell = Doorbell { connection: connection.clone(), writes, request_id: world.request_id.clone() };
    if world.queue.ring(vec![doorbell], wait_secs).await.is_err() {
        world.log.event("doorbell_lost", &[("workspace_id", connection.workspace_id.as_str())]);
    }
}

fn by_status_ids(crm: Crm, settled: &[Settled]) -> Value {
    let mut ids: BTreeMap<&str, Vec<Option<WriteId>>> = BTreeMap::new();
    for write in settled {
        ids.entry(write.transition.status.as_str()).or_default().push(WriteId::of(crm, &write.key));
    }
    json!(ids)
}

fn tell(world: &World<'_>, connection: &ConnectionKey, settled: &[Settled], calls: u32) -> Processed {
    let mut by_status: BTreeMap<WriteStatus, u32> = BTreeMap::new();
    for write in settled {
        *by_status.entry(write.transition.status).or_default() += 1;
    }
    for (status, count) in &by_status {
        world.log.event(
            "writes_settled",
            &[
                ("crm", connection.crm.as_str()),
                ("workspace_id", connection.workspace_id.as_str()),
                ("status", status.as_str()),
                ("count", &count.to_string()),
                ("calls", &calls.to_string()),
            ],
        );
    }
    Processed { leased: u32::try_from(settled.len()).unwrap_or(u32::MAX), by_status, calls }
}
