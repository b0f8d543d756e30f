//! The chain over `audit_events` and its ends in `audit_heads`: reading what is not sealed, sealing it, reading it back.
//! Tenant tables.
//!
//! Events are sealed in the order of their key, (`at`, `id`). A seal is a compare-and-set on the head: who loses it changes no
//! event.

use crate::db::{Bind, Db, DbError, Statement, nth, run};
use crate::scope::WorkspaceScope;
use model::{Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// When.
    pub at: Timestamp,
    /// Its id. Text, not an id: a row that was tampered with must still be read.
    pub id: String,
    /// Who.
    pub actor: String,
    /// What.
    pub event: String,
    /// To what.
    pub subject: String,
    /// JSON.
    pub detail_json: String,
    /// In which request.
    pub request_id: String,
    /// Its number in the chain, once sealed.
    pub seq: Option<i64>,
    /// Its hash, once sealed.
    pub hash: Option<String>,
}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// The last event's number.
    pub seq: u32,
    /// Its hash.
    pub hash: String,
    /// The MAC of both.
    pub mac: String,
    /// When it was.
    pub last_at: Timestamp,
    /// Its id.
    pub last_id: String,
}

/// Those of the workspaces that have events after the end of their chain, up to `until`. Crosses workspaces on purpose, and
/// reads no event.
pub async fn list_unsealed(
    db: &dyn Db,
    workspaces: &[WorkspaceId],
    until: Timestamp,
) -> Result<Vec<WorkspaceId>, DbError> {
    #[derive(Deserialize)]
    struct Found {
        workspace_id: WorkspaceId,
    }
    let statement = Statement::new(
        "SELECT j.value AS workspace_id FROM json_each(?1) j LEFT JOIN audit_heads h ON h.workspace_id = j.value
         WHERE EXISTS (SELECT 1 FROM audit_events e WHERE e.workspace_id = j.value AND e.at <= ?2
                           AND (e.at, e.id) > (COALESCE(h.last_at, 0), COALESCE(h.last_id, '')))
         LIMIT 1000",
        [Bind::from(model::json::text(&json!(workspaces))), until.into()],
    );
    let found = run(db, statement).await?.rows::<Found>()?;
    Ok(found.into_iter().map(|row| row.workspace_id).collect())
}

/// The end of the workspace's chain.
pub fn select_head(scope: &WorkspaceScope) -> Statement {
    Statement::new(
        "SELECT seq, hash, mac, last_at, last_id FROM audit_heads WHERE workspace_id = ?1",
        [Bind::from(scope.workspace_id().as_str())],
    )
}

/// The events after the end of the chain, up to `until`.
pub fn select_unsealed(scope: &WorkspaceScope, until: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "SELECT at, id, actor, event, subject, detail_json, request_id, seq, hash FROM audit_events
         WHERE workspace_id = ?1 AND at <= ?2 AND (at, id) > (
             COALESCE((SELECT last_at FROM audit_heads WHERE workspace_id = ?1), 0),
             COALESCE((SELECT last_id FROM audit_heads WHERE workspace_id = ?1), ''))
         ORDER BY at, id LIMIT ?3",
        [Bind::from(scope.workspace_id().as_str()), until.into(), limit.into()],
    )
}

/// The events after a place, oldest first.
pub fn select_after(scope: &WorkspaceScope, after: (Timestamp, &str), limit: u32) -> Statement {
    Statement::new(
        "SELECT at, id, actor, event, subject, detail_json, request_id, seq, hash FROM audit_events
         WHERE workspace_id = ?1 AND (at, id) > (?2, ?3) ORDER BY at, id LIMIT ?4",
        [Bind::from(scope.workspace_id().as_str()), after.0.into(), after.1.into(), limit.into()],
    )
}

