-- What a workspace owns. These tables live in the workspace's shard (workspaces.shard), in DB unless said otherwise.
-- Every table begins with workspace_id; every statement on them takes a WorkspaceScope. No triggers: they would falsify
-- the changes() that compare-and-set statements rely on.

CREATE TABLE crm_connections (
    workspace_id          TEXT    NOT NULL,
    crm                   TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    id                    TEXT    NOT NULL,
    status                TEXT    NOT NULL CHECK (status IN ('connected', 'error', 'disconnected')),
    external_account_id   TEXT    NOT NULL,
    external_account_name TEXT,
    external_user_id      TEXT,
    instance_url          TEXT,
    login_host            TEXT,
    scopes_json           TEXT    NOT NULL CHECK (json_valid(scopes_json)),
    access_token_sealed   TEXT,
    refresh_token_sealed  TEXT,
    expires_at            INTEGER,
    token_generation      INTEGER NOT NULL CHECK (token_generation >= 0),
    refresh_started_at    INTEGER,
    last_error_code       TEXT,
    last_error            TEXT,
    heartbeat_at          INTEGER,
    connected_by          TEXT    NOT NULL,
    connected_at          INTEGER NOT NULL,
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, crm),
    -- A disconnected row holds no token; any other row holds an access token.
    CHECK ((status = 'disconnected') = (access_token_sealed IS NULL)),
    CHECK (status <> 'disconnected' OR refresh_token_sealed IS NULL)
) STRICT, WITHOUT ROWID;

CREATE TABLE connection_health (
    workspace_id         TEXT    NOT NULL,
    crm                  TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    status               TEXT    NOT NULL CHECK (status IN ('ok', 'warning', 'error')),
    detail               TEXT,
    consecutive_failures INTEGER NOT NULL DEFAULT 0,
    checked_at           INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, crm)
) STRICT, WITHOUT ROWID;

-- The write log. The primary key is the identity of a logical write; its id in the API (`wr_h…`, `wr_s…`) is made of
-- the same parts, so a second unique index is not needed: D1 bills every index entry as a row written.
CREATE TABLE crm_write_log (
    workspace_id            TEXT    NOT NULL,
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
    created_at              INTEGER NOT NULL,
    updated_at              INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, crm, idempotency_key),
    CHECK ((status = 'in_flight') = (lease_id IS NOT NULL)),
    CHECK ((lease_id IS NULL) = (lease_until IS NULL))
) STRICT, WITHOUT ROWID;

-- The reconciler's list of what is due, over all workspaces of the shard; final rows are not in it.
CREATE INDEX crm_write_log_due ON crm_write_log (next_retry_at) WHERE next_retry_at IS NOT NULL;
-- The log page, newest first.
CREATE INDEX crm_write_log_by_time ON crm_write_log (workspace_id, created_at, crm, idempotency_key);
-- The dead letters; holds only failed rows.
CREATE INDEX crm_write_log_dead ON crm_write_log (workspace_id, created_at, crm, idempotency_key) WHERE permanent_failure = 1;

-- Every try at a write: the row is there before the first request leaves, its outcome is filled in afterwards. A row
-- without an outcome whose lease has passed is a crash in flight.
CREATE TABLE crm_write_attempts (
    workspace_id    TEXT    NOT NULL,
    crm             TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    idempotency_key TEXT    NOT NULL,
    lease_id        TEXT    NOT NULL,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    outcome         TEXT,
    http_status     INTEGER,
    error_code      TEXT,
    calls           INTEGER,
    PRIMARY KEY (workspace_id, crm, idempotency_key, started_at, lease_id)
) STRICT, WITHOUT ROWID;

-- Who did what. Never a token, never a body. The order of a workspace is (at, id).
CREATE TABLE audit_events (
    workspace_id TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    event        TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    detail_json  TEXT    NOT NULL CHECK (json_valid(detail_json)),
    request_id   TEXT    NOT NULL,
    PRIMARY KEY (workspace_id, at, id)
) STRICT, WITHOUT ROWID;
