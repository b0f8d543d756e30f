//! Bugs planted to test the simulator: each bends what passes a port, as a wrong statement, request or answer of the product
//! would. Nothing of it can reach a Worker: it is in no crate of the product.
//!
//! A bug that a seed's run catches breaks a rule; one whose words no longer fit the product's statements is never in the way of
//! anything, which the run tells too.

use super::desk::Desk;
use providers::http::{Answer, Body, Effect, NoAnswer, Request, Response};
use std::cell::Cell;
use store::Statement;

thread_local! {
    static BENT: Cell<bool> = const { Cell::new(false) };
    static STALE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// A run begins.
pub fn begin() {
    BENT.set(false);
    STALE.set(None);
}

/// Words of the bug that the statement they belong to did not have since then: the product was changed, and this file was not.
pub fn stale() -> Option<&'static str> {
    STALE.get()
}

/// Whether the bug was in the way of something since then.
pub fn was_bent() -> bool {
    BENT.get()
}

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`label` words them")]
pub enum Bug {
    BlindRetryOnTimeout,
    TimeoutTakenForNotSent,
    ServerErrorTakenForNotDone,
    LeaseNotChecked,
    DueTimeNotChecked,
    SettledWithoutLease,
    CrashNotInDoubt,
    DoubtForgotten,
    NoAttemptRow,
    RetriesNotBounded,
    DoorbellIsTheTruth,
    GenerationIgnored,
    RefreshTokenNotStored,
    RefreshIntentIgnored,
    DisconnectKeepsGeneration,
    StateReused,
    ClaimedTwice,
    AccountTakenByTwo,
    AuditOfWritesMissing,
    AuditOfConnectionsMissing,
    ForeignWritesRead,
    OtherContentAccepted,
    AssociationDropped,
    DryRunLeaks,
    TokenLogged,
    TokenStoredInPlain,
    UnknownTakenForSuccess,
    RateLimitIgnored,
    InstallKeepsTokens,
    DeadLetterWithoutReason,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::BlindRetryOnTimeout,
        Self::TimeoutTakenForNotSent,
        Self::ServerErrorTakenForNotDone,
        Self::LeaseNotChecked,
        Self::DueTimeNotChecked,
        Self::SettledWithoutLease,
        Self::CrashNotInDoubt,
        Self::DoubtForgotten,
        Self::NoAttemptRow,
        Self::RetriesNotBounded,
        Self::DoorbellIsTheTruth,
        Self::GenerationIgnored,
        Self::RefreshTokenNotStored,
        Self::RefreshIntentIgnored,
        Self::DisconnectKeepsGeneration,
        Self::StateReused,
        Self::ClaimedTwice,
        Self::AccountTakenByTwo,
        Self::AuditOfWritesMissing,
        Self::AuditOfConnectionsMissing,
        Self::ForeignWritesRead,
        Self::OtherContentAccepted,
        Self::AssociationDropped,
        Self::DryRunLeaks,
        Self::TokenLogged,
        Self::TokenStoredInPlain,
        Self::UnknownTakenForSuccess,
        Self::RateLimitIgnored,
        Self::InstallKeepsTokens,
        Self::DeadLetterWithoutReason,
    ];
}

/// The bug is in the way of something now.
pub fn bend() {
    bent();
}

fn bent() {
    BENT.set(true);
}

/// What a planted bug makes of an answer.
pub enum Bent {
    /// This.
    Answer(Answer),
    /// The request is sent again at once.
    Again,
}

/// A request is about to leave.
pub fn bend_request(desk: &Desk, request: &mut Request) {
    match desk.place.bug {
        Some(Bug::TokenLogged) => {
            if let Some(token) = &request.bearer {
                bent();
                desk.place.must_not_tell_a_token("log request_sent.authorization", token.expose());
            }
        }
        Some(Bug::AssociationDropped) => {
            if let Body::Json(text) = &mut request.body {
                let without = without_ties(text);
                if let Some(without) = without {
                    bent();
                    *text = without;
                }
            }
        }
        _ => {}
    }
}

/// A create without its associations, where it has some.
fn without_ties(text: &str) -> Option<String> {
    let mut body: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut dropped = false;
    if let Some(inputs) = body.get_mut("inputs").and_then(|inputs| inputs.as_array_mut()) {
        for input in inputs {
            dropped |= input.as_object_mut()?.remove("associations").is_some();
        }
    }
    if let Some(parts) = body.get_mut("compositeRequest").and_then(|parts| parts.as_array_mut()) {
        for part in parts {
            dropped |= part
                .pointer_mut("/body")
                .and_then(|body| body.as_object_mut())
                .is_some_and(|body| body.remove("WhoId").is_some());
        }
    }
    dropped.then(|| body.to_string())
}

/// An answer came, or did not.
pub fn bend_answer(desk: &Desk, request: &Request, answer: Answer) -> Bent {
    let creates = request.effect == Effect::Creates;
    match (desk.place.bug, &answer) {
        (Some(Bug::BlindRetryOnTimeout), Err(NoAnswer::Lost)) if creates => {
            bent();
            Bent::Again
        }
        (Some(Bug::TimeoutTakenForNotSent), Err(NoAnswer::Lost))
        | (Some(Bug::ServerErrorTakenForNotDone), Ok(Response { status: 500..=599, .. }))
            if creates =>
        {
            bent();
            Bent::Answer(Err(NoAnswer::NotSent))
        }
        _ => Bent::Answer(answer),
    }
}

