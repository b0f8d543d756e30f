//! One flight: from the connection's row to a token at hand, or to a refusal everybody waiting gets.
//!
//! The row is read, `model::refresh::next_step` says what to do, it is done, and the row is read again until there is
//! nothing left to do. Every turn either ends the flight, moves the row on, or waits; waits and turns are bounded.

use super::{Dead, Keeper, OwnRefresh};
use crate::gate::GateRefusal;
use crate::open_token::{self, Held};
use crate::refresh_token::{self, Ended, Plan};
use crate::{Error, World, audit};
use crypto::random;
use model::backoff::next_try_at;
use model::refresh::{
    Holder, Need, OpenRefresh, REFRESHES, Step, TRUST_SECS, TokenFacts, USABLE_MARGIN_SECS, next_step,
};
use model::{Crm, Health, Timestamp};
use providers::oauth::TokenRefusal;
use serde_json::json;
use store::DbError;
use store::connections::{self, Connection, Failed};

/// A flight reads the row at most this often. Somebody else's refresh is waited for with growing pauses: the lease
/// takes about 20 of them.
const TURNS_MAX: u32 = 32;
const FIRST_PAUSE_MS: u32 = 250;
const PAUSE_MS_MAX: u32 = 5_000;

/// Callers of one flight wait for so many further tries at a token endpoint that fails; others come later.
const RETRIES_MAX: u32 = 2;

/// An unavailable token endpoint is not looked at again for each caller.
const UNAVAILABLE_SECS: i64 = 5;

/// The app's own credentials are not tried again for this long: no tenant is at fault, and every tenant's gate tries.
const MISCONFIGURED_SECS: i64 = 60;

