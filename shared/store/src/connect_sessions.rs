//! `connect_sessions`: single-use links to our own pages, and the cookie sessions they become. Directory table.
//! Only hashes are stored; a role is read anew at every use.

use crate::db::{Bind, Db, DbError, Statement, nth, run};
use model::install::Page;
use model::{Role, Timestamp, UserId, WorkspaceId};
use serde::Deserialize;

/// A link about to be given out.
#[derive(Clone, Debug)]
pub struct NewLink<'a> {
    /// Of the link's secret.
    pub link_hash: &'a str,
    /// The workspace.
    pub workspace_id: &'a WorkspaceId,
    /// The person.
    pub user_id: &'a UserId,
    /// Good for this workspace only.
    pub confined: bool,
    /// Who asked for it.
    pub minted_by: &'a str,
    /// What it opens.
    pub page: Page,
    /// The way back.
    pub return_to: Option<&'a str>,
    /// Now.
    pub created_at: Timestamp,
    /// The last moment to open it.
    pub link_expires_at: Timestamp,
}

/// An open session, and what its person may do now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// The workspace it was minted for.
    pub workspace_id: WorkspaceId,
    /// The person.
    pub user_id: UserId,
    /// 1: good for this workspace only.
    pub confined: u8,
    /// What it opened.
    pub page: Page,
    /// The way back.
    pub return_to: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A workspace that a session may act in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Choice {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Its shard.
    pub shard: String,
    /// The person's role in it.
    pub role: Role,
}

/// Why a link does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Never given out.
    Unknown,
    /// Opened before.
    Used,
    /// Too late.
    Expired,
}

#[derive(Deserialize)]
struct Seen {
    opened_at: Option<Timestamp>,
    link_expires_at: Timestamp,
}

/// Stores a new link.
pub fn mint(link: &NewLink<'_>) -> Statement {
    Statement::new(
        "INSERT INTO connect_sessions (link_hash, workspace_id, user_id, confined, minted_by, page, return_to,
             created_at, link_expires_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
        [
            Bind::from(link.link_hash),
            link.workspace_id.as_str().into(),
            link.user_id.as_str().into(),
            u32::from(link.confined).into(),
            link.minted_by.into(),
            link.page.as_str().into(),
            link.return_to.into(),
            link.created_at.into(),
            link.link_expires_at.into(),
        ],
    )
}

/// Opens a link in one round trip: once, in time. The session gets its hash and its end.
pub async fn open(
    db: &dyn Db,
    link_hash: &str,
    session_hash: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Result<Session, Unusable>, DbError> {
    let outcomes = db
        .batch(vec![
            Statement::new(
                "SELECT opened_at, link_expires_at FROM connect_sessions WHERE link_hash = ?1",
                [Bind::from(link_hash)],
            ),
            Statement::new(
                "UPDATE connect_sessions SET opened_at = ?3, session_hash = ?2, expires_at = ?4
                 WHERE link_hash = ?1 AND opened_at IS NULL AND link_expires_at > ?3
                 RETURNING workspace_id, user_id, confined, page, return_to, expires_at",
                [Bind::from(link_hash), session_hash.into(), now.into(), expires_at.into()],
            ),
        ])
        .await?;
    if let Some(session) = nth(&outcomes, 1)?.first::<Session>()? {
        return Ok(Ok(session));
    }
    Ok(Err(match nth(&outcomes, 0)?.first::<Seen>()? {
        None => Unusable::Unknown,
        Some(Seen { opened_at: Some(_), .. }) => Unusable::Used,
        Some(Seen { link_expires_at, .. }) if link_expires_at <= now => Unusable::Expired,
        Some(_) => Unusable::Used,
    }))
}

/// The open session of a cookie, with the workspaces its person belongs to now; `None` when there is none or it has ended.
/// A confined session has its own workspace only, and one without any is as good as none.
pub async fn fetch(db: &dyn Db, session_hash: &str, now: Timestamp) -> Result<Option<(Session, Vec<Choice>)>, DbError> {
    let outcomes = db
        .batch(vec![
            Statement::new(
                "SELECT workspace_id, user_id, confined, page, return_to, expires_at
                 FROM connect_sessions WHERE session_hash = ?1 AND expires_at > ?2",
                [Bind::from(session_hash), now.into()],
            ),
            Statement::new(
                "SELECT w.id AS workspace_id, w.name, w.shard, m.role
                 FROM connect_sessions s
                 JOIN workspace_members m ON m.user_id = s.user_id AND (s.confined = 0 OR m.workspace_id = s.workspace_id)
                 JOIN workspaces w ON w.id = m.workspace_id
                 WHERE s.session_hash = ?1 AND s.expires_at > ?2
                 ORDER BY (w.id = s.workspace_id) DESC, w.name, w.id LIMIT 100",
                [Bind::from(session_hash), now.into()],
            ),
        ])
        .await?;
    let Some(session) = nth(&outcomes, 0)?.first::<Session>()? else { return Ok(None) };
    Ok(Some((session, nth(&outcomes, 1)?.rows()?)))
}

/// The workspaces a user belongs to.
pub async fn list_choices(db: &dyn Db, user: &UserId) -> Result<Vec<Choice>, DbError> {
    let statement = Statement::new(
        "SELECT w.id AS workspace_id, w.name, w.shard, m.role
         FROM workspace_members m JOIN workspaces w ON w.id = m.workspace_id
         WHERE m.user_id = ?1 ORDER BY w.name, w.id LIMIT 100",
        [Bind::from(user.as_str())],
    );
    run(db, statement).await?.rows()
}

/// Ends a session.
pub fn end(session_hash: &str, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE connect_sessions SET expires_at = MIN(expires_at, ?2) WHERE session_hash = ?1",
        [Bind::from(session_hash), now.into()],
    )
}

/// Deletes links and sessions that ended before, the oldest first, at most `limit`.
pub fn delete_old(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "DELETE FROM connect_sessions WHERE link_hash IN (
             SELECT link_hash FROM connect_sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        [Bind::from(before), limit.into()],
    )
}
