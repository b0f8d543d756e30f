//! The health check of both adapters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::{answer, answer_with, json_answer, lost, lot};
use model::Crm;
use model::write::ErrorClass as C;
use providers::http::Answer;
use providers::{Provider, provider};
use serde_json::json;

#[test]
fn health_compares_the_account() {
    let facts = lot(Crm::Hubspot, vec![]).connection;
    let adapter = provider(Crm::Hubspot);
    assert_eq!(adapter.health_request(&facts).url, "https://api.hubapi.com/account-info/2026-03/details");
    let check = |given: &Answer| adapter.read_health(given, &facts).map_err(|f| (f.class, f.code));
    assert_eq!(check(&json_answer(200, &json!({"portalId": 4242}))), Ok(()));
    assert_eq!(check(&json_answer(200, &json!({"portalId": 1}))), Err((C::Auth, "account_mismatch".into())));
    assert_eq!(check(&json_answer(200, &json!({}))), Err((C::Transient, "unreadable_answer".into())));
    assert_eq!(check(&json_answer(401, &json!({}))), Err((C::Auth, "http_401".into())));
    assert_eq!(check(&lost()), Err((C::Transient, "timeout".into())));
    let limited = adapter.read_health(&answer_with(429, &[("retry-after", "7")], "{}"), &facts).unwrap_err();
    assert_eq!((limited.class, limited.not_before), (C::RateLimited, None));
}

#[test]
fn health_of_an_org_is_its_limits() {
    let facts = lot(Crm::Salesforce, vec![]).connection;
    let adapter = provider(Crm::Salesforce);
    assert_eq!(adapter.health_request(&facts).url, "https://acme.my.salesforce.com/services/data/v67.0/limits");
    let check = |given: &Answer| adapter.read_health(given, &facts).map_err(|f| (f.class, f.code));
    let left = |n: i64| json!({"DailyApiRequests": {"Max": 15_000, "Remaining": n}});
    let error = |code: &str| json!([{"errorCode": code, "message": "m"}]);
    assert_eq!(check(&json_answer(200, &left(1))), Ok(()));
    assert_eq!(check(&json_answer(200, &json!({}))), Ok(()));
    assert_eq!(check(&json_answer(200, &left(0))), Err((C::RateLimited, "daily_limit".into())));
    assert_eq!(check(&json_answer(403, &error("INSUFFICIENT_ACCESS"))), Ok(()));
    assert_eq!(check(&json_answer(401, &error("INVALID_SESSION_ID"))), Err((C::Auth, "INVALID_SESSION_ID".into())));
    assert_eq!(check(&answer(200, "<html>")), Err((C::Transient, "unreadable_answer".into())));
    let mut nowhere = facts.clone();
    nowhere.instance_url = Some("https://evil.example".into());
    assert!(adapter.health_request(&nowhere).url.starts_with("https://login.salesforce.com/"));
    let refused = adapter.read_health(&json_answer(200, &left(1)), &nowhere).unwrap_err();
    assert_eq!(refused.code, "instance_url_refused");
}
