//! `journal_cursors`: how far a CRM's journal of app events was read. Directory table.

use crate::db::{Bind, Db, DbError, Statement, run};
use model::{Crm, Timestamp};
use serde::Deserialize;

/// Where reading stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Cursor {
    /// The CRM's name for the last entry that was read to its end.
    pub read_after: Option<String>,
    /// When the journal last answered.
    pub read_at: Option<Timestamp>,
    /// When the subscriptions were last seen in place.
    pub subscribed_at: Option<Timestamp>,
}

/// The cursor of a CRM's journal, if anything was read yet.
pub async fn fetch(db: &dyn Db, crm: Crm) -> Result<Option<Cursor>, DbError> {
    let statement = Statement::new(
        "SELECT read_after, read_at, subscribed_at FROM journal_cursors WHERE crm = ?1",
        [Bind::from(crm.as_str())],
    );
    run(db, statement).await?.first()
}

/// The subscriptions were seen in place.
pub fn note_subscribed(crm: Crm, at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO journal_cursors (crm, subscribed_at, updated_at) VALUES (?1, ?2, ?2)
         ON CONFLICT (crm) DO UPDATE SET subscribed_at = excluded.subscribed_at, updated_at = excluded.updated_at",
        [Bind::from(crm.as_str()), at.into()],
    )
}

/// Moves on, if reading still stands where it was found: a compare-and-set on `from`. `to` is `None` to begin anew.
pub fn advance(crm: Crm, from: Option<&str>, to: Option<&str>, at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO journal_cursors (crm, read_after, read_at, updated_at) VALUES (?1, ?3, ?4, ?4)
         ON CONFLICT (crm) DO UPDATE SET read_after = excluded.read_after, read_at = excluded.read_at,
             updated_at = excluded.updated_at
         WHERE journal_cursors.read_after IS ?2",
        [Bind::from(crm.as_str()), from.into(), to.into(), at.into()],
    )
}
