//! Salesforce's error answers and what each comes to (providers reference 2.3).
//!
//! The data APIs answer a list of `{errorCode, message}`; nested results use `statusCode` for the same codes.

use super::keys::KEY_FIELD;
use crate::failure::{self, Verdict};
use crate::hostile;
use crate::http::{Answer, Effect, Response};
use model::Timestamp;
use model::write::{ErrorClass, MECHANISM_GONE_CODE, WriteOutcome};
use serde_json::Value;

/// The daily limit is over a rolling 24 hours: some of it is free again after an hour.
const DAILY_SECS: i64 = 3_600;
/// Too many long requests at once: over in seconds.
const CONCURRENT_SECS: i64 = 5;
/// A limit that does not say which.
const SOME_LIMIT_SECS: i64 = 900;
/// Approval locks last hours.
const APPROVAL_LOCK_SECS: i64 = 3_600;

/// 401s that a new access token does not cure (the skip list of the open client jsforce), and the code each gets here.
const NOT_ABOUT_THE_TOKEN: [(&str, &str); 2] = [
    ("connected app is not attached to agent", "APP_NOT_ATTACHED_TO_AGENT"),
    ("this session is not valid for use with the rest api", "SESSION_NOT_FOR_REST"),
];

/// What a failing answer to a request of this effect comes to. Also called on 2xx answers that cannot be used.
pub fn classify(answer: &Answer, effect: Effect, now: Timestamp) -> WriteOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(lack) => return failure::no_answer(*lack, effect),
    };
    if response.is_success() {
        return failure::unreadable(response, effect);
    }
    let mut verdict = verdict(response.status, response.json().as_ref(), effect);
    if matches!(verdict.class, ErrorClass::Transient | ErrorClass::RateLimited) {
        verdict.wait_secs = failure::retry_after_secs(response).or(verdict.wait_secs);
    }
    verdict.outcome(Some(response.status), request_id(response), now)
}

/// What a failed part of a composite or collection comes to: its own status and body, inside an answer of 200.
pub fn classify_part(response: &Response, status: u16, body: &Value, effect: Effect, now: Timestamp) -> WriteOutcome {
    // A result that failed inside of a success (`success: false`) is refused content, as a 400 would be.
    let status = if (200..300).contains(&status) { 400 } else { status };
    verdict(status, Some(body), effect).outcome(Some(status), request_id(response), now)
}

/// Whether this part was not run because another one failed.
pub fn is_halted(body: &Value) -> bool {
    matches!(first(body).0, "PROCESSING_HALTED" | "ALL_OR_NONE_OPERATION_ROLLED_BACK")
}

fn verdict(status: u16, body: Option<&Value>, effect: Effect) -> Verdict {
    let mut verdict = failure::by_status(status, body.is_some(), effect);
    if status == 420 {
        // The edge's answer for an org that is deleted or gone.
        verdict.class = ErrorClass::Auth;
    }
    let Some(body) = body else { return verdict };
    let (code, message) = first(body);
    if !code.is_empty() {
        verdict.code = hostile::code(code);
    }
    if !message.is_empty() {
        message.clone_into(&mut verdict.message);
    }
    // Behind a 5xx the work may have been done, whatever the code says.
    if status >= 500 {
        return verdict;
    }
    if let Some(verdict) = about_the_key(status, code, message, &verdict) {
        return verdict;
    }
    // Triggers and flows wrap a lock in errors of their own.
    if code == "UNABLE_TO_LOCK_ROW" || errors(body).iter().any(|e| words(e).contains("UNABLE_TO_LOCK_ROW")) {
        return Verdict { class: ErrorClass::Transient, ..verdict };
    }
    if code == "DUPLICATES_DETECTED" {
        let found = duplicates(body).join(", ");
        let words = "a duplicate rule of the org holds these records against the new one";
        verdict.message = format!("{words}: {found}. {message}");
    }
    if status == 401 {
        let lower = message.to_ascii_lowercase();
        if let Some((_, own)) = NOT_ABOUT_THE_TOKEN.iter().find(|(text, _)| lower.contains(text)) {
            return Verdict { code: (*own).to_owned(), token_refused: false, ..verdict };
        }
    }
    by_code(verdict, effect)
}

/// What concerns our External Id field: 300 is several records of one key, so it is not unique; a race for a key is won by
/// the next try; any other refusal that names the field says that it is not there, or not ours to use.
fn about_the_key(status: u16, code: &str, message: &str, verdict: &Verdict) -> Option<Verdict> {
    let named = message.contains(KEY_FIELD);
    let class = ErrorClass::Transient;
    match code {
        "DUPLICATE_VALUE" if named => Some(Verdict { class, ..verdict.clone() }),
        _ if named || status == 300 => Some(Verdict { class, code: MECHANISM_GONE_CODE.to_owned(), ..verdict.clone() }),
        _ => None,
    }
}

