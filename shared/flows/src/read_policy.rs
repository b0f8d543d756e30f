//! A workspace's retention policy: its own, or the defaults.

use crate::authenticate::Caller;
use crate::{Error, World};
use model::Timestamp;
use model::retention::Policy;
use serde_json::{Value, json};
use store::retention_policies::{self, Stored};

/// The policy as the API shows it. For every member.
pub async fn read_policy(world: &World<'_>, caller: &Caller) -> Result<Value, Error> {
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    Ok(view(retention_policies::fetch(tenant.db, &tenant.scope).await?.as_ref()))
}

pub(crate) fn view(stored: Option<&Stored>) -> Value {
    json!({
        "policy": stored.map_or_else(Policy::default, Stored::policy),
        "is_default": stored.is_none(),
        "defaults": Policy::default(),
        "updated_by": stored.map(|stored| &stored.updated_by),
        "updated_at": stored.map(|stored| Timestamp::iso(stored.updated_at)),
    })
}
