//! Every code and status of both CRMs' error answers, and what it comes to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::{NOW, answer, answer_with, failure, json_answer, lost, name};
use model::Crm;
use model::write::ErrorClass as C;
use providers::http::{Answer, Effect, NoAnswer};
use providers::{hubspot, salesforce};
use serde_json::{Value, json};

fn classify(crm: Crm, answer: &Answer, effect: Effect) -> model::write::WriteOutcome {
    match crm {
        Crm::Hubspot => hubspot::errors::classify(answer, effect, NOW),
        Crm::Salesforce => salesforce::errors::classify(answer, effect, NOW),
    }
}

#[test]
fn every_hubspot_error_has_its_class() {
    let limit = |policy: &str| json!({"status": "error", "errorType": "RATE_LIMIT", "policyName": policy});
    let category = |category: &str| json!({"status": "error", "category": category, "message": "m"});
    for (status, body, class, outcome, code, wait) in [
        (400, category("VALIDATION_ERROR"), C::Mapping, "rejected", "VALIDATION_ERROR", None),
        (
            400,
            json!({"category": "VALIDATION_ERROR", "message": "Property values were not valid: [...]",
                   "errors": [{"message": "Property \"x\" does not exist", "code": "PROPERTY_DOESNT_EXIST"}]}),
            C::Mapping,
            "rejected",
            "PROPERTY_DOESNT_EXIST",
            None,
        ),
        (
            400,
            json!({"message": "Unable to infer object type from: butterflies"}),
            C::Mapping,
            "rejected",
            "http_400",
            None,
        ),
        (400, json!({}), C::Mapping, "rejected", "http_400", None),
        (400, json!([1]), C::Mapping, "rejected", "http_400", None),
        (401, category("EXPIRED_AUTHENTICATION"), C::Auth, "unauthorized", "EXPIRED_AUTHENTICATION", None),
        (401, category("INVALID_AUTHENTICATION"), C::Auth, "unauthorized", "INVALID_AUTHENTICATION", None),
        (401, json!({}), C::Auth, "unauthorized", "http_401", None),
        (403, category("MISSING_SCOPES"), C::Auth, "unauthorized", "MISSING_SCOPES", None),
        (403, category("SOMETHING"), C::Auth, "rejected", "SOMETHING", None),
        (404, category("OBJECT_NOT_FOUND"), C::Mapping, "rejected", "OBJECT_NOT_FOUND", None),
        (405, json!({}), C::Mapping, "rejected", "http_405", None),
        (409, category("CONFLICT"), C::Conflict, "rejected", "CONFLICT", None),
        (409, json!({"message": "Contact already exists"}), C::Conflict, "rejected", "http_409", None),
        (414, json!({}), C::Mapping, "rejected", "http_414", None),
        (423, json!({"message": "locked"}), C::Transient, "retry_after", "http_423", Some(3)),
        (429, limit("SECONDLY"), C::RateLimited, "retry_after", "SECONDLY", Some(1)),
        (429, limit("TEN_SECONDLY_ROLLING"), C::RateLimited, "retry_after", "TEN_SECONDLY_ROLLING", Some(10)),
        // NOW is on the hour.
        (429, limit("DAILY"), C::RateLimited, "retry_after", "DAILY", Some(3_601)),
        (429, category("RATE_LIMITS"), C::RateLimited, "retry_after", "RATE_LIMITS", Some(10)),
        (429, json!({}), C::RateLimited, "retry_after", "http_429", Some(10)),
        (477, json!({}), C::RateLimited, "retry_after", "http_477", Some(3_600)),
        (408, json!({}), C::Transient, "retry_after", "http_408", None),
        (302, json!({}), C::Transient, "retry_after", "http_302", None),
    ] {
        let given = classify(Crm::Hubspot, &json_answer(status, &body), Effect::Idempotent);
        let said = failure(&given);
        assert_eq!((said.class, name(Some(&given)), said.code.as_str()), (class, outcome, code), "{status} {body}");
        assert_eq!(said.not_before.map(|at| (at.0 - NOW.0) / 1_000), wait, "{status} {body}");
        assert_eq!(said.http_status, Some(status));
    }
}

