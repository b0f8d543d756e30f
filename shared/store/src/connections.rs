//! `crm_connections` and `connection_health`: a workspace's link to a CRM account, its sealed tokens and how it is doing.
//! Tenant tables. Sealed columns are opened by `flows` with the vault; nothing here reads them.

use crate::db::{Bind, Db, DbError, Statement, run};
use crate::scope::WorkspaceScope;
use model::connection::ConnectionFacts;
use model::mechanisms::Mechanisms;
use model::{ConnectionId, ConnectionStatus, Crm, Health, Timestamp};
use serde::Deserialize;

/// A connection's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Connection {
    /// Which CRM.
    pub crm: Crm,
    /// Its id, kept over reconnects.
    pub id: ConnectionId,
    /// Whether it can be used.
    pub status: ConnectionStatus,
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// A name people know it by.
    pub external_account_name: Option<String>,
    /// Salesforce only.
    pub instance_url: Option<String>,
    /// Salesforce only.
    pub login_host: Option<String>,
    /// A JSON list.
    pub scopes_json: String,
    /// Sealed.
    pub access_token_sealed: Option<String>,
    /// Sealed.
    pub refresh_token_sealed: Option<String>,
    /// When the access token ends, as far as known.
    pub expires_at: Option<Timestamp>,
    /// Grows with every stored token; part of the seal.
    pub token_generation: u64,
    /// A refresh began then and its end was not stored.
    pub refresh_started_at: Option<Timestamp>,
    /// Who began it.
    pub refresh_id: Option<String>,
    /// This token came of a refresh then, because the one before was refused.
    pub token_refused_at: Option<Timestamp>,
    /// Stable code of `last_error`.
    pub last_error_code: Option<String>,
    /// What a person can do about it.
    pub last_error: Option<String>,
    /// The last time a call through it worked.
    pub heartbeat_at: Option<Timestamp>,
    /// When it was last connected.
    pub connected_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
    /// What probing found; none until it was done.
    pub mechanisms_json: Option<String>,
    /// When that last changed.
    pub mechanisms_at: Option<Timestamp>,
    /// From `connection_health`.
    pub health: Option<Health>,
    /// From `connection_health`.
    pub health_detail: Option<String>,
    /// From `connection_health`.
    pub health_checked_at: Option<Timestamp>,
    /// From `connection_health`.
    pub consecutive_failures: Option<u32>,
    /// From `connection_health`.
    pub consecutive_refusals: Option<u32>,
    /// From `connection_health`: when it is checked next.
    pub check_at: Option<Timestamp>,
}

impl Connection {
    /// What adapters must know, but for the mechanisms, which are a write's concern ([`Target`]).
    pub fn facts(&self) -> ConnectionFacts {
        ConnectionFacts {
            id: self.id.clone(),
            external_account_id: self.external_account_id.clone(),
            instance_url: self.instance_url.clone(),
            mechanisms: None,
        }
    }
}

/// What a lease must know of the connection its writes go through. No token, sealed or not, and nothing of its health.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// The connection.
    pub id: ConnectionId,
    /// Its CRM.
    pub crm: Crm,
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// Salesforce: where the org answers.
    pub instance_url: Option<String>,
    /// When it was made, or made anew.
    pub connected_at: Timestamp,
    mechanisms_json: Option<String>,
    /// When its mechanisms were found, or forgotten.
    pub mechanisms_at: Option<Timestamp>,
}

impl Target {
    /// What adapters must know, with what probing found.
    pub fn facts(&self) -> ConnectionFacts {
        let mechanisms = self.mechanisms_json.as_deref().and_then(|text| serde_json::from_str(text).ok());
        ConnectionFacts {
            id: self.id.clone(),
            external_account_id: self.external_account_id.clone(),
            instance_url: self.instance_url.clone(),
            mechanisms: mechanisms.map(|found| Mechanisms::from_json(&found)),
        }
    }
}

