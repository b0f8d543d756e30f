//! The `World`: everything a deed may touch, as one struct of ports. The edge builds one from bindings, the simulator from
//! a seed. Single-threaded on both sides, so no port is `Send`.

use async_trait::async_trait;
use crypto::Keyring;
use crypto::random::Random;
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use model::health::CheckRound;
use model::{Crm, Secret, Timestamp, WorkspaceId};
use providers::http::{Answer, Request};
use providers::oauth::AppCredentials;
use providers::stub;
use store::{Db, WorkspaceScope};

use crate::Error;
use crate::gate::Gate;

/// The shard that is the directory's own database: changes to both are one batch there.
pub const DIRECTORY: &str = "DB";

/// Sends one request to a provider: redirects are not followed, the host was checked by the adapter, the deadline is kept.
#[async_trait(?Send)]
pub trait Http {
    /// The answer, or what is known of its absence.
    async fn send(&self, request: Request) -> Answer;
}

/// Rings the queue. A ring that is lost costs time, not a write: the log is the truth.
#[async_trait(?Send)]
pub trait Queue {
    /// Enqueues doorbells, to be heard after `delay_secs` (at most 12 hours).
    async fn ring(&self, doorbells: Vec<Doorbell>, delay_secs: u32) -> Result<(), QueueUnavailable>;

    /// Enqueues health checks, each to be heard after its own seconds. Only the job that makes them has the queue for it.
    async fn check(&self, rounds: Vec<(CheckRound, u32)>) -> Result<(), QueueUnavailable> {
        if rounds.is_empty() { Ok(()) } else { Err(QueueUnavailable) }
    }
}

/// The queue did not take the message (or took it and did not say so).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is not available")]
pub struct QueueUnavailable;

/// Checks the signature of a JWT whose key is not ours to hold: RS256 and ES256 against the configured JWKS.
#[async_trait(?Send)]
pub trait Signatures {
    /// Whether the signature is good; `Err` when the keys cannot be had.
    async fn verify(&self, token: &crypto::jwt::Unverified) -> Result<bool, KeysUnavailable>;
}

/// The JWKS could not be fetched and none is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing keys of the host product are not available")]
pub struct KeysUnavailable;

/// One line per event. Fields are an allow-list: ids, codes, counts; never a token, a body or a person.
pub trait Log {
    /// Writes one event.
    fn event(&self, name: &'static str, fields: &[(&'static str, &str)]);
}

/// The databases of the tenants, by the name in `workspaces.shard`.
pub trait Shards {
    /// The database of that name, if it is bound.
    fn open(&self, name: &str) -> Option<&dyn Db>;

    /// All names, for jobs that walk them.
    fn names(&self) -> Vec<String>;
}

/// The secrets a Worker holds. Each is absent where the Worker has no business with it: an OAuth start cannot open tokens.
#[derive(Default)]
pub struct Keys {
    /// Opens and seals tokens.
    pub tokens: Option<Keyring>,
    /// Of which a flow in progress makes its PKCE verifier.
    pub states: Option<Keyring>,
    /// Verifies the host product's HS256 JWT.
    pub jwt_secret: Option<Secret<String>>,
    /// Signs the outgoing webhook.
    pub webhook_secret: Option<Secret<String>>,
}

/// What a deployment configures.
#[derive(Default)]
pub struct Settings {
    /// Where the gateway answers: `https://conduit.example.com`.
    pub public_origin: String,
    /// Origins `return_to` may point to.
    pub return_to_origins: Vec<String>,
    /// True unless switched off: no mutating request leaves.
    pub dry_run: bool,
    /// The HubSpot app.
    pub hubspot: Option<AppCredentials>,
    /// The Salesforce app.
    pub salesforce: Option<AppCredentials>,
    /// `iss` the host product's JWT must carry, when set.
    pub jwt_issuer: Option<String>,
    /// `aud` it must carry, when set.
    pub jwt_audience: Option<String>,
    /// JWTs are checked against a JWKS instead of the HS256 secret.
    pub jwks: bool,
    /// Where people sign in to the product, or sign up: a claim without a session is sent there.
    pub sign_in_url: Option<String>,
    /// Where alarms are delivered, if anywhere.
    pub webhook_url: Option<String>,
    /// Local only: the browser meets the stand-in CRM here instead of the real authorize pages.
    pub stand_in_origin: Option<String>,
}

