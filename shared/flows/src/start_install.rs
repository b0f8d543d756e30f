//! Starting an install: a person comes from the CRM's marketplace, without a workspace, perhaps without an account.
//!
//! The same state, cookie and PKCE as a connect; only whose it will be is not known yet.

use crate::start_oauth::{Start, Started, begin};
use crate::{Error, World};
use model::Crm;

/// Starts an install flow of ours. One write to the directory.
pub async fn start_install(world: &World<'_>, crm: Crm, start: &Start) -> Result<Started, Error> {
    begin(world, crm, None, start).await
}
