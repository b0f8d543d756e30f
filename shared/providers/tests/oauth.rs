//! OAuth of both adapters: what is sent, and what every answer of a token endpoint means.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::{answer, answer_with, json_answer, lost};
use model::{Crm, Secret, Timestamp};
use providers::http::{Answer, Body, Effect, NoAnswer, Request};
use providers::oauth::{AppCredentials, AuthorizeRequest, Grant, Token, TokenRefusal};
use providers::{Provider, provider};
use serde_json::{Value, json};

fn app() -> AppCredentials {
    AppCredentials {
        client_id: "app-1".into(),
        client_secret: Secret::new("s3cr3t&".into()),
        scopes: vec!["oauth".into(), "crm.objects.contacts.read".into()],
        optional_scopes: vec!["crm.objects.deals.read".into()],
        redirect_uri: "https://conduit.example/functions/v1/callback?x=1".into(),
    }
}

fn form(request: &Request) -> Vec<String> {
    let Body::Form(form) = &request.body else { panic!("no form") };
    form.expose().split('&').map(str::to_owned).collect()
}

fn hubspot_token() -> Value {
    json!({"token_type": "bearer", "access_token": "CK-1", "refresh_token": "na1-1", "expires_in": 1800, "hub_id": 4242,
           "user_id": 99, "scopes": ["oauth", "crm.objects.contacts.read"], "token_use": "access_token"})
}

fn salesforce_token() -> Value {
    json!({"access_token": "00DXX0000000001!AQ0", "refresh_token": "5Aep861", "scope": "refresh_token api id",
           "signature": "knFZntK7+4kjJHhYCVY/vKnLRyuTnNyJjVBeodT9fdc=", "instance_url": "https://acme.my.salesforce.com",
           "id": "https://login.salesforce.com/id/00DXX0000000001AAA/005XX0000000001AAA", "token_type": "Bearer",
           "issued_at": "1795176000123"})
}

fn without(mut value: Value, key: &str) -> Value {
    value.as_object_mut().unwrap().remove(key);
    value
}

fn with(mut value: Value, key: &str, new: Value) -> Value {
    value[key] = new;
    value
}

fn read(crm: Crm, body: &Value) -> Result<Token, TokenRefusal> {
    provider(crm).read_token(&json_answer(200, body))
}

#[test]
fn authorize_urls_are_exact() {
    let ask = AuthorizeRequest { state: "st+/=", code_challenge: "ch-_", login_host: None };
    assert_eq!(
        provider(Crm::Hubspot).authorize_url(&app(), &ask).unwrap(),
        "https://app.hubspot.com/oauth/authorize?client_id=app-1\
         &redirect_uri=https%3A%2F%2Fconduit.example%2Ffunctions%2Fv1%2Fcallback%3Fx%3D1\
         &scope=oauth%20crm.objects.contacts.read&optional_scope=crm.objects.deals.read&state=st%2B%2F%3D\
         &code_challenge=ch-_&code_challenge_method=S256"
    );
    let sandbox = AuthorizeRequest { login_host: Some("acme--uat.sandbox.my.salesforce.com"), ..ask.clone() };
    let url = provider(Crm::Salesforce).authorize_url(&app(), &sandbox).unwrap();
    assert!(url.starts_with(
        "https://acme--uat.sandbox.my.salesforce.com/services/oauth2/authorize?response_type=code&client_id=app-1"
    ));
    assert!(url.ends_with("&state=st%2B%2F%3D&code_challenge=ch-_&code_challenge_method=S256"), "{url}");
    let url = provider(Crm::Salesforce).authorize_url(&app(), &ask).unwrap();
    assert!(url.starts_with("https://login.salesforce.com/services/oauth2/authorize?"), "{url}");
    for (crm, host) in [(Crm::Hubspot, "app.hubspot.com"), (Crm::Salesforce, "login.salesforce.com.evil.example")] {
        let elsewhere = AuthorizeRequest { login_host: Some(host), ..ask.clone() };
        assert!(provider(crm).authorize_url(&app(), &elsewhere).is_err(), "{host}");
        let token = Secret::new("rt".to_owned());
        assert!(provider(crm).token_request(&app(), &Grant::Refresh(&token), Some(host)).is_err(), "{host}");
    }
}

