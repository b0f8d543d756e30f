-- The write log and its attempts are kept in the order of time. By its identity, a hash, every write of a lot was in a page of
-- its own, each of its changes was another page to write, and a table without rowids has whole rows in its inner pages too.
-- In the order of time a lot's rows are together from plan to settlement, and the log page needs no index: the index by
-- identity takes its place, with an entry of a hundred bytes that no later change touches. As many rows are written as before.

CREATE TABLE crm_write_log_anew (
    workspace_id            TEXT    NOT NULL,
    created_at              INTEGER NOT NULL,
    crm                     TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    idempotency_key         TEXT    NOT NULL,
    request_hash            TEXT    NOT NULL,
    action                  TEXT    NOT NULL,
    object_type             TEXT    NOT NULL,
    object_id               TEXT    NOT NULL,
    source_event_id         TEXT    NOT NULL,
    payload_json            TEXT    NOT NULL CHECK (json_valid(payload_json)),
    status                  TEXT    NOT NULL
        CHECK (status IN ('planned', 'in_flight', 'succeeded', 'failed', 'unknown', 'permanent_failure')),
    retry_count             INTEGER NOT NULL DEFAULT 0,
    next_retry_at           INTEGER,
    permanent_failure       INTEGER NOT NULL DEFAULT 0 CHECK (permanent_failure = (status = 'permanent_failure')),
    in_doubt                INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt IN (0, 1)),
    error_class             TEXT,
    error_code              TEXT,
    error_detail            TEXT,
    provider_correlation_id TEXT,
    external_ids_json       TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(external_ids_json)),
    response_json           TEXT    CHECK (response_json IS NULL OR json_valid(response_json)),
    dry_run_json            TEXT    CHECK (dry_run_json IS NULL OR json_valid(dry_run_json)),
    lease_id                TEXT,
    lease_until             INTEGER,
    request_id              TEXT    NOT NULL,
    updated_at              INTEGER NOT NULL,
    -- The record of the CRM it is about, as a hash; an earlier open write of the same target holds back later ones.
    target                  TEXT,
    -- The order of acceptance: created_at times a hundred and the place in its submit.
    position                INTEGER,
    -- The CRM account its tries went to: a doubt is about that account alone.
    external_account_id     TEXT,
    -- Requests of the lot that settled it: the end of a successful try is told here and not in its attempt's row again.
    calls                   INTEGER,
    PRIMARY KEY (workspace_id, created_at, crm, idempotency_key),
    CHECK ((status = 'in_flight') = (lease_id IS NOT NULL)),
    CHECK ((lease_id IS NULL) = (lease_until IS NULL))
) STRICT, WITHOUT ROWID;

-- An attempt's key begins with its write's. (The default is for the code that still runs while this is applied.)
CREATE TABLE crm_write_attempts_anew (
    workspace_id     TEXT    NOT NULL,
    write_created_at INTEGER NOT NULL DEFAULT 0,
    crm              TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    idempotency_key  TEXT    NOT NULL,
    started_at       INTEGER NOT NULL,
    lease_id         TEXT    NOT NULL,
    ended_at         INTEGER,
    outcome          TEXT,
    http_status      INTEGER,
    error_code       TEXT,
    calls            INTEGER,
    PRIMARY KEY (workspace_id, write_created_at, crm, idempotency_key, started_at, lease_id)
) STRICT, WITHOUT ROWID;

INSERT INTO crm_write_log_anew (
    workspace_id, created_at, crm, idempotency_key, request_hash, action, object_type, object_id, source_event_id,
    payload_json, status, retry_count, next_retry_at, permanent_failure, in_doubt, error_class, error_code, error_detail,
    provider_correlation_id, external_ids_json, response_json, dry_run_json, lease_id, lease_until, request_id, updated_at,
    target, position, external_account_id, calls)
SELECT
    workspace_id, created_at, crm, idempotency_key, request_hash, action, object_type, object_id, source_event_id,
    payload_json, status, retry_count, next_retry_at, permanent_failure, in_doubt, error_class, error_code, error_detail,
    provider_correlation_id, external_ids_json, response_json, dry_run_json, lease_id, lease_until, request_id, updated_at,
    target, position, external_account_id, calls
FROM crm_write_log;

INSERT INTO crm_write_attempts_anew (workspace_id, write_created_at, crm, idempotency_key, started_at, lease_id, ended_at,
    outcome, http_status, error_code, calls)
SELECT a.workspace_id, w.created_at, a.crm, a.idempotency_key, a.started_at, a.lease_id, a.ended_at,
    a.outcome, a.http_status, a.error_code, a.calls
FROM crm_write_log w JOIN crm_write_attempts a USING (workspace_id, crm, idempotency_key);

DROP TABLE crm_write_attempts;
ALTER TABLE crm_write_attempts_anew RENAME TO crm_write_attempts;
DROP TABLE crm_write_log;
ALTER TABLE crm_write_log_anew RENAME TO crm_write_log;

-- The identity of a logical write; its id in the API (`wr_h…`, `wr_s…`) is made of the same parts.
CREATE UNIQUE INDEX crm_write_log_identity ON crm_write_log (workspace_id, crm, idempotency_key);
-- Open writes, in the order per target; first those that no lot has settled yet.
CREATE INDEX crm_write_log_open
    ON crm_write_log ((calls IS NOT NULL), workspace_id, crm, target, position, next_retry_at)
    WHERE next_retry_at IS NOT NULL;
-- Writes that were tried and wait, by the time they are due.
CREATE INDEX crm_write_log_waiting ON crm_write_log (next_retry_at)
    WHERE next_retry_at IS NOT NULL AND calls IS NOT NULL;
-- The dead letters; holds only failed rows.
CREATE INDEX crm_write_log_dead ON crm_write_log (workspace_id, created_at, crm, idempotency_key) WHERE permanent_failure = 1;
