//! Refreshing a connection's token, once: the intent, one call with a deadline, the save.
//!
//! 1. The intent is recorded by compare-and-set before the call leaves, so that a crash after it is seen.
//! 2. One call to the token endpoint.
//! 3. Both tokens are sealed for the next generation and saved by compare-and-set. The save is repeated while the database
//!    fails: repeating it is safe, and the answer is held in memory meanwhile.
//!
//! Out of scope: whether to refresh (`model::refresh`), who waits for it, and what a refusal means for the connection
//! (`gate_keeper`).

use crate::gate_keeper::Host;
use crate::open_token::{self, Held};
use crate::{Error, Tenant, World};
use crypto::{Column, mac, vault};
use model::connection::{ConnectionFacts, ConnectionKey};
use model::oauth::SALESFORCE_SESSION_ASSUMED_SECS;
use model::refresh::{REFRESH_LEASE_SECS, TOKEN_DEADLINE_MS};
use model::{Secret, Timestamp};
use providers::oauth::{Grant, Token, TokenRefusal};
use providers::provider;
use store::connections::{self, Connection, RefreshIntent, Refreshed};
use store::{DbError, Statement};

/// A change to the database is tried this often; the waits between are 0.25, 0.5, 1, 2 and 4 s.
const DB_TRIES: u32 = 6;
const DB_FIRST_WAIT_MS: u32 = 250;

/// If recording the intent took longer than this, the call is not made any more: its deadline and the save would end after
/// the lease, and by then another instance may have taken over.
const BEGIN_SECS_MAX: i64 = REFRESH_LEASE_SECS - TOKEN_DEADLINE_MS as i64 / 1_000 - 15;

/// A refresh about to be made.
pub(crate) struct Plan<'a> {
    pub(crate) key: &'a ConnectionKey,
    pub(crate) row: &'a Connection,
    /// Names the intent.
    pub(crate) id: &'a str,
    /// The CRM refused the token of this row.
    pub(crate) refused: bool,
}

/// How far a refresh came.
pub(crate) enum Ended {
    /// Saved.
    Saved(Held),
    /// The row is not as it was read, or the lease ran short: read it again.
    Moved,
    /// The intent is not recorded; nothing was sent.
    NotBegun,
    /// The token endpoint gave no token. Whether the intent still stands is the caller's business.
    Refused(TokenRefusal),
    /// It gave one, and the database did not take it.
    NotSaved(Box<Unsaved>),
    /// This deployment cannot make the call: an alarm, and not the tenant's fault.
    Misconfigured(Error),
}

/// Tokens the provider gave and the database did not take yet.
#[derive(Clone)]
pub(crate) struct Unsaved {
    held: Held,
    access_token_sealed: String,
    refresh_token_sealed: String,
    instance_url: Option<String>,
    refused: bool,
}

/// Makes the refresh.
pub(crate) async fn refresh_token(host: &dyn Host, plan: &Plan<'_>) -> Ended {
    let world = host.world();
    let (request, spent) = match prepare(&world, plan) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => {
            let code = "refresh_token_missing".to_owned();
            return Ended::Refused(TokenRefusal::Dead { code });
        }
        Err(error) => return Ended::Misconfigured(error),
    };
    match begin(host, plan).await {
        Ok(true) => {}
        Ok(false) => return Ended::Moved,
        Err(_) => return Ended::NotBegun,
    }

    let sent_at = host.world().now;
    let answer = world.http.send(request).await;
    let token = match provider(plan.key.crm).read_token(&answer).and_then(|token| check(&world, plan, token)) {
        Ok(token) => token,
        Err(refusal) => return Ended::Refused(refusal),
    };
    match seal(&world, plan, &token, &spent, sent_at) {
        Ok(unsaved) => save(host, plan.key, unsaved).await,
        Err(error) => Ended::Misconfigured(error),
    }
}

/// The request, and the refresh token it spends; `None` without one.
fn prepare(world: &World<'_>, plan: &Plan<'_>) -> Result<Option<(providers::http::Request, Secret<String>)>, Error> {
    let app = world.settings.app(plan.key.crm)?;
    let opened = open_token::open_refresh(world.token_keys()?, plan.key, plan.row).map_err(|_| Error::Unsealable)?;
    let Some(refresh_token) = opened else { return Ok(None) };
    let mut request = provider(plan.key.crm)
        .token_request(app, &Grant::Refresh(&refresh_token), plan.row.login_host.as_deref())
        .map_err(|_| Error::LoginHostRefused)?;
    request.deadline_ms = TOKEN_DEADLINE_MS;
    Ok(Some((request, refresh_token)))
}