#[test]
fn token_requests_carry_everything_in_the_form() {
    let (code, verifier, token) =
        (Secret::new("aPrx==".to_owned()), Secret::new("ver".to_owned()), Secret::new("rt".to_owned()));
    for (crm, url) in [
        (Crm::Hubspot, "https://api.hubapi.com/oauth/2026-03/token"),
        (Crm::Salesforce, "https://login.salesforce.com/services/oauth2/token"),
    ] {
        let exchange = Grant::Code { code: &code, verifier: &verifier };
        let request = provider(crm).token_request(&app(), &exchange, None).unwrap();
        assert_eq!((request.url.as_str(), request.effect), (url, Effect::Creates));
        assert!(request.bearer.is_none());
        assert_eq!(
            form(&request),
            [
                "client_id=app-1",
                "client_secret=s3cr3t%26",
                "grant_type=authorization_code",
                "code=aPrx%3D%3D",
                "redirect_uri=https%3A%2F%2Fconduit.example%2Ffunctions%2Fv1%2Fcallback%3Fx%3D1",
                "code_verifier=ver"
            ]
        );
        let request = provider(crm).token_request(&app(), &Grant::Refresh(&token), None).unwrap();
        assert_eq!(
            form(&request),
            ["client_id=app-1", "client_secret=s3cr3t%26", "grant_type=refresh_token", "refresh_token=rt"]
        );
        assert!(!format!("{request:?}").contains("s3cr3t"), "a request does not print its secrets");
    }
}

#[test]
fn a_hubspot_token_reads_with_only_what_is_needed() {
    let token = read(Crm::Hubspot, &hubspot_token()).unwrap();
    assert_eq!(token.access_token.expose(), "CK-1");
    assert_eq!(token.refresh_token.unwrap().expose(), "na1-1");
    assert_eq!((token.expires_in_secs, token.external_account_id.as_deref()), (Some(1800), Some("4242")));
    assert_eq!(token.scopes.unwrap().len(), 2);
    for optional in ["hub_id", "user_id", "scopes", "token_use", "token_type", "refresh_token", "expires_in"] {
        assert!(read(Crm::Hubspot, &without(hubspot_token(), optional)).is_ok(), "{optional}");
    }
    let long = read(Crm::Hubspot, &with(hubspot_token(), "access_token", json!("a".repeat(9_000)))).unwrap();
    assert_eq!(long.access_token.expose().len(), 9_000);
    for bad in [json!(""), json!("a\r\nb"), json!(7), json!(null)] {
        let refused = read(Crm::Hubspot, &with(hubspot_token(), "access_token", bad.clone()));
        assert!(matches!(refused, Err(TokenRefusal::Malformed(_))), "{bad}");
    }
    for odd in [json!(-1), json!("1800"), json!(1e300), json!(99_999_999)] {
        let token = read(Crm::Hubspot, &with(hubspot_token(), "expires_in", odd)).unwrap();
        assert_eq!(token.expires_in_secs, None);
    }
}

#[test]
fn a_salesforce_token_is_bound_to_its_signature_and_hosts() {
    let token = read(Crm::Salesforce, &salesforce_token()).unwrap();
    let signed = token.signed.unwrap();
    assert_eq!(signed.message, "https://login.salesforce.com/id/00DXX0000000001AAA/005XX0000000001AAA1795176000123");
    assert_eq!(signed.signature, "knFZntK7+4kjJHhYCVY/vKnLRyuTnNyJjVBeodT9fdc=");
    assert_eq!((token.expires_in_secs, token.instance_url.as_deref()), (None, Some("https://acme.my.salesforce.com")));
    assert_eq!(token.external_account_id.as_deref(), Some("00DXX0000000001AAA"));
    assert_eq!(token.external_user_id.as_deref(), Some("005XX0000000001AAA"));
    assert!(read(Crm::Salesforce, &without(salesforce_token(), "refresh_token")).unwrap().refresh_token.is_none());
    let short = json!("https://test.salesforce.com/id/00Dak00000luKU1/005XX0000000001AAA");
    let token = read(Crm::Salesforce, &with(salesforce_token(), "id", short)).unwrap();
    assert_eq!(token.external_account_id.as_deref(), Some("00Dak00000luKU1EAM"));
    for (key, value) in [
        ("signature", json!("")),
        ("signature", json!(null)),
        ("issued_at", json!(1)),
        ("id", json!("https://login.salesforce.com/id/")),
        ("id", json!("00DXX0000000001AAA")),
        ("id", json!("https://login.salesforce.com/id/001XX0000000001AAA/005XX0000000001AAA")),
        ("id", json!("https://login.salesforce.com/id/00DXX/005XX0000000001AAA")),
        ("instance_url", json!("https://acme.my.salesforce.com.evil.example")),
        ("instance_url", json!("http://acme.my.salesforce.com")),
        ("instance_url", json!(null)),
        ("access_token", json!(null)),
    ] {
        let refused = read(Crm::Salesforce, &with(salesforce_token(), key, value.clone()));
        assert!(matches!(refused, Err(TokenRefusal::Malformed(_))), "{key} {value}");
    }
}

