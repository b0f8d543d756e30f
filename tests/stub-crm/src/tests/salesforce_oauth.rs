//! Salesforce's OAuth.

use super::{Desk, LOGIN, REDIRECT};
use serde_json::json;

const AUTHORIZE: &str = "https://login.salesforce.com/services/oauth2/authorize";
const TOKEN: &str = "https://login.salesforce.com/services/oauth2/token";

#[test]
fn a_code_becomes_a_signed_token_once() {
    let mut desk = Desk::new(&json!({}));
    let answer = desk.authorize(AUTHORIZE, &[("response_type", "code"), ("state", "s")]);
    let place = answer.header("location").unwrap().to_owned();
    assert!(place.contains("%3D%3D&state=s"), "{place}");
    let code = desk.consent(AUTHORIZE, &[("response_type", "code")]);
    let token = desk.exchange(TOKEN, &code, &[]).value();
    assert_eq!(
        (&token["expires_in"], token["id"].as_str().unwrap().len()),
        (&json!(null), "https://login.salesforce.com/id//".len() + 36)
    );
    assert_eq!(token["instance_url"], "https://acme.my.salesforce.com");
    assert_eq!(token["issued_at"], "1795176000000");
    assert!(token["access_token"].as_str().unwrap().starts_with("00DXX0000000001!"));
    assert_eq!(
        desk.exchange(TOKEN, &code, &[]).value(),
        json!({"error": "invalid_grant", "error_description": "expired authorization code"})
    );
    let late = desk.consent(AUTHORIZE, &[("response_type", "code")]);
    desk.now_ms += 900_000;
    assert_eq!(desk.exchange(TOKEN, &late, &[]).status, 400);
}

#[test]
fn hosts_decide_where_the_instance_is() {
    for (host, org, instance, identity) in [
        (LOGIN, "1", "https://acme.my.salesforce.com", "https://login.salesforce.com/id/"),
        (LOGIN, "2", "https://acme-2.my.salesforce.com", "https://login.salesforce.com/id/"),
        ("https://test.salesforce.com", "1", "https://acme.my.salesforce.com", "https://test.salesforce.com/id/"),
        ("https://big.my.salesforce.com", "1", "https://big.my.salesforce.com", "https://login.salesforce.com/id/"),
        ("http://localhost:8787", "1", "http://localhost:8787", "http://localhost:8787/id/"),
    ] {
        let mut desk = Desk::new(&json!({}));
        let code =
            desk.consent(&format!("{host}/services/oauth2/authorize"), &[("response_type", "code"), ("org", org)]);
        let token = desk.exchange(&format!("{host}/services/oauth2/token"), &code, &[]).value();
        assert_eq!(token["instance_url"], instance);
        assert!(token["id"].as_str().unwrap().starts_with(identity), "{token}");
    }
}

#[test]
fn what_is_shown_must_fit() {
    let challenge = crate::oauth::challenge_of("v");
    for (fields, error) in [
        ([("code_verifier", "v"), ("client_secret", "secret"), ("redirect_uri", REDIRECT)], None),
        ([("code_verifier", "w"), ("client_secret", "secret"), ("redirect_uri", REDIRECT)], Some("invalid_grant")),
        ([("code_verifier", "v"), ("client_secret", "no"), ("redirect_uri", REDIRECT)], Some("invalid_client")),
        (
            [("code_verifier", "v"), ("client_secret", "secret"), ("redirect_uri", "https://no.example")],
            Some("redirect_uri_mismatch"),
        ),
    ] {
        let mut desk = Desk::new(&json!({}));
        // jsforce sends a challenge without a method; it counts as S256.
        let code = desk.consent(AUTHORIZE, &[("response_type", "code"), ("code_challenge", &challenge)]);
        let all =
            [&fields[..], &[("grant_type", "authorization_code"), ("client_id", "app"), ("code", &code)]].concat();
        assert_eq!(desk.form(TOKEN, &all).value()["error"].as_str(), error, "{fields:?}");
    }
}

