//! The two OAuth endpoints of a CRM, over HTTP: query and cookie to a deed's words, its outcome to JSON, a redirect or a page.
//!
//! Each CRM has a start and a callback door of its own, so that each Worker holds its own CRM's secrets only; what they say
//! over HTTP is the same and stands here.

use flows::authorize_install::authorize_install;
use flows::finish_oauth::{Callback, Ended, Finished, Parked, Unfinished, finish_oauth};
use flows::rare::rarely;
use flows::start_install::start_install;
use flows::start_oauth::{Start, Started, start_oauth};
use flows::{Error, World, return_to};
use model::install::INSTALL_LIFE_SECS;
use model::oauth::{Flow, STATE_LIFE_SECS};
use model::{Crm, Secret};
use pages::Html;
use serde_json::json;

use crate::session::{self, CLAIM, SESSION};
use crate::{Reply, Request, caller};

/// The cookie that binds a flow to a browser. `__Host-`: only this origin can have set it, over TLS (localhost counts).
fn cookie_name(crm: Crm) -> &'static str {
    match crm {
        Crm::Hubspot => "__Host-conduit-hubspot",
        Crm::Salesforce => "__Host-conduit-salesforce",
    }
}

/// The cookie of a flow that HubSpot's marketplace leads, with a sign-in of ours.
const MARKETPLACE: &str = "__Host-conduit-hubspot-install";

/// `SameSite=Lax`: the CRM's redirect back is a top-level `GET` from another site, which `Strict` would keep it from.
fn cookie(crm: Crm, value: &str, life_secs: i64) -> String {
    session::cookie(cookie_name(crm), value, life_secs)
}

/// `SameSite=None`: HubSpot may hold the browser in a frame or send it back with a `POST`.
fn marketplace_cookie(value: &str, life_secs: i64) -> String {
    format!("{MARKETPLACE}={value}; Path=/; Max-Age={life_secs}; Secure; HttpOnly; SameSite=None")
}

/// `GET {crm}-oauth-start?workspace_id=&return_to=&login_host=`: JSON for programs, a redirect for browsers. Without a workspace
/// and a token it starts an install. `POST` is the button of our own pages, with a session's form.
pub async fn start(world: &World<'_>, request: &Request, crm: Crm) -> Result<Reply, Error> {
    let started = match request.method().as_str() {
        "GET" => start_by_link(world, request, crm).await?,
        "POST" if request.bearer().is_none() => {
            return match rarely(start_by_form(world, request, crm)).await {
                // A page would double what a start weighs; the page of connections says what is wrong, and has the button.
                Err(Error::SessionRequired | Error::FormRefused) if request.accepts_html() => {
                    Ok(Reply::see_other("/connect".to_owned()))
                }
                other => other,
            };
        }
        _ => return Ok(Reply::method_not_allowed("GET")),
    };
    let reply = if request.accepts_html() {
        Reply::found(started.authorize_url.clone())
    } else {
        let answer = json!({"authorize_url": started.authorize_url, "expires_at": started.expires_at.iso()});
        Reply::json(200, &answer)
    };
    Ok(sent(crm, &started, reply))
}

async fn start_by_form(world: &World<'_>, request: &Request, crm: Crm) -> Result<Reply, Error> {
    let form = session::form(world, request).await?;
    let start = Start { return_to: form.session.return_to.clone(), login_host: None };
    let started = start_oauth(world, &form.caller()?, crm, &start).await?;
    Ok(sent(crm, &started, Reply::see_other(started.authorize_url.clone())))
}

async fn start_by_link(world: &World<'_>, request: &Request, crm: Crm) -> Result<Started, Error> {
    let start = Start {
        return_to: request.query("return_to")?.map(str::to_owned),
        login_host: request.query("login_host")?.map(str::to_owned),
    };
    if request.bearer().is_none() && request.query("workspace_id")?.is_none() {
        return rarely(start_install(world, crm, &start)).await;
    }
    let caller = caller::of(world, request).await?;
    start_oauth(world, &caller, crm, &start).await
}

