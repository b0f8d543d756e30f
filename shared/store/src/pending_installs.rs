//! `pending_installs`: installs from a CRM's marketplace, from the callback to a workspace or to the purge. Directory table.
//! Sealed columns are opened by `flows` with the vault; nothing here reads them.

use crate::db::{Bind, Db, DbError, Statement, run};
use model::install::Proof;
use model::{Crm, InstallId, InstallStatus, Timestamp, WorkspaceId};
use serde::Deserialize;

/// An install's row.
#[derive(Clone, Debug, Deserialize)]
pub struct Install {
    /// Its id, kept when the same account is installed again while pending.
    pub id: InstallId,
    /// Which CRM.
    pub crm: Crm,
    /// What became of it.
    pub status: InstallStatus,
    /// The hub id or 18-character org id.
    pub external_account_id: String,
    /// A name people know it by.
    pub external_account_name: Option<String>,
    /// The CRM user who installed.
    pub external_user_id: Option<String>,
    /// Salesforce only.
    pub instance_url: Option<String>,
    /// Salesforce only.
    pub login_host: Option<String>,
    /// A JSON list.
    pub scopes_json: String,
    /// Sealed for the install and generation.
    pub access_token_sealed: Option<String>,
    /// Sealed for the install and generation.
    pub refresh_token_sealed: Option<String>,
    /// When the access token ends.
    pub token_expires_at: Option<Timestamp>,
    /// Grows with every install; part of the seal.
    pub token_generation: u64,
    /// Hash of the secret in the installing browser's cookie.
    pub claim_secret_hash: String,
    /// What a claim must show.
    pub proof: Proof,
    /// Who is claiming, or has claimed.
    pub claim_workspace_id: Option<WorkspaceId>,
    /// When the claim began.
    pub claim_started_at: Option<Timestamp>,
    /// The refresh token was about to be spent then, and the end of that was not stored.
    pub renewal_started_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it can no longer be claimed.
    pub expires_at: Timestamp,
}

/// An install as a callback leaves it.
#[derive(Clone, Debug)]
pub struct Parked<'a> {
    /// Minted, or that of the pending row.
    pub id: &'a InstallId,
    /// Which CRM.
    pub crm: Crm,
    /// The hub id or 18-character org id.
    pub external_account_id: &'a str,
    /// A name people know it by.
    pub external_account_name: Option<&'a str>,
    /// The CRM user who installed.
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
    /// When the access token ends.
    pub token_expires_at: Timestamp,
    /// One more than what was read.
    pub token_generation: u64,
    /// Of the browser's new secret.
    pub claim_secret_hash: &'a str,
    /// What a claim must show.
    pub proof: Proof,
    /// Now.
    pub at: Timestamp,
    /// When it can no longer be claimed.
    pub expires_at: Timestamp,
}

/// The pending install of an account, for use in a batch.
pub fn select_pending(crm: Crm, account: &str) -> Statement {
    Statement::new(
        "SELECT id, crm, status, external_account_id, external_account_name, external_user_id, instance_url, login_host,
             scopes_json, access_token_sealed, refresh_token_sealed, token_expires_at, token_generation,
             claim_secret_hash, proof, claim_workspace_id, claim_started_at, renewal_started_at, created_at, expires_at
         FROM pending_installs WHERE crm = ?1 AND external_account_id = ?2 AND status = 'pending'",
        [Bind::from(crm.as_str()), account.into()],
    )
}

/// An install by its id.
pub async fn fetch(db: &dyn Db, id: &InstallId) -> Result<Option<Install>, DbError> {
    let statement = Statement::new(
        "SELECT id, crm, status, external_account_id, external_account_name, external_user_id, instance_url, login_host,
             scopes_json, access_token_sealed, refresh_token_sealed, token_expires_at, token_generation,
             claim_secret_hash, proof, claim_workspace_id, claim_started_at, renewal_started_at, created_at, expires_at
         FROM pending_installs WHERE id = ?1",
        [Bind::from(id.as_str())],
    );
    run(db, statement).await?.first()
}

