//! Refreshing a connection's token, once: the intent, one call with a deadline, the save.
//!
//! 1. The intent is recorded by compare-and-set before the call leaves, so that a crash after it is seen.
//! 2. One call to the token endpoint.
//! 3. Both tokens are sealed for the next generation, kept in the host's journal, and saved by compare-and-set. The save is
//!    repeated while the database fails: repeating it is safe, and the journal outlives this instance.
//!
//! Out of scope: whether to refresh (`model::refresh`), who waits for it, and what a refusal means for the connection
//! (`gate_keeper`).

use crate::gate_keeper::Host;
use crate::open_token::{self, Held};
use crate::retry::retry;
use crate::{Error, Tenant, World, audit};
use crypto::{Column, mac, vault};
use model::backoff::Schedule;
use model::connection::{ConnectionFacts, ConnectionKey};
use model::health::next_check_of;
use model::oauth::SALESFORCE_SESSION_ASSUMED_SECS;
use model::refresh::{REFRESH_LEASE_SECS, TOKEN_DEADLINE_MS};
use model::{Health, Secret, Timestamp};
use providers::oauth::{Grant, Token, TokenRefusal};
use providers::{Provider, provider};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::connections::{self, Connection, RefreshIntent, Refreshed};
use store::{DbError, Statement};

/// A change to the database is tried this often; the waits between are up to 0.5, 1, 2 and 4 s.
const DB: Schedule = Schedule { base_ms: 500, cap_ms: 4_000, attempts_max: 6 };

/// The journal's name in the host's memory: tokens the database has not taken yet, sealed as they will be stored.
const JOURNAL: &str = "unsaved";

/// The learned life of a Salesforce session, in seconds, in the host's memory; and the time to learn it in.
const SESSION: &str = "session_secs";
const LEARN_DEADLINE_MS: u32 = 5_000;
const SESSION_SECS_MAX: i64 = 90_000;

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

/// Tokens the provider gave and the database did not take yet. Sealed: as a journal it outlives this instance.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Unsaved {
    /// Of the tokens.
    generation: u64,
    expires_at: Timestamp,
    access_token_sealed: String,
    refresh_token_sealed: String,
    instance_url: Option<String>,
    refused: bool,
    /// Opened; not in the journal.
    #[serde(skip)]
    held: Option<Held>,
}

impl Unsaved {
    /// What an earlier instance could not save.
    pub(crate) fn recall(host: &dyn Host) -> Option<Self> {
        model::json::read(&host.recall(JOURNAL)?)
    }

    fn keep(&self, host: &dyn Host) {
        host.remember(JOURNAL, serde_json::to_string(self).ok().as_deref());
    }
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
        Ok(mut unsaved) => {
            unsaved.keep(host);
            unsaved.ends_at(end_of(host, plan, &token, sent_at).await);
            save(host, plan.key, unsaved).await
        }
        Err(error) => Ended::Misconfigured(error),
    }
}

/// When the access token ends. Salesforce does not say: introspection is asked once, and again after a token was refused
/// before its time.
async fn end_of(host: &dyn Host, plan: &Plan<'_>, token: &Token, sent_at: Timestamp) -> Timestamp {
    // Counted from before the call: never longer than the CRM counts.
    if let Some(secs) = token.expires_in_secs {
        return sent_at.plus_secs(secs);
    }
    let learned = host.recall(SESSION).and_then(|secs| secs.parse::<i64>().ok()).filter(|_| !plan.refused);
    if let Some(secs) = learned {
        return sent_at.plus_secs(secs);
    }
    let world = host.world();
    let adapter = provider(plan.key.crm);
    let ask = || adapter.account_request(world.settings.app(plan.key.crm).ok()?, token, plan.row.login_host.as_deref());
    if let Some(mut request) = ask() {
        request.deadline_ms = LEARN_DEADLINE_MS;
        let answer = world.http.send(request).await;
        let ends_at = adapter.read_account(token, Some(&answer)).and_then(|account| account.expires_at);
        let secs = ends_at.map(|at| at.0.saturating_sub(sent_at.0) / 1_000);
        if let Some(secs) = secs.filter(|secs| (1..=SESSION_SECS_MAX).contains(secs)) {
            host.remember(SESSION, Some(&secs.to_string()));
            return sent_at.plus_secs(secs);
        }
    }
    sent_at.plus_secs(SALESFORCE_SESSION_ASSUMED_SECS)
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
    // Until it is known better.
    let expires_at = sent_at.plus_secs(token.expires_in_secs.unwrap_or(SALESFORCE_SESSION_ASSUMED_SECS));
    Ok(Unsaved {
        generation,
        expires_at,
        access_token_sealed: seal(Column::AccessToken, &token.access_token)?,
        refresh_token_sealed: seal(Column::RefreshToken, token.refresh_token.as_ref().unwrap_or(spent))?,
        instance_url: token.instance_url.clone(),
        refused: plan.refused,
        held: Some(Held {
            access_token: token.access_token.clone(),
            generation,
            expires_at,
            facts: ConnectionFacts { instance_url: token.instance_url.clone().or(facts.instance_url), ..facts },
        }),
    })
}

