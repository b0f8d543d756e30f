//! What a token must be to be believed.

use super::{
    Algorithm, Expected, Identity, JwtError, KeyKind, LENGTH_MAX, Verdict, check_claims, parse, user_id_of,
    verify_hs256,
};
use crate::{mac, text};
use model::{Secret, Timestamp, UserId};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const NOW_SECS: i64 = 1_795_165_200;
const NOW: Timestamp = Timestamp(NOW_SECS * 1_000);
const ANY: Expected<'static> = Expected { issuer: None, audience: None };

fn token(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", text::to_url(header.as_bytes()), text::to_url(claims.as_bytes()));
    let signature = text::to_url(&mac::hmac_sha256(SECRET.as_bytes(), input.as_bytes()));
    format!("{input}.{signature}")
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn identify(token: &str, expected: &Expected<'_>) -> Result<Identity, JwtError> {
    check_claims(verify_hs256(&secret(SECRET), &parse(token)?)?, expected, NOW)
}

fn claims(extra: &str) -> String {
    token(HEADER, &format!(r#"{{"sub":"ada","exp":{}{extra}}}"#, NOW_SECS + 300))
}

#[test]
fn a_good_token_names_its_user() {
    let identity = identify(&claims(""), &ANY).unwrap();
    assert_eq!(identity.subject, UserId::parse("us_ada").unwrap());
    assert_eq!(identity.expires_at, NOW.plus_secs(300));
}

#[test]
fn the_signature_of_rfc_7515_appendix_a1_verifies() {
    let parsed = parse(concat!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    ))
    .ok()
    .unwrap();
    // The RFC's key is binary, and a configured secret is text: judge the message and tag directly.
    let key = text::from_url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .unwrap();
    assert_eq!(mac::hmac_sha256(&key, parsed.signing_input.as_bytes()).as_slice(), parsed.signature);
}

#[test]
fn another_secret_or_a_changed_token_does_not_verify() {
    let good = claims("");
    let parsed = parse(&good).ok().unwrap();
    assert_eq!(verify_hs256(&secret(&SECRET.replace('0', "x")), &parsed).err(), Some(JwtError::Signature));
    for weak in ["", "short", &SECRET[1..]] {
        assert_eq!(verify_hs256(&secret(weak), &parsed).err(), Some(JwtError::WeakSecret));
    }
    for at in 0..good.len() {
        for to in [b'A', b'B', b'.', b'='] {
            let mut bytes = good.clone().into_bytes();
            if bytes[at] == to {
                continue;
            }
            bytes[at] = to;
            assert!(identify(&String::from_utf8(bytes).unwrap(), &ANY).is_err(), "{at}");
        }
        assert!(identify(&good[..at], &ANY).is_err(), "{at}");
    }
    let (input, _) = good.rsplit_once('.').unwrap();
    assert_eq!(identify(&format!("{input}."), &ANY), Err(JwtError::Signature));
}

#[test]
fn the_form_is_strict() {
    let good = claims("");
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        format!("{good}.x"),
        format!("{good}="),
        format!(" {good}"),
        good.replace('.', ""),
        token("[]", "{}"),
        token(HEADER, "[]"),
        token(HEADER, "\"x\""),
        token(HEADER, "{"),
        token("{}", "{}"),
        token(r#"{"alg":1}"#, "{}"),
        token(r#"{"alg":"HS256","kid":7}"#, "{}"),
        token(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257)), "{}"),
        token(r#"{"alg":"HS256","alg":"HS256"}"#, "{}"),
        token(HEADER, r#"{"sub":"ada","sub":"eve"}"#),
        token(HEADER, r#"{"sub":"ada","x":{"y":1,"y":2}}"#),
        token(HEADER, &format!(r#"{{"x":"{}"}}"#, "x".repeat(LENGTH_MAX))),
    ] {
        assert_eq!(parse(&bad).err(), Some(JwtError::Malformed), "{bad}");
    }
}

#[test]
fn a_header_that_brings_a_key_or_an_extension_is_refused() {
    for name in ["crit", "jwk", "jku", "x5u", "x5c"] {
        let header = format!(r#"{{"alg":"HS256","{name}":["x"]}}"#);
        assert_eq!(parse(&token(&header, "{}")).err(), Some(JwtError::ForbiddenHeader(name)));
    }
    assert!(parse(&token(r#"{"alg":"HS256","typ":"at+jwt","kid":"k1"}"#, "{}")).is_ok_and(|t| t.kid() == Some("k1")));
}

#[test]
fn only_the_algorithms_of_the_configured_key_are_accepted() {
    for alg in ["none", "None", "hs256", "HS384", "PS256", "EdDSA", ""] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        assert_eq!(parse(&token(&header, "{}")).err(), Some(JwtError::Algorithm), "{alg}");
    }
    // The token is signed by HMAC with public bytes, in the hope that a JWKS deployment takes them for its secret.
    assert_eq!(parse(&claims("")).ok().unwrap().for_jwks().err(), Some(JwtError::Algorithm));
    for (alg, header) in [(Algorithm::Rs256, r#"{"alg":"RS256"}"#), (Algorithm::Es256, r#"{"alg":"ES256"}"#)] {
        let parsed = parse(&token(header, "{}")).ok().unwrap();
        assert_eq!((parsed.alg(), parsed.alg().key_kind()), (alg, KeyKind::Jwks));
        assert_eq!(verify_hs256(&secret(SECRET), &parsed).err(), Some(JwtError::Algorithm));
    }
}

#[test]
fn the_edge_gets_what_it_verifies_and_claims_follow_its_verdict() {
    let input = format!(
        "{}.{}",
        text::to_url(br#"{"alg":"ES256","kid":"k1"}"#),
        text::to_url(format!(r#"{{"sub":"ada","exp":{}}}"#, NOW_SECS + 1).as_bytes())
    );
    let parsed = parse(&format!("{input}.{}", text::to_url(&[5; 64]))).ok().unwrap();
    let check = parsed.for_jwks().ok().unwrap();
    assert_eq!((check.alg, check.kid), (Algorithm::Es256, Some("k1")));
    assert_eq!((check.signing_input, check.signature), (input.as_bytes(), [5; 64].as_slice()));
    assert_eq!(check.conclude(Verdict::Bad).err(), Some(JwtError::Signature));
    let claims = parsed.for_jwks().ok().unwrap().conclude(Verdict::Good).ok().unwrap();
    assert!(check_claims(claims, &ANY, NOW).is_ok());

    let der = parse(&format!("{input}.{}", text::to_url(&[5; 70]))).ok().unwrap();
    assert_eq!(der.for_jwks().err(), Some(JwtError::Signature));
}

#[test]
fn times_are_honoured_with_a_minute_of_leeway() {
    let at =
        |name: &str, secs: i64| format!(r#"{{"sub":"ada","exp":{},"{name}":{}}}"#, NOW_SECS + 300, NOW_SECS + secs);
    for (claims, expected) in [
        (format!(r#"{{"sub":"ada","exp":{}}}"#, NOW_SECS - 59), None),
        (format!(r#"{{"sub":"ada","exp":{}.5}}"#, NOW_SECS - 59), None),
        (format!(r#"{{"sub":"ada","exp":{}}}"#, NOW_SECS - 60), Some(JwtError::Expired)),
        (r#"{"sub":"ada","exp":0}"#.into(), Some(JwtError::Expired)),
        (r#"{"sub":"ada","exp":-1}"#.into(), Some(JwtError::Expired)),
        (at("nbf", 60), None),
        (at("nbf", 61), Some(JwtError::NotYet)),
        (at("iat", 60), None),
        (at("iat", 61), Some(JwtError::NotYet)),
        (r#"{"sub":"ada"}"#.into(), Some(JwtError::Malformed)),
        (r#"{"sub":"ada","exp":null}"#.into(), Some(JwtError::Malformed)),
        (r#"{"sub":"ada","exp":"1795165500"}"#.into(), Some(JwtError::Malformed)),
        (r#"{"sub":"ada","exp":1795165500000}"#.into(), Some(JwtError::Malformed)),
        (r#"{"sub":"ada","exp":18446744073709551615}"#.into(), Some(JwtError::Malformed)),
        (r#"{"sub":"ada","exp":1e300}"#.into(), Some(JwtError::Malformed)),
        (r#"{"sub":"ada","exp":1795165500,"nbf":"now"}"#.into(), Some(JwtError::Malformed)),
    ] {
        assert_eq!(identify(&token(HEADER, &claims), &ANY).err(), expected, "{claims}");
    }
}

#[test]
fn issuer_and_audience_are_compared_whole() {
    let issuer = Expected { issuer: Some("https://app.example"), audience: None };
    let audience = Expected { issuer: None, audience: Some("conduit") };
    for (extra, expected, refusal) in [
        (r#","iss":"https://app.example""#, issuer, None),
        (r#","iss":"https://app.example/""#, issuer, Some(JwtError::Issuer)),
        (r#","iss":["https://app.example"]"#, issuer, Some(JwtError::Issuer)),
        ("", issuer, Some(JwtError::Issuer)),
        (r#","aud":"conduit""#, audience, None),
        (r#","aud":["other","conduit"]"#, audience, None),
        (r#","aud":["other",{"x":"conduit"}]"#, audience, Some(JwtError::Audience)),
        (r#","aud":[]"#, audience, Some(JwtError::Audience)),
        (r#","aud":"conduit2""#, audience, Some(JwtError::Audience)),
        ("", audience, Some(JwtError::Audience)),
        (r#","aud":"other","iss":"other""#, ANY, None),
    ] {
        assert_eq!(identify(&claims(extra), &expected).err(), refusal, "{extra}");
    }
}

#[test]
fn a_token_without_a_subject_names_nobody() {
    for sub in ["", r#""sub":"","#, r#""sub":7,"#, r#""sub":null,"#, r#""sub":["ada"],"#] {
        let token = token(HEADER, &format!(r#"{{{sub}"exp":{}}}"#, NOW_SECS + 300));
        assert_eq!(identify(&token, &ANY), Err(JwtError::Subject), "{sub}");
    }
}

#[test]
fn every_subject_has_its_own_user() {
    let hashed = user_id_of("auth0|123").unwrap();
    let body = hashed.as_str().strip_prefix("us_").unwrap();
    assert_eq!(body.len(), 45);
    let long = "a".repeat(65);
    let subjects = [
        "auth0|123",
        body,
        hashed.as_str(),
        "auth0",
        "auth0|124",
        "ada@acme.example",
        "Ada@acme.example",
        "us_ada",
        &long,
    ];
    let users: std::collections::BTreeSet<_> = subjects.iter().map(|subject| user_id_of(subject).unwrap()).collect();
    assert_eq!(users.len(), subjects.len());

    for (subject, user) in [
        ("ada", "us_ada"),
        ("us_ada", "us_ada"),
        ("2f1c6a3e-0000-4000-8000-000000000000", "us_2f1c6a3e-0000-4000-8000-000000000000"),
        ("us_", "us_us_"),
    ] {
        assert_eq!(user_id_of(subject).unwrap().as_str(), user);
    }
}