fn kind(refusal: &TokenRefusal) -> &'static str {
    match refusal {
        TokenRefusal::Dead { .. } => "dead",
        TokenRefusal::CodeRefused { .. } => "code",
        TokenRefusal::Configuration { .. } => "configuration",
        TokenRefusal::Transient { .. } => "transient",
        TokenRefusal::Lost => "lost",
        TokenRefusal::Malformed(_) => "malformed",
    }
}

#[test]
fn every_hubspot_refusal_has_its_meaning() {
    let words = "refresh token is invalid, expired or revoked";
    for (status, body, expected) in [
        // Both published shapes of a dead token, and the legacy one.
        (400, json!({"error": "invalid_grant", "error_description": words, "status": "BAD_REFRESH_TOKEN"}), "dead"),
        (400, json!({"error": "invalid_request", "status": "BAD_REFRESH_TOKEN", "message": words}), "dead"),
        (400, json!({"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"}), "dead"),
        (400, json!({"error": "access_denied", "status": "BAD_HUB", "message": "missing or unknown hub id"}), "dead"),
        (400, json!({"error": "invalid_grant", "error_description": words}), "dead"),
        (400, json!({"error": "access_denied"}), "dead"),
        (400, json!({"error": "invalid_grant", "status": "BAD_AUTH_CODE"}), "code"),
        (400, json!({"error": "invalid_request", "status": "BAD_AUTH_CODE"}), "code"),
        (400, json!({"error": "invalid_grant", "status": "BAD_CODE_VERIFIER"}), "code"),
        (400, json!({"error": "invalid_grant", "error_description": "the code was used before"}), "code"),
        (400, json!({"error": "invalid_client", "status": "BAD_CLIENT_ID"}), "configuration"),
        (401, json!({"error": "invalid_client", "status": "BAD_CLIENT_SECRET"}), "configuration"),
        (400, json!({"status": "BAD_REDIRECT_URI"}), "configuration"),
        (400, json!({"status": "BAD_GRANT_TYPE"}), "configuration"),
        (400, json!({"status": "BAD_SCOPES"}), "configuration"),
        (400, json!({"error": "invalid_request"}), "configuration"),
        (400, json!({"error": "something_new", "status": "error"}), "configuration"),
        (403, json!({}), "configuration"),
        (404, json!({"message": "gone"}), "configuration"),
        (429, json!({"status": "error", "errorType": "RATE_LIMIT"}), "transient"),
        (500, json!({"status": "error"}), "lost"),
        (503, json!({"error": "invalid_grant", "status": "BAD_REFRESH_TOKEN"}), "transient"),
    ] {
        let refusal = provider(Crm::Hubspot).read_token(&json_answer(status, &body)).unwrap_err();
        assert_eq!(kind(&refusal), expected, "{status} {body}");
    }
}

#[test]
fn every_salesforce_refusal_has_its_meaning() {
    for (error, description, expected) in [
        ("invalid_grant", "expired access/refresh token", "dead"),
        ("invalid_grant", "expired authorization code", "code"),
        ("invalid_grant", "invalid code verifier", "code"),
        ("invalid_grant", "authentication failure", "dead"),
        ("invalid_grant", "user hasn't approved this consumer", "dead"),
        ("invalid_grant", "ip restricted", "dead"),
        ("invalid_grant", "inactive organization", "dead"),
        ("inactive_user", "user is inactive", "dead"),
        ("inactive_org", "organization is inactive", "dead"),
        ("invalid_client_id", "client identifier invalid", "configuration"),
        ("invalid_client", "invalid client credentials", "configuration"),
        ("invalid_client_credentials", "client secret invalid", "configuration"),
        ("redirect_uri_mismatch", "redirect_uri must match configuration", "configuration"),
        ("unsupported_grant_type", "grant type not supported", "configuration"),
        ("invalid_request", "", "configuration"),
        ("invalid_app_access", "user is not admin approved to access this app", "configuration"),
        ("app_not_found", "", "configuration"),
        ("rate_limit_exceeded", "login rate exceeded", "transient"),
        ("server_error", "", "transient"),
        ("unknown_error", "retry your request", "transient"),
        ("something_new", "", "configuration"),
    ] {
        let body = json!({"error": error, "error_description": description});
        let refusal = provider(Crm::Salesforce).read_token(&json_answer(400, &body)).unwrap_err();
        assert_eq!(kind(&refusal), expected, "{error}: {description}");
    }
}

