//! `HubSpot`'s OAuth.

use super::{Desk, HUBSPOT, REDIRECT};
use serde_json::{Value, json};

const AUTHORIZE: &str = "https://app.hubspot.com/oauth/authorize";
const TOKEN: &str = "https://api.hubapi.com/oauth/2026-03/token";

fn status_of(answer: &crate::Answer) -> (u16, Value, Value) {
    let body = answer.value();
    (answer.status, body["status"].clone(), body["error"].clone())
}

#[test]
fn consent_is_asked_and_both_buttons_lead_back_with_the_state() {
    let mut desk = Desk::new(&json!({}));
    let url = crate::http::with_query(
        AUTHORIZE,
        &[("client_id", "app"), ("redirect_uri", REDIRECT), ("scope", "oauth"), ("state", "a\"b")],
    );
    let page = desk.send("GET", &url, &[], b"");
    let html = String::from_utf8(page.body).unwrap();
    assert!(
        html.contains("Approve") && html.contains("Deny") && html.contains("a&quot;b") && !html.contains("<script")
    );
    for (decision, part) in [("approve", "?code="), ("deny", "?error=access_denied&")] {
        let answer = desk.form(
            AUTHORIZE,
            &[
                ("client_id", "app"),
                ("redirect_uri", REDIRECT),
                ("scope", "oauth"),
                ("state", "a\"b"),
                ("hub_id", "77"),
                ("decision", decision),
            ],
        );
        let place = answer.header("location").unwrap();
        assert!(place.starts_with(REDIRECT) && place.contains(part) && place.ends_with("state=a%22b"), "{place}");
    }
    let place = desk.authorize(AUTHORIZE, &[("scope", "oauth")]);
    assert!(!place.header("location").unwrap().contains("state"), "an install from the marketplace has no state");
}

#[test]
fn authorize_refuses_on_its_own_page() {
    for fields in [
        [("client_id", "other"), ("redirect_uri", REDIRECT), ("scope", "oauth")],
        [("client_id", "app"), ("redirect_uri", "http://evil.example/"), ("scope", "oauth")],
        [("client_id", "app"), ("redirect_uri", REDIRECT), ("scope", "")],
    ] {
        let mut desk = Desk::new(&json!({}));
        let url = crate::http::with_query(AUTHORIZE, &fields);
        assert_eq!(desk.send("GET", &format!("{url}&decision=approve"), &[], b"").status, 400);
    }
}

#[test]
fn a_code_works_once_and_for_ten_minutes() {
    let mut desk = Desk::new(&json!({}));
    let code = desk.consent(AUTHORIZE, &[("scope", "oauth"), ("optional_scope", "tickets"), ("hub_id", "77")]);
    let token = desk.exchange(TOKEN, &code, &[]);
    let body = token.value();
    assert_eq!(
        (token.status, &body["hub_id"], &body["expires_in"], &body["token_use"]),
        (200, &json!(77), &json!(1800), &json!("access_token"))
    );
    assert_eq!(body["scopes"], json!(["oauth", "tickets"]));
    assert_eq!(status_of(&desk.exchange(TOKEN, &code, &[])), (400, json!("BAD_AUTH_CODE"), json!("invalid_grant")));
    let late = desk.consent(AUTHORIZE, &[("scope", "oauth")]);
    desk.now_ms += 600_000;
    assert_eq!(status_of(&desk.exchange(TOKEN, &late, &[])).1, "BAD_AUTH_CODE");
}

#[test]
fn what_is_shown_with_a_code_must_fit() {
    let challenge = crate::oauth::challenge_of("verifier");
    for (more, status) in [
        (vec![("code_verifier", "verifier")], Value::Null),
        (vec![("code_verifier", "other")], json!("BAD_CODE_VERIFIER")),
        (vec![], json!("BAD_CODE_VERIFIER")),
    ] {
        let mut desk = Desk::new(&json!({}));
        let code = desk.consent(
            AUTHORIZE,
            &[("scope", "oauth"), ("code_challenge", &challenge), ("code_challenge_method", "S256")],
        );
        assert_eq!(desk.exchange(TOKEN, &code, &more).value()["status"], status, "{more:?}");
    }
    let mut desk = Desk::new(&json!({}));
    for (fields, status) in [
        ([("client_id", "no"), ("client_secret", "secret"), ("redirect_uri", REDIRECT)], "BAD_CLIENT_ID"),
        ([("client_id", "app"), ("client_secret", "no"), ("redirect_uri", REDIRECT)], "BAD_CLIENT_SECRET"),
        (
            [("client_id", "app"), ("client_secret", "secret"), ("redirect_uri", "https://no.example")],
            "BAD_REDIRECT_URI",
        ),
    ] {
        let code = desk.consent(AUTHORIZE, &[("scope", "oauth")]);
        let all = [&fields[..], &[("grant_type", "authorization_code"), ("code", &code)]].concat();
        assert_eq!(desk.form(TOKEN, &all).value()["status"], status);
    }
    assert_eq!(
        desk.form(TOKEN, &[("client_id", "app"), ("client_secret", "secret")]).value()["status"],
        "BAD_GRANT_TYPE"
    );
}

