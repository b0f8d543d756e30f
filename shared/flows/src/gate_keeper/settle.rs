//! One flight: from the connection's row to a token at hand, or to a refusal everybody waiting gets.
//!
//! The row is read, `model::refresh::next_step` says what to do, it is done, and the row is read again until there is
//! nothing left to do. Every turn either ends the flight, moves the row on, or waits; waits and turns are bounded.

use super::renew::Recovery;
use super::{Dead, Keeper};
use crate::gate::GateRefusal;
use crate::open_token::{self, Held};
use crate::{Error, World};
use model::health::ACCESS_REFUSED;
use model::refresh::{Holder, Need, OpenRefresh, Step, TRUST_SECS, TokenFacts, USABLE_MARGIN_SECS, next_step};
use model::{ConnectionStatus, Timestamp};
use store::DbError;
use store::connections::{self, Connection};

/// A flight reads the row at most this often. Somebody else's refresh is waited for with growing pauses: the lease
/// takes about 20 of them.
const TURNS_MAX: u32 = 32;
const FIRST_PAUSE_MS: u32 = 250;
const PAUSE_MS_MAX: u32 = 5_000;

/// Callers of one flight wait for so many further tries at a token endpoint that fails; others come later.
const RETRIES_MAX: u32 = 2;

/// A token is handed out for so long after its row was last read, while the row cannot be. Who asks has business with the
/// same database, so that little is lost by it.
const WITHOUT_ROW_SECS_MAX: i64 = 300;

/// An unavailable token endpoint is not looked at again for each caller.
const UNAVAILABLE_SECS: i64 = 5;

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
                Step::Recover => match self.recover(&row).await {
                    Recovery::Refresh => {
                        if self.refresh(&row, need == Need::OtherThan(row.token_generation), epoch).await {
                            return Ok(());
                        }
                    }
                    Recovery::Wait => {}
                    Recovery::UseUp if self.is_usable(&facts, need) => {
                        if self.hold_row(&row, self.now().plus_secs(TRUST_SECS), epoch)? {
                            return Ok(());
                        }
                    }
                    Recovery::UseUp | Recovery::Reconnect => {
                        self.fail(&row, Dead::of(&row, "refresh_interrupted", "lost")).await;
                    }
                },
                Step::Refresh => {
                    if self.refresh(&row, need == Need::OtherThan(row.token_generation), epoch).await {
                        return Ok(());
                    }
                }
            }
        }
        Err(GateRefusal::Unavailable)
    }

    /// Whether the token of the row can still be handed out.
    fn is_usable(&self, facts: &TokenFacts, need: Need) -> bool {
        need != Need::OtherThan(facts.generation)
            && facts.expires_at.is_some_and(|at| at > self.now().plus_secs(USABLE_MARGIN_SECS))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.host.world().now
    }

    async fn read_row(&self) -> Result<Option<Connection>, DbError> {
        let world = self.host.world();
        let tenant = world.tenant_of(&self.key).map_err(|_| DbError::Unavailable)?;
        connections::fetch(tenant.db, &tenant.scope, self.key.crm).await
    }

    pub(super) fn token_facts(&self, row: &Connection) -> TokenFacts {
        let state = self.state.borrow();
        let own = state.own.as_ref().filter(|own| row.refresh_id.as_ref() == Some(&own.id));
        let holder = own.map_or(Holder::Unknown, |own| if own.sent { Holder::OwnSent } else { Holder::OwnUnsent });
        TokenFacts {
            status: row.status,
            given_up: row.last_error_code.as_deref() == Some(ACCESS_REFUSED),
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
        Ok(self.hold(held, row.status, look_again_at, epoch))
    }

    pub(super) fn hold(&self, held: Held, status: ConnectionStatus, look_again_at: Timestamp, epoch: u64) -> bool {
        let mut state = self.state.borrow_mut();
        if state.epoch != epoch {
            return false;
        }
        state.held = Some((held, look_again_at));
        state.read_at = self.now();
        state.for_checks = status == ConnectionStatus::Error;
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

    /// The database does not answer: the token at hand is good for a while, and not to its end. A disconnect may have been
    /// stored meanwhile, and the message about it lost.
    fn without_the_row(&self, need: Need) -> Result<(), GateRefusal> {
        let now = self.now();
        let mut state = self.state.borrow_mut();
        let is_stale = now >= state.read_at.plus_secs(WITHOUT_ROW_SECS_MAX);
        let Some((held, look_again_at)) = state.held.as_mut().filter(|_| !is_stale) else {
            return Err(GateRefusal::Unavailable);
        };
        if need == Need::OtherThan(held.generation) || held.expires_at <= now.plus_secs(USABLE_MARGIN_SECS) {
            return Err(GateRefusal::Unavailable);
        }
        *look_again_at = now.plus_secs(UNAVAILABLE_SECS);
        Ok(())
    }

    pub(super) fn log(&self, event: &'static str, code: &str) {
        self.host.world().log.event(
            event,
            &[("crm", self.key.crm.as_str()), ("workspace_id", self.key.workspace_id.as_str()), ("code", code)],
        );
    }
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
