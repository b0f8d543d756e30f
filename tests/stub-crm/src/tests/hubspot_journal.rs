//! The journal of an app's life.

use super::{Desk, HUBSPOT};
use crate::Request;
use serde_json::{Value, json};

const JOURNAL: &str = "https://api.hubapi.com/webhooks-journal";

fn ask(desk: &mut Desk, method: &str, url: &str, token: Option<&str>, body: &Value) -> crate::Answer {
    let headers = token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))).into_iter().collect();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request { method: method.into(), url: url.into(), headers, body };
    desk.crm.handle(&request, desk.now_ms)
}

fn app_token(desk: &mut Desk, scope: &str) -> String {
    let form = format!("grant_type=client_credentials&client_id=app&client_secret=secret&scope={scope}");
    let request = Request {
        method: "POST".into(),
        url: format!("{HUBSPOT}/oauth/2026-03/token"),
        body: form.into_bytes(),
        ..Request::default()
    };
    desk.crm.handle(&request, desk.now_ms).value()["access_token"].as_str().unwrap().to_owned()
}

const ALL: &str = "developer.webhooks_journal.read+developer.webhooks_journal.subscriptions.read+\
                   developer.webhooks_journal.subscriptions.write";

#[test]
fn a_removal_is_told_to_who_subscribed_in_a_file_that_is_fetched_without_a_token() {
    let mut desk = Desk::hubspot(&json!({}));
    let token = app_token(&mut desk, ALL);
    let token = Some(token.as_str());
    let subscriptions = format!("{JOURNAL}/subscriptions/2026-03");
    let wanted = json!({"subscriptionType": "APP_LIFECYCLE_EVENT", "eventTypeId": "4-1916193", "properties": []});
    let next = |after: &str| format!("{JOURNAL}/journal/2026-03/offset/{after}/next");
    let earliest = format!("{JOURNAL}/journal/2026-03/earliest");
    ask(&mut desk, "POST", "https://x/stand-in/uninstall/4242", None, &Value::Null);
    assert_eq!(ask(&mut desk, "GET", &earliest, token, &Value::Null).status, 204, "nobody subscribed");
    for status in [201, 409] {
        assert_eq!(ask(&mut desk, "POST", &subscriptions, token, &wanted).status, status);
    }
    let there = ask(&mut desk, "GET", &subscriptions, token, &Value::Null).value();
    assert_eq!(there["results"].as_array().unwrap().len(), 1);

    ask(&mut desk, "POST", "https://x/stand-in/uninstall/77", None, &Value::Null);
    let entry = ask(&mut desk, "GET", &earliest, token, &Value::Null).value();
    let (url, offset) = (entry["url"].as_str().unwrap(), entry["currentOffset"].as_str().unwrap());
    assert!(url.starts_with("https://s3.amazonaws.com/"));
    assert_eq!(ask(&mut desk, "GET", url, token, &Value::Null).status, 400, "S3 takes one mechanism");
    let file = ask(&mut desk, "GET", url, None, &Value::Null).value();
    assert_eq!(file["journalEvents"][0]["action"], "APP_UNINSTALL");
    assert_eq!(file["journalEvents"][0]["portalId"], 77);
    assert_eq!(ask(&mut desk, "GET", url.split('?').next().unwrap(), None, &Value::Null).status, 403, "unsigned");
    assert_eq!(ask(&mut desk, "GET", &next(offset), token, &Value::Null).status, 204);
    assert_eq!(ask(&mut desk, "GET", &next("other"), token, &Value::Null).status, 404);
    desk.now_ms += 3 * 86_400_000;
    let token = app_token(&mut desk, ALL);
    assert_eq!(ask(&mut desk, "GET", &earliest, Some(&token), &Value::Null).status, 204, "kept for three days");
}

#[test]
fn the_journal_wants_an_app_token_with_the_scope() {
    let mut desk = Desk::hubspot(&json!({}));
    let earliest = format!("{JOURNAL}/journal/2026-03/earliest");
    let portal = desk.token.clone();
    for (token, status) in [(None, 401), (Some(portal.as_str()), 401)] {
        assert_eq!(ask(&mut desk, "GET", &earliest, token, &Value::Null).status, status);
    }
    let narrow = app_token(&mut desk, "developer.webhooks_journal.subscriptions.read");
    assert_eq!(ask(&mut desk, "GET", &earliest, Some(&narrow), &Value::Null).status, 403);
    let token = app_token(&mut desk, ALL);
    desk.now_ms += 1_800_000;
    assert_eq!(ask(&mut desk, "GET", &earliest, Some(&token), &Value::Null).status, 401, "ended");
}
