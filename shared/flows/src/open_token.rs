//! Opening a connection's stored access token, for the gate alone.

use crypto::vault::OpenError;
use crypto::{Aad, Column, Keyring, vault};
use model::connection::{ConnectionFacts, ConnectionKey};
use model::{Secret, Timestamp};
use store::connections::Connection;

/// An opened access token, in memory only.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) access_token: Secret<String>,
    pub(crate) generation: u64,
    pub(crate) expires_at: Timestamp,
    pub(crate) facts: ConnectionFacts,
}

/// The access token of a row. A row without one is no connection, and `Malformed`.
pub(crate) fn open_access(keys: &Keyring, key: &ConnectionKey, row: &Connection) -> Result<Held, OpenError> {
    let sealed = row.access_token_sealed.as_deref().ok_or(OpenError::Malformed)?;
    Ok(Held {
        access_token: vault::open(keys, &aad(key, row, Column::AccessToken, row.token_generation), sealed)?,
        generation: row.token_generation,
        // A life nobody told is over: the next step refreshes.
        expires_at: row.expires_at.unwrap_or_default(),
        facts: row.facts(),
    })
}

/// The refresh token of a row, if it has one.
pub(crate) fn open_refresh(
    keys: &Keyring,
    key: &ConnectionKey,
    row: &Connection,
) -> Result<Option<Secret<String>>, OpenError> {
    let Some(sealed) = row.refresh_token_sealed.as_deref() else { return Ok(None) };
    vault::open(keys, &aad(key, row, Column::RefreshToken, row.token_generation), sealed).map(Some)
}

/// Where a token of this row stands.
pub(crate) fn aad<'a>(key: &'a ConnectionKey, row: &'a Connection, column: Column, generation: u64) -> Aad<'a> {
    Aad { scope: key.workspace_id.as_str(), connection: row.id.as_str(), column, generation }
}