/// Head and events of several workspaces in one round trip, in the order asked.
pub async fn fetch_unsealed(
    db: &dyn Db,
    scopes: &[WorkspaceScope],
    until: Timestamp,
    limit: u32,
) -> Result<Vec<(Option<Head>, Vec<Stored>)>, DbError> {
    let batch = scopes.iter().flat_map(|scope| [select_head(scope), select_unsealed(scope, until, limit)]).collect();
    let outcomes = db.batch(batch).await?;
    let pair = |n: usize| Ok((nth(&outcomes, 2 * n)?.first()?, nth(&outcomes, 2 * n + 1)?.rows()?));
    (0..scopes.len()).map(pair).collect()
}

/// Whether some event of the workspace has this number: only asked where a chain is broken, since it reads them all.
pub async fn has_number(db: &dyn Db, scope: &WorkspaceScope, seq: u32) -> Result<bool, DbError> {
    let statement = Statement::new(
        "SELECT id FROM audit_events WHERE workspace_id = ?1 AND seq = ?2 LIMIT 1",
        [Bind::from(scope.workspace_id().as_str()), seq.into()],
    );
    Ok(!run(db, statement).await?.rows.is_empty())
}

/// The new end of a workspace's chain, and the links up to it.
#[derive(Clone, Debug, Serialize)]
pub struct Seal {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// The end as it was read: its number, 0 where there was none.
    pub was_seq: u32,
    /// Its hash.
    pub was_hash: String,
    /// The new end.
    pub seq: u32,
    /// Its hash.
    pub hash: String,
    /// The MAC of both.
    pub mac: String,
    /// The last event.
    pub last_at: Timestamp,
    /// The last event.
    pub last_id: String,
    /// Every link, in order.
    pub links: Vec<Link>,
}

/// A link of the chain.
#[derive(Clone, Debug, Serialize)]
pub struct Link {
    /// When its event was.
    pub at: Timestamp,
    /// Its event.
    pub id: String,
    /// Its number.
    pub seq: u32,
    /// Its hash.
    pub hash: String,
}

/// Seals: moves the ends that are as they were read, and numbers the events of those that it moved. Two sealers that read the
/// same do the same. Crosses workspaces on purpose.
pub fn seal(seals: &[Seal], now: Timestamp) -> Vec<Statement> {
    let text = model::json::text(&json!(seals));
    vec![
        Statement::new(
            "INSERT INTO audit_heads (workspace_id, seq, hash, mac, last_at, last_id, sealed_at)
             SELECT value->>'workspace_id', value->>'seq', value->>'hash', value->>'mac', value->>'last_at',
                 value->>'last_id', ?2
             FROM json_each(?1) WHERE value->>'was_seq' = 0 ON CONFLICT DO NOTHING",
            [Bind::from(text.clone()), now.into()],
        ),
        Statement::new(
            "WITH j AS MATERIALIZED (SELECT value->>'workspace_id' AS w, value FROM json_each(?1))
             UPDATE audit_heads SET seq = j.value->>'seq', hash = j.value->>'hash', mac = j.value->>'mac',
                 last_at = j.value->>'last_at', last_id = j.value->>'last_id', sealed_at = ?2
             FROM j
             WHERE workspace_id = j.w AND workspace_id IN (SELECT w FROM j)
                 AND seq = j.value->>'was_seq' AND audit_heads.hash = j.value->>'was_hash'",
            [Bind::from(text.clone()), now.into()],
        ),
        Statement::new(
            "WITH j AS MATERIALIZED (
                 SELECT s.value->>'workspace_id' AS w, l.value->>'at' AS at, l.value->>'id' AS id,
                     l.value->>'seq' AS seq, l.value->>'hash' AS hash
                 FROM json_each(?1) s CROSS JOIN audit_heads h ON h.workspace_id = s.value->>'workspace_id'
                     AND h.seq = s.value->>'seq' AND h.hash = s.value->>'hash'
                 CROSS JOIN json_each(s.value->'links') l)
             UPDATE audit_events SET seq = j.seq, hash = j.hash
             FROM j
             WHERE audit_events.workspace_id = j.w AND audit_events.at = j.at AND audit_events.id = j.id
                 AND (audit_events.workspace_id, audit_events.at, audit_events.id) IN (SELECT w, at, id FROM j)",
            [Bind::from(text)],
        ),
    ]
}

