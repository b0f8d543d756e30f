//! The refresh inside of a flight: what it came to, and finding out how an interrupted one ended.

use super::{Dead, Keeper, OwnRefresh};
use crate::Error;
use crate::open_token;
use crate::refresh_token::{self, Ended, Plan, Unsaved};
use crypto::random;
use model::backoff::next_try_at;
use model::refresh::{Need, REFRESHES, Step, TokenFacts, next_step};
use model::{Crm, Timestamp};
use providers::oauth::{Standing, TokenRefusal};
use providers::{Provider, provider};
use store::connections::{self, Connection};

/// The app's own credentials are not tried again for this long: no tenant is at fault, and every tenant's gate tries.
const MISCONFIGURED_SECS: i64 = 60;

/// What to do about a refresh that was interrupted.
pub(super) enum Recovery {
    /// Its refresh token is unspent.
    Refresh,
    /// The CRM cannot be asked now.
    Wait,
    /// It cannot be told whether the refresh token is spent: the access token is used to its end.
    UseUp,
    /// The refresh token is spent, and its successor lost.
    Reconnect,
}

impl Keeper {
    /// Once in an instance's life: what an earlier one could not save.
    fn recall_unsaved(&self) {
        if self.state.borrow().recalled {
            return;
        }
        let recalled = Unsaved::recall(self.host.as_ref());
        let mut state = self.state.borrow_mut();
        state.recalled = true;
        if state.unsaved.is_none() {
            state.unsaved = recalled;
        }
    }

    /// Tokens of an earlier refresh go first. False: the database still does not take them.
    pub(super) async fn save_unsaved(&self) -> bool {
        self.recall_unsaved();
        let Some(unsaved) = self.state.borrow().unsaved.clone() else { return true };
        if let Ended::NotSaved(_) = refresh_token::save(self.host.as_ref(), &self.key, unsaved).await {
            return false;
        }
        self.state.borrow_mut().unsaved = None;
        self.refresh_ended();
        true
    }

    /// True: a new token is at hand. False: read the row again.
    pub(super) async fn refresh(&self, row: &Connection, refused: bool, epoch: u64) -> bool {
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
                let look_again_at = match next_step(&facts, Need::Check, self.now()) {
                    Step::Use { look_again_at } => look_again_at,
                    // A life shorter than the refresh-ahead: use it up.
                    _ => held.expires_at,
                };
                self.hold(held, row.status, look_again_at, epoch)
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
                self.abandon(row, id).await;
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

    /// Asks the CRM about the refresh token of an interrupted refresh, without spending it.
    pub(super) async fn recover(&self, row: &Connection) -> Recovery {
        let world = self.host.world();
        let adapter = provider(self.key.crm);
        let request = world.settings.app(self.key.crm).and_then(|app| {
            let opened =
                open_token::open_refresh(world.token_keys()?, &self.key, row).map_err(|_| Error::Unsealable)?;
            opened
                .map(|token| adapter.refresh_token_request(app, &token, row.login_host.as_deref()))
                .transpose()
                .map_err(|_| Error::LoginHostRefused)
        });
        let standing = match request {
            Ok(Some(request)) => adapter.read_refresh_token(&world.http.send(request).await),
            Ok(None) => Standing::Inactive,
            Err(error) => {
                self.log("gate_misconfigured", error.code());
                self.back_off(Some(MISCONFIGURED_SECS));
                return Recovery::Wait;
            }
        };
        self.log("refresh_recovered", standing.as_str());
        match standing {
            Standing::Active => Recovery::Refresh,
            Standing::Inactive => Recovery::Reconnect,
            Standing::Untold if may_try_again(self.key.crm) => Recovery::Refresh,
            Standing::Untold => Recovery::UseUp,
            Standing::Unreachable => {
                self.back_off(None);
                Recovery::Wait
            }
        }
    }
}

/// Whether a refresh whose answer was lost may simply be made again where the CRM does not tell. HubSpot returns the same
/// refresh token (seen live; its text leaves rotation open); Salesforce apps may rotate, and a rotated token used twice
/// ends the connection.
const fn may_try_again(crm: Crm) -> bool {
    matches!(crm, Crm::Hubspot)
}