/// Step 1. False: somebody else was faster.
async fn begin(host: &dyn Host, plan: &Plan<'_>) -> Result<bool, DbError> {
    let started_at = host.world().now;
    let begun = persist(host, plan.key, |tenant, at| {
        connections::begin_refresh(
            &tenant.scope,
            plan.key.crm,
            &RefreshIntent {
                expected_generation: plan.row.token_generation,
                found: plan.row.refresh_id.as_deref(),
                id: plan.id,
                at,
            },
        )
    })
    .await?;
    let in_time = host.world().now <= started_at.plus_secs(BEGIN_SECS_MAX);
    if begun && !in_time {
        return Err(DbError::Unavailable);
    }
    Ok(begun)
}

/// The answer is signed where the CRM signs, and is about the account that was refreshed. Anything else is not used; what
/// it did to the refresh token is not known.
fn check(world: &World<'_>, plan: &Plan<'_>, token: Token) -> Result<Token, TokenRefusal> {
    let app = world.settings.app(plan.key.crm).map_err(|_| TokenRefusal::Lost)?;
    let secret = app.client_secret.expose().as_bytes();
    if token.signed.as_ref().is_some_and(|s| !mac::verify_base64(secret, s.message.as_bytes(), &s.signature)) {
        return Err(TokenRefusal::Malformed("its signature is wrong"));
    }
    match &token.external_account_id {
        Some(account) if *account != plan.row.external_account_id => {
            Err(TokenRefusal::Malformed("it is for another account"))
        }
        _ => Ok(token),
    }
}

/// Both tokens for the next generation. Without a new refresh token the old one is sealed again, since the old seal
/// opens for the old generation only.
fn seal(
    world: &World<'_>,
    plan: &Plan<'_>,
    token: &Token,
    spent: &Secret<String>,
    sent_at: Timestamp,
) -> Result<Unsaved, Error> {
    let generation = plan.row.token_generation.saturating_add(1);
    let seal = |column, plain: &Secret<String>| {
        vault::seal(world.token_keys()?, world.random, &open_token::aad(plan.key, plan.row, column, generation), plain)
            .map(crypto::Sealed::into_string)
            .map_err(|_| Error::NoRandom)
    };
    let facts = plan.row.facts();
    let life_secs = token.expires_in_secs.unwrap_or(SALESFORCE_SESSION_ASSUMED_SECS);
    Ok(Unsaved {
        access_token_sealed: seal(Column::AccessToken, &token.access_token)?,
        refresh_token_sealed: seal(Column::RefreshToken, token.refresh_token.as_ref().unwrap_or(spent))?,
        instance_url: token.instance_url.clone(),
        refused: plan.refused,
        held: Held {
            access_token: token.access_token.clone(),
            generation,
            // Counted from before the call: never longer than the CRM counts.
            expires_at: sent_at.plus_secs(life_secs),
            facts: ConnectionFacts { instance_url: token.instance_url.clone().or(facts.instance_url), ..facts },
        },
    })
}

/// Step 3.
pub(crate) async fn save(host: &dyn Host, key: &ConnectionKey, unsaved: Unsaved) -> Ended {
    let saved = persist(host, key, |tenant, at| {
        connections::save_refresh(
            &tenant.scope,
            key.crm,
            &Refreshed {
                expected_generation: unsaved.held.generation.saturating_sub(1),
                access_token_sealed: &unsaved.access_token_sealed,
                refresh_token_sealed: &unsaved.refresh_token_sealed,
                expires_at: Some(unsaved.held.expires_at),
                instance_url: unsaved.instance_url.as_deref(),
                refused_at: unsaved.refused.then_some(at),
                at,
            },
        )
    })
    .await;
    match saved {
        Ok(true) => Ended::Saved(unsaved.held),
        // Another save stood first, or ours did and its answer was lost: what is stored is what counts.
        Ok(false) => Ended::Moved,
        Err(_) => Ended::NotSaved(Box::new(unsaved)),
    }
}

/// Runs one compare-and-set until the database answers, a bounded number of times. Answers whether it changed the row.
async fn persist(
    host: &dyn Host,
    key: &ConnectionKey,
    statement: impl Fn(&Tenant<'_>, Timestamp) -> Statement,
) -> Result<bool, DbError> {
    let mut wait_ms = DB_FIRST_WAIT_MS;
    for attempt in 1.. {
        let world = host.world();
        let tenant = world.tenant_of(key).map_err(|_| DbError::Unavailable)?;
        match store::db::run(tenant.db, statement(&tenant, world.now)).await {
            Ok(outcome) => return Ok(outcome.changes > 0),
            Err(error @ (DbError::Constraint | DbError::Shape)) => return Err(error),
            Err(error) if attempt >= DB_TRIES => return Err(error),
            Err(_) => host.sleep(wait_ms).await,
        }
        wait_ms = wait_ms.saturating_mul(2);
    }
    Err(DbError::Unavailable)
}
