//! `GET /functions/v1/metrics`: states and ages as Prometheus text. For operators.

use edge::{Door, Incoming, Reply, Served, Uses, operator, serve};
use flows::read_metrics::read_metrics;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let holder = env.clone();
    serve(Door::using("metrics", Uses::NONE), request, env, async |world, request| {
        operator::require(&holder, request)?;
        match (request.method().as_str(), request.rest()) {
            ("GET", None) => {
                Ok(Reply::text(200, "text/plain; version=0.0.4; charset=utf-8", read_metrics(world).await?))
            }
            ("GET", Some(_)) => Ok(Reply::not_found()),
            _ => Ok(Reply::method_not_allowed("GET")),
        }
    })
    .await
}
