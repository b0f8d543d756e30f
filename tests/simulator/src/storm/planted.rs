//! Bugs planted to test the simulator: each bends what passes a port, as a wrong statement, request or answer of the product
//! would. Nothing of it can reach a Worker: it is in no crate of the product.
//!
//! A bug that a seed's run catches breaks a rule; one whose words no longer fit the product's statements is never in the way of
//! anything, which the run tells too.

use super::desk::Desk;
use super::swaps;
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
    ThreadLinkIgnored,
    MechanismsNotForgotten,
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
    DeadLetterNotTold,
    ErasedPayloadKept,
    ErasedAlthoughInDoubt,
    AttachmentForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 36] = [
        Self::BlindRetryOnTimeout,
        Self::TimeoutTakenForNotSent,
        Self::ServerErrorTakenForNotDone,
        Self::LeaseNotChecked,
        Self::DueTimeNotChecked,
        Self::SettledWithoutLease,
        Self::CrashNotInDoubt,
        Self::DoubtForgotten,
        Self::NoAttemptRow,
        Self::ThreadLinkIgnored,
        Self::MechanismsNotForgotten,
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
        Self::DeadLetterNotTold,
        Self::ErasedPayloadKept,
        Self::ErasedAlthoughInDoubt,
        Self::AttachmentForgotten,
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
            Bug::DeadLetterNotTold => sql.contains("INSERT INTO alarms"),
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
        for swap in swaps::of(bug) {
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
