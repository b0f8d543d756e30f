//! What the planted bugs of the database change in the product's own statements.

use super::planted::Bug;

/// What a bug puts in the place of a statement's words: of the statement that has `of`, `from` becomes `to`.
pub struct Swap {
    pub of: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

/// The swaps of a bug; none where it is not one of the statements.
pub fn of(bug: Bug) -> Vec<Swap> {
    let mut swaps = of_writes(bug);
    swaps.extend(of_owners(bug));
    swaps.extend(of_upkeep(bug));
    swaps
}

fn one(of: &'static str, from: &'static str, to: &'static str) -> Vec<Swap> {
    vec![Swap { of, from, to }]
}

/// In the log of writes: leases, doubts, retries.
fn of_writes(bug: Bug) -> Vec<Swap> {
    match bug {
        Bug::LeaseNotChecked => vec![
            Swap {
                of: "in_doubt = CASE",
                from: "status = 'in_flight' AND lease_until <= ?7",
                to: "status = 'in_flight'",
            },
            // A write that is being sent also stands in its own way, as one of the same target.
            Swap { of: "in_doubt = CASE", from: "f.lease_until > ?7", to: "f.lease_until > ?7 AND 1 = 0" },
        ],
        Bug::DueTimeNotChecked => one("in_doubt = CASE", "AND next_retry_at <= ?6", ""),
        Bug::SettledWithoutLease => one("in_doubt = MAX", "AND w.lease_id = ?3", ""),
        Bug::CrashNotInDoubt => {
            one("in_doubt = CASE", "CASE WHEN status = 'in_flight' THEN 1 ELSE in_doubt END", "in_doubt")
        }
        Bug::DoubtForgotten => one("in_doubt = MAX", "MAX(in_doubt, j.value->>'status' = 'unknown')", "0"),
        Bug::RetriesNotBounded => vec![
            Swap {
                of: "in_doubt = MAX",
                from: "status = j.value->>'status'",
                to: "status = CASE WHEN j.value->>'class' = 'transient' THEN 'failed' ELSE j.value->>'status' END",
            },
            Swap {
                of: "in_doubt = MAX",
                from: "next_retry_at = j.value->>'next_retry_at'",
                to: "next_retry_at = COALESCE(j.value->>'next_retry_at', CASE WHEN j.value->>'class' = 'transient' THEN ?5 END)",
            },
            Swap {
                of: "in_doubt = MAX",
                from: "(j.value->>'status' = 'permanent_failure')",
                to: "(j.value->>'status' = 'permanent_failure' AND j.value->>'class' <> 'transient')",
            },
        ],
        Bug::DoorbellIsTheTruth => one("next_retry_at <= ?1 AND (lease_until", "LIMIT ?2", "LIMIT ?2 * 0"),
        Bug::ForeignWritesRead => {
            one("FROM json_each(?2) j CROSS JOIN crm_write_log w", "w.workspace_id = ?1 AND w.crm", "?1 = ?1 AND w.crm")
        }
        Bug::OtherContentAccepted => one(
            "INSERT INTO crm_write_log",
            "DO UPDATE SET next_retry_at = excluded.next_retry_at\n             WHERE crm_write_log.status = 'planned' AND crm_write_log.next_retry_at IS NULL",
            "DO UPDATE SET request_hash = excluded.request_hash, payload_json = excluded.payload_json",
        ),
        Bug::UnknownTakenForSuccess => vec![
            Swap {
                of: "in_doubt = MAX",
                from: "status = j.value->>'status'",
                to: "status = CASE WHEN j.value->>'status' = 'unknown' THEN 'succeeded' ELSE j.value->>'status' END",
            },
            Swap {
                of: "in_doubt = MAX",
                from: "next_retry_at = j.value->>'next_retry_at'",
                to: "next_retry_at = CASE WHEN j.value->>'status' = 'unknown' THEN NULL ELSE j.value->>'next_retry_at' END",
            },
        ],
        Bug::MechanismsNotForgotten => {
            one("mechanisms_at IS ?3", "SET mechanisms_json = NULL", "SET mechanisms_json = mechanisms_json")
        }
        Bug::ThreadLinkIgnored => {
            one("SELECT w.idempotency_key, d.crm_deal_id", "l.thread_id = w.object_id", "l.thread_id = ''")
        }
        Bug::DeadLetterWithoutReason => one("in_doubt = MAX", "error_code = j.value->>'code'", "error_code = NULL"),
        _ => Vec::new(),
    }
}

/// In what owns a token: connections, states, installs, accounts.
fn of_owners(bug: Bug) -> Vec<Swap> {
    match bug {
        Bug::GenerationIgnored => vec![
            Swap {
                of: "refresh_id = NULL, token_refused_at = ?9",
                from: "AND token_generation = ?3",
                to: "AND ?3 = ?3",
            },
            Swap {
                of: "refresh_id = NULL, token_refused_at = ?9",
                from: "AND (status = 'connected' OR (status = 'error' AND last_error_code = 'access_refused'))",
                to: "",
            },
        ],
        Bug::RefreshTokenNotStored => one(
            "token_refused_at = ?9, heartbeat_at = ?8",
            "refresh_token_sealed = ?5",
            "refresh_token_sealed = COALESCE(refresh_token_sealed, ?5)",
        ),
        Bug::RefreshIntentIgnored => {
            one("SET refresh_started_at = ?4", "AND (refresh_id IS ?6 OR refresh_id = ?5)", "AND (?6 IS ?6)")
        }
        Bug::DisconnectKeepsGeneration => one(
            "SET status = 'disconnected'",
            "token_generation = token_generation + 1",
            "token_generation = token_generation",
        ),
        Bug::StateReused => vec![
            Swap { of: "UPDATE oauth_states SET used_at", from: "AND used_at IS NULL", to: "" },
            Swap { of: "FROM oauth_states WHERE state_hash", from: "SELECT used_at,", to: "SELECT NULL AS used_at," },
        ],
        // The owner of the account would stop the second one.
        Bug::ClaimedTwice => vec![
            Swap { of: "SET claim_workspace_id = ?3", from: "WHEN status = 'pending' AND", to: "WHEN" },
            Swap { of: "SET claim_workspace_id = ?3", from: "(claim_workspace_id IS NULL OR", to: "(1 = 1 OR" },
            Swap { of: "INSERT INTO crm_accounts", from: "ELSE NULL END", to: "ELSE excluded.workspace_id END" },
        ],
        Bug::AccountTakenByTwo => one("INSERT INTO crm_accounts", "ELSE NULL END", "ELSE excluded.workspace_id END"),
        // The schema does not let a claimed one hold a token: this one ends it as if nobody had come.
        Bug::InstallKeepsTokens => vec![
            Swap {
                of: "UPDATE pending_installs SET status = 'claimed'",
                from: "status = 'claimed', access_token_sealed = NULL, refresh_token_sealed = NULL",
                to: "status = 'expired'",
            },
            Swap { of: "UPDATE pending_installs SET status = 'claimed'", from: "claimed_at = ?4,", to: "" },
        ],
        _ => Vec::new(),
    }
}

/// In what ends: erasures, the audit's seal.
fn of_upkeep(bug: Bug) -> Vec<Swap> {
    match bug {
        Bug::ErasedPayloadKept => one(
            "permanent_failure = (status <> 'succeeded')",
            "payload_json = ?3, response_json = NULL",
            "response_json = NULL",
        ),
        Bug::ErasedAlthoughInDoubt => {
            one("error_code = 'erased'", "('planned', 'failed') AND in_doubt = 0", "('planned', 'failed', 'unknown')")
        }
        _ => Vec::new(),
    }
}
