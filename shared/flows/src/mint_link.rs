//! A link to our own pages, for one user of one workspace: the host product's back end asks for it and sends the browser there.
//!
//! The link's secret opens once, within two minutes. No bearer token is ever in a URL that lives.

use crate::authenticate::Caller;
use crate::{Error, World, audit, return_to};
use crypto::one_time::{OneTime, Purpose};
use model::install::{LINK_LIFE_SECS, Page};
use model::{Timestamp, UserId};
use serde_json::json;
use store::connect_sessions::{self, NewLink};
use store::db::run;
use store::workspaces;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct LinkRequest<'a> {
    /// The person; with a JWT its own user, whatever is named.
    pub user_id: Option<&'a str>,
    /// Which page.
    pub page: Page,
    /// The way back.
    pub return_to: Option<&'a str>,
}

/// A link to send a browser to.
pub struct Link {
    /// Opens once.
    pub url: String,
    /// The last moment to open it.
    pub expires_at: Timestamp,
}

/// Mints a link. A service token's link is good for its own workspace only, also when the person belongs to others: a back end
/// of one workspace must not reach into another through its people.
pub async fn mint_link(world: &World<'_>, caller: &Caller, ask: &LinkRequest<'_>) -> Result<Link, Error> {
    caller.require_admin()?;
    let own = UserId::parse(&caller.actor);
    let user = match (&own, ask.user_id) {
        (Some(own), None) => own.clone(),
        (Some(own), Some(named)) if named == own.as_str() => own.clone(),
        (None, Some(named)) => UserId::parse(named).ok_or(NOT_A_MEMBER)?,
        (Some(_), Some(_)) => return Err(Error::Parameter { name: "user_id", rule: "must be your own" }),
        (None, None) => return Err(Error::Parameter { name: "user_id", rule: "must name the person" }),
    };
    let member = workspaces::fetch_member(world.directory, &caller.workspace_id, &user).await?;
    member.ok_or(NOT_A_MEMBER)?;
    let return_to = ask.return_to.map(|url| return_to::check(world.settings, url)).transpose()?;

    let secret = OneTime::mint(world.random, Purpose::Link)?;
    let expires_at = world.now.plus_secs(LINK_LIFE_SECS);
    let link = NewLink {
        link_hash: &secret.hash(),
        workspace_id: &caller.workspace_id,
        user_id: &user,
        confined: own.is_none(),
        minted_by: &caller.actor,
        page: ask.page,
        return_to: return_to.as_deref(),
        created_at: world.now,
        link_expires_at: expires_at,
    };
    run(world.directory, connect_sessions::mint(&link)).await?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let detail = json!({"page": ask.page.as_str()});
    let event = audit::event(world, &caller.actor, "connect_link_minted", user.as_str(), detail)?;
    run(tenant.db, event.append(&tenant.scope)).await?;
    let url = format!("{}/functions/v1/connect-sessions?link={}", world.settings.public_origin, secret.as_str());
    Ok(Link { url, expires_at })
}

const NOT_A_MEMBER: Error = Error::Parameter { name: "user_id", rule: "must be a member of the workspace" };
