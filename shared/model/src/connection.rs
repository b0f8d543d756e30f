//! States of a connection and of its health, and the facts about a connection that providers need.
//!
//! By which mechanism records are written with one effect is in `mechanisms`.

use crate::mechanisms::{Mechanism, Mechanisms, RecordKind};
use crate::{ConnectionId, Crm, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionStatus {
    /// Tokens are held and believed good.
    Connected,
    /// The CRM refused the tokens; a person must reconnect. `last_error` says why.
    Error,
    /// Disconnected on purpose, or because the app was removed in the CRM (`last_error` says so); no tokens are held.
    Disconnected,
}

/// What the last checks of a connection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The last call worked.
    Ok,
    /// The last call failed for a reason that usually passes.
    Warning,
    /// A person must act.
    Error,
}

impl Health {
    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl ConnectionStatus {
    /// The text form used in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Error => "error",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Which connection: the key of its gate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionKey {
    /// The tenant.
    pub workspace_id: WorkspaceId,
    /// The shard that holds the tenant's tables.
    pub shard: String,
    /// The CRM.
    pub crm: Crm,
}

impl ConnectionKey {
    /// Reads what serde writes, by hand: the processors read nothing else that needs the derived code.
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            workspace_id: WorkspaceId::parse(value.get("workspace_id")?.as_str()?)?,
            shard: value.get("shard")?.as_str()?.to_owned(),
            crm: Crm::parse(value.get("crm")?.as_str()?)?,
        })
    }
}

/// What a provider must know of a connection to build a request. No token: that is added when a request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionFacts {
    /// The connection.
    pub id: ConnectionId,
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// Salesforce: `https://acme.my.salesforce.com`. HubSpot: none.
    pub instance_url: Option<String>,
    /// What was found by probing; none while nobody has probed. Known to whoever sends writes only: the gate does not say.
    #[serde(skip)]
    pub mechanisms: Option<Mechanisms>,
}

impl ConnectionFacts {
    /// Reads what serde writes, by hand as [`ConnectionKey::from_json`].
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            id: ConnectionId::parse(value.get("id")?.as_str()?)?,
            external_account_id: value.get("external_account_id")?.as_str()?.to_owned(),
            instance_url: value.get("instance_url")?.as_str().map(ToOwned::to_owned),
            mechanisms: None,
        })
    }

    /// How records of this kind are written: the safest way there is until the CRM was asked.
    pub fn mechanism(&self, kind: RecordKind) -> &Mechanism {
        self.mechanisms.as_ref().map_or(&Mechanism::LookThenCreate, |mechanisms| mechanisms.of(kind))
    }
}
