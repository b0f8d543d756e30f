//! Links to our pages, and the page of a workspace's connections, over HTTP.
//!
//! `POST connect-sessions` mints a link, `GET connect-sessions?link=` opens it and sends the browser on to a page without a
//! secret in its address, `GET /connect` is that page for connections.

use flows::mint_link::{LinkRequest, mint_link};
use flows::open_link::open_link;
use flows::read_connections::{ConnectionView, list_connections};
use flows::{Error, World};
use model::install::{Page, SESSION_LIFE_SECS};
use model::{ConnectionStatus, Crm};
use pages::{Choice, Html, Link};
use serde_json::json;

use crate::session::{self, SESSION};
use crate::{Reply, Request, caller};

/// A user, a page and a way back.
const BODY_BYTES_MAX: usize = 4_096;

/// `GET` and `POST` of `connect-sessions`, and of `/connect`.
pub async fn sessions(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    match (request.method().as_str(), request.query("link")?) {
        ("POST", _) => mint(world, request).await,
        ("GET", Some(link)) => open(world, request, link).await,
        ("GET", None) => show(world, request).await,
        _ => Ok(Reply::method_not_allowed("GET, POST")),
    }
}

async fn mint(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    let caller = caller::of(world, request).await?;
    let body = request.json(BODY_BYTES_MAX).await?;
    let text = |name: &str| body.get(name).and_then(|value| value.as_str());
    let page = Page::parse(text("page").unwrap_or("connect"));
    let page = page.ok_or(Error::Parameter { name: "page", rule: "must be `connect` or `claim`" })?;
    let ask = LinkRequest { user_id: text("user_id"), page, return_to: text("return_to") };
    let link = mint_link(world, &caller, &ask).await?;
    Ok(Reply::json(201, &json!({"url": link.url, "expires_at": link.expires_at.iso()})))
}

async fn open(world: &World<'_>, request: &Request, link: &str) -> Result<Reply, Error> {
    let opened = open_link(world, link, request.cookie(SESSION).as_deref()).await?;
    let page = match opened.page {
        Page::Connect => "/connect",
        Page::Claim => "/claim-install",
    };
    let cookie = session::cookie(SESSION, opened.session.as_str(), SESSION_LIFE_SECS);
    Ok(Reply::see_other(page.to_owned()).with_cookie(cookie))
}

async fn show(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    let session = session::of(world, request).await?;
    let caller = session.caller(None)?;
    caller.require_admin()?;
    let connections = list_connections(world, &caller).await?;
    let name = session.choices.first().map(|choice| choice.name.as_str()).unwrap_or_default();
    let links: Vec<Link<'_>> = Crm::ALL.iter().map(|crm| link(*crm, &connections)).collect();
    let workspace = Choice { id: caller.workspace_id.as_str(), name };
    let page = pages::connections(&workspace, &session.form_token(), &links, session.return_to.as_deref());
    Ok(Reply::html(200, page))
}

fn link(crm: Crm, connections: &[ConnectionView]) -> Link<'_> {
    let own = connections.iter().find(|connection| connection.crm == crm);
    let (live, gone) = match own {
        Some(connection) if connection.status == ConnectionStatus::Disconnected => (None, own),
        _ => (own, None),
    };
    let connected = live.map(|connection| {
        let account = connection.external_account_name.as_deref().unwrap_or(&connection.external_account_id);
        let advice = connection.last_error.as_ref().map(|e| e.advice.as_deref().unwrap_or("Reconnect it"));
        (account, advice)
    });
    let ended = gone.and_then(|connection| connection.last_error.as_ref()?.advice.as_deref());
    Link { crm: crm.as_str(), crm_title: crm.title(), connected, ended }
}

/// The page of a refusal.
pub fn refused_page(error: &Error, request_id: &str) -> Html {
    pages::refused("This page cannot be shown", error.code(), &error.to_string(), None, request_id)
}
