//! Audit events as flows write them: minted here, appended in the batch of the change they tell of.

use crate::{Error, World};
use model::{AuditId, Timestamp};
use serde_json::Value;
use store::{Statement, WorkspaceScope};

/// An event about to be appended.
pub struct Event {
    id: AuditId,
    at: Timestamp,
    actor: String,
    name: &'static str,
    subject: String,
    detail: Value,
    request_id: String,
}

/// Mints an event. `detail` holds ids, codes and counts only.
pub fn event(world: &World<'_>, actor: &str, name: &'static str, subject: &str, detail: Value) -> Result<Event, Error> {
    let id = AuditId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?;
    Ok(Event {
        id,
        at: world.now,
        actor: actor.to_owned(),
        name,
        subject: subject.to_owned(),
        detail,
        request_id: world.request_id.clone(),
    })
}

impl Event {
    /// Appends it.
    pub fn append(&self, scope: &WorkspaceScope) -> Statement {
        store::audit::append(scope, &self.row())
    }

    /// Appends it if the statement before it in the batch changed a row.
    pub fn append_if_changed(&self, scope: &WorkspaceScope) -> Statement {
        store::audit::append_if_changed(scope, &self.row())
    }

    fn row(&self) -> store::audit::Event<'_> {
        store::audit::Event {
            id: &self.id,
            at: self.at,
            actor: &self.actor,
            event: self.name,
            subject: &self.subject,
            detail: self.detail.clone(),
            request_id: &self.request_id,
        }
    }
}
