//! `/functions/v1/retention-policy`: `GET` reads what the workspace keeps and how long, `PUT` changes it.

use edge::{Door, Incoming, Reply, Served, caller, serve};
use flows::change_policy::change_policy;
use flows::read_policy::read_policy;
use worker::{Context, Env, event};

/// A policy is three numbers.
const BODY_BYTES_MAX: usize = 4_096;

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    serve(Door::api("retention-policy"), request, env, async |world, request| {
        if request.rest().is_some() {
            return Ok(Reply::not_found());
        }
        let caller = caller::of(world, request).await?;
        match request.method().as_str() {
            "GET" => Ok(Reply::json(200, &read_policy(world, &caller).await?)),
            "PUT" => {
                let body = request.json(BODY_BYTES_MAX).await?;
                Ok(Reply::json(200, &change_policy(world, &caller, &body).await?))
            }
            _ => Ok(Reply::method_not_allowed("GET, PUT")),
        }
    })
    .await
}