/// A chain to be looked through.
#[derive(Clone, Debug, Deserialize)]
pub struct ToVerify {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Where an earlier look stopped.
    pub verify_cursor: Option<String>,
}

/// The chains that were not looked through for longest. Crosses workspaces on purpose.
pub async fn list_to_verify(db: &dyn Db, before: Timestamp, limit: u32) -> Result<Vec<ToVerify>, DbError> {
    let statement = Statement::new(
        "SELECT workspace_id, verify_cursor FROM audit_heads WHERE verified_at < ?1 ORDER BY verified_at LIMIT ?2",
        [Bind::from(before), limit.into()],
    );
    run(db, statement).await?.rows()
}

/// Notes where a look goes on; none: it is at the end.
pub fn note_verified(scope: &WorkspaceScope, cursor: Option<&str>, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE audit_heads SET verify_cursor = ?2, verified_at = CASE WHEN ?2 IS NULL THEN ?3 ELSE verified_at END
         WHERE workspace_id = ?1",
        [Bind::from(scope.workspace_id().as_str()), cursor.into(), now.into()],
    )
}

/// Which events to list, newest first.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these.
    pub event: Option<String>,
    /// Not before.
    pub from: Timestamp,
    /// Before.
    pub to: Timestamp,
    /// Only those older than this place.
    pub before: Option<(Timestamp, String)>,
    /// At most this many.
    pub limit: u32,
}

/// Rows that one page looks at where only some events are wanted.
pub const SCANNED_PER_PAGE: u32 = 2_000;

/// A page, and the last place that was looked at, where there may be more.
pub async fn list(
    db: &dyn Db,
    scope: &WorkspaceScope,
    filter: &Filter,
) -> Result<(Vec<Stored>, Option<(Timestamp, String)>), DbError> {
    #[derive(Deserialize)]
    struct Place {
        at: Timestamp,
        id: String,
    }
    // One more than shown tells whether there is a next page.
    let wanted = filter.limit.saturating_add(1);
    let scanned = if filter.event.is_some() { SCANNED_PER_PAGE } else { wanted };
    let (at, id) = filter.before.as_ref().map_or((filter.to, ""), |(at, id)| (*at, id.as_str()));
    let binds = [
        Bind::from(scope.workspace_id().as_str()),
        filter.from.into(),
        filter.to.into(),
        at.into(),
        id.into(),
        scanned.into(),
    ];
    let rows = Statement::new(
        "SELECT at, id, actor, event, subject, detail_json, request_id, seq, hash FROM (
             SELECT at, id, actor, event, subject, detail_json, request_id, seq, hash FROM audit_events
             WHERE workspace_id = ?1 AND at >= ?2 AND at < ?3 AND (at, id) < (?4, ?5)
             ORDER BY at DESC, id DESC LIMIT ?6)
         WHERE ?7 IS NULL OR event = ?7 ORDER BY at DESC, id DESC LIMIT ?8",
        binds.iter().cloned().chain([filter.event.as_deref().into(), wanted.into()]).collect::<Vec<_>>(),
    );
    let last = Statement::new(
        "SELECT at, id FROM audit_events WHERE workspace_id = ?1 AND at >= ?2 AND at < ?3 AND (at, id) < (?4, ?5)
         ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?6 - 1",
        binds,
    );
    let outcomes = db.batch(vec![rows, last]).await?;
    let mut rows: Vec<Stored> = nth(&outcomes, 0)?.rows()?;
    let more = rows.len() > filter.limit as usize;
    rows.truncate(filter.limit as usize);
    let next = if more {
        rows.last().map(|row| (row.at, row.id.clone()))
    } else {
        nth(&outcomes, 1)?.first::<Place>()?.map(|place| (place.at, place.id))
    };
    Ok((rows, next))
}
