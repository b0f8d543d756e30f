//! What the purge, erasures and the audit chain rely on.

use super::{NOW, words, workspace};
use crate::attachments::{self, NewAttachment};
use crate::audit_chain::{self, Link, Seal};
use crate::db::{Db, nth, run};
use crate::erasures::{self, Erasure};
use crate::messages::{self, NewMessage};
use crate::retention::{self, Counted, Passed};
use crate::{WorkspaceScope, audit, retention_policies};
use model::retention::{Cutoffs, Policy};
use model::{AuditId, Crm, ErasureId, Timestamp};
use serde_json::json;

pub(super) async fn a_policy_is_compared_and_set(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_policy").await?;
    let other = workspace(db, "ws_policy2").await?;
    let month = Policy { message_days: Some(30), attachment_days: None, write_days: Some(7) };
    for (policy, was, changes, why) in [
        (Policy::default(), 0, 1, "the first"),
        (month, 0, 0, "over one that was not read"),
        (month, 1, 1, "over the one that was read"),
        (Policy::default(), 1, 0, "over an older one"),
    ] {
        let store = retention_policies::store(&scope, &policy, was, "us_ada", NOW);
        let seen = run(db, store).await.map_err(words)?.changes;
        ensure!(seen == changes, "{why}: {seen} changes");
    }
    let stored = retention_policies::fetch(db, &scope).await.map_err(words)?;
    ensure!(stored.as_ref().is_some_and(|s| s.policy() == month && s.version == 2), "{stored:?}");
    let foreign = retention_policies::fetch(db, &other).await.map_err(words)?;
    ensure!(foreign.is_none(), "{foreign:?}");
    Ok(())
}

async fn keep(db: &dyn Db, scope: &WorkspaceScope, id: &str, received_at: Timestamp) -> Result<(), String> {
    let message = NewMessage {
        id,
        thread_id: "th_1",
        contact_hmac: Some("ada"),
        subject: Some("subject"),
        body: Some("body"),
        received_at,
    };
    let key = format!("{}/{id}", scope.workspace_id());
    let attachment =
        NewAttachment { id, message_id: id, object_key: &key, file_name: Some("a.pdf"), size_bytes: 3, received_at };
    let batch = vec![messages::keep(scope, &message), attachments::keep(scope, &attachment)];
    db.batch(batch).await.map(|_| ()).map_err(words)
}

pub(super) async fn what_is_due_is_redacted_oldest_first_and_counted_in_its_batch(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_due").await?;
    let other = workspace(db, "ws_due2").await?;
    for (n, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        keep(db, &scope, id, NOW.plus_secs(i64::try_from(n).unwrap_or_default())).await?;
    }
    keep(db, &other, "a", NOW).await?;
    let before = NOW.plus_secs(3);
    let cutoffs = Cutoffs { messages: before, attachments: NOW, writes: NOW };
    let asked = [scope.workspace_id().clone(), other.workspace_id().clone()].map(|id| (id, cutoffs));
    let due = retention::list_due(db, &asked).await.map_err(words)?;
    ensure!(due.len() == 2 && due.iter().all(|due| due.messages == 1 && due.attachments == 0), "{due:?}");
    for expected in [2, 1, 0] {
        let batch =
            vec![messages::redact_due(&scope, before, 2, NOW), retention::count(&scope, Counted::Messages, NOW)];
        let outcomes = db.batch(batch).await.map_err(words)?;
        let changes = nth(&outcomes, 0).map_err(words)?.changes;
        ensure!(changes == expected, "{changes} redacted, not {expected}");
    }
    let progress = retention::fetch_progress(db, &scope).await.map_err(words)?.ok_or("no progress")?;
    ensure!(progress.messages_redacted == 3, "{progress:?}");
    let stale = retention::close(&scope, &retention::Progress { messages_redacted: 2, ..progress });
    ensure!(run(db, stale).await.map_err(words)?.changes == 0, "closed as it was not read");
    ensure!(run(db, retention::close(&scope, &progress)).await.map_err(words)?.changes == 1, "not closed");
    let left = retention::list_due(db, &asked).await.map_err(words)?;
    ensure!(left.len() == 1 && left.iter().all(|due| due.workspace_id == *other.workspace_id()), "{left:?}");

    let rows = attachments::list_of(db, &scope, "ada", 10).await.map_err(words)?;
    ensure!(rows.len() == 1, "the way to an attachment is its message: {rows:?}");
    let rows = attachments::list_due(db, &scope, before, None, 2).await.map_err(words)?;
    let next = attachments::list_due(db, &scope, before, rows.last(), 2).await.map_err(words)?;
    let ids: Vec<&str> = rows.iter().chain(&next).map(|row| row.id.as_str()).collect();
    ensure!(ids == ["a", "b", "c"], "{ids:?}");
    let removed: Vec<_> = rows.iter().collect();
    ensure!(run(db, attachments::forget(&scope, &removed, NOW)).await.map_err(words)?.changes == 2, "not forgotten");
    ensure!(run(db, attachments::forget(&scope, &removed, NOW)).await.map_err(words)?.changes == 0, "forgotten twice");
    Ok(())
}

