//! `install_events`: what became of an install while no workspace keeps an audit trail for it. Directory table,
//! append only; an install's events go with its row.

use crate::db::{Bind, Statement};
use model::{InstallId, Timestamp};

/// One event. `detail` is JSON of ids, codes and counts: never a token or a person.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Which install.
    pub install_id: &'a InstallId,
    /// When.
    pub at: Timestamp,
    /// `install_parked`, `install_claimed`, …
    pub event: &'static str,
    /// JSON.
    pub detail: serde_json::Value,
    /// The request.
    pub request_id: &'a str,
}

/// Appends the event if the statement before it in the batch changed a row. Safe to repeat.
pub fn append_if_changed(event: &Event<'_>) -> Statement {
    Statement::new(
        "INSERT INTO install_events (install_id, at, event, detail_json, request_id)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE changes() > 0 ON CONFLICT DO NOTHING",
        [
            Bind::from(event.install_id.as_str()),
            event.at.into(),
            event.event.into(),
            model::json::text(&event.detail).into(),
            event.request_id.into(),
        ],
    )
}

/// Deletes the events of the installs that [`pending_installs::delete_old`](crate::pending_installs::delete_old) is about to
/// delete after it in the batch.
pub fn delete_of_old(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "DELETE FROM install_events WHERE install_id IN (
             SELECT id FROM pending_installs INDEXED BY pending_installs_over
             WHERE status <> 'pending' AND access_token_sealed IS NULL AND updated_at < ?1
             ORDER BY updated_at, id LIMIT ?2)",
        [Bind::from(before), limit.into()],
    )
}