#[test]
fn both_shapes_of_missing_scopes_name_the_scopes() {
    let scopes = json!({"requiredGranularScopes": ["crm.objects.contacts.write"]});
    for body in [
        json!({"category": "MISSING_SCOPES", "message": "One or more of the following scopes are required.", "context": scopes}),
        json!({"category": "MISSING_SCOPES", "message": "This app hasn't been granted all required scopes",
               "errors": [{"message": "m", "context": scopes}]}),
    ] {
        let said = failure(&classify(Crm::Hubspot, &json_answer(403, &body), Effect::Creates));
        assert!(said.detail.ends_with("(crm.objects.contacts.write)"), "{}", said.detail);
    }
}

#[test]
fn every_salesforce_error_has_its_class() {
    let hour = Some(3_600);
    for (status, code, message, class, outcome, wait) in [
        (401, "INVALID_SESSION_ID", "Session expired or invalid", C::Auth, "unauthorized", None),
        (401, "INVALID_AUTH_HEADER", "", C::Auth, "unauthorized", None),
        (400, "INVALID_LOGIN", "", C::Auth, "rejected", None),
        (400, "LOGIN_MUST_USE_SECURITY_TOKEN", "", C::Auth, "rejected", None),
        (403, "API_DISABLED_FOR_ORG", "", C::Auth, "rejected", None),
        (403, "API_CURRENTLY_DISABLED", "", C::Auth, "rejected", None),
        (403, "FUNCTIONALITY_NOT_ENABLED", "", C::Auth, "rejected", None),
        (403, "FORBIDDEN", "", C::Auth, "rejected", None),
        (403, "COMMUNITY_NOT_ACCESSIBLE", "", C::Auth, "rejected", None),
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", C::RateLimited, "retry_after", hour),
        (
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "ConcurrentPerOrgLongTxn Limit exceeded.",
            C::RateLimited,
            "retry_after",
            Some(5),
        ),
        (
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            C::RateLimited,
            "retry_after",
            Some(5),
        ),
        (403, "REQUEST_LIMIT_EXCEEDED", "", C::RateLimited, "retry_after", Some(900)),
        (503, "SERVER_UNAVAILABLE", "", C::Transient, "retry_after", None),
        (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access", C::Transient, "retry_after", None),
        (
            400,
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "trigger: UNABLE_TO_LOCK_ROW, unable",
            C::Transient,
            "retry_after",
            None,
        ),
        (400, "CANNOT_EXECUTE_FLOW_TRIGGER", "We can't save (UNABLE_TO_LOCK_ROW)", C::Transient, "retry_after", None),
        (400, "QUERY_TIMEOUT", "", C::Transient, "retry_after", None),
        (400, "REQUEST_RUNNING_TOO_LONG", "", C::Transient, "retry_after", None),
        (500, "UNKNOWN_EXCEPTION", "An unexpected error occurred", C::Transient, "retry_after", None),
        (400, "CONCURRENT_UPDATE", "", C::Transient, "retry_after", None),
        (404, "INVALID_QUERY_LOCATOR", "", C::Transient, "retry_after", None),
        (400, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "", C::Transient, "retry_after", None),
        (400, "DUPLICATES_DETECTED", "Use one of these records?", C::Conflict, "rejected", None),
        (400, "DUPLICATE_VALUE", "duplicates value on record with id: 00Q", C::Conflict, "rejected", None),
        (400, "DUPLICATE_EXTERNAL_ID", "", C::Conflict, "rejected", None),
        (400, "DUPLICATE_COMM_NICKNAME", "", C::Conflict, "rejected", None),
        (404, "ENTITY_IS_DELETED", "entity is deleted", C::Conflict, "rejected", None),
        (400, "ENTITY_IS_LOCKED", "", C::Transient, "retry_after", hour),
        (400, "RECORD_IN_USE_BY_WORKFLOW", "", C::Transient, "retry_after", hour),
        (400, "ENTITY_FAILED_IFLASTMODIFIED_ON_UPDATE", "", C::Conflict, "rejected", None),
        (400, "CANNOT_UPDATE_CONVERTED_LEAD", "", C::Conflict, "rejected", None),
        (400, "REQUIRED_FIELD_MISSING", "", C::Mapping, "rejected", None),
        (400, "INVALID_FIELD", "No such column 'X' on sobject of type Y", C::Mapping, "rejected", None),
        (400, "INVALID_FIELD_FOR_INSERT_UPDATE", "", C::Mapping, "rejected", None),
        (400, "INVALID_TYPE", "", C::Mapping, "rejected", None),
        (400, "STRING_TOO_LONG", "", C::Mapping, "rejected", None),
        (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "", C::Mapping, "rejected", None),
        (400, "JSON_PARSER_ERROR", "", C::Mapping, "rejected", None),
        (400, "MALFORMED_QUERY", "", C::Mapping, "rejected", None),
        (400, "MALFORMED_ID", "", C::Mapping, "rejected", None),
        (400, "INVALID_ID_FIELD", "", C::Mapping, "rejected", None),
        (400, "INVALID_CROSS_REFERENCE_KEY", "", C::Mapping, "rejected", None),
        (400, "NUMBER_OUTSIDE_VALID_RANGE", "", C::Mapping, "rejected", None),
        (400, "INVALID_EMAIL_ADDRESS", "", C::Mapping, "rejected", None),
        (400, "MISSING_ARGUMENT", "", C::Mapping, "rejected", None),
        (404, "NOT_FOUND", "The requested resource does not exist", C::Mapping, "rejected", None),
        (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "", C::Mapping, "rejected", None),
        (400, "FIELD_FILTER_VALIDATION_EXCEPTION", "", C::Mapping, "rejected", None),
        (400, "FIELD_INTEGRITY_EXCEPTION", "", C::Mapping, "rejected", None),
        (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "trigger failed", C::Mapping, "rejected", None),
        (400, "APEX_ERROR", "", C::Mapping, "rejected", None),
        (400, "INSUFFICIENT_ACCESS", "", C::Auth, "rejected", None),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", "", C::Auth, "rejected", None),
        (400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "", C::Auth, "rejected", None),
        (400, "INACTIVE_OWNER_OR_USER", "", C::Auth, "rejected", None),
        (400, "OP_WITH_INVALID_USER_TYPE_EXCEPTION", "", C::Auth, "rejected", None),
        (400, "STORAGE_LIMIT_EXCEEDED", "", C::Mapping, "rejected", None),
        (403, "LIMIT_EXCEEDED", "", C::Mapping, "rejected", None),
        (400, "OPERATION_TOO_LARGE", "", C::Mapping, "rejected", None),
        (400, "EXCEEDED_ID_LIMIT", "", C::Mapping, "rejected", None),
        (400, "PROCESSING_HALTED", "", C::Transient, "retry_after", None),
        (400, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "", C::Transient, "retry_after", None),
        (400, "SOMETHING_NEW", "", C::Mapping, "rejected", None),
        (409, "SOMETHING_NEW", "", C::Conflict, "rejected", None),
        (412, "SOMETHING_NEW", "", C::Conflict, "rejected", None),
        (429, "SOMETHING_NEW", "", C::RateLimited, "retry_after", None),
    ] {
        // As an answer's list, and as a nested result.
        for body in [
            json!([{"errorCode": code, "message": message}]),
            json!({"success": false, "errors": [{"statusCode": code, "message": message, "fields": []}]}),
        ] {
            let given = classify(Crm::Salesforce, &json_answer(status, &body), Effect::Idempotent);
            let said = failure(&given);
            assert_eq!((said.class, name(Some(&given)), said.code.as_str()), (class, outcome, code), "{status} {body}");
            assert_eq!(said.not_before.map(|at| (at.0 - NOW.0) / 1_000), wait, "{status} {body}");
        }
    }
    // Beside the codes: statuses without a readable body.
    for (status, class, outcome) in [
        (300, C::Transient, "retry_after"),
        (400, C::Mapping, "rejected"),
        (401, C::Auth, "unauthorized"),
        (403, C::Transient, "retry_after"),
        (410, C::Mapping, "rejected"),
        (415, C::Mapping, "rejected"),
        (420, C::Auth, "rejected"),
        (428, C::Mapping, "rejected"),
        (431, C::Mapping, "rejected"),
    ] {
        let given = classify(Crm::Salesforce, &answer(status, "<html>"), Effect::Reads);
        assert_eq!((failure(&given).class, name(Some(&given))), (class, outcome), "{status}");
    }
}

#[test]
fn two_salesforce_401s_are_not_about_the_token() {
    for (message, code) in [
        ("Connected app is not attached to Agent", "APP_NOT_ATTACHED_TO_AGENT"),
        ("This session is not valid for use with the REST API", "SESSION_NOT_FOR_REST"),
    ] {
        let body = json!([{"errorCode": "INVALID_SESSION_ID", "message": message}]);
        let given = classify(Crm::Salesforce, &json_answer(401, &body), Effect::Creates);
        let said = failure(&given);
        assert_eq!((name(Some(&given)), said.class, said.code.as_str()), ("rejected", C::Auth, code));
    }
}

#[test]
fn only_a_create_can_have_an_unknown_outcome() {
    for crm in Crm::ALL {
        for (given, sent) in [
            (lost(), true),
            (Err(NoAnswer::NotSent), false),
            (answer(500, "{}"), true),
            (answer(502, "<html>Bad gateway</html>"), true),
            (answer(503, ""), true),
            (answer(504, ""), true),
            (answer(521, ""), true),
            (answer(522, ""), true),
            (answer(523, "<html>"), true),
            (answer(524, ""), true),
            (answer(525, ""), true),
            (answer(526, ""), true),
            (answer(599, ""), true),
            (answer(408, ""), true),
            // What a gateway says about the content proves nothing.
            (json_answer(502, &json!({"category": "VALIDATION_ERROR", "message": "m"})), true),
            (json_answer(500, &json!([{"errorCode": "REQUIRED_FIELD_MISSING", "message": "m"}])), true),
            (json_answer(500, &json!({"category": "CONFLICT", "message": "m"})), true),
            (json_answer(503, &json!({"category": "RATE_LIMITS", "policyName": "DAILY"})), true),
            (json_answer(500, &json!([{"errorCode": "DUPLICATES_DETECTED", "message": "m"}])), true),
            (json_answer(503, &json!([{"errorCode": "UNABLE_TO_LOCK_ROW", "message": "m"}])), true),
            (json_answer(500, &json!([{"errorCode": "INVALID_SESSION_ID", "message": "m"}])), true),
            // A success whose body is cut off.
            (answer(201, "{\"id\":\"15"), true),
            (answer(200, ""), true),
        ] {
            for effect in [Effect::Reads, Effect::Idempotent] {
                let outcome = classify(crm, &given, effect);
                assert_eq!((name(Some(&outcome)), failure(&outcome).class), ("retry_after", C::Transient), "{given:?}");
            }
            let outcome = classify(crm, &given, Effect::Creates);
            let expected = if sent { ("unknown", C::UnknownOutcome) } else { ("retry_after", C::Transient) };
            assert_eq!((name(Some(&outcome)), failure(&outcome).class), expected, "{given:?}");
        }
        // Refused before it did anything: a create is as certain as a read.
        for status in [400, 401, 403, 404, 409, 429] {
            let outcome = classify(crm, &answer(status, "{}"), Effect::Creates);
            assert_ne!(name(Some(&outcome)), "unknown", "{status}");
        }
    }
    // Ended in the middle by the server.
    for code in ["UNKNOWN_EXCEPTION", "REQUEST_RUNNING_TOO_LONG"] {
        let body = json!([{"errorCode": code, "message": "m"}]);
        assert_eq!(
            name(Some(&classify(Crm::Salesforce, &json_answer(400, &body), Effect::Creates))),
            "unknown",
            "{code}"
        );
    }
}

#[test]
fn the_providers_own_wait_comes_first() {
    for crm in Crm::ALL {
        for (status, header, secs) in [
            (429, "7", Some(7)),
            (503, "120", Some(120)),
            (477, "86400", Some(86_400)),
            (429, "Fri, 20 Nov 2026 09:00:00 GMT", None),
            (429, "-5", None),
            (429, "99999999999999999999", None),
            (429, "9999999", None),
        ] {
            if (crm, status) == (Crm::Salesforce, 477) {
                continue;
            }
            let given = answer_with(status, &[("retry-after", header)], "{}");
            let wait = failure(&classify(crm, &given, Effect::Reads)).not_before.map(|at| (at.0 - NOW.0) / 1_000);
            let default = (crm == Crm::Hubspot && status == 429).then_some(10);
            assert_eq!(wait, secs.or(default), "{crm} {status} {header}");
        }
        // On a refusal of content it means nothing.
        let given = answer_with(400, &[("retry-after", "7")], "{}");
        assert_eq!(failure(&classify(crm, &given, Effect::Reads)).not_before, None);
    }
}

#[test]
fn a_failure_keeps_the_correlation_id_and_no_address() {
    let body = json!({"category": "VALIDATION_ERROR", "correlationId": "c0ffee00-0000-4000-8000-000000000001",
                      "message": format!("Email ada@example.com is invalid. {}", "x".repeat(1_000))});
    let said = failure(&classify(Crm::Hubspot, &json_answer(400, &body), Effect::Reads));
    assert_eq!(said.correlation_id.as_deref(), Some("c0ffee00-0000-4000-8000-000000000001"));
    assert!(said.detail.starts_with("Email [e-mail] is invalid.") && said.detail.chars().count() == 300);
    let said = failure(&classify(
        Crm::Hubspot,
        &answer_with(502, &[("x-hubspot-correlation-id", "abc-1")], "<html>"),
        Effect::Reads,
    ));
    assert_eq!(said.correlation_id.as_deref(), Some("abc-1"));
    let hostile =
        json!({"category": "X".repeat(10_000), "correlationId": "<script>\r\n", "message": {"a": 1}, "errors": "no"});
    let said = failure(&classify(Crm::Hubspot, &json_answer(400, &hostile), Effect::Reads));
    assert_eq!((said.code.len(), said.correlation_id.as_deref()), (64, Some("script")));
}

#[test]
fn hostile_error_bodies_are_classified_without_harm() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "null",
        "1",
        "\"x\"",
        "[]",
        "[[]]",
        "[null]",
        "{\"errors\":[null]}",
        "{\"errors\":{}}",
        "[{\"errorCode\":7}]",
        "{\"message\":null,\"category\":[]}",
        "\u{0}",
        "{",
        &deep,
    ] {
        for crm in Crm::ALL {
            for status in [200, 400, 401, 403, 429, 500] {
                let outcome = classify(crm, &answer(status, body), Effect::Creates);
                assert!(!failure(&outcome).code.is_empty(), "{status} {body:.20}");
            }
        }
    }
}

#[test]
fn an_item_of_a_207_is_certainly_not_written() {
    let response = json_answer(207, &Value::Null).unwrap();
    for (item, class) in [
        (json!({"category": "CONFLICT", "message": "Contact already exists. Existing ID: 7"}), C::Conflict),
        (json!({"category": "VALIDATION_ERROR", "message": "m"}), C::Mapping),
        (json!({"category": "OBJECT_NOT_FOUND", "message": "m"}), C::Mapping),
        (json!({"category": "RATE_LIMITS", "message": "m"}), C::RateLimited),
        (json!(null), C::Mapping),
    ] {
        assert_eq!(failure(&hubspot::errors::classify_item(&response, &item, NOW)).class, class, "{item}");
    }
}
