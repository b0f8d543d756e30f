//! Every night: removes what has reached its end under the workspaces' policies. Three further ticks go on where a run had to
//! stop, and find nothing where it had not.

use edge::configuration::{audit_keys, pii_master};
use edge::objects::Attachments;
use edge::{Incoming, Job, Served, Uses};
use flows::Error;
use flows::purge_retention::{PurgeKeys, purge_retention};
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

const JOB: Job = Job::new("purge-retention", Uses::NONE.meter());

#[event(scheduled)]
async fn scheduled(_: ScheduledEvent, env: Env, _: ScheduleContext) {
    let (attachments, keys) = (Attachments::from_env(&env), keys(&env));
    JOB.on_schedule(env, async |world| purge_retention(world, &attachments, &keys?).await).await;
}

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let (attachments, keys) = (Attachments::from_env(&env), keys(&env));
    JOB.on_request(request, env, async |world| purge_retention(world, &attachments, &keys?).await).await
}

fn keys(env: &Env) -> Result<PurgeKeys, Error> {
    Ok(PurgeKeys { audit: audit_keys(env)?, pii: pii_master(env)? })
}
