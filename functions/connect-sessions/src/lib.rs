//! `/functions/v1/connect-sessions`: `POST` mints a link to our pages, `GET ?link=` opens it. Also `/connect`, the page of a
//! workspace's connections.

use edge::{Door, Incoming, Served, Uses, connect, serve};
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::page("connect-sessions", Uses::NONE.signatures(), connect::refused_page);
    serve(door, request, env, async |world, request| connect::sessions(world, request).await).await
}