#[test]
fn a_refresh_token_stays_unless_it_rotates() {
    for (policy, same, old_works, new_works_after_reuse) in
        [("off", true, true, true), ("on", false, false, true), ("strict", false, false, false)]
    {
        let mut desk = Desk::hubspot(&json!({"hubspot_rotation": policy}));
        let old = desk.refresh.clone();
        let fresh = desk.refreshed(TOKEN, &old).value()["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(fresh == old, same, "{policy}");
        assert_eq!(desk.refreshed(TOKEN, &old).status == 200, old_works, "{policy}");
        assert_eq!(desk.refreshed(TOKEN, &fresh).status == 200, new_works_after_reuse, "{policy}");
    }
}

#[test]
fn a_dead_token_has_three_wordings() {
    for (mode, status, error) in [
        ("invalid_grant", "BAD_REFRESH_TOKEN", "invalid_grant"),
        ("invalid_request", "BAD_REFRESH_TOKEN", "invalid_request"),
        ("bad_hub", "BAD_HUB", "access_denied"),
    ] {
        let mut desk = Desk::new(&json!({"hubspot_dead_token": mode}));
        assert_eq!(status_of(&desk.refreshed(TOKEN, "na1-nothing")), (400, json!(status), json!(error)));
    }
}

#[test]
fn an_access_token_lives_thirty_minutes() {
    let mut desk = Desk::hubspot(&json!({}));
    desk.now_ms += 1_799_999;
    assert_eq!(desk.get("/account-info/v3/details").0, 200);
    desk.now_ms += 1 + 5 * 60_000;
    let (status, body) = desk.get("/account-info/v3/details");
    assert_eq!((status, &body["category"]), (401, &json!("EXPIRED_AUTHENTICATION")));
    assert_eq!(body["message"], "The OAuth token used to make this call expired 5 minute(s) ago.");
    desk.token = "nonsense".into();
    assert_eq!(desk.get("/account-info/v3/details").1["category"], "INVALID_AUTHENTICATION");
}

#[test]
fn revoking_ends_the_refresh_token_and_uninstalling_ends_everything() {
    let mut desk = Desk::hubspot(&json!({}));
    let (refresh, token) = (desk.refresh.clone(), desk.token.clone());
    let about = |desk: &mut Desk, token: &str| {
        desk.form(
            &format!("{TOKEN}/introspect"),
            &[("client_id", "app"), ("client_secret", "secret"), ("token", token)],
        )
        .value()
    };
    assert_eq!(about(&mut desk, &refresh)["token_use"], "refresh_token");
    assert_eq!(about(&mut desk, &token)["expires_in"], 1800);
    let url = format!("{TOKEN}/revoke");
    assert_eq!(desk.form(&url, &[("client_id", "app"), ("client_secret", "secret"), ("token", &refresh)]).status, 200);
    assert_eq!(about(&mut desk, &refresh), json!({"active": false}));
    assert_eq!(desk.refreshed(TOKEN, &refresh).status, 400);
    assert_eq!(desk.get("/account-info/v3/details").0, 200, "access tokens live on");
    assert_eq!(desk.call("DELETE", "/appinstalls/v3/external-install", &Value::Null).0, 204);
    assert_eq!(desk.get("/account-info/v3/details").0, 401);
}

#[test]
fn every_secret_given_out_is_known() {
    let mut desk = Desk::hubspot(&json!({}));
    let url = format!("{HUBSPOT}/stand-in/tokens");
    let listed = desk.send("GET", &url, &[], b"").value()["tokens"].clone();
    for secret in [&desk.token, &desk.refresh] {
        assert!(listed.as_array().unwrap().contains(&json!(secret)));
    }
    assert_eq!(listed.as_array().unwrap().len(), 3);
}
