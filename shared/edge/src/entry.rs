//! The way in for HTTP and cron doors: builds the world, runs the deed, makes a response of what it came to.
//!
//! A door is one screen:
//!
//! ```ignore
//! use edge::{Door, Incoming, Reply, Served, Uses, serve};
//! use worker::{Context, Env, event};
//!
//! #[event(fetch)]
//! async fn fetch(request: Incoming, env: Env, _ctx: Context) -> Served {
//!     let door = Door::using("crm-writes", Uses::NONE.signatures().queue());
//!     serve(door, request, env, async |world, request| {
//!         let caller = flows::authenticate(world, request.bearer(), request.query("workspace_id")?).await?;
//!         match (request.method().as_str(), request.rest()) {
//!             ("POST", None) => {
//!                 let body = request.json(edge::request::BODY_BYTES_MAX).await?;
//!                 Ok(Reply::json(202, &flows::submit_writes(world, &caller, &body).await?))
//!             }
//!             ("GET", Some(id)) => Ok(Reply::json(200, &flows::show_write(world, &caller, id).await?)),
//!             _ => Ok(Reply::method_not_allowed("GET, POST")),
//!         }
//!     })
//!     .await
//! }
//! ```
//!
//! A door that browsers meet passes a renderer, `Door::browser("hubspot-oauth-callback", pages_error)`: a refusal is then
//! a page where the request accepts `text/html`, and a problem document elsewhere. A cron door calls the methods of
//! [`crate::Job`], a queue consumer [`crate::consume()`].

use std::convert::Infallible;
use std::error::Error as _;
use std::rc::Rc;

use crypto::random::{OsRandom, array};
use flows::{Error, World};
use worker::Env;

use crate::log::Lines;
use crate::{Ports, Reply, Request, Uses, log, query, respond};

/// The request as the runtime gives it.
pub type Incoming = worker::web_sys::Request;
/// The response as the runtime takes it.
pub type Outgoing = worker::web_sys::Response;
/// What a door returns: there is always an answer. (`worker::Error` would bring its 10 KB of formatting along.)
pub type Served = Result<Outgoing, Infallible>;
/// Makes a page of a refusal and the request's id.
pub type ErrorPage = fn(&Error, &str) -> pages::Html;

/// What the edge must know of a door.
#[derive(Clone, Copy)]
pub struct Door {
    worker: &'static str,
    page: Option<ErrorPage>,
    uses: Uses,
}

impl Door {
    /// A door for authenticated callers: it checks signatures, and uses no further port unless the door names it.
    pub const fn api(worker: &'static str) -> Self {
        Self { worker, page: None, uses: Uses::NONE.signatures() }
    }

    /// A door that the CRM sends browsers to: it calls the provider and tells the gate.
    pub const fn browser(worker: &'static str, page: ErrorPage) -> Self {
        Self { worker, page: Some(page), uses: Uses::NONE.http().gate().tokens().states() }
    }

    /// A door of pages of ours: a refusal is a page where a browser asks.
    pub const fn page(worker: &'static str, uses: Uses, page: ErrorPage) -> Self {
        Self { worker, page: Some(page), uses }
    }

    /// A door for authenticated callers that uses more: `Door::using("crm-writes", Uses::NONE.signatures().queue())`.
    pub const fn using(worker: &'static str, uses: Uses) -> Self {
        Self { worker, page: None, uses }
    }
}

/// Answers one HTTP request.
pub async fn serve<F>(door: Door, raw: Incoming, env: Env, deed: F) -> Served
where
    F: AsyncFnOnce(&World<'_>, &Request) -> Result<Reply, Error>,
{
    log::on_panic(door.worker);
    let id = request_id(&raw);
    let lines = Rc::new(Lines::new(door.worker, id.clone()));
    let request = Request::new(raw, id);
    let mut counts = None;
    let outcome = match Ports::open(&env, &lines, door.uses) {
        Ok(ports) => {
            let outcome = deed(&ports.world(), &request).await;
            counts = ports.counts();
            outcome
        }
        Err(error) => Err(error),
    };
    let reply = outcome.unwrap_or_else(|error| refusal(door, &request, error));
    if let Some(error) = reply.refusal() {
        refused(&lines, error, &[("method", &request.method()), ("path", request.path())]);
    }
    Ok(respond::answer(&reply, request.id(), counts.as_deref()))
}

/// A refusal: a page where the door has one and a browser asks.
#[inline(never)]
fn refusal(door: Door, request: &Request, error: Error) -> Reply {
    let page = door.page.filter(|_| request.accepts_html()).map(|page| page(&error, request.id()));
    Reply::refused(error, page)
}

/// Logs why a deed did not happen: its code, and the cause's words, which name codes and never a secret.
#[inline(never)]
pub(crate) fn refused(lines: &Lines, error: &Error, more: &[(&'static str, &str)]) {
    let status = respond::status(error.kind()).to_string();
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let mut fields = vec![("code", error.code()), ("status", status.as_str()), ("reason", reason.as_str())];
    fields.extend_from_slice(more);
    lines.with_caller("refused", &fields);
}

/// The gateway's id for this request, else Cloudflare's, else a random one. The functions are reached through the
/// gateway only, which replaces what a caller sent.
fn request_id(raw: &Incoming) -> String {
    let header = |name: &str| raw.headers().get(name).ok().flatten().filter(|text| query::is_request_id(text));
    header("x-request-id").or_else(|| header("cf-ray")).unwrap_or_else(random_id)
}

/// An id for work that came without one.
pub fn random_id() -> String {
    let bytes: [u8; 12] = array(&OsRandom).unwrap_or_default();
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(digit).collect()
}
