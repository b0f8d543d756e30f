//! `GET /functions/v1/salesforce-oauth-callback`: Salesforce sends the browser back here; the connection is made.

use edge::{Door, Incoming, Served, oauth, serve};
use model::Crm;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::browser("salesforce-oauth-callback", |error, id| oauth::refused_page(Crm::Salesforce, error, id));
    serve(door, request, env, async |world, request| oauth::callback(world, request, Crm::Salesforce).await).await
}
