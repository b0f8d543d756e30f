-- The directory: which workspaces there are, who may act in them, and flows that have no workspace yet.
-- Lives in DB only. Tenant tables are in 0002. Times are epoch milliseconds (UTC).

CREATE TABLE workspaces (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (id LIKE 'ws\_%' ESCAPE '\'),
    name       TEXT    NOT NULL,
    shard      TEXT    NOT NULL DEFAULT 'DB',
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workspace_members (
    workspace_id TEXT    NOT NULL REFERENCES workspaces (id),
    user_id      TEXT    NOT NULL CHECK (user_id LIKE 'us\_%' ESCAPE '\'),
    role         TEXT    NOT NULL CHECK (role IN ('member', 'admin', 'owner')),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
) STRICT, WITHOUT ROWID;

-- "Which workspaces may this user choose?" (the claim page).
CREATE INDEX workspace_members_by_user ON workspace_members (user_id, workspace_id);

CREATE TABLE service_tokens (
    token_hash   TEXT    NOT NULL PRIMARY KEY,
    workspace_id TEXT    NOT NULL REFERENCES workspaces (id),
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('member', 'admin', 'owner')),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

-- A row is consumed by one conditional UPDATE of used_at: once, before expires_at, by the browser of browser_hash.
-- workspace_id and user_id are null in the install-first flow.
CREATE TABLE oauth_states (
    state_hash      TEXT    NOT NULL PRIMARY KEY,
    crm             TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    flow            TEXT    NOT NULL CHECK (flow IN ('connect', 'install')),
    workspace_id    TEXT    REFERENCES workspaces (id),
    user_id         TEXT,
    browser_hash    TEXT    NOT NULL,
    verifier_sealed TEXT    NOT NULL,
    return_to       TEXT,
    login_host      TEXT,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    used_at         INTEGER,
    CHECK ((flow = 'connect') = (workspace_id IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- The purge of spent states walks this.
CREATE INDEX oauth_states_by_expiry ON oauth_states (expires_at);
