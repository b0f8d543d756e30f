-- What is kept and for how long, the erasure of a person, and the chain of the audit trail. Tenant tables.

-- Days after which something goes; null: never. A workspace without a row has the defaults (model::retention).
CREATE TABLE retention_policies (
    workspace_id    TEXT    NOT NULL PRIMARY KEY,
    message_days    INTEGER CHECK (message_days BETWEEN 1 AND 3650),
    attachment_days INTEGER CHECK (attachment_days BETWEEN 1 AND 3650),
    write_days      INTEGER CHECK (write_days BETWEEN 7 AND 3650),
    version         INTEGER NOT NULL CHECK (version >= 1),
    updated_by      TEXT    NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that outcomes were drawn from. Of a redacted one only that it was there is left.
CREATE TABLE messages (
    workspace_id TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    thread_id    TEXT    NOT NULL,
    contact_hmac TEXT,
    subject      TEXT,
    body         TEXT,
    received_at  INTEGER NOT NULL,
    is_redacted  INTEGER NOT NULL DEFAULT 0 CHECK (is_redacted IN (0, 1)),
    redacted_at  INTEGER,
    PRIMARY KEY (workspace_id, id),
    CHECK ((is_redacted = 1) = (redacted_at IS NOT NULL)),
    CHECK (is_redacted = 0 OR (subject IS NULL AND body IS NULL AND contact_hmac IS NULL))
) STRICT, WITHOUT ROWID;

-- What the purge walks, oldest first: a redacted message is not in it, so a run costs what is due.
CREATE INDEX messages_due ON messages (workspace_id, received_at, id) WHERE is_redacted = 0;
-- What an erasure walks.
CREATE INDEX messages_of_contact ON messages (workspace_id, contact_hmac) WHERE contact_hmac IS NOT NULL;

-- The bytes are in R2 under object_key, which is null once they are gone there.
CREATE TABLE attachments (
    workspace_id TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    message_id   TEXT    NOT NULL,
    object_key   TEXT,
    file_name    TEXT,
    size_bytes   INTEGER NOT NULL CHECK (size_bytes >= 0),
    received_at  INTEGER NOT NULL,
    removed_at   INTEGER,
    PRIMARY KEY (workspace_id, id),
    CHECK ((object_key IS NULL) = (removed_at IS NOT NULL)),
    CHECK (object_key IS NOT NULL OR file_name IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachments_due ON attachments (workspace_id, received_at, id) WHERE object_key IS NOT NULL;
CREATE INDEX attachments_of_message ON attachments (workspace_id, message_id) WHERE object_key IS NOT NULL;

-- A purge of a workspace that the audit trail does not tell of yet: its counts grow in the batches that do the work, and the
-- row goes in the batch with the event. So whatever stops a run, nothing is counted twice or forgotten.
CREATE TABLE retention_progress (
    workspace_id        TEXT    NOT NULL PRIMARY KEY,
    began_at            INTEGER NOT NULL,
    messages_redacted   INTEGER NOT NULL DEFAULT 0,
    attachments_removed INTEGER NOT NULL DEFAULT 0,
    writes_redacted     INTEGER NOT NULL DEFAULT 0,
    attempts_deleted    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- How far a workspace's log has been redacted, in the order of crm_write_log_by_time. An index of what is due would be one
-- more row written for every write.
CREATE TABLE retention_cursors (
    workspace_id     TEXT    NOT NULL PRIMARY KEY,
    write_created_at INTEGER NOT NULL,
    write_crm        TEXT    NOT NULL CHECK (write_crm IN ('hubspot', 'salesforce')),
    write_key        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Writes that the cursor passed while they were still on their way: looked at again in every run.
CREATE TABLE retention_stragglers (
    workspace_id    TEXT    NOT NULL,
    crm             TEXT    NOT NULL CHECK (crm IN ('hubspot', 'salesforce')),
    idempotency_key TEXT    NOT NULL,
    PRIMARY KEY (workspace_id, crm, idempotency_key)
) STRICT, WITHOUT ROWID;

-- A request to erase a person: only a pseudonym of whom, and that only while it is open.
CREATE TABLE erasures (
    workspace_id        TEXT    NOT NULL,
    id                  TEXT    NOT NULL CHECK (id LIKE 'er\_%' ESCAPE '\'),
    status              TEXT    NOT NULL CHECK (status IN ('running', 'waiting', 'finished')),
    person_hmac         TEXT,
    requested_by        TEXT    NOT NULL,
    requested_at        INTEGER NOT NULL,
    write_created_at    INTEGER NOT NULL DEFAULT 0,
    write_crm           TEXT    NOT NULL DEFAULT '',
    write_key           TEXT    NOT NULL DEFAULT '',
    messages_redacted   INTEGER NOT NULL DEFAULT 0,
    attachments_removed INTEGER NOT NULL DEFAULT 0,
    writes_redacted     INTEGER NOT NULL DEFAULT 0,
    writes_cancelled    INTEGER NOT NULL DEFAULT 0,
    finished_at         INTEGER,
    PRIMARY KEY (workspace_id, id),
    CHECK ((status = 'finished') = (person_hmac IS NULL)),
    CHECK ((status = 'finished') = (finished_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- One open erasure of a person; also the list of those that are open.
CREATE UNIQUE INDEX erasures_open ON erasures (workspace_id, person_hmac) WHERE person_hmac IS NOT NULL;

-- An event's number in its workspace's chain and the hash that joins it to the one before. Null until it is sealed: the
-- requests that append events neither count nor hash, so it costs them nothing.
ALTER TABLE audit_events ADD COLUMN seq INTEGER;
ALTER TABLE audit_events ADD COLUMN hash TEXT;

-- The end of each workspace's chain, under a key that the database does not hold.
CREATE TABLE audit_heads (
    workspace_id  TEXT    NOT NULL PRIMARY KEY,
    seq           INTEGER NOT NULL CHECK (seq >= 1),
    hash          TEXT    NOT NULL,
    mac           TEXT    NOT NULL,
    last_at       INTEGER NOT NULL,
    last_id       TEXT    NOT NULL,
    sealed_at     INTEGER NOT NULL,
    verified_at   INTEGER NOT NULL DEFAULT 0,
    verify_cursor TEXT
) STRICT, WITHOUT ROWID;

-- Whose chain was not looked through for longest.
CREATE INDEX audit_heads_by_verification ON audit_heads (verified_at);

-- Installs that are over (directory), oldest first, for the purge.
CREATE INDEX pending_installs_over ON pending_installs (updated_at)
    WHERE status <> 'pending' AND access_token_sealed IS NULL;
