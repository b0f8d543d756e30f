//! The job of every ten minutes: rings for writes that are due, and delivers what a person should know of.

use crate::deliver_alarms::{Delivered, deliver_alarms};
use crate::reconcile_writes::{Reconciled, reconcile_writes};
use crate::{Error, World};
use serde::Serialize;

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrmWritesReconciled {
    /// Writes that were due.
    pub writes: Reconciled,
    /// Alarms; none when the webhook is not set up as it should be, which is logged.
    pub alarms: Option<Delivered>,
}

/// One run. Alarms that cannot be delivered keep no write waiting.
pub async fn reconcile_crm_writes(world: &World<'_>) -> Result<CrmWritesReconciled, Error> {
    let writes = reconcile_writes(world).await?;
    let alarms = deliver_alarms(world).await;
    if let Err(error) = &alarms {
        world.log.event("webhook_misconfigured", &[("code", error.code()), ("reason", &error.to_string())]);
    }
    Ok(CrmWritesReconciled { writes, alarms: alarms.ok() })
}
