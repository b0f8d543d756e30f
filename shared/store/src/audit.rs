//! `audit_events`: who did what. Append only; written in the same batch as the change it tells of. Tenant table.

use crate::db::{Bind, Statement};
use crate::scope::WorkspaceScope;
use model::{AuditId, Timestamp};

/// One event. `detail` is JSON of ids, codes and counts: never a token, a body or a person.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Minted for this event.
    pub id: &'a AuditId,
    /// When.
    pub at: Timestamp,
    /// A user id, `token:<name>`, `cron:<job>` or `system`.
    pub actor: &'a str,
    /// `connection_connected`, `writes_planned`, …
    pub event: &'static str,
    /// The id of what changed.
    pub subject: &'a str,
    /// JSON.
    pub detail: serde_json::Value,
    /// The request.
    pub request_id: &'a str,
}

impl Event<'_> {
    fn binds(&self, scope: &WorkspaceScope) -> [Bind; 8] {
        [
            scope.workspace_id().as_str().into(),
            self.at.into(),
            self.id.as_str().into(),
            self.actor.into(),
            self.event.into(),
            self.subject.into(),
            model::json::text(&self.detail).into(),
            self.request_id.into(),
        ]
    }
}

/// Appends the event.
pub fn append(scope: &WorkspaceScope, event: &Event<'_>) -> Statement {
    Statement::new(
        "INSERT INTO audit_events (workspace_id, at, id, actor, event, subject, detail_json, request_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        event.binds(scope),
    )
}

/// Appends the event if the statement before it in the batch changed a row: it belongs to a compare-and-set that may have
/// lost.
pub fn append_if_changed(scope: &WorkspaceScope, event: &Event<'_>) -> Statement {
    Statement::new(
        "INSERT INTO audit_events (workspace_id, at, id, actor, event, subject, detail_json, request_id)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE changes() > 0",
        event.binds(scope),
    )
}
