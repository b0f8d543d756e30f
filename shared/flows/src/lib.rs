//! The deeds: one public function per file, each touching the world only through [`World`].
//!
//! In scope: the order in which things happen, and what is committed together. Out of scope: SQL text (`store`), a CRM's HTTP
//! (`providers`), Cloudflare (`edge`), HTML (`pages`).

pub mod error;
pub mod gate;
pub mod world;

pub use error::{Error, Kind};
pub use world::{Keys, Settings, Tenant, World};
