-- Installs from a CRM's marketplace that nobody has claimed yet, who owns which CRM account, and the sessions of people on
-- our own pages. Lives in DB only.

-- One CRM account belongs to one workspace. Written in the batch that connects, cleared in the one that disconnects. Where
-- the workspace's shard is another database, a crash in between leaves a row without a connection: whoever meets it looks
-- at the connection, and takes over a row that has had none for ten minutes.
CREATE TABLE crm_accounts (
    crm                 TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    external_account_id TEXT    NOT NULL,
    workspace_id        TEXT    NOT NULL REFERENCES workspaces (id),
    acquired_at         INTEGER NOT NULL,
    PRIMARY KEY (crm, external_account_id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO crm_accounts (crm, external_account_id, workspace_id, acquired_at)
    SELECT c.crm, c.external_account_id, c.workspace_id, c.connected_at
    FROM crm_connections c JOIN workspaces w ON w.id = c.workspace_id
    WHERE c.status <> 'disconnected' ORDER BY c.connected_at;

-- Tokens are sealed for the install (its id and generation), and sealed again for the connection when it is claimed.
CREATE TABLE pending_installs (
    id                    TEXT    NOT NULL PRIMARY KEY CHECK (id LIKE 'in\_%' ESCAPE '\'),
    crm                   TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    status                TEXT    NOT NULL CHECK (status IN ('pending', 'claimed', 'expired')),
    external_account_id   TEXT    NOT NULL,
    external_account_name TEXT,
    external_user_id      TEXT,
    instance_url          TEXT,
    login_host            TEXT,
    scopes_json           TEXT    NOT NULL CHECK (json_valid(scopes_json)),
    access_token_sealed   TEXT,
    refresh_token_sealed  TEXT,
    token_expires_at      INTEGER,
    token_generation      INTEGER NOT NULL CHECK (token_generation >= 1),
    claim_secret_hash     TEXT    NOT NULL,
    proof                 TEXT    NOT NULL CHECK (proof IN ('browser', 'consent')),
    claim_workspace_id    TEXT    REFERENCES workspaces (id),
    claim_started_at      INTEGER,
    claimed_by            TEXT,
    claimed_at            INTEGER,
    revoked               INTEGER CHECK (revoked IN (0, 1)),
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    expires_at            INTEGER NOT NULL,
    CHECK (status <> 'pending' OR access_token_sealed IS NOT NULL),
    CHECK (status <> 'claimed' OR (access_token_sealed IS NULL AND refresh_token_sealed IS NULL)),
    CHECK ((status = 'claimed') = (claimed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- A second install of an account that is pending finds the first one's row.
CREATE UNIQUE INDEX pending_installs_of_account ON pending_installs (crm, external_account_id) WHERE status = 'pending';
-- The purge walks this: whatever still holds a token.
CREATE INDEX pending_installs_by_expiry ON pending_installs (expires_at) WHERE access_token_sealed IS NOT NULL;

-- What became of an install, before it has a workspace with an audit trail of its own. Append only.
CREATE TABLE install_events (
    install_id  TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    event       TEXT    NOT NULL,
    detail_json TEXT    NOT NULL CHECK (json_valid(detail_json)),
    request_id  TEXT    NOT NULL,
    PRIMARY KEY (install_id, at, event, request_id)
) STRICT, WITHOUT ROWID;

-- A link that opens our pages for one user of one workspace, and, once opened, the session it became. Only hashes.
CREATE TABLE connect_sessions (
    link_hash       TEXT    NOT NULL PRIMARY KEY,
    workspace_id    TEXT    NOT NULL REFERENCES workspaces (id),
    user_id         TEXT    NOT NULL,
    confined        INTEGER NOT NULL CHECK (confined IN (0, 1)),
    minted_by       TEXT    NOT NULL,
    page            TEXT    NOT NULL CHECK (page IN ('connect', 'claim')),
    return_to       TEXT,
    created_at      INTEGER NOT NULL,
    link_expires_at INTEGER NOT NULL,
    opened_at       INTEGER,
    session_hash    TEXT,
    expires_at      INTEGER NOT NULL,
    CHECK ((opened_at IS NULL) = (session_hash IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX connect_sessions_by_cookie ON connect_sessions (session_hash) WHERE session_hash IS NOT NULL;
CREATE INDEX connect_sessions_by_expiry ON connect_sessions (expires_at);
