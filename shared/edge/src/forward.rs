//! Hands a request on to another Worker, untouched but for its id: what the gateway does.

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::Env;
use worker::web_sys::RequestInit;

use crate::bindings::Bindings;
use crate::log::Lines;
use crate::{Incoming, Outgoing, Reply, js, query, respond};
use flows::world::Log;

/// The id of a request that comes from outside: Cloudflare's, else a random one; never what the caller sent.
pub fn outer_request_id(raw: &Incoming) -> String {
    let ray = raw.headers().get("cf-ray").ok().flatten().filter(|text| query::is_request_id(text));
    ray.unwrap_or_else(crate::entry::random_id)
}

/// The answer of the Worker bound as `binding`; `None` when nothing is bound there.
pub async fn to(env: &Env, binding: &'static str, raw: &Incoming, request_id: &str) -> Option<Outgoing> {
    let service = Bindings::from_env(env).service(binding)?;
    let answer = async {
        let request = Incoming::new_with_request(raw)?;
        request.headers().set("x-request-id", request_id)?;
        let answer = JsFuture::from(service.fetch(&request)?).await?;
        Ok::<Outgoing, JsValue>(answer.unchecked_into())
    };
    let lines = Lines::new("gateway", request_id.to_owned());
    Some(match answer.await {
        Ok(answer) => {
            lines.event("request_forwarded", &[("step", binding), ("status", &answer.status().to_string())]);
            answer
        }
        Err(thrown) => {
            lines.event("forward_failed", &[("step", binding), ("reason", &js::message(&thrown))]);
            reply(&UNAVAILABLE, request_id)
        }
    })
}

/// Sends an order to the Worker bound as `binding`: a `POST` without a body. Its answer is ours.
pub async fn post(env: &Env, binding: &'static str, request_id: &str) -> Reply {
    ask(env, binding, "POST", request_id).await.map_or(UNAVAILABLE, Reply::passed)
}

/// Asks the Worker bound as `binding` whether it is there: the status it answers a `GET` with.
pub async fn status(env: &Env, binding: &'static str, request_id: &str) -> Option<u16> {
    ask(env, binding, "GET", request_id).await.ok().map(|answer| answer.status())
}

async fn ask(env: &Env, binding: &'static str, method: &str, request_id: &str) -> Result<Outgoing, JsValue> {
    let service = Bindings::from_env(env).service(binding).ok_or(JsValue::NULL)?;
    let init = RequestInit::new();
    init.set_method(method);
    let request = Incoming::new_with_str_and_init("https://conduit.internal/", &init)?;
    request.headers().set("x-request-id", request_id)?;
    let answer = JsFuture::from(service.fetch(&request)?).await?;
    Ok(answer.unchecked_into())
}

const UNAVAILABLE: Reply =
    Reply::problem(503, "function_unavailable", "this function is not available for now: try again shortly");

/// An answer of the gateway's own.
pub fn reply(reply: &Reply, request_id: &str) -> Outgoing {
    respond::answer(reply, request_id, None)
}
