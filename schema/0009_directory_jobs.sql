-- One row per job: who runs it now, until when nobody else may, and what its last run came to.
CREATE TABLE job_runs (
    job         TEXT    NOT NULL PRIMARY KEY,
    run_id      TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    ended_at    INTEGER,
    outcome     TEXT    CHECK (outcome IN ('done', 'failed')),
    report_json TEXT    CHECK (report_json IS NULL OR json_valid(report_json)),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;
