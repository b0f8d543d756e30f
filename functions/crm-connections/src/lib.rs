//! `GET /functions/v1/crm-connections`: the workspace's connections, with status, account, scopes and health; never a token.

use edge::{Door, Incoming, Reply, Served, caller, serve};
use flows::read_connections::list_connections;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    serve(Door::api("crm-connections"), request, env, async |world, request| {
        if request.method() != "GET" {
            return Ok(Reply::method_not_allowed("GET"));
        }
        let caller = caller::of(world, request).await?;
        let connections = list_connections(world, &caller).await?;
        Ok(Reply::json(200, &serde_json::json!({ "connections": connections })))
    })
    .await
}