/// Which CRMs the workspace is connected to, as [`ConnectedCrm`].
pub fn select_connected(scope: &WorkspaceScope) -> Statement {
    Statement::new(
        "SELECT crm FROM crm_connections WHERE workspace_id = ?1 AND status <> 'disconnected'",
        [Bind::from(scope.workspace_id().as_str())],
    )
}

/// A CRM that the workspace is connected to.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ConnectedCrm {
    /// Which.
    pub crm: Crm,
}

/// The statement that reads a connection as the target of writes, for use in a batch.
pub fn select_target(scope: &WorkspaceScope, crm: Crm) -> Statement {
    Statement::new(
        "SELECT id, crm, external_account_id, instance_url, connected_at, mechanisms_json, mechanisms_at
         FROM crm_connections WHERE workspace_id = ?1 AND crm = ?2",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into()],
    )
}

/// The statement that reads one connection, for use in a batch.
pub fn select(scope: &WorkspaceScope, crm: Crm) -> Statement {
    Statement::new(
        "SELECT c.crm, c.id, c.status, c.external_account_id, c.external_account_name, c.instance_url, c.login_host,
             c.scopes_json, c.access_token_sealed, c.refresh_token_sealed, c.expires_at, c.token_generation,
             c.refresh_started_at, c.refresh_id, c.token_refused_at, c.last_error_code, c.last_error, c.heartbeat_at,
             c.connected_at, c.updated_at, c.mechanisms_json, c.mechanisms_at,
             h.status AS health, h.detail AS health_detail, h.checked_at AS health_checked_at, h.consecutive_failures,
             h.consecutive_refusals, h.check_at
         FROM crm_connections c
         LEFT JOIN connection_health h ON h.workspace_id = c.workspace_id AND h.crm = c.crm
         WHERE c.workspace_id = ?1 AND c.crm = ?2",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into()],
    )
}

/// The workspace's connection to a CRM.
pub async fn fetch(db: &dyn Db, scope: &WorkspaceScope, crm: Crm) -> Result<Option<Connection>, DbError> {
    run(db, select(scope, crm)).await?.first()
}

/// All connections of the workspace; there is at most one per CRM.
pub async fn list(db: &dyn Db, scope: &WorkspaceScope) -> Result<Vec<Connection>, DbError> {
    let statement = Statement::new(
        "SELECT c.crm, c.id, c.status, c.external_account_id, c.external_account_name, c.instance_url, c.login_host,
             c.scopes_json, c.access_token_sealed, c.refresh_token_sealed, c.expires_at, c.token_generation,
             c.refresh_started_at, c.refresh_id, c.token_refused_at, c.last_error_code, c.last_error, c.heartbeat_at,
             c.connected_at, c.updated_at, c.mechanisms_json, c.mechanisms_at,
             h.status AS health, h.detail AS health_detail, h.checked_at AS health_checked_at, h.consecutive_failures,
             h.consecutive_refusals, h.check_at
         FROM crm_connections c
         LEFT JOIN connection_health h ON h.workspace_id = c.workspace_id AND h.crm = c.crm
         WHERE c.workspace_id = ?1 ORDER BY c.crm LIMIT 10",
        [Bind::from(scope.workspace_id().as_str())],
    );
    run(db, statement).await?.rows()
}

/// A connection as it is after a consent.
#[derive(Clone, Debug)]
pub struct Connected<'a> {
    /// Minted at the first connect; a reconnect passes the existing one.
    pub id: &'a ConnectionId,
    /// Which CRM.
    pub crm: Crm,
    /// The hub id or 18-character org id.
    pub external_account_id: &'a str,
    /// A name people know it by.
    pub external_account_name: Option<&'a str>,
    /// The CRM user who consented.
    pub external_user_id: Option<&'a str>,
    /// Salesforce only.
    pub instance_url: Option<&'a str>,
    /// Salesforce only.
    pub login_host: Option<&'a str>,
    /// A JSON list.
    pub scopes_json: &'a str,
    /// Sealed for `token_generation`.
    pub access_token_sealed: &'a str,
    /// Sealed for `token_generation`.
    pub refresh_token_sealed: Option<&'a str>,
    /// When the access token ends, as far as known.
    pub expires_at: Option<Timestamp>,
    /// One more than the generation that was read (`expected_generation`).
    pub token_generation: u64,
    /// Who consented on our side.
    pub connected_by: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// Connects or reconnects: a compare-and-set on the generation that was read (`token_generation` − 1, or no row), and on the
