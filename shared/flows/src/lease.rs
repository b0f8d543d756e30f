//! The claim on a lot: made with the attempt rows and everything the lot must know, in one batch; settled in another, with the
//! audit event and what the lot taught of its account.

use crate::process_writes::{LEASE_SECS, by_status_ids};
use crate::send_lot::{Sent, failure};
use crate::{Error, Tenant, World, alarm, audit};
use crypto::random;
use model::backoff::WRITES;
use model::connection::ConnectionKey;
use model::mechanisms::RecordKind;
use model::retention::REDACTED_PAYLOAD;
use model::write::{
    Doubt, ErrorClass, MECHANISM_GONE_CODE, Standing, Transition, WriteOutcome, WriteStatus, may_still_land_secs, next,
};
use model::{AttemptId, Crm, Timestamp, WriteId};
use providers::Provider;
use providers::http::{Body, Request};
use providers::lot::{Entry, Lot};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::connections::{self, Target};
use store::db::nth;
use store::deals::{self, KnownDeal, OfWrite};
use store::leases::{self, Claim, Leased, Released, Settled, Settlement};
use store::{DbError, Outcome, Statement};

/// A write waits for an earlier one of its target this long after it was accepted, and no longer: one that cannot be settled
/// must not stop all that come after it.
const HELD_BACK_SECS_MAX: i64 = 3_600;

/// A write that was accepted so long after its connection's mechanisms changed was surely never tried with others: more than
/// the clocks of two Workers differ.
const CLOCKS_DIFFER_SECS: i64 = 600;

/// The claim on a lot.
pub(crate) struct Lease {
    pub(crate) id: String,
    crm: Crm,
    /// When it began.
    at: Timestamp,
    /// When it ends by itself.
    pub(crate) until: Timestamp,
}

/// A lot with what the log knows of each entry, in the same order.
pub(crate) struct LeasedLot {
    pub(crate) lot: Lot,
    rows: Vec<Leased>,
    /// As it was when they were leased.
    connection: Target,
    /// Rows that cannot be sent, and why.
    unsendable: Vec<(Leased, WriteOutcome)>,
}

impl Lease {
    pub(crate) fn mint(world: &World<'_>, crm: Crm) -> Result<Self, Error> {
        let id = AttemptId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?;
        Ok(Self { id: id.into(), crm, at: world.now, until: world.now.plus_secs(LEASE_SECS) })
    }

    /// Claims the due ones; none when nothing of it is.
    pub(crate) async fn claim(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        ids: &[WriteId],
    ) -> Result<Option<LeasedLot>, Error> {
        let (scope, crm) = (&tenant.scope, self.crm);
        let keys: Vec<String> =
            ids.iter().filter_map(WriteId::parts).filter(|(of, _)| *of == crm).map(|(_, key)| key.to_owned()).collect();
        let claim = Claim {
            lease_id: &self.id,
            until: self.until,
            crashed_before: world.now.plus_secs(-may_still_land_secs(crm)),
            held_since: world.now.plus_secs(-HELD_BACK_SECS_MAX),
            at: world.now,
        };
        let outcomes = tenant
            .db
            .batch(vec![
                leases::lease(scope, crm, &keys, &claim),
                leases::begin_attempts(scope, crm, &keys, &self.id, world.now),
                connections::select_target(scope, crm),
                deals::select_of_lease(scope, crm, &keys, &self.id),
            ])
            .await?;
        let connection = nth(&outcomes, 2)?.first::<Target>()?;
        let mut deals = BTreeMap::new();
        for deal in nth(&outcomes, 3)?.rows::<OfWrite>()? {
            deals.insert(deal.idempotency_key, deal.crm_deal_id);
        }
        let leased = in_order(outcomes.first().ok_or(DbError::Shape)?.rows::<Leased>()?);
        // A write is only ever planned for a connection, and its row stays; without one there is nothing to lease.
        Ok(connection.filter(|_| !leased.is_empty()).map(|connection| LeasedLot::new(connection, leased, &deals)))
    }

    /// Settles the lot, and answers the writes that were held back by what is final now.
    pub(crate) async fn settle(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        connection: &ConnectionKey,
        lot: &LeasedLot,
        settled: &[Settled],
        sent: &Sent,
    ) -> Result<Vec<WriteId>, Error> {
        let mut batch = self.statements(world, tenant, connection, settled, sent.calls)?;
        batch.extend(lot.facts_learnt(world, tenant, sent)?);
        let targets = lot.targets_done(settled);
        if !targets.is_empty() {
            batch.push(leases::select_released(&tenant.scope, self.crm, &targets, world.clock.now()));
        }
        let outcomes = commit(tenant, &batch).await?;
        let released = match outcomes.last().filter(|_| !targets.is_empty()) {
            Some(outcome) => outcome.rows::<Released>()?,
            None => Vec::new(),
        };
        Ok(released.iter().filter_map(|write| WriteId::of(self.crm, &write.idempotency_key)).collect())
    }