impl Settings {
    /// The app registered with a CRM, or a clear refusal.
    pub fn app(&self, crm: Crm) -> Result<&AppCredentials, Error> {
        match crm {
            Crm::Hubspot => self.hubspot.as_ref(),
            Crm::Salesforce => self.salesforce.as_ref(),
        }
        .ok_or(Error::CrmNotConfigured(crm))
    }
}

/// The clock on the wall, for what lasts longer than a moment: whether a lease still holds, when an answer came. What a
/// request decides and stores is as of [`World::now`] unless it says otherwise.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Facts about CRM accounts that can be asked for again. Losing all of it costs time.
#[async_trait(?Send)]
pub trait Cache {
    /// What was kept under a key, unless its time is over.
    async fn get(&self, key: &str) -> Option<String>;

    /// Keeps it for `ttl_secs` (60 at least), or does not.
    async fn put(&self, key: &str, value: &str, ttl_secs: u32);
}

/// Everything a deed may touch.
pub struct World<'a> {
    /// The one time of this request.
    pub now: Timestamp,
    /// The time as it goes on.
    pub clock: &'a dyn Clock,
    /// The id every log line, audit event and problem of this request carries.
    pub request_id: String,
    /// Workspaces, members, service tokens, OAuth states.
    pub directory: &'a dyn Db,
    /// The tenants' tables.
    pub shards: &'a dyn Shards,
    /// The way to the CRMs.
    pub http: &'a dyn Http,
    /// The doorbell.
    pub queue: &'a dyn Queue,
    /// The owners of tokens and budgets.
    pub gate: &'a dyn Gate,
    /// Facts about CRM accounts.
    pub cache: &'a dyn Cache,
    /// Signatures made with keys of others.
    pub signatures: &'a dyn Signatures,
    /// Chance.
    pub random: &'a dyn Random,
    /// Secrets.
    pub keys: &'a Keys,
    /// Configuration.
    pub settings: &'a Settings,
    /// Events.
    pub log: &'a dyn Log,
}

/// A tenant: its database and the scope every statement on it takes.
pub struct Tenant<'a> {
    /// The shard.
    pub db: &'a dyn Db,
    /// The confinement.
    pub scope: WorkspaceScope,
}

impl World<'_> {
    /// A URL of a CRM's own pages as this deployment's browsers can open it: on the stand-in, where there is one.
    pub fn browser_url(&self, url: String) -> String {
        match &self.settings.stand_in_origin {
            Some(origin) => stub::on_stand_in(&url, origin),
            None => url,
        }
    }
}

impl<'a> World<'a> {
    /// The database and scope of a workspace whose shard is known.
    pub fn tenant(&self, workspace_id: &WorkspaceId, shard: &str) -> Result<Tenant<'a>, Error> {
        let db = self.shards.open(shard).ok_or_else(|| Error::ShardMissing(shard.to_owned()))?;
        Ok(Tenant { db, scope: WorkspaceScope::of(workspace_id.clone()) })
    }

    /// The tenant of a connection.
    pub fn tenant_of(&self, key: &ConnectionKey) -> Result<Tenant<'a>, Error> {
        self.tenant(&key.workspace_id, &key.shard)
    }

    /// The keyring for tokens, where this Worker holds one.
    pub fn token_keys(&self) -> Result<&'a Keyring, Error> {
        self.keys.tokens.as_ref().ok_or(Error::SecretMissing("TOKEN_ENC_KEY_B64"))
    }

    /// The keyring for flows in progress, where this Worker holds one.
    pub fn state_keys(&self) -> Result<&'a Keyring, Error> {
        self.keys.states.as_ref().ok_or(Error::SecretMissing("STATE_MAC_KEY_B64"))
    }
}
