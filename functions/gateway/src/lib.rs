//! The gateway: the one public door. Passes `/functions/v1/{name}` on to the Worker of that name, untouched but for the
//! request's id, and answers for itself only what belongs to nobody else. It holds no secret and no database.
//!
//! Out of scope: who is calling, methods, bodies. Those are the functions' business.

mod routes;

use edge::{Incoming, Outgoing, Reply, Served, forward, query};
use model::Crm;
use routes::Route;
use worker::{Context, Env, event};

/// The stand-in CRM's binding: local runs and tests only.
const STAND_IN: &str = edge::bindings::STAND_IN;
const OPEN_API: &str = include_str!("../../../docs/api/openapi.json");

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _ctx: Context) -> Served {
    let id = forward::outer_request_id(&request);
    let url = request.url();
    let own = match routes::route(query::split_url(&url).0) {
        Route::Function(binding) => return Ok(pass_on(&env, binding, &request, &id).await),
        Route::Elsewhere => return Ok(pass_on(&env, STAND_IN, &request, &id).await),
        Route::Unknown => Reply::not_found(),
        _ if !matches!(request.method().as_str(), "GET" | "HEAD") => Reply::method_not_allowed("GET, HEAD"),
        Route::Welcome => Reply::html(200, pages::landing(&Crm::ALL.map(Crm::title), "/functions/v1/openapi.json")),
        Route::OpenApi => Reply::json_text(200, OPEN_API.to_owned()),
        Route::Health => Reply::json_text(200, r#"{"status":"ok"}"#.to_owned()),
    };
    Ok(forward::reply(&own, &id))
}

async fn pass_on(env: &Env, binding: &'static str, request: &Incoming, id: &str) -> Outgoing {
    forward::to(env, binding, request, id).await.unwrap_or_else(|| forward::reply(&Reply::not_found(), id))
}
