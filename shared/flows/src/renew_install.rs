//! Renewing an ended install's access token, once, so that the app can be removed from the account.
//!
//! The refresh token may be spent by it, so the rules of `refresh_token` hold here too: the intent is recorded by
//! compare-and-set before the call leaves, the answer is sealed and saved before it is used, and an intent found open is
//! settled by asking the CRM whether the token still works, never by trying.

use crate::install_tokens::{Tokens, aad};
use crate::{Error, World};
use crypto::{Column, vault};
use model::Secret;
use model::install::CLAIM_STALE_SECS;
use model::oauth::SALESFORCE_SESSION_ASSUMED_SECS;
use providers::http::NoAnswer;
use providers::oauth::{Grant, Standing, Token, TokenRefusal};
use providers::{Provider, provider};
use store::db::run;
use store::pending_installs::{self, Install, Renewed};

/// What came of it.
pub(crate) enum Renewal {
    /// Tokens that work.
    Renewed(Tokens),
    /// The CRM says that the grant is dead: there is nothing left to end.
    Dead,
    /// Later, perhaps.
    NotNow,
    /// There is no refresh token, or it was spent and what it brought is lost.
    Impossible,
}

/// Renews it.
pub(crate) async fn renew_install(world: &World<'_>, install: &Install, tokens: &Tokens) -> Result<Renewal, Error> {
    let Some(refresh) = &tokens.refresh else { return Ok(Renewal::Impossible) };
    if let Some(began) = install.renewal_started_at {
        // Another run may still be at it.
        if began > world.now.plus_secs(-CLAIM_STALE_SECS) {
            return Ok(Renewal::NotNow);
        }
        match standing(world, install, refresh).await {
            Some(Standing::Active) => {}
            Some(Standing::Inactive) => return Ok(Renewal::Impossible),
            _ => return Ok(Renewal::NotNow),
        }
    }
    let begin =
        pending_installs::begin_renewal(&install.id, install.token_generation, install.renewal_started_at, world.now);
    if run(world.directory, begin).await?.changes == 0 {
        return Ok(Renewal::NotNow);
    }
    match ask(world, install, refresh).await {
        Ok(token) => keep(world, install, refresh, token).await.map(Renewal::Renewed),
        Err(TokenRefusal::Dead { .. }) => Ok(Renewal::Dead),
        // It did not reach the CRM, or the CRM did not take it: the token was not spent.
        Err(TokenRefusal::Transient { .. } | TokenRefusal::Configuration { .. }) => {
            run(world.directory, pending_installs::abandon_renewal(&install.id, install.token_generation)).await?;
            Ok(Renewal::NotNow)
        }
        Err(TokenRefusal::Lost | TokenRefusal::CodeRefused { .. } | TokenRefusal::Malformed(_)) => Ok(Renewal::NotNow),
    }
}

/// Whether a refresh token still works. `None`: it cannot be asked.
async fn standing(world: &World<'_>, install: &Install, refresh: &Secret<String>) -> Option<Standing> {
    let (adapter, app) = (provider(install.crm), world.settings.app(install.crm).ok()?);
    let request = adapter.refresh_token_request(app, refresh, install.login_host.as_deref()).ok()?;
    Some(adapter.read_refresh_token(&world.http.send(request).await))
}

/// One call. An answer about another account is none.
async fn ask(world: &World<'_>, install: &Install, refresh: &Secret<String>) -> Result<Token, TokenRefusal> {
    let adapter = provider(install.crm);
    let request = world
        .settings
        .app(install.crm)
        .ok()
        .and_then(|app| adapter.token_request(app, &Grant::Refresh(refresh), install.login_host.as_deref()).ok());
    let Some(request) = request else { return adapter.read_token(&Err(NoAnswer::NotSent)) };
    let token = adapter.read_token(&world.http.send(request).await)?;
    match &token.external_account_id {
        Some(account) if *account != install.external_account_id => {
            Err(TokenRefusal::Malformed("it is for another account"))
        }
        _ => Ok(token),
    }
}

/// Seals both for the next generation and saves them, before anything else is done with them.
async fn keep(world: &World<'_>, install: &Install, spent: &Secret<String>, token: Token) -> Result<Tokens, Error> {
    let generation = install.token_generation.saturating_add(1);
    let refresh = token.refresh_token.unwrap_or_else(|| spent.clone());
    let seal = |column, plain: &Secret<String>| {
        vault::seal(world.token_keys()?, world.random, &aad(&install.id, column, generation), plain)
            .map_err(|_| Error::NoRandom)
    };
    let access_sealed = seal(Column::AccessToken, &token.access_token)?;
    let refresh_sealed = seal(Column::RefreshToken, &refresh)?;
    let life_secs = token.expires_in_secs.unwrap_or(SALESFORCE_SESSION_ASSUMED_SECS);
    let renewed = Renewed {
        expected_generation: install.token_generation,
        access_token_sealed: access_sealed.as_str(),
        refresh_token_sealed: refresh_sealed.as_str(),
        token_expires_at: world.now.plus_secs(life_secs),
        at: world.now,
    };
    // Used even if the database does not take them: nobody else will ever have them.
    if run(world.directory, pending_installs::save_renewal(&install.id, &renewed)).await.is_err() {
        world.log.event("renewal_not_saved", &[("crm", install.crm.as_str())]);
    }
    Ok(Tokens { access: Some(token.access_token), refresh: Some(refresh) })
}