fn sent(crm: Crm, started: &Started, reply: Reply) -> Reply {
    reply.with_cookie(cookie(crm, started.browser_cookie.as_str(), STATE_LIFE_SECS))
}

/// `GET {crm}-oauth-callback?state=&code=` or `&error=`: sends the browser on, or shows a page that says what happened.
/// HubSpot's marketplace also brings `returnUrl`, and `step=authorize` before there is a code.
pub async fn callback(world: &World<'_>, request: &Request, crm: Crm) -> Result<Reply, Error> {
    if request.method() != "GET" {
        return Ok(Reply::method_not_allowed("GET"));
    }
    let (step, return_url) = (request.query("step")?, request.query("returnUrl")?);
    if step == Some("authorize") && crm == Crm::Hubspot {
        let authorized = authorize_install(world, return_url).await?;
        let cookie = marketplace_cookie(authorized.browser_cookie.as_str(), STATE_LIFE_SECS);
        return Ok(Reply::see_other(authorized.location).with_cookie(cookie));
    }
    let marketplace = step.is_some() && crm == Crm::Hubspot;
    let callback = Callback {
        state: request.query("state")?.map(str::to_owned),
        code: request.query("code")?.map(|code| Secret::new(code.to_owned())),
        error: request.query("error")?.map(str::to_owned),
        browser_cookie: request.cookie(if marketplace { MARKETPLACE } else { cookie_name(crm) }),
        return_url: return_url.map(str::to_owned),
        step: step.map(str::to_owned),
        session: request.cookie(SESSION).map(Secret::new),
    };
    let reply = match finish_oauth(world, crm, &callback).await {
        Ok(Ended::Connected(finished)) => finished_reply(crm, &finished).with_cookie(session::cookie(CLAIM, "", 0)),
        Ok(Ended::Parked(parked)) => parked_reply(crm, &parked),
        Err(unfinished) => {
            let page = request.accepts_html().then(|| unfinished_page(crm, &unfinished, request.id()));
            Reply::refused(unfinished.error, page)
        }
    };
    let spent = if marketplace { marketplace_cookie("", 0) } else { cookie(crm, "", 0) };
    Ok(reply.with_cookie(spent))
}

/// Back to HubSpot's marketplace, which would otherwise send the person here again and again; else to the claim page. The claim
/// cookie is what the page goes by; the id in the address opens nothing.
fn parked_reply(crm: Crm, parked: &Parked) -> Reply {
    let page = || format!("/claim-install?crm={crm}&install_id={}", parked.install_id);
    let target = parked.return_url.clone().unwrap_or_else(page);
    Reply::see_other(target).with_cookie(session::cookie(CLAIM, parked.claim_cookie.expose(), INSTALL_LIFE_SECS))
}

fn finished_reply(crm: Crm, finished: &Finished) -> Reply {
    if let Some(target) = &finished.return_to {
        return Reply::see_other(return_to::with_result(target, "connected", crm));
    }
    let account = finished.external_account_name.as_ref().unwrap_or(&finished.external_account_id);
    Reply::html(200, pages::connected(crm.title(), account, None))
}

fn unfinished_page(crm: Crm, unfinished: &Unfinished, request_id: &str) -> Html {
    let error = &unfinished.error;
    let again = || {
        let declined = matches!(error, Error::ConsentDenied(_)) && unfinished.flow == Some(Flow::Install);
        declined.then(|| format!("/functions/v1/{crm}-oauth-start"))
    };
    let back =
        unfinished.return_to.as_ref().map(|target| return_to::with_result(target, error.code(), crm)).or_else(again);
    pages::oauth_failed(error.code(), &error.to_string(), crm.title(), back.as_deref(), request_id)
}

/// The page of a refusal before the flow was reached: a query that cannot be read, a Worker without its secrets.
pub fn refused_page(crm: Crm, error: &Error, request_id: &str) -> Html {
    pages::oauth_failed(error.code(), &error.to_string(), crm.title(), None, request_id)
}
