//! `GET /functions/v1/hubspot-oauth-callback`: HubSpot sends the browser back here; the connection is made.

use edge::{Door, Incoming, Served, oauth, serve};
use model::Crm;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::browser("hubspot-oauth-callback", |error, id| oauth::refused_page(Crm::Hubspot, error, id));
    serve(door, request, env, async |world, request| oauth::callback(world, request, Crm::Hubspot).await).await
}