/// The records a duplicate rule holds against a new one, so that a person can use or merge them.
fn duplicates(body: &Value) -> Vec<String> {
    let results = errors(body).iter().filter_map(|error| error.get("duplicateResult"));
    let matches = results.flat_map(|result| hostile::list(result, "matchResults"));
    let records = matches.flat_map(|found| hostile::list(found, "matchRecords"));
    records.filter_map(|found| hostile::id(found.pointer("/record/Id"))).take(3).collect()
}

fn by_code(verdict: Verdict, effect: Effect) -> Verdict {
    use ErrorClass as C;
    let class = match verdict.code.as_str() {
        "INVALID_SESSION_ID" => return Verdict { class: C::Auth, token_refused: true, ..verdict },
        "REQUEST_LIMIT_EXCEEDED" => return limited(verdict),
        "ENTITY_IS_LOCKED" | "RECORD_IN_USE_BY_WORKFLOW" => {
            return Verdict { class: C::Transient, ..verdict }.wait(APPROVAL_LOCK_SECS);
        }
        // Ended by the server in the middle: whether it was rolled back is not told.
        "REQUEST_RUNNING_TOO_LONG" | "UNKNOWN_EXCEPTION" => failure::perhaps(effect),
        "SERVER_UNAVAILABLE"
        | "QUERY_TIMEOUT"
        | "INVALID_QUERY_LOCATOR"
        | "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"
        | "PROCESSING_HALTED"
        | "ALL_OR_NONE_OPERATION_ROLLED_BACK" => C::Transient,
        "INVALID_AUTH_HEADER"
        | "INVALID_LOGIN"
        | "LOGIN_MUST_USE_SECURITY_TOKEN"
        | "API_DISABLED_FOR_ORG"
        | "API_CURRENTLY_DISABLED"
        | "FUNCTIONALITY_NOT_ENABLED"
        | "FORBIDDEN"
        | "COMMUNITY_NOT_ACCESSIBLE"
        | "INSUFFICIENT_ACCESS"
        | "INSUFFICIENT_ACCESS_OR_READONLY"
        | "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"
        | "INACTIVE_OWNER_OR_USER"
        | "OP_WITH_INVALID_USER_TYPE_EXCEPTION" => C::Auth,
        "ENTITY_IS_DELETED" | "ENTITY_FAILED_IFLASTMODIFIED_ON_UPDATE" | "CANNOT_UPDATE_CONVERTED_LEAD" => C::Conflict,
        // Settings of the org that stand in the way of this content, not permissions.
        "STORAGE_LIMIT_EXCEEDED" | "LIMIT_EXCEEDED" | "OPERATION_TOO_LARGE" | "EXCEEDED_ID_LIMIT" => C::Mapping,
        code if code.starts_with("DUPLICATE") => C::Conflict,
        code if code.starts_with("CONCURRENT") => C::Transient,
        _ => verdict.class,
    };
    Verdict { class, ..verdict }
}

/// `TotalRequests Limit exceeded.` is the daily limit, `ConcurrentPerOrgLongTxn` and `ConcurrentRequests` pass at once.
fn limited(verdict: Verdict) -> Verdict {
    let wait = match verdict.message.as_str() {
        text if text.contains("TotalRequests") => DAILY_SECS,
        text if text.contains("Concurrent") => CONCURRENT_SECS,
        _ => SOME_LIMIT_SECS,
    };
    Verdict { class: ErrorClass::RateLimited, ..verdict }.wait(wait)
}

/// The errors of a body: the list itself, a result's `errors`, or the body as the only one.
fn errors(body: &Value) -> &[Value] {
    match body {
        Value::Array(errors) => errors,
        Value::Object(fields) if fields.get("errors").is_some_and(Value::is_array) => hostile::list(body, "errors"),
        _ => std::slice::from_ref(body),
    }
}

/// The first error's code and words.
fn first(body: &Value) -> (&str, &str) {
    let Some(error) = errors(body).first() else { return ("", "") };
    let code = ["errorCode", "statusCode", "error"].into_iter().find_map(|key| hostile::text(error, key));
    (code.unwrap_or_default(), words(error))
}

fn words(error: &Value) -> &str {
    ["message", "error_description"].into_iter().find_map(|key| hostile::text(error, key)).unwrap_or_default()
}

/// Salesforce documents no correlation id; an edge in front of it may add one.
fn request_id(response: &Response) -> Option<String> {
    let header =
        ["sforce-request-id", "x-sfdc-request-id", "x-request-id"].into_iter().find_map(|n| response.header(n));
    header.map(hostile::code).filter(|id| !id.is_empty())
}
