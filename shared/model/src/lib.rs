//! The words of Conduit: ids, states, limits, and the pure decisions between states.
//!
//! In scope: newtypes, enums, table-tested total functions.
//! Out of scope: async, I/O, clocks, randomness, SQL, HTTP. Time comes in as a [`time::Timestamp`], chance as a number.

pub mod backoff;
pub mod budget;
pub mod connection;
pub mod crm;
pub mod curated;
pub mod doorbell;
pub mod health;
pub mod id;
pub mod install;
pub mod json;
pub mod line;
pub mod mechanisms;
pub mod oauth;
pub mod refresh;
pub mod retention;
pub mod role;
pub mod secret;
pub mod time;
pub mod write;

pub use connection::{ConnectionStatus, Health};
pub use crm::Crm;
pub use id::{AlarmId, AttemptId, AuditId, ConnectionId, ErasureId, InstallId, UserId, WorkspaceId, WriteId};
pub use install::InstallStatus;
pub use role::Role;
pub use secret::Secret;
pub use time::Timestamp;
