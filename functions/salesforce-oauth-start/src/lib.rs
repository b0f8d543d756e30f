//! `GET /functions/v1/salesforce-oauth-start`: sends an administrator to Salesforce's consent page.

use edge::{Door, Incoming, Served, Uses, oauth, serve};
use model::Crm;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::using("salesforce-oauth-start", Uses::NONE.signatures().states());
    serve(door, request, env, async |world, request| oauth::start(world, request, Crm::Salesforce).await).await
}