impl Keeper {
    pub(super) async fn settle(&self, need: Need) -> Result<(), GateRefusal> {
        let mut pause_ms = FIRST_PAUSE_MS;
        let mut retries = 0;
        for _ in 0..TURNS_MAX {
            if !self.save_unsaved().await {
                // The refresh token of the row is spent: nothing else may be done before its successor is stored.
                return self.without_the_row(need);
            }
            let epoch = self.state.borrow().epoch;
            let row = match self.read_row().await {
                Ok(Some(row)) => row,
                Ok(None) => return self.refuse(GateRefusal::NotConnected, epoch),
                Err(_) => return self.without_the_row(need),
            };
            let known_dead = self.state.borrow().dead.clone().filter(|dead| dead.generation == row.token_generation);
            if let Some(dead) = known_dead {
                self.fail(&row, dead).await;
                if self.state.borrow().dead.is_some() {
                    return Err(GateRefusal::Reconnect);
                }
                continue;
            }
            let facts = self.token_facts(&row);
            match next_step(&facts, need, self.now()) {
                Step::Use { look_again_at } => match self.hold_row(&row, look_again_at, epoch) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(refusal) => return Err(refusal),
                },
                Step::NotConnected => return self.refuse(GateRefusal::NotConnected, epoch),
                Step::Reconnect => return self.refuse(GateRefusal::Reconnect, epoch),
                Step::BackOff => {
                    let wait_ms = u32::try_from(facts.not_before.0 - self.now().0).unwrap_or(0);
                    if retries == RETRIES_MAX || wait_ms > PAUSE_MS_MAX {
                        return self.unavailable(need);
                    }
                    retries += 1;
                    self.host.sleep(wait_ms).await;
                }
                Step::MarkRefused => {
                    self.fail(&row, Dead::of(&row, "token_refused", "token_refused")).await;
                }
                Step::Await => {
                    self.host.sleep(pause_ms).await;
                    pause_ms = pause_ms.saturating_mul(2).min(PAUSE_MS_MAX);
                }
                Step::Recover if !may_try_again(self.key.crm) => {
                    if facts.expires_at.is_some_and(|at| at > self.now().plus_secs(USABLE_MARGIN_SECS))
                        && need != Need::OtherThan(facts.generation)
                    {
                        let look_again_at = self.now().plus_secs(TRUST_SECS);
                        if self.hold_row(&row, look_again_at, epoch)? {
                            return Ok(());
                        }
                    } else {
                        self.fail(&row, Dead::of(&row, "refresh_interrupted", "lost")).await;
                    }
                }
                Step::Recover | Step::Refresh => {
                    if self.refresh(&row, need == Need::OtherThan(row.token_generation), epoch).await {
                        return Ok(());
                    }
                }
            }
        }
        Err(GateRefusal::Unavailable)
    }

    fn now(&self) -> Timestamp {
        self.host.world().now
    }

    async fn read_row(&self) -> Result<Option<Connection>, DbError> {
        let world = self.host.world();
        let tenant = world.tenant_of(&self.key).map_err(|_| DbError::Unavailable)?;
        connections::fetch(tenant.db, &tenant.scope, self.key.crm).await
    }

    fn token_facts(&self, row: &Connection) -> TokenFacts {
        let state = self.state.borrow();
        let own = state.own.as_ref().filter(|own| row.refresh_id.as_ref() == Some(&own.id));
        let holder = own.map_or(Holder::Unknown, |own| if own.sent { Holder::OwnSent } else { Holder::OwnUnsent });
        TokenFacts {
            status: row.status,
            generation: row.token_generation,
            expires_at: row.expires_at,
            stored_at: row.updated_at,
            refused_at: row.token_refused_at,
            open_refresh: row.refresh_started_at.map(|started_at| OpenRefresh { started_at, holder }),
            not_before: state.not_before,
        }
    }

    /// Keeps the row's token in memory. False: the row was changed since it was read.
    fn hold_row(&self, row: &Connection, look_again_at: Timestamp, epoch: u64) -> Result<bool, GateRefusal> {
        let world = self.host.world();
        let known = self.state.borrow().held.as_ref().map(|(held, _)| held.clone());
        let held = match known.filter(|held| held.generation == row.token_generation) {
            Some(held) => Held { facts: row.facts(), ..held },
            None => open(&world, &self.key, row)?,
        };
        Ok(self.hold(held, look_again_at, epoch))
    }

    fn hold(&self, held: Held, look_again_at: Timestamp, epoch: u64) -> bool {
        let mut state = self.state.borrow_mut();
        if state.epoch != epoch {
            return false;
        }
        state.held = Some((held, look_again_at));
        state.refusal = None;
        true
    }

    /// Ends the flight with a refusal that is repeated from memory for a while.
    fn refuse(&self, refusal: GateRefusal, epoch: u64) -> Result<(), GateRefusal> {
        let until = self.now().plus_secs(TRUST_SECS);
        let mut state = self.state.borrow_mut();
        if state.epoch == epoch {
            state.held = None;
            state.refusal = Some((refusal.clone(), until));
        }
        Err(refusal)
    }

    /// The token endpoint does not work, and nothing usable is left.
    fn unavailable(&self, need: Need) -> Result<(), GateRefusal> {
        let until = self.now().plus_secs(UNAVAILABLE_SECS);
        let mut state = self.state.borrow_mut();
        if need == Need::Token {
            state.refusal = Some((GateRefusal::Unavailable, until.min(state.not_before)));
        }
        Err(GateRefusal::Unavailable)
    }

    /// The database does not answer: the token at hand is good until it ends.
    fn without_the_row(&self, need: Need) -> Result<(), GateRefusal> {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let Some((held, look_again_at)) = &mut state.held else { return Err(GateRefusal::Unavailable) };
        if need == Need::OtherThan(held.generation) || held.expires_at <= now.plus_secs(USABLE_MARGIN_SECS) {
            return Err(GateRefusal::Unavailable);
        }
        *look_again_at = now.plus_secs(UNAVAILABLE_SECS);
        Ok(())
    }

    /// Tokens of an earlier refresh go first. False: the database still does not take them.
    async fn save_unsaved(&self) -> bool {
        let Some(unsaved) = self.state.borrow().unsaved.clone() else { return true };
        if let Ended::NotSaved(_) = refresh_token::save(self.host.as_ref(), &self.key, unsaved).await {
            return false;
        }
        self.state.borrow_mut().unsaved = None;
        self.refresh_ended();
        true
    }

    /// True: a new token is at hand. False: read the row again.
    async fn refresh(&self, row: &Connection, refused: bool, epoch: u64) -> bool {
        let Ok(id) = crypto::id::mint_body(self.host.world().random) else {
            self.back_off(None);
            return false;
        };
        self.state.borrow_mut().own = Some(OwnRefresh { id: id.clone(), sent: true });
        let plan = Plan { key: &self.key, row, id: &id, refused };
        match refresh_token::refresh_token(self.host.as_ref(), &plan).await {
            Ended::Saved(held) => {
                self.log("token_refreshed", "ok");
                let facts = TokenFacts { expires_at: Some(held.expires_at), ..self.token_facts(row) };
                self.refresh_ended();
                let look_again_at = match next_step(&facts, Need::Token, self.now()) {
                    Step::Use { look_again_at } => look_again_at,
                    // A life shorter than the refresh-ahead: use it up.
                    _ => held.expires_at,
                };
                self.hold(held, look_again_at, epoch)
            }
            Ended::Moved => {
                self.state.borrow_mut().own = None;
                false
            }
            Ended::NotBegun => {
                self.state.borrow_mut().own = Some(OwnRefresh { id, sent: false });
                self.back_off(None);
                false
            }
            Ended::NotSaved(unsaved) => {
                self.log("token_not_saved", "database_unavailable");
                self.state.borrow_mut().unsaved = Some(*unsaved);
                self.back_off(None);
                false
            }
            Ended::Misconfigured(error) => {
                self.log("gate_misconfigured", error.code());
                self.back_off(Some(MISCONFIGURED_SECS));
                false
            }
            Ended::Refused(refusal) => {
                self.refused(row, &id, refusal).await;
                false
            }
        }
    }

    /// The token endpoint gave no token.
    async fn refused(&self, row: &Connection, id: &str, refusal: TokenRefusal) {
        match refusal {
            TokenRefusal::Dead { code } | TokenRefusal::CodeRefused { code } => {
                let dead = Dead { refresh_id: Some(id.to_owned()), ..Dead::of(row, "grant_revoked", &code) };
                self.fail(row, dead).await;
            }
            TokenRefusal::Configuration { code } => {
                self.log("app_credentials_refused", &code);
                self.abandon(row, id).await;
                self.back_off(Some(MISCONFIGURED_SECS));
            }
            TokenRefusal::Transient { code, retry_after_secs } => {
                self.log("token_refresh_failed", &code);
                if is_surely_unspent(&code) {
                    self.abandon(row, id).await;
                }
                self.back_off(retry_after_secs);
            }
            TokenRefusal::Lost => {
                self.log("token_refresh_failed", "lost");
                self.back_off(None);
            }
            TokenRefusal::Malformed(why) => {
                self.log("token_refresh_failed", why);
                self.back_off(None);
            }
        }
    }

    fn refresh_ended(&self) {
        let mut state = self.state.borrow_mut();
        state.own = None;
        state.failures = 0;
        state.not_before = Timestamp::default();
    }

    /// Takes the intent back. If that fails, it is known here that the token was not spent.
    async fn abandon(&self, row: &Connection, id: &str) {
        self.state.borrow_mut().own = Some(OwnRefresh { id: id.to_owned(), sent: false });
        let world = self.host.world();
        if let Ok(tenant) = world.tenant_of(&self.key) {
            let statement = connections::abandon_refresh(&tenant.scope, self.key.crm, row.token_generation, id);
            // Failing costs nothing: the intent is this gate's own, and whoever finds it later looks into it.
            let _ = store::db::run(tenant.db, statement).await;
        }
    }

    fn back_off(&self, floor_secs: Option<i64>) {
        let world = self.host.world();
        let chance = random::number(world.random).unwrap_or(u32::MAX);
        let mut state = self.state.borrow_mut();
        state.failures = state.failures.saturating_add(1);
        let floor = floor_secs.map(|secs| world.now.plus_secs(secs));
        state.not_before = next_try_at(REFRESHES, state.failures, chance, floor, world.now).unwrap_or(world.now);
    }

    /// Marks the connection as needing a person, with health and audit, unless its row moved on.
    async fn fail(&self, row: &Connection, dead: Dead) {
        let world = self.host.world();
        let marked = mark(&world, &self.key, row, &dead).await;
        let mut state = self.state.borrow_mut();
        state.own = None;
        match marked {
            Ok(true) => {
                state.dead = None;
                state.held = None;
                state.refusal = Some((GateRefusal::Reconnect, world.now.plus_secs(TRUST_SECS)));
                drop(state);
                self.log("connection_failed", dead.code);
            }
            // The row moved: reading it again tells.
            Ok(false) => state.dead = None,
            Err(_) => {
                state.held = None;
                state.refusal = Some((GateRefusal::Reconnect, world.now.plus_secs(5)));
                state.dead = Some(dead);
            }
        }
    }

    fn log(&self, event: &'static str, code: &str) {
        self.host.world().log.event(
            event,
            &[("crm", self.key.crm.as_str()), ("workspace_id", self.key.workspace_id.as_str()), ("code", code)],
        );
    }
}

