//! The part of the suite about planning, leasing and settling writes.

use super::{NOW, connect, words, workspace};
use crate::WorkspaceScope;
use crate::db::{Db, nth, run};
use crate::leases::{self, Claim, Leased, Released, Settled, Settlement};
use crate::writes::{self, Filter, Key, NewWrite, Write};
use model::write::{Transition, WriteStatus};
use model::{Crm, Timestamp, WriteId};
use serde_json::json;

fn new_write(crm: Crm, key: &str) -> NewWrite {
    NewWrite {
        crm,
        key: key.to_owned(),
        request_hash: "hash".to_owned(),
        target: "someone".to_owned(),
        payload: json!({"action": "create_task", "object_type": "thread", "object_id": "1", "source_event_id": "'\"é"})
            .to_string(),
    }
}

pub(super) async fn planned(db: &dyn Db, scope: &WorkspaceScope, keys: &[&str]) -> Result<u64, String> {
    let writes: Vec<NewWrite> = keys.iter().map(|key| new_write(Crm::Hubspot, key)).collect();
    Ok(run(db, writes::plan(scope, &writes, "req", NOW)).await.map_err(words)?.changes)
}

pub(super) async fn writes_are_planned_once_and_only_where_connected(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_plan").await?;
    ensure!(planned(db, &scope, &["a"]).await? == 0, "planned without a connection");
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    ensure!(planned(db, &scope, &["a", "b", "a"]).await? == 2, "not planned once each");
    ensure!(planned(db, &scope, &["a", "c"]).await? == 1, "planned again");
    let keys = ["a", "b", "c"].map(|key| Key { crm: Crm::Hubspot, key: key.to_owned() });
    let rows = run(db, writes::select_by_keys(&scope, &keys)).await.map_err(words)?.rows::<Write>().map_err(words)?;
    ensure!(rows.len() == 3 && rows.iter().all(|row| row.status == WriteStatus::Planned), "{rows:?}");
    for (request_id, at, others) in [("req", NOW, 0), ("another", NOW, 3), ("req", NOW.plus_ms(1), 3)] {
        let found = run(db, writes::select_others(&scope, &keys, request_id, at)).await.map_err(words)?.rows.len();
        ensure!(found == others, "{found} rows are not of {request_id} at {at:?}");
    }
    Ok(())
}

pub(super) async fn a_lease_is_given_once_and_settled_under_its_name(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_lease").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    planned(db, &scope, &["a", "b"]).await?;
    let keys = ["a".to_owned(), "b".to_owned(), "never".to_owned()];
    let lease = |name: &'static str, now: Timestamp| {
        let keys = keys.clone();
        let scope = &scope;
        async move {
            let batch = vec![
                leases::lease(scope, Crm::Hubspot, &keys, &claim(name, now)),
                leases::begin_attempts(scope, Crm::Hubspot, &keys, name, now),
            ];
            let outcomes = db.batch(batch).await.map_err(words)?;
            nth(&outcomes, 0).and_then(crate::db::Outcome::rows::<Leased>).map_err(words)
        }
    };
    let first = lease("at_1", NOW).await?;
    ensure!(first.len() == 2 && first.iter().all(|row| row.in_doubt == 0), "{first:?}");
    let second = lease("at_2", NOW).await?;
    ensure!(second.is_empty(), "leased twice: {second:?}");
    let settled = |key: &str| Settled {
        key: key.to_owned(),
        created_at: NOW,
        transition: Transition { status: WriteStatus::Succeeded, retry_count: 1, next_retry_at: None, failure: None },
        external_ids: json!({"task": "9"}),
        response: Some(json!({"id": "9"})),
        dry_run: None,
    };
    let settle = |name: &'static str, key: &str, now: Timestamp| {
        let parts = Settlement::of(&[settled(key)]);
        parts.iter().map(|part| part.settle(&scope, Crm::Hubspot, name, 2, now)).collect::<Vec<_>>()
    };
    let outcomes = db.batch(settle("at_2", "a", NOW)).await.map_err(words)?;
    ensure!(nth(&outcomes, 0).map_err(words)?.changes == 0, "settled under a lease that is not its own");
    let outcomes = db.batch(settle("at_1", "a", NOW)).await.map_err(words)?;
    ensure!(outcomes.iter().all(|outcome| outcome.changes == 1), "{outcomes:?}");
    // A crash: the lease of `b` runs out, and whoever takes it next must doubt.
    let third = lease("at_3", NOW.plus_secs(60)).await?;
    ensure!(third.len() == 1 && third.iter().all(|row| row.in_doubt == 1), "{third:?}");

    let id = WriteId::of(Crm::Hubspot, "a").ok_or("no write id")?;
    let row = writes::fetch(db, &scope, &id).await.map_err(words)?.ok_or("no row")?;
    ensure!(row.status == WriteStatus::Succeeded && row.external_ids_json == "{\"task\":\"9\"}", "{row:?}");
    ensure!(row.calls == Some(2) && row.response_json.as_deref() == Some("{\"id\":\"9\"}"), "{row:?}");
    let attempts = writes::list_attempts(db, &scope, &id).await.map_err(words)?;
    ensure!(attempts.len() == 1 && attempts.iter().all(|a| a.outcome.is_none()), "{attempts:?}");
    Ok(())
}

pub(super) const fn claim(lease_id: &str, at: Timestamp) -> Claim<'_> {
    Claim { lease_id, until: at.plus_secs(60), crashed_before: at, held_since: at.plus_secs(-3_600), at }
}