/// What a bug puts in the place of a statement's words: of the statement that has `of`, `from` becomes `to`.
struct Swap {
    of: &'static str,
    from: &'static str,
    to: &'static str,
}

fn swaps(bug: Bug) -> Vec<Swap> {
    let swap = |of, from, to| vec![Swap { of, from, to }];
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
        Bug::DueTimeNotChecked => swap("in_doubt = CASE", "AND next_retry_at <= ?6", ""),
        Bug::SettledWithoutLease => swap("in_doubt = MAX", "AND lease_id = ?3", ""),
        Bug::CrashNotInDoubt => {
            swap("in_doubt = CASE", "CASE WHEN status = 'in_flight' THEN 1 ELSE in_doubt END", "in_doubt")
        }
        Bug::DoubtForgotten => swap("in_doubt = MAX", "MAX(in_doubt, j.value->>'status' = 'unknown')", "0"),
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
        Bug::DoorbellIsTheTruth => swap("next_retry_at <= ?1 AND (lease_until", "LIMIT ?2", "LIMIT ?2 * 0"),
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
        Bug::RefreshTokenNotStored => swap(
            "token_refused_at = ?9, heartbeat_at = ?8",
            "refresh_token_sealed = ?5",
            "refresh_token_sealed = COALESCE(refresh_token_sealed, ?5)",
        ),
        Bug::RefreshIntentIgnored => {
            swap("SET refresh_started_at = ?4", "AND (refresh_id IS ?6 OR refresh_id = ?5)", "AND (?6 IS ?6)")
        }
        Bug::DisconnectKeepsGeneration => swap(
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
        Bug::AccountTakenByTwo => swap("INSERT INTO crm_accounts", "ELSE NULL END", "ELSE excluded.workspace_id END"),
        Bug::ForeignWritesRead => swap(
            "FROM json_each(?2) j CROSS JOIN crm_write_log w",
            "w.workspace_id = ?1 AND w.crm",
            "?1 = ?1 AND w.crm",
        ),
        Bug::OtherContentAccepted => swap(
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
        // The schema does not let a claimed one hold a token: this one ends it as if nobody had come.
        Bug::InstallKeepsTokens => vec![
            Swap {
                of: "UPDATE pending_installs SET status = 'claimed'",
                from: "status = 'claimed', access_token_sealed = NULL, refresh_token_sealed = NULL",
                to: "status = 'expired'",
            },
            Swap { of: "UPDATE pending_installs SET status = 'claimed'", from: "claimed_at = ?4,", to: "" },
        ],
        Bug::DeadLetterWithoutReason => swap("in_doubt = MAX", "error_code = j.value->>'code'", "error_code = NULL"),
        _ => Vec::new(),
    }
}

/// Statements are about to run.
pub fn bend_statements(desk: &Desk, statements: &mut [Statement]) {
    let Some(bug) = desk.place.bug else { return };
    let nothing = || Statement::new("SELECT 1", []);
    let is_claim = statements.iter().any(|statement| statement.sql.contains("SET claim_workspace_id = ?3"));
    for at in 0..statements.len() {
        let sql = statements[at].sql;
        let is_event = sql.contains("INTO audit_events");
        let belongs_to = |table: &str| at > 0 && statements[at - 1].sql.contains(table);
        let drop_it = match bug {
            Bug::NoAttemptRow => sql.contains("INSERT INTO crm_write_attempts"),
            Bug::AuditOfWritesMissing => is_event && belongs_to("UPDATE crm_write_log"),
            Bug::AuditOfConnectionsMissing => is_event && belongs_to(" crm_connections"),
            _ => false,
        };
        if drop_it {
            bent();
            statements[at] = nothing();
        }
        if bug == Bug::TokenStoredInPlain && sql.contains("UPDATE crm_connections SET access_token_sealed") {
            bent();
            if let (Some(token), Some(bind)) =
                (desk.place.crm.borrow().issued().last(), statements[at].binds.get_mut(3))
            {
                *bind = store::Bind::Text(token.clone());
            }
        }
        // Only with a claim: a connect that takes an account is another bug.
        if bug == Bug::ClaimedTwice && !is_claim {
            continue;
        }
        for swap in swaps(bug) {
            if !sql.contains(swap.of) {
                continue;
            }
            let now = statements[at].sql;
            if now.contains(swap.from) {
                bent();
                statements[at].sql = kept(&now.replace(swap.from, swap.to));
            } else {
                STALE.set(Some(swap.from));
            }
        }
    }
}

/// Statements are constants: a bent one becomes one too, once for each.
fn kept(sql: &str) -> &'static str {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    thread_local! {
        static KEPT: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
    }
    KEPT.with_borrow_mut(|all| {
        if let Some(known) = all.get(sql) {
            return *known;
        }
        let known: &'static str = Box::leak(sql.to_owned().into_boxed_str());
        all.insert(known);
        known
    })
}
