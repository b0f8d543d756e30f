-- What exactly-once needs of a shard: mechanisms found by probing, an order per target record, and the deals that tasks
-- and notes are tied to.

-- How records are written with one effect, by kind of record, as JSON; null until the connection was probed.
ALTER TABLE crm_connections ADD COLUMN mechanisms_json TEXT CHECK (mechanisms_json IS NULL OR json_valid(mechanisms_json));
-- When they last changed: a try from before that may have used others.
ALTER TABLE crm_connections ADD COLUMN mechanisms_at INTEGER;

-- The record of the CRM a write is about, as a hash; an earlier open write of the same target holds back later ones.
ALTER TABLE crm_write_log ADD COLUMN target TEXT;
-- The order of acceptance: created_at times a hundred and the place in its submit.
ALTER TABLE crm_write_log ADD COLUMN position INTEGER;
-- The CRM account its tries went to: a doubt is about that account alone.
ALTER TABLE crm_write_log ADD COLUMN external_account_id TEXT;
-- Requests of the lot that settled it: the end of a successful try is told here and not in its attempt's row again.
ALTER TABLE crm_write_log ADD COLUMN calls INTEGER;

-- One index for what is open: the order per target, and the reconciler's list of what is due. D1 bills every index entry
-- as a row written, so it takes the place of the one by due time. Final rows are not in it.
DROP INDEX crm_write_log_due;
CREATE INDEX crm_write_log_open ON crm_write_log (workspace_id, crm, target, position, next_retry_at)
    WHERE next_retry_at IS NOT NULL;

-- Which deal of the host product a thread belongs to.
CREATE TABLE thread_links (
    workspace_id TEXT    NOT NULL,
    thread_id    TEXT    NOT NULL,
    deal_id      TEXT    NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, thread_id)
) STRICT, WITHOUT ROWID;

-- What a deal of the host product is in the CRM.
CREATE TABLE deals (
    workspace_id        TEXT    NOT NULL,
    crm                 TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    deal_id             TEXT    NOT NULL,
    -- The account it is in: another account knows no such deal.
    external_account_id TEXT    NOT NULL,
    crm_deal_id         TEXT    NOT NULL,
    updated_at          INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, crm, deal_id)
) STRICT, WITHOUT ROWID;
