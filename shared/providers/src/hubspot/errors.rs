//! HubSpot's error answers and what each comes to (providers reference 1.4, 1.11).
//!
//! The body's `category` is read before the status, because some statuses hold several kinds; every field may be absent
//! (HubSpot says so itself, and real 400s without `category` exist).

use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Response};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::Value;

/// A locked record is free after 2 s (documented); a little more, so as not to meet the lock again.
const LOCKED_SECS: i64 = 3;
/// A portal that is being moved names the time (up to a day); without it, an hour.
const MOVING_SECS: i64 = 3_600;
/// Burst windows, by `policyName`.
const SECONDLY_SECS: i64 = 1;
const TEN_SECONDLY_SECS: i64 = 10;
const HOUR_MS: i64 = 3_600_000;

/// What a failing answer to a request of this effect comes to. Also called on 2xx answers that cannot be used.
pub fn classify(answer: &Answer, effect: Effect, now: Timestamp) -> WriteOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(lack) => return failure::no_answer(*lack, effect),
    };
    if response.is_success() {
        return failure::unreadable(response, effect);
    }
    let body = response.json().filter(Value::is_object);
    let correlation_id = correlation_id(response, body.as_ref());
    let mut verdict = verdict(response.status, body.as_ref(), effect, now);
    if matches!(verdict.class, ErrorClass::Transient | ErrorClass::RateLimited) {
        verdict.wait_secs = failure::retry_after_secs(response).or(verdict.wait_secs);
    }
    verdict.outcome(Some(response.status), correlation_id, now)
}

/// What one item of a 207's `errors` comes to: the item was certainly not written.
pub fn classify_item(response: &Response, item: &Value, now: Timestamp) -> WriteOutcome {
    // 400 is what the same error has as an answer of its own.
    let verdict = verdict(400, Some(item), Effect::Idempotent, now);
    verdict.outcome(Some(response.status), correlation_id(response, Some(item)), now)
}

fn verdict(status: u16, body: Option<&Value>, effect: Effect, now: Timestamp) -> Verdict {
    let mut verdict = failure::by_status(status, body.is_some(), effect);
    if let Some(body) = body {
        let by_status = verdict.clone();
        describe(&mut verdict, body);
        // What a gateway answered says nothing about what happened behind it: only its words are taken.
        if status >= 500 {
            verdict = Verdict { message: verdict.message, ..by_status };
        }
    }
    match status {
        423 => Verdict { class: ErrorClass::Transient, ..verdict }.wait(LOCKED_SECS),
        // "Rate limited", because the portal will be back by itself and only that class does not use up attempts.
        477 => Verdict { class: ErrorClass::RateLimited, ..verdict }.wait(MOVING_SECS),
        _ if verdict.class == ErrorClass::RateLimited => limited(verdict, body, now),
        _ => verdict,
    }
}

/// Fills in the body's words, and its category's class.
fn describe(verdict: &mut Verdict, body: &Value) {
    let category = hostile::text(body, "category").or_else(|| hostile::text(body, "errorType")).unwrap_or_default();
    match category {
        "MISSING_SCOPES" | "EXPIRED_AUTHENTICATION" | "INVALID_AUTHENTICATION" => {
            verdict.class = ErrorClass::Auth;
            verdict.token_refused = true;
        }
        "RATE_LIMIT" | "RATE_LIMITS" => verdict.class = ErrorClass::RateLimited,
        "CONFLICT" => verdict.class = ErrorClass::Conflict,
        _ => {}
    }
    let first = hostile::list(body, "errors").first();
    let code = match verdict.class {
        ErrorClass::RateLimited => hostile::text(body, "policyName"),
        ErrorClass::Mapping => first.and_then(|error| hostile::text(error, "code")),
        _ => None,
    };
    let code = hostile::code(code.unwrap_or(category));
    if !code.is_empty() {
        verdict.code = code;
    }
    // A list of invalid properties is repeated as JSON in the message: its first error alone reads better.
    let message = hostile::text(body, "message").unwrap_or_default();
    let message = match first.and_then(|error| hostile::text(error, "message")) {
        Some(text) if message.is_empty() || message.starts_with("Property values were not valid") => text,
        _ => message,
    };
    if !message.is_empty() {
        message.clone_into(&mut verdict.message);
    }
    if verdict.code == "MISSING_SCOPES" {
        name_scopes(verdict, body);
    }
}

/// Both published shapes hold the scopes in a `context`, at the top or in `errors`; a person needs their names.
fn name_scopes(verdict: &mut Verdict, body: &Value) {
    let holders = std::iter::once(body).chain(hostile::list(body, "errors"));
    let scopes: Vec<&str> = holders
        .filter_map(|holder| holder.get("context"))
        .flat_map(|context| hostile::list(context, "requiredGranularScopes"))
        .filter_map(Value::as_str)
        .take(10)
        .collect();
    if !scopes.is_empty() {
        verdict.message = format!("{} ({})", verdict.message, scopes.join(", "));
    }
}

/// When to come back, by `policyName`; a documented `Retry-After` does not exist, so it only overrides when it is there.
fn limited(verdict: Verdict, body: Option<&Value>, now: Timestamp) -> Verdict {
    let policy = body.and_then(|body| hostile::text(body, "policyName")).unwrap_or_default();
    let wait = match policy {
        "SECONDLY" => SECONDLY_SECS,
        // The daily limit ends at midnight in the portal's time zone, which is not known here. Zones differ from UTC by
        // whole or half hours, so the next full UTC hour is the earliest it can be, give or take half an hour.
        "DAILY" => HOUR_MS.saturating_sub(now.0.rem_euclid(HOUR_MS)).div_euclid(1_000).saturating_add(1),
        _ => TEN_SECONDLY_SECS,
    };
    verdict.wait(wait)
}

/// By which HubSpot's support finds the request.
pub(super) fn correlation_id(response: &Response, body: Option<&Value>) -> Option<String> {
    body.and_then(|body| hostile::text(body, "correlationId"))
        .or_else(|| response.header("x-hubspot-correlation-id"))
        .map(hostile::code)
        .filter(|id| !id.is_empty())
}