/// account, unless the row is disconnected. Changes nothing when another request was faster or the account is another.
pub fn connect(scope: &WorkspaceScope, c: &Connected<'_>) -> Statement {
    Statement::new(
        "INSERT INTO crm_connections (workspace_id, crm, id, status, external_account_id, external_account_name,
             external_user_id, instance_url, login_host, scopes_json, access_token_sealed, refresh_token_sealed,
             expires_at, token_generation, connected_by, heartbeat_at, connected_at, created_at, updated_at)
         VALUES (?1, ?2, ?3, 'connected', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?15, ?15)
         ON CONFLICT (workspace_id, crm) DO UPDATE SET
             status = 'connected', external_account_id = excluded.external_account_id,
             external_account_name = excluded.external_account_name, external_user_id = excluded.external_user_id,
             instance_url = excluded.instance_url, login_host = excluded.login_host, scopes_json = excluded.scopes_json,
             access_token_sealed = excluded.access_token_sealed, refresh_token_sealed = excluded.refresh_token_sealed,
             expires_at = excluded.expires_at, token_generation = excluded.token_generation,
             refresh_started_at = NULL, refresh_id = NULL, token_refused_at = NULL, mechanisms_json = NULL,
             last_error_code = NULL, last_error = NULL, connected_by = excluded.connected_by,
             heartbeat_at = excluded.heartbeat_at, connected_at = excluded.connected_at, updated_at = excluded.updated_at
         WHERE crm_connections.id = excluded.id
             AND crm_connections.token_generation = excluded.token_generation - 1
             AND (crm_connections.status = 'disconnected'
                  OR crm_connections.external_account_id = excluded.external_account_id)",
        [
            Bind::from(scope.workspace_id().as_str()),
            c.crm.as_str().into(),
            c.id.as_str().into(),
            c.external_account_id.into(),
            c.external_account_name.into(),
            c.external_user_id.into(),
            c.instance_url.into(),
            c.login_host.into(),
            c.scopes_json.into(),
            c.access_token_sealed.into(),
            c.refresh_token_sealed.into(),
            c.expires_at.into(),
            generation(c.token_generation),
            c.connected_by.into(),
            c.at.into(),
        ],
    )
}

/// Fails the batch unless the connection has this id and generation: for what may only stand together with a [`connect`] that
/// changed something.
pub fn must_hold(scope: &WorkspaceScope, crm: Crm, id: &ConnectionId, token_generation: u64) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET status = CASE WHEN id = ?3 AND token_generation = ?4 THEN status ELSE NULL END
         WHERE workspace_id = ?1 AND crm = ?2",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            id.as_str().into(),
            generation(token_generation),
        ],
    )
}

/// A refresh about to begin.
#[derive(Clone, Copy, Debug)]
pub struct RefreshIntent<'a> {
    /// The generation to be refreshed.
    pub expected_generation: u64,
    /// The refresh found open, which this one takes over; `None` when none was.
    pub found: Option<&'a str>,
    /// Names this one.
    pub id: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// Records that a refresh begins, before the call leaves: a crash after it is seen by the next caller. Changes nothing when