/// Installs that are over and still hold tokens, the oldest first, after `after` where it is given.
pub async fn list_ended(
    db: &dyn Db,
    now: Timestamp,
    after: Option<&Install>,
    limit: u32,
) -> Result<Vec<Install>, DbError> {
    let statement = Statement::new(
        "SELECT id, crm, status, external_account_id, external_account_name, external_user_id, instance_url, login_host,
             scopes_json, access_token_sealed, refresh_token_sealed, token_expires_at, token_generation,
             claim_secret_hash, proof, claim_workspace_id, claim_started_at, renewal_started_at, created_at, expires_at
         FROM pending_installs
         WHERE access_token_sealed IS NOT NULL AND expires_at <= ?1 AND (expires_at, id) > (?2, ?3)
         ORDER BY expires_at, id LIMIT ?4",
        [
            Bind::from(now),
            after.map_or(Bind::Int(0), |after| after.expires_at.into()),
            after.map_or("", |after| after.id.as_str()).into(),
            limit.into(),
        ],
    );
    run(db, statement).await?.rows()
}

/// Stores an install, or refreshes the pending one of the account: a compare-and-set on the generation that was read. Changes
/// nothing when another callback was faster, or a claim is in progress.
pub fn park(p: &Parked<'_>) -> Statement {
    Statement::new(
        "INSERT INTO pending_installs (id, crm, status, external_account_id, external_account_name, external_user_id,
             instance_url, login_host, scopes_json, access_token_sealed, refresh_token_sealed, token_expires_at,
             token_generation, claim_secret_hash, proof, created_at, updated_at, expires_at)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?16)
         ON CONFLICT (crm, external_account_id) WHERE status = 'pending' DO UPDATE SET
             external_account_name = excluded.external_account_name, external_user_id = excluded.external_user_id,
             instance_url = excluded.instance_url, login_host = excluded.login_host, scopes_json = excluded.scopes_json,
             access_token_sealed = excluded.access_token_sealed, refresh_token_sealed = excluded.refresh_token_sealed,
             token_expires_at = excluded.token_expires_at, token_generation = excluded.token_generation,
             claim_secret_hash = excluded.claim_secret_hash, proof = excluded.proof, claim_workspace_id = NULL,
             claim_started_at = NULL, updated_at = excluded.updated_at, expires_at = excluded.expires_at
         WHERE pending_installs.id = excluded.id
             AND pending_installs.token_generation = excluded.token_generation - 1",
        [
            Bind::from(p.id.as_str()),
            p.crm.as_str().into(),
            p.external_account_id.into(),
            p.external_account_name.into(),
            p.external_user_id.into(),
            p.instance_url.into(),
            p.login_host.into(),
            p.scopes_json.into(),
            p.access_token_sealed.into(),
            p.refresh_token_sealed.into(),
            p.token_expires_at.into(),
            generation(p.token_generation),
            p.claim_secret_hash.into(),
            p.proof.as_str().into(),
            p.at.into(),
            p.expires_at.into(),
        ],
    )
}

/// A claim as it begins.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Which install.
    pub id: &'a InstallId,
    /// The generation whose tokens were opened.
    pub token_generation: u64,
    /// For whom.
    pub workspace_id: &'a WorkspaceId,
    /// By whom.
    pub actor: &'a str,
    /// Now.
    pub at: Timestamp,
    /// A claim of another workspace begun before this died on the way.
    pub stale_before: Timestamp,
}

/// Begins a claim. When the install is no longer pending, no longer in time, was installed again, or another workspace is
/// claiming it, a constraint fails and with it the whole batch.
pub fn begin_claim(c: &Claim<'_>) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET claim_workspace_id = ?3, claim_started_at = ?4, updated_at = ?4,
             status = CASE WHEN status = 'pending' AND token_generation = ?2 AND expires_at > ?4
                 AND (claim_workspace_id IS NULL OR claim_workspace_id = ?3 OR claim_started_at < ?5)
                 THEN status ELSE NULL END
         WHERE id = ?1",
        [
            Bind::from(c.id.as_str()),
            generation(c.token_generation),
            c.workspace_id.as_str().into(),
            c.at.into(),
            c.stale_before.into(),
        ],
    )
}

/// Ends a claim that was begun for the workspace: the tokens are the connection's now and are erased here.
pub fn finish_claim(id: &InstallId, workspace: &WorkspaceId, actor: &str, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET status = 'claimed', access_token_sealed = NULL, refresh_token_sealed = NULL,
             claimed_by = ?3, claimed_at = ?4, updated_at = ?4
         WHERE id = ?1 AND claim_workspace_id = ?2 AND status IN ('pending', 'expired')
             AND access_token_sealed IS NOT NULL",
        [Bind::from(id.as_str()), workspace.as_str().into(), actor.into(), at.into()],
    )
}