impl Unsaved {
    fn ends_at(&mut self, expires_at: Timestamp) {
        self.expires_at = expires_at;
        if let Some(held) = &mut self.held {
            held.expires_at = expires_at;
        }
    }

    fn refreshed(&self, at: Timestamp) -> Refreshed<'_> {
        Refreshed {
            expected_generation: self.generation.saturating_sub(1),
            access_token_sealed: &self.access_token_sealed,
            refresh_token_sealed: &self.refresh_token_sealed,
            expires_at: Some(self.expires_at),
            instance_url: self.instance_url.as_deref(),
            refused_at: self.refused.then_some(at),
            at,
        }
    }
}

/// Step 3.
pub(crate) async fn save(host: &dyn Host, key: &ConnectionKey, unsaved: Unsaved) -> Ended {
    let saved =
        persist(host, key, |tenant, at| connections::save_refresh(&tenant.scope, key.crm, &unsaved.refreshed(at)))
            .await;
    // Another save stood first; or ours did and its answer was lost; or the connection was given up meanwhile.
    let saved = match saved {
        Ok(false) => retry(
            host,
            DB,
            |error: &Error| matches!(error, Error::Db(db) if is_passing(*db)),
            async || heal(&host.world(), key, &unsaved).await,
        )
        .await
        .map_err(|_| ()),
        other => other.map_err(|_| ()),
    };
    if saved.is_ok() {
        host.remember(JOURNAL, None);
    }
    match (saved, unsaved.held.clone()) {
        (Ok(true), Some(held)) => Ended::Saved(held),
        // What is stored is what counts.
        (Ok(_), _) => Ended::Moved,
        (Err(()), _) => Ended::NotSaved(Box::new(unsaved)),
    }
}

/// Tokens that come late bring a connection back that was marked only because they seemed lost.
async fn heal(world: &World<'_>, key: &ConnectionKey, unsaved: &Unsaved) -> Result<bool, Error> {
    let tenant = world.tenant_of(key)?;
    let subject = key.workspace_id.as_str();
    let event = audit::event(world, "system", "connection_healed", subject, json!({"crm": key.crm}))?;
    let outcomes = tenant
        .db
        .batch(vec![
            connections::heal_refresh(&tenant.scope, key.crm, &unsaved.refreshed(world.now)),
            event.append_if_changed(&tenant.scope),
            connections::set_health_if_changed(
                &tenant.scope,
                key.crm,
                Health::Ok,
                None,
                Some(next_check_of(key, world.now)),
                world.now,
            ),
        ])
        .await?;
    Ok(store::db::nth(&outcomes, 0)?.changes > 0)
}

/// Runs one compare-and-set until the database answers, a bounded number of times. Answers whether it changed the row.
async fn persist(
    host: &dyn Host,
    key: &ConnectionKey,
    statement: impl Fn(&Tenant<'_>, Timestamp) -> Statement,
) -> Result<bool, DbError> {
    retry(
        host,
        DB,
        |error| is_passing(*error),
        async || {
            let world = host.world();
            let tenant = world.tenant_of(key).map_err(|_| DbError::Unavailable)?;
            let outcome = store::db::run(tenant.db, statement(&tenant, world.now)).await?;
            Ok(outcome.changes > 0)
        },
    )
    .await
}

const fn is_passing(error: DbError) -> bool {
    !matches!(error, DbError::Constraint | DbError::Shape)
}