/// the generation moved, the connection is not connected, or another refresh than the one found is open. Safe to repeat. A
/// connection that health checks gave up keeps its tokens fresh: they look whether it works again.
pub fn begin_refresh(scope: &WorkspaceScope, crm: Crm, intent: &RefreshIntent<'_>) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET refresh_started_at = ?4, refresh_id = ?5
         WHERE workspace_id = ?1 AND crm = ?2 AND token_generation = ?3
             AND (status = 'connected' OR (status = 'error' AND last_error_code = 'access_refused'))
             AND (refresh_id IS ?6 OR refresh_id = ?5)",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            generation(intent.expected_generation),
            intent.at.into(),
            intent.id.into(),
            intent.found.into(),
        ],
    )
}

/// Tokens that a refresh brought.
#[derive(Clone, Debug)]
pub struct Refreshed<'a> {
    /// The generation that was refreshed.
    pub expected_generation: u64,
    /// Sealed for the next generation.
    pub access_token_sealed: &'a str,
    /// Sealed for the next generation: the new one, or the old one sealed again.
    pub refresh_token_sealed: &'a str,
    /// When the access token ends, as far as known.
    pub expires_at: Option<Timestamp>,
    /// The provider may move an org; `None` keeps what is stored.
    pub instance_url: Option<&'a str>,
    /// Now, when the token before was refused by the CRM; otherwise `None`.
    pub refused_at: Option<Timestamp>,
    /// Now.
    pub at: Timestamp,
}

/// Saves refreshed tokens by compare-and-set on the generation. Changes nothing when another save was faster.
pub fn save_refresh(scope: &WorkspaceScope, crm: Crm, r: &Refreshed<'_>) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET access_token_sealed = ?4, refresh_token_sealed = ?5, expires_at = ?6,
             instance_url = COALESCE(?7, instance_url), token_generation = token_generation + 1,
             refresh_started_at = NULL, refresh_id = NULL, token_refused_at = ?9, heartbeat_at = ?8, updated_at = ?8
         WHERE workspace_id = ?1 AND crm = ?2 AND token_generation = ?3
             AND (status = 'connected' OR (status = 'error' AND last_error_code = 'access_refused'))",
        refresh_binds(scope, crm, r),
    )
}

fn refresh_binds(scope: &WorkspaceScope, crm: Crm, r: &Refreshed<'_>) -> [Bind; 9] {
    [
        scope.workspace_id().as_str().into(),
        crm.as_str().into(),
        generation(r.expected_generation),
        r.access_token_sealed.into(),
        r.refresh_token_sealed.into(),
        r.expires_at.into(),
        r.instance_url.into(),
        r.at.into(),
        r.refused_at.into(),
    ]
}

/// Saves refreshed tokens of a connection that was marked because they seemed lost, and brings it back. Changes nothing when
/// its generation moved or it was marked for another reason.
pub fn heal_refresh(scope: &WorkspaceScope, crm: Crm, r: &Refreshed<'_>) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET access_token_sealed = ?4, refresh_token_sealed = ?5, expires_at = ?6,
             instance_url = COALESCE(?7, instance_url), token_generation = token_generation + 1, status = 'connected',
             last_error_code = NULL, last_error = NULL, refresh_started_at = NULL, refresh_id = NULL,
             token_refused_at = ?9, heartbeat_at = ?8, updated_at = ?8
         WHERE workspace_id = ?1 AND crm = ?2 AND token_generation = ?3 AND status = 'error'
             AND last_error_code IN ('refresh_interrupted', 'grant_revoked')",
        refresh_binds(scope, crm, r),
    )
}

/// The refresh certainly did not spend the token: its intent is taken back.
pub fn abandon_refresh(scope: &WorkspaceScope, crm: Crm, expected_generation: u64, id: &str) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET refresh_started_at = NULL, refresh_id = NULL
         WHERE workspace_id = ?1 AND crm = ?2 AND token_generation = ?3 AND refresh_id = ?4",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), generation(expected_generation), id.into()],
    )
}

