//! `/functions/v1/crm-writes`: `POST` submits curated writes, `GET` lists the log, `GET …/{id}` shows one with its attempts.
//! `POST …/{id}/replay` replays a dead letter, `POST …/replay` those that match a filter.

use edge::{Door, Incoming, Reply, Request, Served, Uses, caller, respond, serve};
use flows::authenticate::Caller;
use flows::read_writes::{Query, fetch_write, list_writes};
use flows::replay_writes::{replay_dead_letters, replay_write};
use flows::submit_writes::{BODY_BYTES_MAX, submit_writes};
use flows::{Error, World};
use serde_json::{Value, json};
use worker::{Context, Env, event};

/// A filter is six short members.
const FILTER_BYTES_MAX: usize = 4_096;

#[event(fetch)]
async fn fetch(request: Incoming, env: Env, _: Context) -> Served {
    let door = Door::using("crm-writes", Uses::NONE.signatures().queue());
    serve(door, request, env, async |world, request| {
        world.log.event("request_heard", &[("method", &request.method())]);
        let caller = caller::of(world, request).await?;
        let rest = request.rest();
        let replayed = rest.and_then(|rest| rest.strip_suffix("/replay"));
        match (request.method().as_str(), rest, replayed) {
            ("POST", None, _) => submit(world, &caller, request).await,
            ("GET", None, _) => Ok(Reply::json(200, &list_writes(world, &caller, &query(request)?).await?)),
            ("POST", Some("replay"), _) => {
                let filter = request.json(FILTER_BYTES_MAX).await?;
                Ok(Reply::json(200, &replay_dead_letters(world, &caller, &filter).await?))
            }
            ("POST", _, Some(id)) => Ok(Reply::json(202, &replay_write(world, &caller, id).await?)),
            (_, None, _) => Ok(Reply::method_not_allowed("GET, POST")),
            (_, Some("replay"), _) | (_, _, Some(_)) => Ok(Reply::method_not_allowed("POST")),
            ("GET", Some(id), None) => Ok(Reply::json(200, &fetch_write(world, &caller, id).await?)),
            (_, Some(_), None) => Ok(Reply::method_not_allowed("GET")),
        }
    })
    .await
}

/// 202 when every write has its row, 207 when some were refused; a single refused write is the problem itself.
async fn submit(world: &World<'_>, caller: &Caller, request: &Request) -> Result<Reply, Error> {
    let body = request.json(BODY_BYTES_MAX).await?;
    let mut answers = submit_writes(world, caller, &body).await?;
    if answers.len() == 1
        && let Some(Err(_)) = answers.first()
    {
        return answers.remove(0).map(|_| Reply::no_content());
    }
    let status = if answers.iter().any(Result::is_err) { 207 } else { 202 };
    let writes: Vec<Value> = answers
        .iter()
        .map(|answer| match answer {
            Ok(accepted) => json!(accepted.view()),
            Err(error) => json!({ "error": respond::problem_of(error, request.id()) }),
        })
        .collect();
    Ok(Reply::json(status, &json!({ "writes": writes })))
}

fn query(request: &Request) -> Result<Query, Error> {
    let text = |name| request.query(name).map(|value| value.map(str::to_owned));
    Ok(Query {
        crm: text("crm")?,
        status: text("status")?,
        permanent_failure: text("permanent_failure")?,
        object_id: text("object_id")?,
        cursor: text("cursor")?,
        limit: text("limit")?,
    })
}