#[test]
fn authorize_sends_refusals_back_or_shows_them() {
    let mut desk = Desk::new(&json!({"salesforce_require_pkce": true}));
    let place = |answer: crate::Answer| answer.header("location").unwrap_or_default().to_owned();
    assert!(place(desk.authorize(AUTHORIZE, &[("response_type", "code")])).contains("error=invalid_request"));
    assert!(
        place(desk.authorize(AUTHORIZE, &[("response_type", "token")])).contains("error=unsupported_response_type")
    );
    let denied = crate::http::with_query(
        AUTHORIZE,
        &[
            ("client_id", "app"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("code_challenge", "c"),
            ("state", "s"),
            ("decision", "deny"),
        ],
    );
    assert_eq!(
        place(desk.send("GET", &denied, &[], b"")),
        format!("{REDIRECT}?error=access_denied&error_description=end-user%20denied%20authorization&state=s")
    );
    assert_eq!(desk.send("GET", &format!("{AUTHORIZE}?client_id=no"), &[], b"").status, 400);
}

#[test]
fn a_refresh_token_stays_unless_it_rotates() {
    for (policy, rotated, old_works, new_works_after_reuse) in
        [("off", false, true, true), ("on", true, false, true), ("strict", true, false, false)]
    {
        let mut desk = Desk::salesforce(&json!({"salesforce_rotation": policy}));
        let old = desk.refresh.clone();
        let body = desk.refreshed(TOKEN, &old).value();
        assert_eq!(body.get("refresh_token").is_some(), rotated, "{policy}");
        let fresh = body["refresh_token"].as_str().unwrap_or(&old).to_owned();
        assert_eq!(desk.refreshed(TOKEN, &old).status == 200, old_works, "{policy}");
        assert_eq!(desk.refreshed(TOKEN, &fresh).status == 200, new_works_after_reuse, "{policy}");
    }
}

#[test]
fn a_session_ends_after_two_idle_hours() {
    let mut desk = Desk::salesforce(&json!({}));
    let introspect = |desk: &mut Desk| {
        let token = desk.token.clone();
        desk.form(
            &format!("{LOGIN}/services/oauth2/introspect"),
            &[("client_id", "app"), ("client_secret", "secret"), ("token", &token)],
        )
        .value()
    };
    assert_eq!(introspect(&mut desk)["exp"], 1_795_176_000 + 7200);
    desk.now_ms += 7_199_000;
    assert_eq!(desk.get("/services/data/v67.0/limits").0, 200);
    desk.now_ms += 7_199_000;
    assert_eq!(desk.get("/services/data/v67.0/limits").0, 200, "use lengthens it");
    desk.now_ms += 7_200_000;
    let (status, body) = desk.get("/services/data/v67.0/limits");
    assert_eq!(
        (status, body),
        (401, json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]))
    );
    assert_eq!(introspect(&mut desk), json!({"active": false}));
}

#[test]
fn revoking_a_refresh_token_ends_its_sessions() {
    let mut desk = Desk::salesforce(&json!({}));
    let refresh = desk.refresh.clone();
    let url = format!("{LOGIN}/services/oauth2/revoke");
    assert_eq!(desk.form(&url, &[("token", &refresh)]).status, 200);
    assert_eq!(desk.get("/services/data/v67.0/limits").0, 401);
    assert_eq!(desk.refreshed(TOKEN, &refresh).value()["error"], "invalid_grant");
    assert_eq!(desk.form(&url, &[("token", "unknown")]).value()["error"], "unsupported_token_type");
}

#[test]
fn userinfo_speaks_plain_text_when_it_refuses() {
    let mut desk = Desk::salesforce(&json!({}));
    let url = format!("{LOGIN}/services/oauth2/userinfo");
    let bearer = format!("Bearer {}", desk.token);
    assert_eq!(
        desk.send("GET", &url, &[("authorization", &bearer)], b"").value()["organization_id"].as_str().unwrap().len(),
        18
    );
    for (headers, text) in [(vec![("authorization", "Bearer x")], "Bad_OAuth_Token"), (vec![], "Missing_OAuth_Token")] {
        let answer = desk.send("GET", &url, &headers, b"");
        assert_eq!((answer.status, answer.body.as_slice()), (403, text.as_bytes()));
    }
}
