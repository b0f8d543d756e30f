//! Ringing for writes: doorbells of at most a hundred ids, per connection. A ring that is lost costs time, since the log is the
//! truth and the reconciler rings too; it is logged.

use crate::World;
use model::connection::ConnectionKey;
use model::doorbell::{Doorbell, WRITES_PER_DOORBELL_MAX};
use model::{Crm, WriteId};
use std::collections::BTreeMap;

/// Rings for these writes of one workspace; `connection` names its connection to a CRM.
pub(crate) async fn ring(
    world: &World<'_>,
    connection: impl Fn(Crm) -> ConnectionKey,
    writes: impl IntoIterator<Item = WriteId>,
    delay_secs: u32,
) {
    let mut by_crm: BTreeMap<Crm, Vec<WriteId>> = BTreeMap::new();
    for id in writes {
        if let Some((crm, _)) = id.parts() {
            by_crm.entry(crm).or_default().push(id);
        }
    }
    let mut doorbells = Vec::new();
    for (crm, ids) in by_crm {
        let connection = connection(crm);
        doorbells.extend(ids.chunks(WRITES_PER_DOORBELL_MAX).map(|ids| Doorbell {
            connection: connection.clone(),
            writes: ids.to_vec(),
            request_id: world.request_id.clone(),
        }));
    }
    let Some(workspace_id) = doorbells.first().map(|doorbell| doorbell.connection.workspace_id.clone()) else { return };
    if world.queue.ring(doorbells, delay_secs).await.is_err() {
        world.log.event("doorbell_lost", &[("workspace_id", workspace_id.as_str())]);
    }
}