impl Dead {
    fn of(row: &Connection, code: &'static str, provider_code: &str) -> Self {
        Self {
            generation: row.token_generation,
            refresh_id: row.refresh_id.clone(),
            code,
            provider_code: provider_code.to_owned(),
        }
    }

    fn advice(&self, crm: Crm) -> String {
        let title = crm.title();
        match self.code {
            "token_refused" => format!(
                "{title} refuses even a newly issued token: check in {title} that the app is still allowed, then reconnect."
            ),
            "refresh_interrupted" => {
                format!("The connection to {title} was interrupted while its key was being renewed: reconnect it.")
            }
            _ => format!(
                "{title} no longer accepts this connection; access was revoked or the app removed: reconnect it."
            ),
        }
    }
}

/// The connection, its audit event and its health in one batch. False: the row moved.
async fn mark(
    world: &World<'_>,
    key: &model::connection::ConnectionKey,
    row: &Connection,
    dead: &Dead,
) -> Result<bool, Error> {
    let tenant = world.tenant_of(key)?;
    let advice = dead.advice(key.crm);
    let event = audit::event(
        world,
        "system",
        "connection_failed",
        row.id.as_str(),
        json!({"crm": key.crm, "code": dead.code, "provider_code": dead.provider_code}),
    )?;
    let failed = Failed {
        expected_generation: dead.generation,
        refresh_id: dead.refresh_id.as_deref(),
        code: dead.code,
        advice: &advice,
        at: world.now,
    };
    let outcomes = tenant
        .db
        .batch(vec![
            connections::mark_error(&tenant.scope, key.crm, &failed),
            event.append_if_changed(&tenant.scope),
            connections::set_health_if_changed(&tenant.scope, key.crm, Health::Error, Some(&advice), world.now),
        ])
        .await?;
    Ok(store::db::nth(&outcomes, 0)?.changes > 0)
}

fn open(world: &World<'_>, key: &model::connection::ConnectionKey, row: &Connection) -> Result<Held, GateRefusal> {
    world.token_keys().and_then(|keys| open_token::open_access(keys, key, row).map_err(|_| Error::Unsealable)).map_err(
        |error| {
            world.log.event(
                "token_unopenable",
                &[("crm", key.crm.as_str()), ("workspace_id", key.workspace_id.as_str()), ("code", error.code())],
            );
            GateRefusal::Unavailable
        },
    )
}

/// Whether a refresh whose answer was lost may simply be made again. HubSpot returns the same refresh token (seen live;
/// its text leaves rotation open); Salesforce apps may rotate, and a rotated token used twice ends the connection.
const fn may_try_again(crm: Crm) -> bool {
    matches!(crm, Crm::Hubspot)
}

/// Codes that say the endpoint did not process the request. Behind any other, a token may have been issued.
fn is_surely_unspent(code: &str) -> bool {
    matches!(code, "not_sent" | "temporarily_unavailable" | "rate_limit_exceeded")
        || ["http_3", "http_429", "http_503"].iter().any(|prefix| code.starts_with(prefix))
}
