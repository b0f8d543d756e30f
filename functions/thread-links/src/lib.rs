//! `PUT /functions/v1/thread-links`: which deal of the host product a thread belongs to, and what that deal is in the CRM.

use edge::{Door, Incoming, Reply, Served, caller, serve};
use flows::link_threads::link_threads;
use worker::{Context, Env, event};

/// A thousand links and deals of three ids each.
const BODY_BYTES_MAX: usize = 1_048_576;

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    serve(Door::api("thread-links"), request, env, async |world, request| {
        if request.rest().is_some() {
            return Ok(Reply::not_found());
        }
        let caller = caller::of(world, request).await?;
        if request.method() != "PUT" {
            return Ok(Reply::method_not_allowed("PUT"));
        }
        let body = request.json(BODY_BYTES_MAX).await?;
        Ok(Reply::json(200, &link_threads(world, &caller, &body).await?))
    })
    .await
}