pub(super) async fn the_cursor_through_the_log_only_moves_forward(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_cursor").await?;
    let at = |secs, key: &str| Passed {
        crm: Crm::Hubspot,
        idempotency_key: key.to_owned(),
        created_at: NOW.plus_secs(secs),
    };
    for (place, changes) in [(at(1, "b"), 1), (at(1, "b"), 0), (at(1, "a"), 0), (at(0, "z"), 0), (at(2, "a"), 1)] {
        let seen = run(db, retention::pass(&scope, &place)).await.map_err(words)?.changes;
        ensure!(seen == changes, "{place:?}: {seen} changes");
    }
    Ok(())
}

pub(super) async fn a_seal_is_compared_and_set_and_the_loser_numbers_nothing(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_seal").await?;
    let ids = ["ev_1", "ev_2", "ev_3"].map(AuditId::parse);
    for (n, id) in ids.iter().enumerate() {
        let event = audit::Event {
            id: id.as_ref().ok_or("no audit id")?,
            at: NOW.plus_secs(i64::try_from(n).unwrap_or_default()),
            actor: "us_ada",
            event: "connection_connected",
            subject: "cx_1",
            detail: json!({}),
            request_id: "req",
        };
        run(db, audit::append(&scope, &event)).await.map_err(words)?;
    }
    let link = |seq: u32, hash: &str| Link {
        at: NOW.plus_secs(i64::from(seq) - 1),
        id: format!("ev_{seq}"),
        seq,
        hash: hash.to_owned(),
    };
    let seal = |was: (u32, &str), links: Vec<Link>| {
        let last = links.last().cloned().unwrap_or_else(|| link(1, ""));
        Seal {
            workspace_id: scope.workspace_id().clone(),
            was_seq: was.0,
            was_hash: was.1.to_owned(),
            seq: last.seq,
            hash: last.hash,
            mac: "v1.k.m".to_owned(),
            last_at: last.at,
            last_id: last.id,
            links,
        }
    };
    let until = NOW.plus_secs(60);
    let open = audit_chain::list_unsealed(db, &[scope.workspace_id().clone()], until).await.map_err(words)?;
    ensure!(open.len() == 1, "{open:?}");
    for (seal, numbered, why) in [
        (seal((0, ""), vec![link(1, "h1"), link(2, "h2")]), 2, "the first"),
        (seal((0, ""), vec![link(1, "x1")]), 0, "one that read the same and saw less"),
        (seal((1, "h1"), vec![link(2, "y2"), link(3, "y3")]), 0, "one that read an older end"),
        (seal((2, "h2"), vec![link(3, "h3")]), 1, "the next"),
        (seal((2, "h2"), vec![link(3, "h3")]), 1, "the same again changes nothing"),
    ] {
        let outcomes = db.batch(audit_chain::seal(&[seal], NOW)).await.map_err(words)?;
        let seen = nth(&outcomes, 2).map_err(words)?.changes;
        ensure!(seen == numbered, "{why}: {seen} events numbered");
    }
    let read = audit_chain::fetch_unsealed(db, std::slice::from_ref(&scope), until, 10).await.map_err(words)?;
    let (head, left) = read.into_iter().next().ok_or("no answer")?;
    ensure!(head.as_ref().is_some_and(|head| head.seq == 3 && head.hash == "h3"), "{head:?}");
    ensure!(left.is_empty(), "{left:?}");
    let all = run(db, audit_chain::select_after(&scope, (Timestamp(0), ""), 10)).await.map_err(words)?;
    let all = all.rows::<audit_chain::Stored>().map_err(words)?;
    let links: Vec<_> = all.iter().map(|event| (event.seq, event.hash.as_deref())).collect();
    ensure!(links == [(Some(1), Some("h1")), (Some(2), Some("h2")), (Some(3), Some("h3"))], "{links:?}");
    Ok(())
}

pub(super) async fn a_person_has_one_open_erasure(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_erasure").await?;
    let (one, other) = (ErasureId::parse("er_1").ok_or("no id")?, ErasureId::parse("er_2").ok_or("no id")?);
    for (id, changes) in [(&one, 1), (&other, 0)] {
        let seen = run(db, erasures::open(&scope, id, "ada", "us_ada", NOW)).await.map_err(words)?.changes;
        ensure!(seen == changes, "{id}: {seen} opened");
    }
    let select = || erasures::select_open(&scope, "ada");
    let open = run(db, select()).await.map_err(words)?.first::<Erasure>().map_err(words)?.ok_or("none open")?;
    ensure!(open.id == one, "{open:?}");
    ensure!(run(db, erasures::finish(&scope, &open, NOW)).await.map_err(words)?.changes == 1, "not finished");
    ensure!(run(db, select()).await.map_err(words)?.rows.is_empty(), "still open");
    let again = run(db, erasures::open(&scope, &other, "ada", "us_ada", NOW)).await.map_err(words)?.changes;
    ensure!(again == 1, "another one cannot be opened");
    Ok(())
}