    fn statements(
        &self,
        world: &World<'_>,
        tenant: &Tenant<'_>,
        connection: &ConnectionKey,
        settled: &[Settled],
        calls: u32,
    ) -> Result<Vec<Statement>, Error> {
        let (scope, crm, now) = (&tenant.scope, self.crm, world.clock.now());
        let mut statements = Vec::new();
        let mut rest = settled;
        for part in Settlement::of(settled) {
            let (of_part, after) = rest.split_at_checked(part.len).unwrap_or((rest, &[]));
            rest = after;
            let detail = json!({"crm": crm, "calls": calls, "writes": by_status_ids(crm, of_part)});
            let event = audit::event(world, "system", "writes_settled", &self.id, detail)?;
            statements.push(part.settle(scope, crm, &self.id, calls, now));
            statements.push(event.append_if_changed(scope));
            statements.extend(alarm::writes_failed(world, scope, connection, &self.id, of_part));
            statements.extend(part.end_attempts(scope, crm, (&self.id, self.at), calls, now));
        }
        Ok(statements)
    }
}

/// By position, then key. Put in place one by one, as all that is ordered here: a standard sort, which `collect` into a map or
/// set is too, brings 4 KB of code for each kind of element.
fn in_order(leased: Vec<Leased>) -> Vec<Leased> {
    let mut ordered: Vec<Leased> = Vec::with_capacity(leased.len());
    for row in leased {
        let comes_before =
            |other: &Leased| (other.position, &other.idempotency_key) <= (row.position, &row.idempotency_key);
        ordered.insert(ordered.partition_point(comes_before), row);
    }
    ordered
}

/// Named by the lease, so a repeat changes nothing more: worth one, since a lost settlement costs a look at the CRM.
async fn commit(tenant: &Tenant<'_>, batch: &[Statement]) -> Result<Vec<Outcome>, Error> {
    match tenant.db.batch(batch.to_vec()).await {
        Err(DbError::Unknown | DbError::Unavailable) => tenant.db.batch(batch.to_vec()).await.map_err(Error::Db),
        done => done.map_err(Error::Db),
    }
}

impl LeasedLot {
    fn new(connection: Target, leased: Vec<Leased>, deals: &BTreeMap<String, String>) -> Self {
        let (crm, facts) = (connection.crm, connection.facts());
        let changed_at = connection.mechanisms_at.map(|at| at.plus_secs(CLOCKS_DIFFER_SECS));
        let (mut entries, mut rows, mut unsendable) = (Vec::with_capacity(leased.len()), Vec::new(), Vec::new());
        for mut row in leased {
            let in_doubt = row.in_doubt != 0;
            let payload = std::mem::take(&mut row.payload_json);
            if in_doubt && row.external_account_id.as_ref() != Some(&connection.external_account_id) {
                unsendable.push((row, account_changed()));
                continue;
            }
            let (Some(write), Some(id)) = (model::json::read(&payload), WriteId::of(crm, &row.idempotency_key)) else {
                unsendable.push((row, if payload == REDACTED_PAYLOAD { expired() } else { unreadable() }));
                continue;
            };
            // Not probed yet: the try went without what this lot's probe may find.
            let doubt_is_older =
                in_doubt && (facts.mechanisms.is_none() || changed_at.is_some_and(|at| row.created_at < at));
            entries.push(Entry {
                external_ids: model::json::read(&row.external_ids_json).unwrap_or_default(),
                in_doubt,
                doubt_is_older,
                may_be_untied: doubt_is_older && changed_at.is_some(),
                deal_external_id: deals.get(&row.idempotency_key).cloned(),
                ..Entry::new(id, write, row.created_at)
            });
            rows.push(row);
        }
        Self { lot: Lot::new(crm, facts, entries), rows, connection, unsendable }
    }

    /// What the lot taught of the account: the deals it made, and by which mechanisms its records are written.
    fn facts_learnt(&self, world: &World<'_>, tenant: &Tenant<'_>, sent: &Sent) -> Result<Vec<Statement>, Error> {
        let (scope, crm) = (&tenant.scope, self.lot.crm);
        let mut statements = Vec::new();
        let deals: Vec<KnownDeal> = self.lot.entries.iter().filter_map(deal_written).collect();
        if !deals.is_empty() {
            let account = &self.connection.external_account_id;
            statements.push(deals::learn_in_account(scope, crm, account, &deals, world.now));
        }
        let id = self.connection.id.as_str();
        if let Some(found) = &sent.mechanisms {
            let event = audit::event(world, "system", "mechanisms_probed", id, found.to_json())?;
            statements.push(connections::keep_mechanisms(scope, crm, found, self.connection.connected_at, world.now));
            statements.push(event.append_if_changed(scope));
        } else if self.lot.entries.iter().any(is_contradicted) {
            let event = audit::event(world, "system", "mechanisms_forgotten", id, json!({ "crm": crm }))?;
            statements.push(connections::forget_mechanisms(scope, crm, self.connection.mechanisms_at, world.now));
            statements.push(event.append_if_changed(scope));
        }
        Ok(statements)
    }

