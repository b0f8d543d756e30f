//! `GET /functions/v1/salesforce-oauth-start`: sends an administrator to Salesforce's consent page.

use edge::{Door, Incoming, Served, oauth, serve};
use model::Crm;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::api("salesforce-oauth-start");
    serve(door, request, env, async |world, request| oauth::start(world, request, Crm::Salesforce).await).await
}
