//! Reading a workspace's connections: status, account, scopes, health. Never a token, sealed or not.

use crate::authenticate::Caller;
use crate::{Error, World};
use model::{ConnectionStatus, Crm, Health, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store::connections::{self, Connection};

/// A connection as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// `cx_…`
    pub id: String,
    /// `hubspot` or `salesforce`.
    pub crm: Crm,
    /// Whether it can be used.
    pub status: ConnectionStatus,
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// A name people know it by.
    pub external_account_name: Option<String>,
    /// Salesforce only.
    pub instance_url: Option<String>,
    /// Granted.
    pub scopes: Vec<String>,
    /// What is wrong and what to do, when something is.
    pub last_error: Option<LastError>,
    /// How the last checks went.
    pub health: Option<HealthView>,
    /// By which mechanism each kind of record is written with one effect; none until the connection was probed.
    pub mechanisms: Option<Value>,
    /// When it was last connected.
    pub connected_at: String,
    /// The last time a call through it is known to have worked.
    pub heartbeat_at: Option<String>,
    /// When the row last changed.
    pub updated_at: String,
}

/// What is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// Stable.
    pub code: String,
    /// What a person can do.
    pub advice: Option<String>,
}

/// How the last checks went.
#[derive(Clone, Debug, Serialize)]
pub struct HealthView {
    /// `ok`, `warning` or `error`.
    pub status: Health,
    /// A sentence.
    pub detail: Option<String>,
    /// How many checks in a row failed.
    pub consecutive_failures: u32,
    /// When it was last checked.
    pub checked_at: Option<String>,
}

/// All connections of the workspace.
pub async fn list_connections(world: &World<'_>, caller: &Caller) -> Result<Vec<ConnectionView>, Error> {
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let rows = connections::list(tenant.db, &tenant.scope).await?;
    Ok(rows.iter().map(view).collect())
}

fn view(row: &Connection) -> ConnectionView {
    ConnectionView {
        id: row.id.to_string(),
        crm: row.crm,
        status: row.status,
        external_account_id: row.external_account_id.clone(),
        external_account_name: row.external_account_name.clone(),
        instance_url: row.instance_url.clone(),
        scopes: serde_json::from_str(&row.scopes_json).unwrap_or_default(),
        last_error: row.last_error_code.clone().map(|code| LastError { code, advice: row.last_error.clone() }),
        health: row.health.map(|status| HealthView {
            status,
            detail: row.health_detail.clone(),
            consecutive_failures: row.consecutive_failures.unwrap_or_default(),
            checked_at: row.health_checked_at.map(Timestamp::iso),
        }),
        mechanisms: row.mechanisms_json.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        connected_at: row.connected_at.iso(),
        heartbeat_at: row.heartbeat_at.map(Timestamp::iso),
        updated_at: row.updated_at.iso(),
    }
}