/// A connection that needs a person.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// The generation whose tokens failed.
    pub expected_generation: u64,
    /// The refresh that is open: a failure under somebody else's refresh is not the last word.
    pub refresh_id: Option<&'a str>,
    /// Stable.
    pub code: &'a str,
    /// What a person can do about it.
    pub advice: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// Marks the connection as needing a person, if it is connected (or given up by health checks only), still has this generation
/// and no other refresh is open.
pub fn mark_error(scope: &WorkspaceScope, crm: Crm, failed: &Failed<'_>) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET status = 'error', last_error_code = ?4, last_error = ?5, refresh_started_at = NULL,
             refresh_id = NULL, updated_at = ?6
         WHERE workspace_id = ?1 AND crm = ?2 AND token_generation = ?3 AND refresh_id IS ?7
             AND (status = 'connected' OR (status = 'error' AND last_error_code = 'access_refused'))",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            generation(failed.expected_generation),
            failed.code.into(),
            failed.advice.into(),
            failed.at.into(),
            failed.refresh_id.into(),
        ],
    )
}

/// Forgets the tokens. The generation grows, so that a refresh in flight cannot bring them back.
pub fn disconnect(scope: &WorkspaceScope, crm: Crm, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET status = 'disconnected', access_token_sealed = NULL, refresh_token_sealed = NULL,
             expires_at = NULL, token_generation = token_generation + 1, refresh_started_at = NULL,
             refresh_id = NULL, token_refused_at = NULL, last_error_code = NULL, last_error = NULL, updated_at = ?3
         WHERE workspace_id = ?1 AND crm = ?2 AND status <> 'disconnected'",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), at.into()],
    )
}

/// Keeps what probing found, if nobody kept anything meanwhile and the connection is still the one that was probed.
pub fn keep_mechanisms(
    scope: &WorkspaceScope,
    crm: Crm,
    found: &Mechanisms,
    connected_at: Timestamp,
    at: Timestamp,
) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET mechanisms_json = ?3, mechanisms_at = ?5, updated_at = ?5
         WHERE workspace_id = ?1 AND crm = ?2 AND connected_at = ?4 AND mechanisms_json IS NULL AND status = 'connected'",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            found.to_json().to_string().into(),
            connected_at.into(),
            at.into(),
        ],
    )
}

/// Forgets what probing found, if it is still that: the CRM contradicted it. The next lot probes again.
pub fn forget_mechanisms(scope: &WorkspaceScope, crm: Crm, found_at: Option<Timestamp>, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE crm_connections SET mechanisms_json = NULL, updated_at = ?4
         WHERE workspace_id = ?1 AND crm = ?2 AND mechanisms_at IS ?3 AND mechanisms_json IS NOT NULL",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), found_at.into(), at.into()],
    )
}

/// Sets the health if the statement before it in the batch changed a row: what a connect, a refresh or the gate found. The
/// connection is checked at `check_at`; none: not until somebody acts. Failures are counted while it is not ok.
pub fn set_health_if_changed(
    scope: &WorkspaceScope,
    crm: Crm,
    health: Health,
    detail: Option<&str>,
    check_at: Option<Timestamp>,
    at: Timestamp,
) -> Statement {
    Statement::new(
        "INSERT INTO connection_health (workspace_id, crm, status, detail, consecutive_failures, checked_at, check_at)
         SELECT ?1, ?2, ?3, ?4, CASE WHEN ?3 = 'ok' THEN 0 ELSE 1 END, ?5, ?6 WHERE changes() > 0
         ON CONFLICT (workspace_id, crm) DO UPDATE SET status = excluded.status, detail = excluded.detail,
             consecutive_failures = CASE WHEN excluded.status = 'ok' THEN 0
                 ELSE connection_health.consecutive_failures + 1 END,
             consecutive_refusals = 0, checked_at = excluded.checked_at, check_at = excluded.check_at",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            health.as_str().into(),
            detail.into(),
            at.into(),
            check_at.into(),
        ],
    )
}

/// Generations stay far below 2^53.
fn generation(value: u64) -> Bind {
    Bind::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
