//! `/functions/v1/retention-policy`: `GET` reads what the workspace keeps and how long, `PUT` changes it. `POST …/erase` erases a
//! person.

use edge::configuration::pii_master;
use edge::objects::Attachments;
use edge::{Door, Incoming, Reply, Request, Served, caller, serve};
use flows::authenticate::Caller;
use flows::change_policy::change_policy;
use flows::erase_person::erase_person;
use flows::read_policy::read_policy;
use flows::{Error, World};
use worker::{Context, Env, event};

/// A policy is three numbers, a person is one address.
const BODY_BYTES_MAX: usize = 4_096;

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let (attachments, master) = (Attachments::from_env(&env), pii_master(&env));
    serve(Door::api("retention-policy"), request, env, async |world, request| {
        let caller = caller::of(world, request).await?;
        match (request.method().as_str(), request.rest()) {
            ("GET", None) => Ok(Reply::json(200, &read_policy(world, &caller).await?)),
            ("PUT", None) => change(world, &caller, request).await,
            ("POST", Some("erase")) => {
                let body = request.json(BODY_BYTES_MAX).await?;
                let email = body.get("email").and_then(|email| email.as_str()).unwrap_or_default();
                let erasure = erase_person(world, &caller, &attachments, &master?, email).await?;
                // 202: the rest goes with the nightly purge, or the same request again.
                let finished = erasure.get("status").is_some_and(|status| status == "finished");
                Ok(Reply::json(if finished { 200 } else { 202 }, &erasure))
            }
            (_, None) => Ok(Reply::method_not_allowed("GET, PUT")),
            (_, Some("erase")) => Ok(Reply::method_not_allowed("POST")),
            (_, Some(_)) => Ok(Reply::not_found()),
        }
    })
    .await
}

async fn change(world: &World<'_>, caller: &Caller, request: &Request) -> Result<Reply, Error> {
    let body = request.json(BODY_BYTES_MAX).await?;
    Ok(Reply::json(200, &change_policy(world, caller, &body).await?))
}
