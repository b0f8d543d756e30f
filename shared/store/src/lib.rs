//! Every SQL statement and row shape, one module per table or subject, and the [`Db`] port.
//!
//! In scope: statements as values, typed rows. Out of scope: deciding what to do; opening sealed columns; running SQL (the
//! edge does it on D1, `stub-db` on SQLite). SQL stands nowhere else: `tests/house` looks.

pub mod alarms;
pub mod attachments;
pub mod audit;
pub mod audit_chain;
pub mod conformance;
pub mod connect_sessions;
pub mod connections;
pub mod crm_accounts;
pub mod db;
pub mod deals;
pub mod erasures;
pub mod health;
pub mod install_events;
pub mod jobs;
pub mod journal_cursors;
pub mod leases;
pub mod messages;
pub mod metrics;
pub mod oauth_states;
pub mod pending_installs;
pub mod redaction;
pub mod replays;
pub mod resealing;
pub mod retention;
pub mod retention_policies;
pub mod scope;
pub mod uninstalls;
pub mod workspaces;
pub mod writes;

pub use db::{Bind, Db, DbError, Outcome, Statement};
pub use scope::WorkspaceScope;
