//! `GET /functions/v1/hubspot-oauth-start`: sends an administrator to HubSpot's consent page.

use edge::{Door, Incoming, Served, Uses, oauth, serve};
use model::Crm;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::using("hubspot-oauth-start", Uses::NONE.signatures().states());
    serve(door, request, env, async |world, request| oauth::start(world, request, Crm::Hubspot).await).await
}
