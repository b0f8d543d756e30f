//! Alarms: what a person should know of, raised in the batch of what it tells of, and put into words for the webhook.
//!
//! In scope: the words, which hold ids, codes and counts only. Out of scope: delivering them (`deliver_alarms`).

use crate::{Error, World};
use model::connection::ConnectionKey;
use model::write::WriteStatus;
use model::{AlarmId, AttemptId, WriteId};
use serde_json::{Value, json};
use store::alarms::{Alarm, raise_if_changed};
use store::leases::Settled;
use store::{Statement, WorkspaceScope};

/// Writes that no one will try again by themselves.
pub const WRITES_FAILED: &str = "crm.writes_failed";
/// A connection that a person must look after.
pub const CONNECTION_FAILED: &str = "crm.connection_failed";

/// The alarm of a lot's permanent failures, for the batch that settles it; none when there is none. `attempt` names the try,
/// so that a batch that is repeated raises one alarm.
pub(crate) fn writes_failed(
    world: &World<'_>,
    scope: &WorkspaceScope,
    connection: &ConnectionKey,
    attempt: &str,
    settled: &[Settled],
) -> Option<Statement> {
    let failed: Vec<Value> = settled
        .iter()
        .filter(|write| write.transition.status == WriteStatus::PermanentFailure)
        .map(|write| {
            let failure = write.transition.failure.as_ref();
            json!({
                "id": WriteId::of(connection.crm, &write.key),
                "class": failure.map(|f| f.class),
                "code": failure.map(|f| &f.code),
            })
        })
        .collect();
    if failed.is_empty() {
        return None;
    }
    let id = AlarmId::from_body(attempt.strip_prefix(AttemptId::PREFIX)?)?;
    let data = json!({"workspace_id": connection.workspace_id, "crm": connection.crm, "writes": failed});
    Some(raise(world, scope, &id, WRITES_FAILED, &data))
}

/// The alarm of a connection that fails, for the batch that says so.
pub(crate) fn connection_failed(
    world: &World<'_>,
    scope: &WorkspaceScope,
    connection: &ConnectionKey,
    connection_id: &str,
    code: &str,
) -> Result<Statement, Error> {
    let id = AlarmId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?;
    let data = json!({
        "workspace_id": connection.workspace_id, "crm": connection.crm, "connection_id": connection_id, "code": code,
    });
    Ok(raise(world, scope, &id, CONNECTION_FAILED, &data))
}

fn raise(world: &World<'_>, scope: &WorkspaceScope, id: &AlarmId, kind: &'static str, data: &Value) -> Statement {
    let payload = model::json::text(&json!({"type": kind, "timestamp": world.now.iso(), "data": data}));
    raise_if_changed(scope, &Alarm { id, kind, payload: &payload, at: world.now })
}
