//! The two OAuth endpoints of a CRM, over HTTP: query and cookie to a deed's words, its outcome to JSON, a redirect or a page.
//!
//! Each CRM has a start and a callback door of its own, so that each Worker holds its own CRM's secrets only; what they say
//! over HTTP is the same and stands here.

use flows::finish_oauth::{Callback, Finished, Unfinished, finish_oauth};
use flows::start_oauth::{Start, start_oauth};
use flows::{Error, World, return_to};
use model::oauth::STATE_LIFE_SECS;
use model::{Crm, Secret};
use pages::Html;
use serde_json::json;

use crate::{Reply, Request, caller};

/// The cookie that binds a flow to a browser. `__Host-`: only this origin can have set it, over TLS (localhost counts).
fn cookie_name(crm: Crm) -> &'static str {
    match crm {
        Crm::Hubspot => "__Host-conduit-hubspot",
        Crm::Salesforce => "__Host-conduit-salesforce",
    }
}

/// `SameSite=Lax`: the CRM's redirect back is a top-level `GET` from another site, which `Strict` would keep it from.
fn cookie(crm: Crm, value: &str, life_secs: i64) -> String {
    format!("{}={value}; Path=/; Max-Age={life_secs}; Secure; HttpOnly; SameSite=Lax", cookie_name(crm))
}

/// `GET {crm}-oauth-start?workspace_id=&return_to=&login_host=`: JSON for programs, a redirect for browsers.
pub async fn start(world: &World<'_>, request: &Request, crm: Crm) -> Result<Reply, Error> {
    if request.method() != "GET" {
        return Ok(Reply::method_not_allowed("GET"));
    }
    let caller = caller::of(world, request).await?;
    let start = Start {
        return_to: request.query("return_to")?.map(str::to_owned),
        login_host: request.query("login_host")?.map(str::to_owned),
    };
    let started = start_oauth(world, &caller, crm, &start).await?;
    let reply = if request.accepts_html() {
        Reply::found(started.authorize_url)
    } else {
        let answer = json!({"authorize_url": started.authorize_url, "expires_at": started.expires_at.iso()});
        Reply::json(200, &answer)
    };
    Ok(reply.with_cookie(cookie(crm, started.browser_cookie.as_str(), STATE_LIFE_SECS)))
}

/// `GET {crm}-oauth-callback?state=&code=` or `&error=`: sends the browser on, or shows a page that says what happened.
pub async fn callback(world: &World<'_>, request: &Request, crm: Crm) -> Result<Reply, Error> {
    if request.method() != "GET" {
        return Ok(Reply::method_not_allowed("GET"));
    }
    let callback = Callback {
        state: request.query("state")?.map(str::to_owned),
        code: request.query("code")?.map(|code| Secret::new(code.to_owned())),
        error: request.query("error")?.map(str::to_owned),
        browser_cookie: request.cookie(cookie_name(crm)),
    };
    let reply = match finish_oauth(world, crm, &callback).await {
        Ok(finished) => finished_reply(crm, &finished),
        Err(unfinished) => {
            let page = request.accepts_html().then(|| unfinished_page(crm, &unfinished, request.id()));
            Reply::refused(unfinished.error, page)
        }
    };
    Ok(reply.with_cookie(cookie(crm, "", 0)))
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
    let back = unfinished.return_to.as_ref().map(|target| return_to::with_result(target, error.code(), crm));
    pages::oauth_failed(error.code(), &error.to_string(), crm.title(), back.as_deref(), request_id)
}

/// The page of a refusal before the flow was reached: a query that cannot be read, a Worker without its secrets.
pub fn refused_page(crm: Crm, error: &Error, request_id: &str) -> Html {
    pages::oauth_failed(error.code(), &error.to_string(), crm.title(), None, request_id)
}
