-- The PKCE verifier is derived from the state and a key, and is not stored; the row says from which key. Null where HubSpot's
-- marketplace made the authorize request, without a challenge of ours. Flows in progress (ten minutes) begin again.
DELETE FROM oauth_states;
ALTER TABLE oauth_states DROP COLUMN verifier_sealed;
ALTER TABLE oauth_states ADD COLUMN verifier_key_id TEXT;
