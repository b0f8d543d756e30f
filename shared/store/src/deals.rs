//! `thread_links` and `deals`: which deal of the host product a thread belongs to, and what that deal is in a CRM account.
//! Tenant tables.
//!
//! A row of `deals` names the account it is in: after a reconnect to another one it says nothing.

use crate::db::{Bind, Statement};
use crate::scope::WorkspaceScope;
use model::{Crm, Timestamp};
use serde::{Deserialize, Serialize};

/// A thread's deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadLink {
    /// The thread.
    pub thread_id: String,
    /// Its deal.
    pub deal_id: String,
}

/// Links threads to deals, anew where they are linked already.
pub fn link_threads(scope: &WorkspaceScope, links: &[ThreadLink], at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO thread_links (workspace_id, thread_id, deal_id, updated_at)
         SELECT ?1, j.value->>'thread_id', j.value->>'deal_id', ?3 FROM json_each(?2) j WHERE true
         ON CONFLICT (workspace_id, thread_id) DO UPDATE SET deal_id = excluded.deal_id, updated_at = excluded.updated_at
             WHERE thread_links.deal_id <> excluded.deal_id",
        [Bind::from(scope.workspace_id().as_str()), Bind::list(links), at.into()],
    )
}

/// Takes these threads' links away.
pub fn unlink_threads(scope: &WorkspaceScope, thread_ids: &[String]) -> Statement {
    Statement::new(
        "DELETE FROM thread_links WHERE workspace_id = ?1 AND thread_id IN (SELECT value FROM json_each(?2))",
        [Bind::from(scope.workspace_id().as_str()), Bind::list(thread_ids)],
    )
}

/// What a deal is in a CRM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownDeal {
    /// Which CRM.
    pub crm: Crm,
    /// The host product's id.
    pub deal_id: String,
    /// The CRM's.
    pub crm_deal_id: String,
}

/// Stores what deals are in the accounts the workspace is connected to; those of a CRM it never was are left out.
pub fn learn(scope: &WorkspaceScope, deals: &[KnownDeal], at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO deals (workspace_id, crm, deal_id, external_account_id, crm_deal_id, updated_at)
         SELECT ?1, j.value->>'crm', j.value->>'deal_id', c.external_account_id, j.value->>'crm_deal_id', ?3
         FROM json_each(?2) j
         JOIN crm_connections c ON c.workspace_id = ?1 AND c.crm = j.value->>'crm'
         WHERE true
         ON CONFLICT (workspace_id, crm, deal_id) DO UPDATE SET external_account_id = excluded.external_account_id,
             crm_deal_id = excluded.crm_deal_id, updated_at = excluded.updated_at
             WHERE deals.crm_deal_id <> excluded.crm_deal_id OR deals.external_account_id <> excluded.external_account_id",
        [Bind::from(scope.workspace_id().as_str()), Bind::list(deals), at.into()],
    )
}

/// Stores what deals are in one account: what writes just made there.
pub fn learn_in_account(
    scope: &WorkspaceScope,
    crm: Crm,
    external_account_id: &str,
    deals: &[KnownDeal],
    at: Timestamp,
) -> Statement {
    Statement::new(
        "INSERT INTO deals (workspace_id, crm, deal_id, external_account_id, crm_deal_id, updated_at)
         SELECT ?1, ?2, j.value->>'deal_id', ?3, j.value->>'crm_deal_id', ?5 FROM json_each(?4) j WHERE true
         ON CONFLICT (workspace_id, crm, deal_id) DO UPDATE SET external_account_id = excluded.external_account_id,
             crm_deal_id = excluded.crm_deal_id, updated_at = excluded.updated_at
             WHERE deals.crm_deal_id <> excluded.crm_deal_id OR deals.external_account_id <> excluded.external_account_id",
        [
            Bind::from(scope.workspace_id().as_str()),
            crm.as_str().into(),
            external_account_id.into(),
            Bind::list(deals),
            at.into(),
        ],
    )
}

/// The CRM's deal of a leased write.
#[derive(Clone, Debug, Deserialize)]
pub struct OfWrite {
    /// The write.
    pub idempotency_key: String,
    /// The deal it makes, or its thread's, in the account connected now.
    pub crm_deal_id: String,
}

/// The deals of the writes under a lease, for the batch that leases them. Writes without one are not in it.
pub fn select_of_lease(scope: &WorkspaceScope, crm: Crm, keys: &[String], lease_id: &str) -> Statement {
    Statement::new(
        "SELECT w.idempotency_key, d.crm_deal_id
         FROM json_each(?3) j
         CROSS JOIN crm_write_log w INDEXED BY crm_write_log_identity ON w.workspace_id = ?1 AND w.crm = ?2 AND w.idempotency_key = j.value
         CROSS JOIN deals d ON d.workspace_id = ?1 AND d.crm = ?2 AND d.deal_id = CASE
             WHEN w.action = 'upsert_deal' THEN w.payload_json->>'$.deal.deal_id'
             WHEN w.object_type = 'thread' AND w.action <> 'upsert_contact' THEN
                 (SELECT l.deal_id FROM thread_links l WHERE l.workspace_id = ?1 AND l.thread_id = w.object_id)
             END
         JOIN crm_connections c ON c.workspace_id = ?1 AND c.crm = ?2 AND c.external_account_id = d.external_account_id
         WHERE w.lease_id = ?4 LIMIT 100",
        [Bind::from(scope.workspace_id().as_str()), crm.as_str().into(), Bind::list(keys), lease_id.into()],
    )
}
