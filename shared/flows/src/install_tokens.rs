//! An install's tokens: sealed for the install itself, opened to become a connection's or to be revoked.

use crate::end_grant::{Trouble, end_grant};
use crate::{Error, World};
use crypto::vault::OpenError;
use crypto::{Aad, Column, Keyring, vault};
use model::{Crm, InstallId, Secret};
use providers::http::Request;
use providers::{Provider, provider};
use serde_json::Value;
use store::Statement;
use store::install_events::{self, Event};
use store::pending_installs::Install;

/// The scope an install's tokens are sealed under: its row has no workspace.
const SCOPE: &str = "pending_installs";

/// Where a token of an install stands.
pub(crate) fn aad(id: &InstallId, column: Column, generation: u64) -> Aad<'_> {
    Aad { scope: SCOPE, connection: id.as_str(), column, generation }
}

/// Opened tokens of an install.
pub(crate) struct Tokens {
    pub(crate) access: Option<Secret<String>>,
    pub(crate) refresh: Option<Secret<String>>,
}

/// Opens both. An install without a token has none.
pub(crate) fn open(keys: &Keyring, install: &Install) -> Result<Tokens, OpenError> {
    let open = |column, sealed: &Option<String>| match sealed.as_deref() {
        Some(sealed) => vault::open(keys, &aad(&install.id, column, install.token_generation), sealed).map(Some),
        None => Ok(None),
    };
    Ok(Tokens {
        access: open(Column::AccessToken, &install.access_token_sealed)?,
        refresh: open(Column::RefreshToken, &install.refresh_token_sealed)?,
    })
}

/// How far a grant is ended at the CRM.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything the app has in the account.
    Account,
    /// This grant alone: the account is somebody's.
    Grant,
}

/// The calls that end the grant of an install at the CRM; `None` where the CRM is not set up here.
pub(crate) fn requests(
    world: &World<'_>,
    crm: Crm,
    install: &Install,
    tokens: &Tokens,
    extent: Extent,
) -> Option<Vec<Request>> {
    let app = world.settings.app(crm).ok()?;
    let (access, refresh, host) = (tokens.access.as_ref(), tokens.refresh.as_ref(), install.login_host.as_deref());
    Some(match extent {
        Extent::Account => provider(crm).revoke_requests(app, access, refresh, host),
        Extent::Grant => provider(crm).discard_requests(app, access, refresh, host),
    })
}

/// Ends the grant of an install that another one has replaced. Best effort.
pub(crate) async fn end_replaced(world: &World<'_>, install: &Install) {
    let Ok(tokens) = opened(world, install) else { return };
    if let Some(requests) = requests(world, install.crm, install, &tokens, Extent::Grant) {
        end_grant(world, install.crm, requests, Trouble::GoOn).await;
    }
}

/// An event of an install, if the statement before it changed a row.
pub(crate) fn event_if_changed(world: &World<'_>, id: &InstallId, event: &'static str, detail: Value) -> Statement {
    let at = world.now;
    install_events::append_if_changed(&Event { install_id: id, at, event, detail, request_id: &world.request_id })
}

/// Opens an install's tokens, or says that they cannot be.
pub(crate) fn opened(world: &World<'_>, install: &Install) -> Result<Tokens, Error> {
    open(world.token_keys()?, install).map_err(|_| Error::Unsealable)
}
