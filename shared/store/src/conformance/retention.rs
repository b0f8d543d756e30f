//! What the purge, erasures and the audit chain rely on.

use super::{NOW, words, workspace};
use crate::db::{Db, run};
use crate::retention_policies;
use model::retention::Policy;

pub(super) async fn a_policy_is_compared_and_set(db: &dyn Db) -> Result<(), String> {
    let scope = workspace(db, "ws_policy").await?;
    let other = workspace(db, "ws_policy2").await?;
    let month = Policy { message_days: Some(30), attachment_days: None, write_days: Some(7) };
    for (policy, was, changes, why) in [
        (Policy::default(), 0, 1, "the first"),
        (month, 0, 0, "over one that was not read"),
        (month, 1, 1, "over the one that was read"),
        (Policy::default(), 1, 0, "over an older one"),
    ] {
        let store = retention_policies::store(&scope, &policy, was, "us_ada", NOW);
        let seen = run(db, store).await.map_err(words)?.changes;
        ensure!(seen == changes, "{why}: {seen} changes");
    }
    let stored = retention_policies::fetch(db, &scope).await.map_err(words)?;
    ensure!(stored.as_ref().is_some_and(|s| s.policy == month && s.version == 2), "{stored:?}");
    let foreign = retention_policies::fetch(db, &other).await.map_err(words)?;
    ensure!(foreign.is_none(), "{foreign:?}");
    Ok(())
}
