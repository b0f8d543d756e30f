//! `/claim-install` and `/functions/v1/claim-install`: `GET` shows the install of this browser, `POST` claims it for a workspace.

use edge::{Door, Incoming, Served, Uses, claim, serve};
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::page("claim-install", Uses::NONE.signatures().gate().tokens(), claim::refused_page);
    serve(door, request, env, async |world, request| claim::claim(world, request).await).await
}
