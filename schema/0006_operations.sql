-- What keeps connections healthy: when each is checked next, and what was found; and alarms, which are also the outbox of
-- the outgoing webhook.

-- When the connection is checked next; null: not at all, since a person must act or it is disconnected.
ALTER TABLE connection_health ADD COLUMN check_at INTEGER;
-- Checks in a row in which the CRM knew the token and refused all the same.
ALTER TABLE connection_health ADD COLUMN consecutive_refusals INTEGER NOT NULL DEFAULT 0;
-- What the last check's answer told of the nearest limit of the account.
ALTER TABLE connection_health ADD COLUMN limit_used INTEGER;
ALTER TABLE connection_health ADD COLUMN limit_max INTEGER;

-- What is due to be checked, over all workspaces of the shard.
CREATE INDEX connection_health_due ON connection_health (check_at) WHERE check_at IS NOT NULL;

UPDATE connection_health SET check_at = checked_at
WHERE EXISTS (SELECT 1 FROM crm_connections c
              WHERE c.workspace_id = connection_health.workspace_id AND c.crm = connection_health.crm
                  AND c.status = 'connected');

-- Something a person should know of: written in the batch of what it tells of, then delivered to the webhook, if there is
-- one. Ids, codes and counts only.
CREATE TABLE alarms (
    workspace_id TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    kind         TEXT    NOT NULL CHECK (kind IN ('crm.writes_failed', 'crm.connection_failed')),
    payload_json TEXT    NOT NULL CHECK (json_valid(payload_json)),
    created_at   INTEGER NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    try_at       INTEGER,
    delivered_at INTEGER,
    last_error   TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

-- What is due to be delivered, over all workspaces of the shard; what was delivered or given up is not in it.
CREATE INDEX alarms_due ON alarms (try_at) WHERE try_at IS NOT NULL;
-- The purge walks this.
CREATE INDEX alarms_by_time ON alarms (created_at);