#[test]
fn what_is_not_json_is_never_a_dead_token() {
    let html = "<html><h1>Bad gateway</h1></html>";
    for crm in Crm::ALL {
        let cases: [(Answer, &str); 14] = [
            (lost(), "lost"),
            (Err(NoAnswer::NotSent), "transient"),
            (answer(502, html), "lost"),
            (answer(524, ""), "lost"),
            (answer(503, html), "transient"),
            (answer(504, "{}"), "lost"),
            (answer(400, html), "transient"),
            (answer(403, "  \n<!doctype html>"), "transient"),
            (answer_with(200, &[("content-type", "text/html; charset=utf-8")], "hello"), "transient"),
            // A token was issued and its text is cut off.
            (answer(200, "{\"access_token\":\"CK"), "lost"),
            (answer(200, ""), "lost"),
            (answer(200, "[]"), "lost"),
            (answer(403, "Bad_OAuth_Token"), "configuration"),
            (answer(302, ""), "transient"),
        ];
        for (given, expected) in cases {
            let refusal = provider(crm).read_token(&given).unwrap_err();
            assert_eq!(kind(&refusal), expected, "{crm} {given:?}");
        }
        let told = provider(crm).read_token(&answer_with(429, &[("retry-after", "17")], "{}")).unwrap_err();
        assert!(matches!(told, TokenRefusal::Transient { retry_after_secs: Some(17), .. }), "{told:?}");
    }
}

#[test]
fn a_hubspot_account_is_known_by_its_domain() {
    let adapter = provider(Crm::Hubspot);
    let token = read(Crm::Hubspot, &hubspot_token()).unwrap();
    let request = adapter.account_request(&app(), &token, None).unwrap();
    assert_eq!(request.url, "https://api.hubapi.com/oauth/2026-03/token/introspect");
    assert_eq!(form(&request)[2..], ["token=CK-1", "token_type_hint=access_token"]);
    let told = json!({"active": true, "hub_id": 4242, "hub_domain": "tenant.example", "scopes": ["oauth"]});
    let account = adapter.read_account(&token, Some(&json_answer(200, &told))).unwrap();
    assert_eq!((account.external_account_id.as_str(), account.name.as_deref()), ("4242", Some("tenant.example")));
    assert_eq!(account.scopes, Some(vec!["oauth".to_owned()]));
    // A failed call costs the name only; a dead token or another portal's is no account.
    for given in [None, Some(answer(503, "")), Some(lost()), Some(answer(200, "<html>"))] {
        let account = adapter.read_account(&token, given.as_ref()).unwrap();
        assert_eq!((account.external_account_id.as_str(), account.name), ("4242", None));
    }
    for told in [json!({"active": false}), json!({"active": true, "hub_id": 4243})] {
        assert_eq!(adapter.read_account(&token, Some(&json_answer(200, &told))), None, "{told}");
    }
    let unnamed = read(Crm::Hubspot, &without(hubspot_token(), "hub_id")).unwrap();
    assert_eq!(adapter.read_account(&unnamed, Some(&json_answer(200, &told))).unwrap().external_account_id, "4242");
    assert_eq!(adapter.read_account(&unnamed, None), None);
}

#[test]
fn a_salesforce_introspection_tells_the_end() {
    let adapter = provider(Crm::Salesforce);
    let token = read(Crm::Salesforce, &salesforce_token()).unwrap();
    let request = adapter.account_request(&app(), &token, Some("test.salesforce.com")).unwrap();
    assert_eq!(request.url, "https://test.salesforce.com/services/oauth2/introspect");
    assert!(adapter.account_request(&app(), &token, Some("evil.example")).is_none());
    let told = json!({"active": true, "scope": "api refresh_token", "exp": 1_795_183_200});
    let account = adapter.read_account(&token, Some(&json_answer(200, &told))).unwrap();
    assert_eq!(account.external_account_id, "00DXX0000000001AAA");
    assert_eq!(account.expires_at, Some(Timestamp(1_795_183_200_000)));
    for given in [None, Some(answer(403, "")), Some(json_answer(200, &json!({"active": false})))] {
        let account = adapter.read_account(&token, given.as_ref()).unwrap();
        assert_eq!((account.expires_at, account.scopes.unwrap().len()), (None, 3));
    }
}

