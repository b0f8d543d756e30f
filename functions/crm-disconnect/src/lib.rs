//! `POST /functions/v1/crm-disconnect` with `{"crm": "hubspot"}`: forgets the tokens and revokes them at the CRM.
//! Also the buttons of our own pages: Disconnect on the page of connections, and Decline on the claim page.

use edge::{Door, Incoming, Reply, Request, Served, Uses, caller, claim, serve, session};
use flows::disconnect::disconnect;
use flows::{Error, World};
use model::Crm;
use worker::{Context, Env, event};

/// The body names a CRM and nothing else.
const BODY_BYTES_MAX: usize = 1_024;

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::using("crm-disconnect", Uses::NONE.signatures().http().gate().tokens());
    serve(door, request, env, async |world, request| {
        if request.method() != "POST" {
            return Ok(Reply::method_not_allowed("POST"));
        }
        if session::is_form(request) {
            return Ok(session::refused_as_page(by_form(world, request).await, request));
        }
        let caller = caller::of(world, request).await?;
        let body = request.json(BODY_BYTES_MAX).await?;
        let crm = body.get("crm").and_then(|crm| crm.as_str()).and_then(Crm::parse).ok_or(Error::UnknownCrm)?;
        let done = disconnect(world, &caller, crm).await?;
        Ok(Reply::json(200, &done))
    })
    .await
}

/// A button of our own pages.
async fn by_form(world: &World<'_>, request: &Request) -> Result<Reply, Error> {
    let fields = session::fields(world, request).await?;
    if let Some(declined) = claim::decline_by_form(world, request, &fields).await? {
        return Ok(declined);
    }
    let form = session::signed(world, request, fields).await?;
    let crm = form.field("crm")?.and_then(Crm::parse).ok_or(Error::UnknownCrm)?;
    disconnect(world, &form.caller()?, crm).await?;
    Ok(Reply::see_other("/connect".to_owned()))
}
