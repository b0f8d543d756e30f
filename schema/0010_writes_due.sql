-- What is due costs what is due: writes that wait for a retry are no longer walked to find those that are due.

-- Open writes, in the order per target. First those that no lot has settled yet: they are due at once, or being sent, so the
-- reconciler walks them all. Then those that wait. A lease changes nothing of it, and final rows are not in it.
DROP INDEX crm_write_log_open;
CREATE INDEX crm_write_log_open
    ON crm_write_log ((calls IS NOT NULL), workspace_id, crm, target, position, next_retry_at)
    WHERE next_retry_at IS NOT NULL;

-- Writes that were tried and wait, by the time they are due. One that succeeds at its first try, as most do, never enters
-- it: D1 bills every index entry as a row written.
CREATE INDEX crm_write_log_waiting ON crm_write_log (next_retry_at)
    WHERE next_retry_at IS NOT NULL AND calls IS NOT NULL;
