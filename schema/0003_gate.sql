-- What the gate keeps of a refresh in progress, so that a crash or a second instance of the gate is seen and not guessed.

-- Who began the refresh of refresh_started_at; both are null when none is open. Only its holder may take it back, and
-- whoever takes it over must name it.
ALTER TABLE crm_connections ADD COLUMN refresh_id TEXT;

-- The CRM refused the token before this one, which came of a refresh at that time. Refused again soon: a person must act.
ALTER TABLE crm_connections ADD COLUMN token_refused_at INTEGER;
