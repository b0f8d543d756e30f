//! `/functions/v1/audit-events`: `GET` lists who did what, newest first; `GET …/export` gives all of it, oldest first, as NDJSON;
//! `GET …/verify` looks for the first broken link of its chain.

use edge::configuration::audit_keys;
use edge::{Door, Incoming, Reply, Request, Served, caller, serve};
use flows::Error;
use flows::read_audit::{Query, export_audit, list_audit};
use flows::verify_audit::verify_audit;
use worker::{Context, Env, event};

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let keys = audit_keys(&env);
    serve(Door::api("audit-events"), request, env, async |world, request| {
        if request.method() != "GET" {
            return Ok(Reply::method_not_allowed("GET"));
        }
        let caller = caller::of(world, request).await?;
        let cursor = request.query("cursor")?;
        match request.rest() {
            None => Ok(Reply::json(200, &list_audit(world, &caller, &query(request)?).await?)),
            Some("export") => {
                let page = export_audit(world, &caller, &keys?, cursor).await?;
                let reply = Reply::text(200, "application/x-ndjson", page.ndjson);
                Ok(match page.next_cursor {
                    Some(next) => reply.with_header("Conduit-Next-Cursor", next),
                    None => reply,
                })
            }
            Some("verify") => Ok(Reply::json(200, &verify_audit(world, &caller, &keys?, cursor).await?)),
            Some(_) => Ok(Reply::not_found()),
        }
    })
    .await
}

fn query(request: &Request) -> Result<Query, Error> {
    let text = |name| request.query(name).map(|value| value.map(str::to_owned));
    Ok(Query {
        event: text("event")?,
        from: text("from")?,
        to: text("to")?,
        cursor: text("cursor")?,
        limit: text("limit")?,
    })
}
