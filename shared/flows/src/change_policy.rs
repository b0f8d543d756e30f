//! Changing what a workspace keeps, and how long. What becomes due by it goes with the next purge, and does not come back.

use crate::authenticate::Caller;
use crate::read_policy::view;
use crate::{Error, World, audit};
use model::retention::Policy;
use serde_json::{Value, json};
use store::retention_policies::{self, Stored};

/// How often a change is tried when others change it at the same moment.
const TRIES: u32 = 3;

/// Makes the policy what `body` says, and answers it as [`crate::read_policy`] does. The same policy again changes nothing and
/// is no event.
pub async fn change_policy(world: &World<'_>, caller: &Caller, body: &Value) -> Result<Value, Error> {
    caller.require_admin()?;
    let policy = Policy::from_json(body).map_err(Error::PolicyRefused)?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    for _ in 0..TRIES {
        let was = retention_policies::fetch(tenant.db, &tenant.scope).await?;
        if was.as_ref().is_some_and(|was| was.policy() == policy) {
            return Ok(view(was.as_ref()));
        }
        let version = was.as_ref().map_or(0, |was| was.version);
        let before = was.map_or_else(Policy::default, |was| was.policy());
        let event = audit::event(
            world,
            &caller.actor,
            "retention_policy_changed",
            caller.workspace_id.as_str(),
            json!({"before": before, "after": policy}),
        )?;
        let batch = vec![
            retention_policies::store(&tenant.scope, &policy, version, &caller.actor, world.now),
            event.append_if_changed(&tenant.scope),
        ];
        let outcomes = tenant.db.batch(batch).await?;
        if store::db::nth(&outcomes, 0)?.changes > 0 {
            let stored = Stored {
                message_days: policy.message_days,
                attachment_days: policy.attachment_days,
                write_days: policy.write_days,
                version: version + 1,
                updated_by: caller.actor.clone(),
                updated_at: world.now,
            };
            return Ok(view(Some(&stored)));
        }
    }
    Err(Error::PolicyMoved)
}