/// A consent to the same account settles its pending install: the connection has tokens of its own, these are erased.
pub fn claim_by_consent(id: &InstallId, workspace: &WorkspaceId, actor: &str, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET status = 'claimed', access_token_sealed = NULL, refresh_token_sealed = NULL,
             claim_workspace_id = ?2, claimed_by = ?3, claimed_at = ?4, updated_at = ?4
         WHERE id = ?1 AND status = 'pending'",
        [Bind::from(id.as_str()), workspace.as_str().into(), actor.into(), at.into()],
    )
}

/// Ends an install that nobody claimed. Its tokens stay until they are revoked.
pub fn expire(id: &InstallId, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET status = 'expired', updated_at = ?2
         WHERE id = ?1 AND status = 'pending' AND expires_at <= ?2",
        [Bind::from(id.as_str()), at.into()],
    )
}

/// Ends an install that a person declined: over from now on. Not one that is being claimed (`stale_before`: a claim begun
/// before that died on the way).
pub fn decline(id: &InstallId, at: Timestamp, stale_before: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET status = 'expired', declined_at = ?2, expires_at = MIN(expires_at, ?2), updated_at = ?2
         WHERE id = ?1 AND status = 'pending' AND (claim_workspace_id IS NULL OR claim_started_at < ?3)",
        [Bind::from(id.as_str()), at.into(), stale_before.into()],
    )
}

/// Records that the refresh token of an ended install is about to be spent. Changes nothing when the tokens are others by
/// now, or another run is at it (`found` is what was read).
pub fn begin_renewal(id: &InstallId, token_generation: u64, found: Option<Timestamp>, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET renewal_started_at = ?4
         WHERE id = ?1 AND token_generation = ?2 AND renewal_started_at IS ?3 AND status = 'expired'
             AND access_token_sealed IS NOT NULL",
        [Bind::from(id.as_str()), generation(token_generation), found.into(), at.into()],
    )
}

/// The refresh token certainly was not spent: the intent is taken back.
pub fn abandon_renewal(id: &InstallId, token_generation: u64) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET renewal_started_at = NULL WHERE id = ?1 AND token_generation = ?2",
        [Bind::from(id.as_str()), generation(token_generation)],
    )
}

/// Tokens that a renewal brought, sealed for the next generation.
#[derive(Clone, Copy, Debug)]
pub struct Renewed<'a> {
    /// The generation that was spent.
    pub expected_generation: u64,
    /// Sealed.
    pub access_token_sealed: &'a str,
    /// Sealed.
    pub refresh_token_sealed: &'a str,
    /// When the access token ends.
    pub token_expires_at: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// Saves renewed tokens by compare-and-set on the generation.
pub fn save_renewal(id: &InstallId, renewed: &Renewed<'_>) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET access_token_sealed = ?3, refresh_token_sealed = ?4, token_expires_at = ?5,
             token_generation = token_generation + 1, renewal_started_at = NULL, updated_at = ?6
         WHERE id = ?1 AND token_generation = ?2 AND status = 'expired' AND access_token_sealed IS NOT NULL",
        [
            Bind::from(id.as_str()),
            generation(renewed.expected_generation),
            renewed.access_token_sealed.into(),
            renewed.refresh_token_sealed.into(),
            renewed.token_expires_at.into(),
            renewed.at.into(),
        ],
    )
}

/// Erases the tokens of an expired install, and notes whether the CRM confirmed that they are dead.
pub fn erase(id: &InstallId, revoked: bool, at: Timestamp) -> Statement {
    Statement::new(
        "UPDATE pending_installs SET access_token_sealed = NULL, refresh_token_sealed = NULL, revoked = ?2,
             updated_at = ?3
         WHERE id = ?1 AND status = 'expired' AND access_token_sealed IS NOT NULL",
        [Bind::from(id.as_str()), u32::from(revoked).into(), at.into()],
    )
}

/// Deletes rows without tokens that have not changed since `before`, the oldest first, at most `limit`; their events go before
/// them in the same batch ([`install_events::delete_of_old`](crate::install_events::delete_of_old)).
pub fn delete_old(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "DELETE FROM pending_installs WHERE id IN (
             SELECT id FROM pending_installs INDEXED BY pending_installs_over
             WHERE status <> 'pending' AND access_token_sealed IS NULL AND updated_at < ?1
             ORDER BY updated_at, id LIMIT ?2)",
        [Bind::from(before), limit.into()],
    )
}

/// Generations stay far below 2^53.
fn generation(value: u64) -> Bind {
    Bind::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
