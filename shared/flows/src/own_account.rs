//! Who has a CRM account, and changes that stand together with having it.
//!
//! One account belongs to one workspace. Taking it and connecting are one batch where the workspace's shard is the directory's
//! own database. Where it is another one there are three, in an order in which a crash leaves an account without a
//! connection, never a connection without its account; the next to want it sees that, and takes over after ten minutes.

use crate::{Error, Tenant, World, world};
use model::connection::ConnectionKey;
use model::install::CLAIM_STALE_SECS;
use model::{ConnectionStatus, Crm, WorkspaceId};
use store::connections::{self, Connection};
use store::crm_accounts::{self, Owner};
use store::db::run;
use store::pending_installs::{self, Install};
use store::{DbError, Outcome, Statement};

/// Changes on the directory and on a tenant's tables that belong together.
#[derive(Clone, Default)]
pub(crate) struct Changes {
    /// On the directory, first: what may fail and keep the rest from happening.
    pub(crate) before: Vec<Statement>,
    /// On the tenant's tables.
    pub(crate) tenant: Vec<Statement>,
    /// On the directory, last.
    pub(crate) after: Vec<Statement>,
}

/// Commits them; answers the outcomes of the tenant's statements.
pub(crate) async fn commit(
    world: &World<'_>,
    key: &ConnectionKey,
    tenant: &Tenant<'_>,
    changes: Changes,
) -> Result<Vec<Outcome>, DbError> {
    let Changes { before, tenant: own, after } = changes;
    if key.shard == world::DIRECTORY {
        let (first, count) = (before.len(), own.len());
        let all = before.into_iter().chain(own).chain(after).collect();
        let outcomes = tenant.db.batch(all).await?;
        return Ok(outcomes.into_iter().skip(first).take(count).collect());
    }
    if !before.is_empty() {
        world.directory.batch(before).await?;
    }
    let outcomes = tenant.db.batch(own).await?;
    if !after.is_empty() {
        world.directory.batch(after).await?;
    }
    Ok(outcomes)
}

/// As [`commit`], taking the account first. `Err(Conflict)` when a constraint refused it although the account is free or ours:
/// something else of the changes did not hold.
pub(crate) async fn commit_owned(
    world: &World<'_>,
    key: &ConnectionKey,
    tenant: &Tenant<'_>,
    account: &str,
    mut changes: Changes,
) -> Result<Vec<Outcome>, Refused> {
    changes.before.push(crm_accounts::take(key.crm, account, &key.workspace_id, world.now));
    match commit(world, key, tenant, changes.clone()).await {
        Err(DbError::Constraint) => {}
        other => return other.map_err(|error| Refused::Error(error.into())),
    }
    if free(world, key.crm, account, &key.workspace_id).await.map_err(Refused::Error)? == Free::Now {
        return match commit(world, key, tenant, changes).await {
            Err(DbError::Constraint) => Err(Refused::Conflict),
            other => other.map_err(|error| Refused::Error(error.into())),
        };
    }
    Err(Refused::Conflict)
}

/// Why the changes did not stand.
pub(crate) enum Refused {
    /// Something read before had changed.
    Conflict,
    /// Anything else; [`Error::AccountOwnedElsewhere`] among it.
    Error(Error),
}

#[derive(PartialEq, Eq)]
enum Free {
    /// It always was, for this workspace.
    Already,
    /// A dead owner's row was removed just now.
    Now,
}

/// Whether a workspace may take the account.
async fn free(world: &World<'_>, crm: Crm, account: &str, workspace: &WorkspaceId) -> Result<Free, Error> {
    let Some(owner) = crm_accounts::fetch_owner(world.directory, crm, account).await? else { return Ok(Free::Already) };
    if owner.workspace_id == *workspace {
        return Ok(Free::Already);
    }
    let young = owner.acquired_at > world.now.plus_secs(-CLAIM_STALE_SECS);
    if young || is_live(world, crm, account, &owner).await? {
        return Err(Error::AccountOwnedElsewhere(crm));
    }
    run(world.directory, crm_accounts::release_stale(crm, account, &owner)).await?;
    Ok(Free::Now)
}

/// Whether the owner still is connected to the account. Nothing of its connection but this is looked at.
pub(crate) async fn is_live(world: &World<'_>, crm: Crm, account: &str, owner: &Owner) -> Result<bool, Error> {
    let tenant = world.tenant(&owner.workspace_id, &owner.shard)?;
    let connection = connections::fetch(tenant.db, &tenant.scope, crm).await?;
    Ok(connection.is_some_and(|c| c.status != ConnectionStatus::Disconnected && c.external_account_id == account))
}

/// The workspace's connection, and the account's pending install: one round trip where both are in one database.
pub(crate) async fn read_both(
    world: &World<'_>,
    key: &ConnectionKey,
    tenant: &Tenant<'_>,
    account: &str,
) -> Result<(Option<Connection>, Option<Install>), Error> {
    let connection = connections::select(&tenant.scope, key.crm);
    let install = pending_installs::select_pending(key.crm, account);
    if key.shard == world::DIRECTORY {
        let outcomes = tenant.db.batch(vec![connection, install]).await?;
        return Ok((store::db::nth(&outcomes, 0)?.first()?, store::db::nth(&outcomes, 1)?.first()?));
    }
    Ok((run(tenant.db, connection).await?.first()?, run(world.directory, install).await?.first()?))
}