#[test]
fn a_refresh_token_is_asked_about_without_spending_it() {
    let token = Secret::new("rt".to_owned());
    for (crm, login_host, url) in [
        (Crm::Hubspot, None, "https://api.hubapi.com/oauth/2026-03/token/introspect"),
        (Crm::Salesforce, None, "https://login.salesforce.com/services/oauth2/introspect"),
        (Crm::Salesforce, Some("test.salesforce.com"), "https://test.salesforce.com/services/oauth2/introspect"),
    ] {
        let request = provider(crm).refresh_token_request(&app(), &token, login_host).unwrap();
        assert_eq!((request.url.as_str(), request.effect), (url, providers::http::Effect::Reads));
        let form = form(&request);
        for pair in ["token=rt", "token_type_hint=refresh_token"] {
            assert!(form.iter().any(|given| given == pair), "{form:?}");
        }
        assert!(form.iter().all(|given| !given.starts_with("grant_type")), "{form:?}");
    }
    assert!(provider(Crm::Salesforce).refresh_token_request(&app(), &token, Some("evil.example")).is_err());
    assert!(provider(Crm::Hubspot).refresh_token_request(&app(), &token, Some("evil.example")).is_err());
}

#[test]
fn only_a_plain_word_tells_how_a_refresh_token_stands() {
    use providers::oauth::Standing;
    for (given, expected) in [
        (json_answer(200, &json!({"active": true, "token_use": "refresh_token"})), Standing::Active),
        (json_answer(200, &json!({"active": false})), Standing::Inactive),
        (json_answer(200, &json!({})), Standing::Untold),
        (json_answer(200, &json!({"active": "true"})), Standing::Untold),
        (json_answer(400, &json!({"error": "unsupported_token_type"})), Standing::Untold),
        (json_answer(401, &json!({"active": false})), Standing::Untold),
        (answer(403, "<html>"), Standing::Untold),
        (answer(200, "{\"active"), Standing::Unreachable),
        (answer(200, "<html>"), Standing::Unreachable),
        (answer(429, ""), Standing::Unreachable),
        (answer(502, "<html>"), Standing::Unreachable),
        (answer(302, ""), Standing::Unreachable),
        (lost(), Standing::Unreachable),
        (Err(NoAnswer::NotSent), Standing::Unreachable),
    ] {
        for crm in Crm::ALL {
            assert_eq!(provider(crm).read_refresh_token(&given), expected, "{crm} {given:?}");
        }
    }
}

#[test]
fn revoking_ends_the_grant_with_the_calls_there_are_tokens_for() {
    let (access, refresh) = (Secret::new("at".to_owned()), Secret::new("rt".to_owned()));
    let adapter = provider(Crm::Hubspot);
    let both = adapter.revoke_requests(&app(), Some(&access), Some(&refresh), None);
    let lines: Vec<String> = both.iter().map(|r| format!("{} {}", r.method.as_str(), r.url)).collect();
    assert_eq!(
        lines,
        [
            "DELETE https://api.hubapi.com/appinstalls/2026-03/external-install",
            "POST https://api.hubapi.com/oauth/2026-03/token/revoke"
        ]
    );
    assert_eq!(both[0].bearer, Some(access.clone()));
    assert_eq!(form(&both[1])[2..], ["token=rt", "token_type_hint=refresh_token"]);
    assert_eq!(adapter.revoke_requests(&app(), None, Some(&refresh), None).len(), 1);
    assert!(adapter.revoke_requests(&app(), None, None, None).is_empty());

    let adapter = provider(Crm::Salesforce);
    let one = adapter.revoke_requests(&app(), Some(&access), Some(&refresh), Some("acme.my.salesforce.com"));
    assert_eq!((one.len(), one[0].url.as_str()), (1, "https://acme.my.salesforce.com/services/oauth2/revoke"));
    assert_eq!(form(&one[0]), ["token=rt"]);
    assert_eq!(form(&adapter.revoke_requests(&app(), Some(&access), None, None)[0]), ["token=at"]);
    assert!(adapter.revoke_requests(&app(), Some(&access), Some(&refresh), Some("evil.example")).is_empty());
}
