//! Faults and the control plane.

use super::{Desk, HUBSPOT, LOGIN};
use crate::Fate;
use serde_json::{Value, json};

const CONTACTS: &str = "/crm/objects/2026-03/contacts";

fn created(desk: &mut Desk) -> Value {
    desk.get("/stand-in/ledger").1["totals"]["hubspot contacts"]["created"].clone()
}

#[test]
fn a_fault_comes_before_or_after_the_effect() {
    for (fault, fate, status, effects) in [
        (json!({"status": 503}), Fate::Deliver, 503, json!(null)),
        (json!({"status": 504, "after": true}), Fate::Deliver, 504, json!(1)),
        (json!({"status": 502, "after": true, "body": "html"}), Fate::Deliver, 502, json!(1)),
        (json!({"status": 423, "retry_after": 2}), Fate::Deliver, 423, json!(null)),
        (json!({"status": 477, "retry_after": 86_400}), Fate::Deliver, 477, json!(null)),
        (json!({"lose": "answer"}), Fate::LoseAnswer, 201, json!(1)),
        (json!({"lose": "request"}), Fate::LoseRequest, 0, json!(null)),
        (json!({"delay_ms": 5000}), Fate::Deliver, 201, json!(1)),
        (json!({"truncate": true}), Fate::Deliver, 201, json!(1)),
    ] {
        let mut desk = Desk::hubspot(&json!({}));
        let mut whole = fault.clone();
        whole["match"] = json!({"method": "POST", "path": "/crm", "count": 1});
        assert!(desk.control("faults", &json!({"faults": [whole]}))["faults"].is_array());
        let answer = desk.answer("POST", CONTACTS, &json!({"properties": {"email": "a@x.example"}}));
        assert_eq!((answer.fate, answer.status), (fate, status), "{fault}");
        assert_eq!(created(&mut desk), effects, "{fault}");
        assert_eq!(answer.delay_ms, fault["delay_ms"].as_u64().unwrap_or(0));
        assert_eq!(
            answer.header("retry-after").map(str::to_owned),
            fault["retry_after"].as_u64().map(|secs| secs.to_string())
        );
        assert_eq!(
            answer.value().is_null(),
            fault["truncate"] == true || fault["body"] == "html" || fault["lose"] == "request"
        );
    }
}

#[test]
fn a_request_may_go_on_running_and_commit_late() {
    let mut desk = Desk::hubspot(&json!({}));
    let fault = json!({"match": {"method": "POST", "count": 1}, "commit_after_ms": 600_000});
    desk.crm.add_fault(serde_json::from_value(fault).unwrap());
    let answer = desk.answer("POST", CONTACTS, &json!({"properties": {"email": "a@x.example"}}));
    assert_eq!((answer.fate, created(&mut desk)), (Fate::LoseAnswer, json!(null)));
    desk.now_ms += 599_999;
    assert_eq!(created(&mut desk), json!(null));
    desk.now_ms += 1;
    assert_eq!(created(&mut desk), json!(1));
}

#[test]
fn bodies_speak_the_providers_language() {
    for (url, provider, field) in [
        (format!("{HUBSPOT}/crm/v3/objects/contacts"), "hubspot", "/category"),
        (format!("{LOGIN}/services/data/v67.0/limits"), "salesforce", "/0/errorCode"),
    ] {
        let mut desk = Desk::new(&json!({}));
        desk.control("faults", &json!({"faults": [{"match": {"provider": provider}, "status": 500}]}));
        assert!(desk.send("GET", &url, &[], b"").value().pointer(field).is_some(), "{provider}");
    }
}

#[test]
fn the_control_plane_refuses_what_it_does_not_know() {
    let mut desk = Desk::new(&json!({}));
    for body in
        [json!({"fault": []}), json!({"faults": [{"stauts": 500}]}), json!({"switches": {"nope": 1}}), json!([])]
    {
        assert_eq!(desk.post("/stand-in/faults", &body).0, 400, "{body}");
    }
    assert_eq!(desk.post("/stand-in/clock", &json!({})).0, 400);
    assert_eq!(desk.get("/stand-in/records/butterflies").0, 404);
    assert_eq!(desk.get("/stand-in/nothing").0, 404);
}

#[test]
fn the_clock_can_be_moved_and_everything_begun_again() {
    let mut desk = Desk::hubspot(&json!({}));
    desk.contact("a@x.example");
    desk.control("clock", &json!({"advance_ms": 1_800_000}));
    assert_eq!(desk.get(CONTACTS).0, 401);
    desk.control("clock", &json!({"offset_ms": 0}));
    desk.control("reset", &json!({"keep_grants": true}));
    assert_eq!(desk.get(CONTACTS).1["results"], json!([]));
    desk.control("reset", &json!({}));
    assert_eq!(desk.get(CONTACTS).0, 401);
    assert_eq!(desk.crm.issued().len(), 3, "what was given out once is never forgotten");
}

#[test]
fn the_ledger_counts_calls_and_tells_effects() {
    let mut desk = Desk::hubspot(&json!({}));
    desk.contact("a@x.example");
    desk.get(&format!("{CONTACTS}/a@x.example?idProperty=email"));
    let (_, ledger) = desk.get("/stand-in/ledger?object=contacts");
    assert_eq!(ledger["calls"]["hubspot GET /crm/objects/2026-03/contacts/{id}"], 1);
    assert_eq!(ledger["calls"]["hubspot POST /crm/v3/objects/contacts"], 1);
    assert_eq!(ledger["effects"][0]["keys"], json!({"email": "a@x.example"}));
    let (_, records) = desk.get("/stand-in/records/contacts");
    assert_eq!((&records["records"][0]["account"], records["records"].as_array().unwrap().len()), (&json!("4242"), 1));
    let page = desk.send("GET", "http://localhost:8787/stand-in/", &[], b"");
    assert!(String::from_utf8(page.body).unwrap().contains("hubspot contacts, account 4242"));
}
