//! The claim page and its API, over HTTP: `GET` shows the install of this browser's cookie, `POST` claims it. Its button
//! Decline leads to `crm-disconnect`, which has the secrets that ending a grant takes.

use flows::authenticate::authenticate;
use flows::claim_install::{Claimed, claim_install};
use flows::decline_install::{decline_install, decline_token};
use flows::read_install::{InstallView, read_install};
use flows::read_session::PageSession;
use flows::{Error, World};
use model::install::Proof;
use model::{Crm, InstallStatus};
use pages::{Account, Choice, Decline, Html, Visitor};
use serde_json::json;

use crate::session::{self, CLAIM};
use crate::{Reply, Request, query};

/// An API call names an install and nothing else.
const BODY_BYTES_MAX: usize = 1_024;

/// `GET` and `POST` of `claim-install`.
pub async fn claim(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    match request.method().as_str() {
        "GET" if request.accepts_html() => show(world, request).await,
        "GET" => data(world, request).await,
        "POST" if session::is_form(request) => claim_by_form(world, request).await,
        "POST" => claim_by_api(world, request).await,
        _ => Ok(Reply::method_not_allowed("GET, POST")),
    }
}

/// The page's data: the install of the cookie, and the workspaces of the session, when there is one.
async fn data(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    let install = read_install(world, request.cookie(CLAIM).as_deref()).await?;
    let session = optional(session::of(world, request).await)?;
    let workspaces: Vec<_> = choices(session.as_ref()).iter().map(|c| json!({"id": c.id, "name": c.name})).collect();
    Ok(Reply::json(200, &json!({"install": install, "workspaces": workspaces})))
}

/// A session that is not there is no error of a page that can do without.
fn optional(session: Result<PageSession, Error>) -> Result<Option<PageSession>, Error> {
    match session {
        Ok(session) => Ok(Some(session)),
        Err(Error::SessionRequired) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The workspaces that a session's person may administer.
fn choices(session: Option<&PageSession>) -> Vec<Choice<'_>> {
    let all = session.map(|session| session.choices.as_slice()).unwrap_or_default();
    let own = all.iter().filter(|choice| choice.role.may_administer());
    own.map(|choice| Choice { id: choice.workspace_id.as_str(), name: &choice.name }).collect()
}

async fn show(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    let session = optional(session::of(world, request).await)?;
    let install = match read_install(world, request.cookie(CLAIM).as_deref()).await {
        Ok(install) => Some(install),
        Err(Error::InstallNotProven) => None,
        Err(error) => return Err(error),
    };
    match install.as_ref().map(|install| install.status) {
        Some(InstallStatus::Claimed) => return Err(Error::InstallClaimed),
        Some(InstallStatus::Expired) => return Err(Error::InstallExpired),
        _ => {}
    }
    let form_token = request.cookie(CLAIM).map(|cookie| decline_token(&cookie)).unwrap_or_default();
    let decline = install.as_ref().map(|install| Decline { install_id: &install.id, form_token: &form_token });
    let account = install.as_ref().map(account);
    let known = account.as_ref().zip(decline.as_ref());
    let Some(session) = session else {
        let page = pages::sign_in(known, world.settings.sign_in_url.as_deref());
        return Ok(Reply::html(200, page));
    };
    let workspaces = choices(Some(&session));
    if workspaces.is_empty() {
        return Err(Error::AdminRequired);
    }
    let form_token = session.form_token();
    let visitor = Visitor { user: session.user_id.as_str(), form_token: &form_token, workspaces: &workspaces };
    let page = match (&install, known) {
        (Some(install), Some((account, decline))) if install.proof == Proof::Browser => {
            pages::claim(account, &visitor, decline)
        }
        (Some(install), known) => pages::confirm(install.crm.as_str(), install.crm.title(), known, &visitor),
        (None, _) => {
            // The browser shows nothing: the CRM named in the address, or HubSpot, whose marketplace leads here without one.
            let crm = request.query("crm")?.and_then(Crm::parse).unwrap_or(Crm::Hubspot);
            pages::confirm(crm.as_str(), crm.title(), None, &visitor)
        }
    };
    Ok(Reply::html(200, page))
}

fn account(install: &InstallView) -> Account<'_> {
    Account {
        crm_title: install.crm.title(),
        name: install.external_account_name.as_deref(),
        id: &install.external_account_id,
    }
}

async fn claim_by_form(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    let form = session::form(world, request).await?;
    let (caller, named) = (form.caller()?, form.field("install_id")?);
    let claimed = claim_install(world, &caller, request.cookie(CLAIM).as_deref(), named).await?;
    let page = done(&claimed, form.session.return_to.as_deref());
    Ok(Reply::html(200, page).with_cookie(session::cookie(CLAIM, "", 0)))
}

fn done(claimed: &Claimed, back: Option<&str>) -> Html {
    let name = claimed.external_account_name.as_ref().unwrap_or(&claimed.external_account_id);
    pages::connected(claimed.crm.title(), name, back)
}

/// The button Decline, if the fields are its form's.
pub async fn decline_by_form(
    world: &World<'_>,
    request: &Request,
    fields: &[(String, String)],
) -> Result<Option<Reply>, Error> {
    let Some(named) = query::once(fields, "install_id")? else { return Ok(None) };
    let token = query::once(fields, "form_token")?;
    let declined = decline_install(world, request.cookie(CLAIM).as_deref(), named, token).await?;
    let account = Account {
        crm_title: declined.crm.title(),
        name: declined.external_account_name.as_deref(),
        id: &declined.external_account_id,
    };
    let page = pages::declined(&account, declined.revoked);
    Ok(Some(Reply::html(200, page).with_cookie(session::cookie(CLAIM, "", 0))))
}

async fn claim_by_api(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    // Before the body is read: who says nothing of themselves gets nothing read.
    let bearer = request.bearer().ok_or(Error::TokenRequired)?;
    let body = request.json(BODY_BYTES_MAX).await?;
    let text = |name: &str| body.get(name).and_then(|value| value.as_str());
    let caller = authenticate(world, Some(bearer), text("workspace_id")).await?;
    let named = text("install_id").ok_or(Error::Parameter { name: "install_id", rule: "must name the install" })?;
    let claimed = claim_install(world, &caller, request.cookie(CLAIM).as_deref(), Some(named)).await?;
    Ok(Reply::json(200, &claimed).with_cookie(session::cookie(CLAIM, "", 0)))
}

/// The page of a refusal.
pub fn refused_page(error: &Error, request_id: &str) -> Html {
    pages::refused("The CRM was not connected", error.code(), &error.to_string(), None, request_id)
}
