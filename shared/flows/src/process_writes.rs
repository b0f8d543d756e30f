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
use crate::{Error, Tenant, World, alarm, audit};
use crypto::random;
use model::backoff::WRITES;
use model::connection::{ConnectionFacts, ConnectionKey};
use model::doorbell::Doorbell;
use model::mechanisms::{Mechanisms, RecordKind};
use model::write::{ErrorClass, MECHANISM_GONE_CODE, Transition, WriteOutcome, WriteStatus, next};
use model::{AttemptId, Crm, WriteId};
use providers::http::{DEADLINE_MS, Request};
use providers::lot::{Entry, Lot};
use providers::provider;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::Statement;
use store::connections::{self, Connection};
use store::db::nth;
use store::deals::{self, KnownDeal, OfWrite};
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
    let (mut calls, mut further) = (0, Vec::new());
    if !world.settings.dry_run {
        let sent = send_lot(world, connection, &mut lot.lot).await;
        calls = sent.calls;
        further = lot.facts_learnt(world, &tenant, sent.mechanisms)?;
    }
    let settled = if world.settings.dry_run { lot.recorded() } else { lot.settled(world)? };
    lease.settle(world, &tenant, connection, &settled, calls, &further).await?;
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
    /// As it was when they were leased.
    connection: Connection,
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
                deals::select_of_lease(&tenant.scope, crm, &keys, &self.id),
            ])
            .await?;
        let leased = nth(&outcomes, 0)?.rows::<Leased>()?;
        let connection = nth(&outcomes, 2)?.first::<Connection>()?;
        let deals = nth(&outcomes, 3)?.rows::<OfWrite>()?;
        let deals = deals.into_iter().map(|deal| (deal.idempotency_key, deal.crm_deal_id)).collect();
        // A write is only ever planned for a connection, and its row stays; without one there is nothing to lease.
        Ok(connection.filter(|_| !leased.is_empty()).map(|connection| LeasedLot::new(connection, leased, &deals)))
    }

    async fn settle(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        connection: &ConnectionKey,
        settled: &[Settled],
        calls: u32,
        further: &[Statement],
    ) -> Result<(), Error> {
        let crm = connection.crm;
        let event = audit::event(
            world,
            "system",
            "writes_settled",
            &self.id,
            json!({"crm": crm, "calls": calls, "writes": by_status_ids(crm, settled)}),
        )?;
        let alarm = alarm::writes_failed(world, &tenant.scope, connection, &self.id, settled);
        let batch = || {
            let mut batch = vec![
                writes::settle(&tenant.scope, crm, &self.id, settled, world.now),
                event.append_if_changed(&tenant.scope),
            ];
            batch.extend(alarm.clone());
            batch.push(writes::end_attempts(&tenant.scope, crm, &self.id, world.now, settled, calls, world.now));
            batch.extend_from_slice(further);
            batch
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

/// A doubt of a write that was accepted so long before its connection's mechanisms changed is surely younger than they are:
/// more than clocks of two Workers differ.
const CLOCKS_DIFFER_SECS: i64 = 600;

impl LeasedLot {
    fn new(connection: Connection, leased: Vec<Leased>, deals: &BTreeMap<String, String>) -> Self {
        let crm = connection.crm;
        let mechanisms = connection.mechanisms();
        let changed_at = connection.mechanisms_at.map(|at| at.plus_secs(CLOCKS_DIFFER_SECS));
        let mut entries = Vec::with_capacity(leased.len());
        let mut rows = Vec::with_capacity(leased.len());
        let mut unreadable = Vec::new();
        for row in leased {
            match (serde_json::from_str(&row.payload_json), WriteId::of(crm, &row.idempotency_key)) {
                (Ok(write), Some(id)) => {
                    entries.push(Entry {
                        external_ids: serde_json::from_str(&row.external_ids_json).unwrap_or_default(),
                        in_doubt: row.in_doubt != 0,
                        doubt_is_older: row.in_doubt != 0 && changed_at.is_some_and(|at| row.created_at < at),
                        deal_external_id: deals.get(&row.idempotency_key).cloned(),
                        ..Entry::new(id, write, row.created_at)
                    });
                    rows.push(row);
                }
                _ => unreadable.push(row),
            }
        }
        let facts = ConnectionFacts { mechanisms, ..connection.facts() };
        Self { lot: Lot::new(crm, facts, entries), rows, unreadable, connection }
    }

    /// What the lot taught of the account: the deals it made, and by which mechanisms its records are written.
    fn facts_learnt(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        probed: Option<Mechanisms>,
    ) -> Result<Vec<Statement>, Error> {
        let (scope, crm) = (&tenant.scope, self.lot.crm);
        let mut statements = Vec::new();
        let deals: Vec<KnownDeal> = self.lot.entries.iter().filter_map(deal_made).collect();
        if !deals.is_empty() {
            let account = &self.connection.external_account_id;
            statements.push(deals::learn_in_account(scope, crm, account, &deals, world.now));
        }
        let id = self.connection.id.as_str();
        if let Some(found) = probed {
            let event = audit::event(world, "system", "mechanisms_probed", id, found.to_json())?;
            statements.push(connections::keep_mechanisms(scope, crm, &found, self.connection.connected_at, world.now));
            statements.push(event.append_if_changed(scope));
        } else if self.lot.entries.iter().any(is_contradicted) {
            let event = audit::event(world, "system", "mechanisms_forgotten", id, json!({ "crm": crm }))?;
            statements.push(connections::forget_mechanisms(scope, crm, self.connection.mechanisms_at, world.now));
            statements.push(event.append_if_changed(scope));
        }
        Ok(statements)
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
                let single = Lot::new(crm, connection.clone(), vec![entry]);
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

/// The deal an entry has made, or found to be there.
fn deal_made(entry: &Entry) -> Option<KnownDeal> {
    let deal = entry.write.deal.as_ref()?;
    let crm_deal_id =
        entry.external_ids.get(RecordKind::Deal.as_str()).filter(|id| entry.deal_external_id.as_ref() != Some(*id))?;
    Some(KnownDeal { crm: entry.write.crm, deal_id: deal.deal_id.clone(), crm_deal_id: crm_deal_id.clone() })
}

/// The CRM contradicted what the connection was probed to have.
fn is_contradicted(entry: &Entry) -> bool {
    matches!(&entry.outcome, Some(WriteOutcome::RetryAfter(failure) | WriteOutcome::Unknown(failure))
        if failure.code == MECHANISM_GONE_CODE)
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
