//! The deeds: one public function per file, each touching the world only through [`World`].
//!
//! In scope: the order in which things happen, and what is committed together. Out of scope: SQL text (`store`), a CRM's HTTP
//! (`providers`), Cloudflare (`edge`), HTML (`pages`).

pub mod alarm;
pub mod audit;
pub mod authenticate;
pub mod authorize_install;
pub mod change_policy;
pub mod check_health;
pub mod claim_install;
pub mod decline_install;
pub mod deliver_alarms;
pub mod disconnect;
pub mod erase_person;
pub mod error;
pub mod finish_oauth;
pub mod gate;
pub mod gate_keeper;
pub mod link_threads;
pub mod mint_link;
pub mod open_link;
pub mod process_writes;
pub mod purge_installs;
pub mod purge_retention;
pub mod rare;
pub mod read_audit;
pub mod read_connections;
pub mod read_install;
pub mod read_metrics;
pub mod read_policy;
pub mod read_readiness;
pub mod read_session;
pub mod read_writes;
pub mod reconcile_connections;
pub mod reconcile_crm_writes;
pub mod reconcile_writes;
pub mod remove_attachments;
pub mod replay_writes;
pub mod reseal_tokens;
pub mod return_to;
pub mod run_job;
pub mod seal_audit;
pub mod send_lot;
pub mod start_install;
pub mod start_oauth;
pub mod submit_writes;
pub mod verify_audit;
pub mod watch_installs;
pub mod world;

mod allowance;
mod connect_account;
mod end_grant;
mod end_removed;
mod exchange;
mod install_tokens;
mod lease;
mod open_token;
mod own_account;
mod page;
mod park_install;
mod probe_account;
mod refresh_token;
mod renew_install;
mod retry;
mod ring;
mod slices;
mod withdraw_install;

pub use error::{Error, Kind};
pub use world::{Keys, Settings, Tenant, World};