pub(super) async fn an_earlier_open_write_of_a_target_holds_back_later_ones(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_order").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    let plan = |key: &str, target: &str, at: Timestamp| {
        let write = NewWrite { target: target.to_owned(), ..new_write(Crm::Hubspot, key) };
        writes::plan(&scope, &[write], "req", at)
    };
    let later = NOW.plus_secs(1);
    let batch = vec![plan("first", "ada", NOW), plan("second", "ada", later), plan("other", "eve", later)];
    db.batch(batch).await.map_err(words)?;
    let lease = |name: &'static str, keys: &[&str], at: Timestamp| {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let statement = leases::lease(&scope, Crm::Hubspot, &keys, &claim(name, at));
        async move {
            let rows = run(db, statement).await.map_err(words)?.rows::<Leased>().map_err(words)?;
            Ok::<Vec<String>, String>(rows.into_iter().map(|row| row.idempotency_key).collect())
        }
    };
    ensure!(lease("at_1", &["second", "other"], later).await? == ["other"], "the second overtook the first");
    ensure!(lease("at_2", &["first"], later).await? == ["first"], "the first is held back");
    ensure!(lease("at_3", &["second"], later).await?.is_empty(), "the second overtook the first in flight");
    let done = Settled {
        key: "first".to_owned(),
        created_at: NOW,
        transition: Transition { status: WriteStatus::Succeeded, retry_count: 1, next_retry_at: None, failure: None },
        external_ids: json!({}),
        response: None,
        dry_run: None,
    };
    let mut batch: Vec<_> =
        Settlement::of(&[done]).iter().map(|part| part.settle(&scope, Crm::Hubspot, "at_2", 1, later)).collect();
    batch.push(leases::select_released(&scope, Crm::Hubspot, &["ada"], later));
    let outcomes = db.batch(batch).await.map_err(words)?;
    let released: Vec<Released> = outcomes.last().ok_or("no answer")?.rows().map_err(words)?;
    ensure!(released.iter().map(|w| &*w.idempotency_key).eq(["second"]), "{released:?}");
    ensure!(lease("at_4", &["second"], later).await? == ["second"], "held back by what is final");

    db.batch(vec![plan("third", "ada", later.plus_secs(1)), plan("fourth", "ada", later.plus_secs(2))])
        .await
        .map_err(words)?;
    let much_later = later.plus_secs(4_000);
    ensure!(lease("at_5", &["fourth"], much_later).await? == ["fourth"], "held back for ever");
    let beside = lease("at_6", &["third", "second"], much_later).await?;
    ensure!(beside.is_empty(), "sent beside another lot's write of the target: {beside:?}");
    let mut both = lease("at_7", &["third", "second"], much_later.plus_secs(60)).await?;
    both.sort();
    ensure!(both == ["second", "third"], "writes of one lot hold each other back: {both:?}");
    Ok(())
}

pub(super) async fn a_settlement_too_large_to_bind_goes_in_parts(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_large").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    let names: Vec<String> = (0..100).map(|n| format!("large{n:03}")).collect();
    planned(db, &scope, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    run(db, leases::lease(&scope, Crm::Hubspot, &names, &claim("at_1", NOW))).await.map_err(words)?;
    let settled: Vec<Settled> = names
        .iter()
        .map(|key| Settled {
            key: key.clone(),
            created_at: NOW,
            transition: Transition { status: WriteStatus::Planned, retry_count: 0, next_retry_at: None, failure: None },
            external_ids: json!({}),
            response: None,
            dry_run: Some(json!({"requests": ["\"".repeat(20_000)]})),
        })
        .collect();
    let parts = Settlement::of(&settled);
    ensure!(parts.len() > 1 && parts.iter().map(|part| part.len).sum::<usize>() == 100, "{} parts", parts.len());
    let batch = parts.iter().map(|part| part.settle(&scope, Crm::Hubspot, "at_1", 0, NOW)).collect();
    let changed: u64 = db.batch(batch).await.map_err(words)?.iter().map(|outcome| outcome.changes).sum();
    ensure!(changed == 100, "{changed} were settled");
    Ok(())
}

pub(super) async fn the_log_is_paged_newest_first(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_pages").await?;
    connect(db, &scope, Crm::Hubspot, "1", 1).await?;
    for (at, key) in ["a", "b", "c"].into_iter().enumerate() {
        let now = NOW.plus_secs(i64::try_from(at).unwrap_or_default());
        run(db, writes::plan(&scope, &[new_write(Crm::Hubspot, key)], "req", now)).await.map_err(words)?;
    }
    let mut filter = Filter { limit: 2, crm: Some(Crm::Hubspot), ..Filter::default() };
    let page = writes::list(db, &scope, &filter).await.map_err(words)?;
    let keys: Vec<&str> = page.iter().map(|row| row.idempotency_key.as_str()).collect();
    ensure!(keys == ["c", "b"], "{keys:?}");
    let last = page.last().ok_or("an empty page")?;
    filter.after =
        Some(writes::Position { created_at: last.created_at, crm: last.crm, key: last.idempotency_key.clone() });
    let page = writes::list(db, &scope, &filter).await.map_err(words)?;
    ensure!(page.len() == 1 && page.iter().all(|row| row.idempotency_key == "a"), "{page:?}");
    filter = Filter { limit: 10, status: Some(WriteStatus::PermanentFailure), ..Filter::default() };
    ensure!(writes::list(db, &scope, &filter).await.map_err(words)?.is_empty(), "dead letters where none are");
    Ok(())
}