    /// What every write becomes, as of now.
    pub(crate) fn settled(&mut self, world: &World<'_>) -> Result<Vec<Settled>, Error> {
        let (crm, now) = (self.lot.crm, world.clock.now());
        let mut settled = Vec::with_capacity(self.rows.len());
        for (row, entry) in self.rows.iter().zip(&mut self.lot.entries) {
            let standing = Standing { crm, retry_count: row.retry_count, doubt: entry.doubt() };
            let outcome = entry.outcome.clone().unwrap_or_else(unfinished);
            let chance = random::number(world.random)?;
            settled.push(Settled {
                key: row.idempotency_key.clone(),
                created_at: row.created_at,
                transition: next(standing, outcome, WRITES, chance, now),
                external_ids: json!(entry.external_ids),
                response: entry.response.take(),
                dry_run: None,
            });
        }
        settled.extend(self.unsendable.iter().map(|(row, outcome)| {
            let doubt = if row.in_doubt == 0 { Doubt::None } else { Doubt::Open };
            let standing = Standing { crm, retry_count: row.retry_count, doubt };
            Settled {
                key: row.idempotency_key.clone(),
                created_at: row.created_at,
                transition: next(standing, outcome.clone(), WRITES, 0, now),
                external_ids: kept_ids(row),
                response: None,
                dry_run: None,
            }
        }));
        Ok(settled)
    }

    /// Dry run: every write stays planned, at rest, with the requests that would have been sent.
    pub(crate) fn recorded(&mut self, adapter: &impl Provider) -> Vec<Settled> {
        let (crm, facts) = (self.lot.crm, &self.lot.connection);
        let entries = std::mem::take(&mut self.lot.entries);
        let record = |(row, entry): (&Leased, Entry)| {
            let requests: Vec<Value> =
                adapter.dry_run(Lot::new(crm, facts.clone(), vec![entry])).iter().map(recorded).collect();
            at_rest(row, Some(json!({"requests": requests})))
        };
        let readable = self.rows.iter().zip(entries).map(record);
        readable.chain(self.unsendable.iter().map(|(row, _)| at_rest(row, None))).collect()
    }

    /// The targets of the writes that are final now.
    fn targets_done(&self, settled: &[Settled]) -> Vec<&str> {
        let mut done = BTreeSet::new();
        done.extend(settled.iter().filter(|s| s.transition.status.is_final()).map(|s| s.key.as_str()));
        let rows = self.rows.iter().chain(self.unsendable.iter().map(|(row, _)| row));
        let mut targets = BTreeSet::new();
        targets.extend(rows.filter(|row| done.contains(&*row.idempotency_key)).filter_map(|row| row.target.as_deref()));
        targets.into_iter().collect()
    }
}

fn at_rest(row: &Leased, dry_run: Option<Value>) -> Settled {
    Settled {
        key: row.idempotency_key.clone(),
        created_at: row.created_at,
        transition: Transition {
            status: WriteStatus::Planned,
            retry_count: row.retry_count,
            next_retry_at: None,
            failure: None,
        },
        external_ids: kept_ids(row),
        response: None,
        dry_run,
    }
}

fn kept_ids(row: &Leased) -> Value {
    serde_json::from_str(&row.external_ids_json).unwrap_or_else(|_| json!({}))
}

/// The lot made as many requests as one may, or its lease was nearly over: this one was not sent.
fn unfinished() -> WriteOutcome {
    WriteOutcome::RetryAfter(failure(
        ErrorClass::RateLimited,
        "lot_unfinished",
        "the lot took too many calls or too long",
    ))
}

fn unreadable() -> WriteOutcome {
    WriteOutcome::Rejected(failure(
        ErrorClass::Mapping,
        "unreadable_payload",
        "the stored payload is not a curated write",
    ))
}

/// Replayed after its content was redacted or erased: there is nothing to send.
fn expired() -> WriteOutcome {
    WriteOutcome::Rejected(failure(
        ErrorClass::Mapping,
        "payload_expired",
        "the content was redacted or erased before the write was replayed",
    ))
}

/// Its effect may be in an account that is not connected any more, where nobody can look.
fn account_changed() -> WriteOutcome {
    let words =
        "an earlier try may have reached the account that was connected before; look there, then replay or leave it";
    WriteOutcome::Rejected(failure(ErrorClass::UnknownOutcome, "account_changed", words))
}

/// The deal a write was about, as the CRM calls it. Storing what is stored already changes nothing.
fn deal_written(entry: &Entry) -> Option<KnownDeal> {
    let deal = entry.write.deal.as_ref()?;
    let crm_deal_id = entry.external_ids.get(RecordKind::Deal.as_str())?.clone();
    Some(KnownDeal { crm: entry.write.crm, deal_id: deal.deal_id.clone(), crm_deal_id })
}

/// The CRM contradicted what the connection was probed to have.
fn is_contradicted(entry: &Entry) -> bool {
    matches!(&entry.outcome, Some(WriteOutcome::RetryAfter(failure) | WriteOutcome::Unknown(failure))
        if failure.code == MECHANISM_GONE_CODE)
}

/// A request as the log keeps it: no token was ever on it.
fn recorded(request: &Request) -> Value {
    let body = match &request.body {
        Body::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        Body::Empty | Body::Form(_) => Value::Null,
    };
    json!({"method": request.method.as_str(), "url": request.url, "body": body})
}
