//! A database as one request sees it: latency, faults and crashes around each batch, and a watch on what the batch changed.

use super::desk::Desk;
use super::fault::{Kind, Site};
use super::planted;
use super::watch::Before;
use async_trait::async_trait;
use std::rc::Weak;
use store::{Db, DbError, Outcome, Statement};

/// A request's way to one database.
pub struct Shard {
    /// Whose. A part of it, so it is there.
    pub desk: Weak<Desk>,
    /// Which.
    pub index: usize,
}

#[async_trait(?Send)]
impl Db for Shard {
    async fn batch(&self, mut statements: Vec<Statement>) -> Result<Vec<Outcome>, DbError> {
        let Some(desk) = self.desk.upgrade() else { return Err(DbError::Unavailable) };
        let place = &desk.place;
        let fault = place.fault(Site::Database);
        if let Some(fault) = fault {
            desk.met(fault);
        }
        desk.travel(1, 15).await;
        if fault.is_some_and(|fault| fault.kind == Kind::CrashBeforeBatch) {
            return desk.crash().await;
        }
        planted::bend_statements(&desk, &mut statements);
        for statement in &statements {
            for bind in &statement.binds {
                if let store::Bind::Text(text) = bind {
                    place.must_not_tell_a_token(&statement.sql.chars().take(40).collect::<String>(), text);
                }
            }
        }
        let database = &place.databases[self.index];
        let before = Before::look(&desk, self.index, &statements);
        match fault.map(|fault| fault.kind) {
            Some(Kind::Refused) => database.fail_at(1, stub_db::Fault::Refused),
            Some(Kind::LostBeforeCommit) => database.fail_at(1, stub_db::Fault::Lost),
            Some(Kind::LostAfterCommit) => database.fail_at(1, stub_db::Fault::Applied),
            _ => {}
        }
        let done = database.batch(statements).await;
        if done == Err(DbError::Shape) {
            place.wrong("a statement does not fit", &database.last_failure().unwrap_or_default());
        }
        if let Some(before) = before {
            before.compare(&desk);
        }
        if fault.is_some_and(|fault| fault.kind == Kind::CrashAfterBatch) {
            return desk.crash().await;
        }
        if fault.is_some_and(|fault| fault.kind == Kind::Stall) {
            place.time.sleep((flows::process_writes::LEASE_SECS + 30) * 1_000).await;
            if desk.is_out_of_time() {
                return desk.crash().await;
            }
        }
        desk.travel(1, 15).await;
        place.tell(|| match &done {
            Ok(outcomes) => {
                let changes: Vec<u64> = outcomes.iter().map(|outcome| outcome.changes).collect();
                format!("{} db{} {changes:?}", desk.id, self.index)
            }
            Err(error) => {
                format!("{} db{} {error:?} {}", desk.id, self.index, database.last_failure().unwrap_or_default())
            }
        });
        done
    }
}
