//! A connection whose grant is dead: marked once, with a reason a person can act on, its health and an audit event.

use super::{Dead, Keeper};
use crate::gate::GateRefusal;
use crate::{Error, World, alarm, audit};
use model::refresh::TRUST_SECS;
use model::{Crm, Health};
use serde_json::json;
use store::connections::{self, Connection, Failed};

impl Keeper {
    /// Marks the connection as needing a person, with health and audit, unless its row moved on.
    pub(super) async fn fail(&self, row: &Connection, dead: Dead) {
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
}

impl Dead {
    pub(super) fn of(row: &Connection, code: &'static str, provider_code: &str) -> Self {
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
            alarm::connection_failed(world, &tenant.scope, key, row.id.as_str(), dead.code)?,
            connections::set_health_if_changed(&tenant.scope, key.crm, Health::Error, Some(&advice), None, world.now),
        ])
        .await?;
    Ok(store::db::nth(&outcomes, 0)?.changes > 0)
}
