//! `GET /functions/v1/health/ready`: whether the databases answer, the queue is heard and the keys are keys. (That the gateway
//! answers at all is `/functions/v1/health`, its own.) Holds no secret: a Worker that holds the keys is asked about them.

use edge::{Door, Incoming, Reply, Served, Uses, forward, serve};
use flows::read_readiness::{Check, read_readiness};
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let services = env.clone();
    serve(Door::using("health", Uses::NONE), request, env, async |world, request| {
        match (request.method().as_str(), request.rest()) {
            ("GET", Some("ready")) => {
                let keys = match forward::status(&services, "RESEAL_TOKENS", request.id()).await {
                    Some(200) => Check::Ok,
                    Some(_) => Check::Failed,
                    None => Check::Unknown,
                };
                let readiness = read_readiness(world, keys).await;
                let status = if readiness.status == "ready" { 200 } else { 503 };
                Ok(Reply::json(status, &readiness))
            }
            ("GET", _) => Ok(Reply::not_found()),
            _ => Ok(Reply::method_not_allowed("GET")),
        }
    })
    .await
}
