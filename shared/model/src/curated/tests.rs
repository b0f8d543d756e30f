//! What is taken, what is refused and by which code, and that equal writes become equal.

use super::{CuratedWrite, Refusal};
use serde_json::{Value, json};

fn task() -> Value {
    json!({"crm":"hubspot","action":"create_task","object_type":"thread","object_id":"th_1","source_event_id":"evt_1",
           "contact":{"email":" Ada@Example.COM ","first_name":"Ada"},
           "task":{"subject":" Call back ","due_at":"2026-11-20T10:00:00+01:00"}})
}

fn with(path: &str, value: Value) -> Value {
    let mut write = task();
    let (head, last) = path.rsplit_once('/').unwrap();
    write.pointer_mut(head).unwrap().as_object_mut().unwrap().insert(last.to_owned(), value);
    write
}

fn deal(with: &Value) -> Value {
    let mut deal = json!({"deal_id":"d_1","name":"Big deal","stage":"contractsent","pipeline":"default"});
    deal.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    json!({"crm":"hubspot","action":"upsert_deal","object_type":"deal","object_id":"d_1","source_event_id":"evt_1","deal":deal})
}

#[test]
fn a_deal_needs_no_person_and_its_amount_stays_exact() {
    let write = CuratedWrite::from_json(&deal(&json!({"amount": " 1250.50 ", "close_date": "2026-12-31"}))).unwrap();
    let deal = write.deal.as_ref().unwrap();
    assert_eq!(
        (deal.amount.as_deref(), deal.close_date.as_deref()),
        (Some("1250.50"), Some("2026-12-31T00:00:00.000Z"))
    );
    assert_eq!(write.target(), (crate::mechanisms::RecordKind::Deal, "d_1"));
    for amount in ["0", "-3.5", "999999999999999.9999"] {
        assert!(CuratedWrite::from_json(&deal_of(amount)).is_ok(), "{amount}");
    }
    for amount in ["", ".5", "5.", "1e3", "--1", "1234567890123456", "0.12345", "NaN"] {
        assert!(CuratedWrite::from_json(&deal_of(amount)).is_err(), "{amount}");
    }
}

fn deal_of(amount: &str) -> Value {
    deal(&json!({ "amount": amount }))
}

#[test]
fn equal_writes_become_equal() {
    let write = CuratedWrite::from_json(&task()).unwrap();
    assert_eq!(write.contact.as_ref().unwrap().email, "ada@example.com");
    assert_eq!(write.task.as_ref().unwrap().subject, "Call back");
    assert_eq!(write.task.as_ref().unwrap().due_at, "2026-11-20T09:00:00.000Z");
    let again = CuratedWrite::from_json(&serde_json::to_value(&write).unwrap()).unwrap();
    assert_eq!(write, again);
}

#[test]
fn each_bad_input_has_its_code() {
    for (write, code) in [
        (with("/raw_body", json!("From: ...")), "not_curated"),
        (with("/task/attachments", json!([])), "not_curated"),
        (with("/task/text", json!("x".repeat(20_000))), "payload_too_large"),
        (with("/task/text", json!("x".repeat(10_001))), "invalid_text"),
        (with("/task/subject", json!("")), "invalid_text"),
        (with("/task/subject", json!("a\nb")), "invalid_text"),
        (with("/task/due_at", json!("tomorrow")), "invalid_time"),
        (with("/contact/email", json!("ada@localhost")), "invalid_email"),
        (with("/contact/email", json!("ada@example.com, eve@example.com")), "invalid_email"),
        (with("/contact/email", json!("@example.com")), "invalid_email"),
        (with("/crm", json!("pipedrive")), "invalid_write"),
        (with("/colour", json!("red")), "invalid_write"),
        (with("/rollup", json!({"week_of":"2026-11-16","text":"x"})), "invalid_write"),
        (with("/task", Value::Null), "invalid_write"),
        (with("/contact", Value::Null), "invalid_write"),
        (with("/deal", json!({"deal_id":"d1","name":"Big","stage":"won"})), "invalid_write"),
        (deal(&json!({"amount": "1,000"})), "invalid_amount"),
        (deal(&json!({"amount": 12})), "invalid_write"),
        (deal(&json!({"close_date": "soon"})), "invalid_time"),
        (deal(&json!({"stage": ""})), "invalid_text"),
        (json!("not an object"), "invalid_write"),
    ] {
        assert_eq!(CuratedWrite::from_json(&write).map_err(|e| e.code()).err(), Some(code), "{write:.120}");
    }
}

#[test]
fn a_refusal_never_repeats_personal_data() {
    let refusal = CuratedWrite::from_json(&with("/contact", json!("ada.lovelace@example.com"))).unwrap_err();
    assert!(matches!(refusal, Refusal::Shape(_)));
    assert!(!refusal.to_string().contains("ada.lovelace"), "{refusal}");
}
