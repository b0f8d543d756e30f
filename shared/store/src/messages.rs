//! `messages`: what outcomes were drawn from, until it is redacted. Tenant table.
//!
//! In scope: keeping a message, and redacting those that are due or of one person. Nothing reads a body back here.

use crate::db::{Bind, Statement};
use crate::scope::WorkspaceScope;
use model::Timestamp;

/// A message to be kept.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// The host product's id; the same message again changes nothing.
    pub id: &'a str,
    /// The host product's thread.
    pub thread_id: &'a str,
    /// The pseudonym of the person outside with whom it was exchanged (`crypto::pii`).
    pub contact_hmac: Option<&'a str>,
    /// Its subject.
    pub subject: Option<&'a str>,
    /// Its body.
    pub body: Option<&'a str>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// Keeps a message.
pub fn keep(scope: &WorkspaceScope, message: &NewMessage<'_>) -> Statement {
    Statement::new(
        "INSERT INTO messages (workspace_id, id, thread_id, contact_hmac, subject, body, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        [
            Bind::from(scope.workspace_id().as_str()),
            message.id.into(),
            message.thread_id.into(),
            message.contact_hmac.into(),
            message.subject.into(),
            message.body.into(),
            message.received_at.into(),
        ],
    )
}

/// Redacts the oldest messages received before `before`, at most `limit`.
pub fn redact_due(scope: &WorkspaceScope, before: Timestamp, limit: u32, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE messages SET subject = NULL, body = NULL, contact_hmac = NULL, is_redacted = 1, redacted_at = ?4
         WHERE workspace_id = ?1 AND is_redacted = 0 AND id IN (
             SELECT id FROM messages WHERE workspace_id = ?1 AND is_redacted = 0 AND received_at < ?2
             ORDER BY received_at, id LIMIT ?3)",
        [Bind::from(scope.workspace_id().as_str()), before.into(), limit.into(), now.into()],
    )
}

/// Redacts messages exchanged with a person whose attachments are gone, at most `limit`: a message is the way to its
/// attachments, and its pseudonym goes with it.
pub fn redact_of(scope: &WorkspaceScope, contact_hmac: &str, limit: u32, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE messages SET subject = NULL, body = NULL, contact_hmac = NULL, is_redacted = 1, redacted_at = ?4
         WHERE workspace_id = ?1 AND id IN (
             SELECT m.id FROM messages m WHERE m.workspace_id = ?1 AND m.contact_hmac = ?2
                 AND NOT EXISTS (SELECT 1 FROM attachments a INDEXED BY attachments_of_message
                                 WHERE a.workspace_id = ?1 AND a.message_id = m.id
                                     AND a.object_key IS NOT NULL)
             LIMIT ?3)",
        [Bind::from(scope.workspace_id().as_str()), contact_hmac.into(), limit.into(), now.into()],
    )
}
