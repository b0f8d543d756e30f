//! Cloudflare to [`flows::World`], requests to words, words to responses: the only crate that knows Cloudflare.
//!
//! In scope: bindings, D1, fetch, queue, gate, signatures, logs, status codes, headers. Out of scope: deciding anything.
//! A door calls [`serve`], [`consume()`] or a method of [`Job`]; each builds the world, runs one deed and answers. A Durable
//! Object takes its world from [`Ports`].

pub mod bindings;
pub mod body;
pub mod cache;
pub mod caller;
pub mod checks;
pub mod claim;
pub mod configuration;
pub mod connect;
pub mod consume;
pub mod db;
pub mod entry;
pub mod forward;
pub mod gate;
pub mod http;
pub mod job;
pub mod js;
pub mod jwks;
pub mod log;
pub mod meter;
pub mod oauth;
pub mod objects;
pub mod operator;
pub mod ports;
pub mod query;
pub mod queue;
pub mod reply;
pub mod request;
pub mod respond;
pub mod rounds;
pub mod session;
pub mod signatures;
pub mod uses;
pub mod waiting;

pub use checks::check_rounds;
pub use consume::{Batch, Heard, consume};
pub use entry::{Door, ErrorPage, Incoming, Outgoing, Served, serve};
pub use job::Job;
pub use ports::Ports;
pub use reply::Reply;
pub use request::Request;
pub use uses::Uses;
