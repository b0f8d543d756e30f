-- How installs end: declined by a person, renewed once so that the app can be removed, and removed in the CRM, which its
-- journal tells. The table lives in DB only.

-- A person said no on the claim page.
ALTER TABLE pending_installs ADD COLUMN declined_at INTEGER;
-- The purge is about to spend the refresh token, once, for an access token that can uninstall.
ALTER TABLE pending_installs ADD COLUMN renewal_started_at INTEGER;

-- How far a CRM's journal of app events was read.
CREATE TABLE journal_cursors (
    crm           TEXT    NOT NULL PRIMARY KEY CHECK (crm IN ('hubspot', 'salesforce')),
    read_after    TEXT,
    read_at       INTEGER,
    subscribed_at INTEGER,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- "Whose is this account?", asked of every shard when the CRM says that the app was removed from it.
CREATE INDEX crm_connections_by_account ON crm_connections (crm, external_account_id) WHERE status <> 'disconnected';
