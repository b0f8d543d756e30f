//! A Worker for the endpoint tests: runs the suite that every database must pass on the D1 it is bound to. Never deployed.

use edge::{Door, Incoming, Reply, Served, serve};
use serde_json::json;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    serve(Door::api("conformance"), request, env, async |world, _| {
        let (checks, failures) = store::conformance::run_all(world.directory).await;
        Ok(Reply::json(200, &json!({ "checks": checks, "failures": failures })))
    })
    .await
}
