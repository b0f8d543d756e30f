//! Attacks on who is calling: JWTs, service tokens, links, sessions and forms. Each with its refusal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use crypto::{mac, service_token};
use flows::Error;
use flows::authenticate::{Caller, authenticate};
use flows::mint_link::{LinkRequest, mint_link};
use flows::open_link::open_link;
use flows::read_session::{PageSession, read_session};
use model::install::{LINK_LIFE_SECS, Page, SESSION_LIFE_SECS};
use model::{Role, Secret, UserId};
use pollster::block_on;
use serde_json::{Value, json};
use simulator::{BEGINNING, Sim, WORKSPACE, workspace};
use store::db::run;
use store::workspaces;

const SECRET: &str = "a secret of the host product, 32 bytes or more";
const EVIL: &str = "ws_evil";

fn url(base64: &str) -> String {
    base64.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn base64(text: &str) -> String {
    // The only encoder in reach is the MAC's: three bytes at a time, by hand.
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (n, byte)| bits | (u32::from(*byte) << (16 - 8 * n)));
        for n in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * n)) as usize & 63]));
        }
    }
    out
}

fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let input = format!("{}.{}", base64(&header.to_string()), base64(&claims.to_string()));
    let signature = url(&mac::hmac_sha256_base64(secret.as_bytes(), input.as_bytes()));
    format!("{input}.{signature}")
}

fn claims() -> Value {
    json!({"sub": "us_owner", "iat": BEGINNING.0 / 1000, "exp": BEGINNING.0 / 1000 + 3_600, "aud": "conduit", "iss": "product"})
}

fn jwt(change: &Value) -> String {
    let mut all = claims();
    for (name, value) in change.as_object().unwrap() {
        all[name] = value.clone();
    }
    signed(&json!({"alg": "HS256", "typ": "JWT"}), &all, SECRET)
}

fn sim() -> Sim {
    let mut sim = Sim::new(90);
    sim.settings_mut().jwt_audience = Some("conduit".to_owned());
    sim.settings_mut().jwt_issuer = Some("product".to_owned());
    sim.seed_workspace(EVIL);
    sim
}

fn who(sim: &Sim, bearer: &str, workspace: &str) -> Result<Caller, Error> {
    block_on(authenticate(&sim.world(), Some(bearer), Some(workspace)))
}

fn refused(token: &str, expected: &Error) {
    let sim = sim();
    let before = sim.standing();
    assert_eq!(who(&sim, token, WORKSPACE).err().as_ref(), Some(expected));
    assert_eq!(sim.standing(), before);
}

#[test]
fn a_good_jwt_is_accepted_so_that_the_refusals_mean_something() {
    assert_eq!(who(&sim(), &jwt(&json!({})), WORKSPACE).unwrap().role, Role::Owner);
}

#[test]
fn a_jwt_signed_with_another_secret_is_refused() {
    let forged = signed(&json!({"alg": "HS256"}), &claims(), "another secret, also of 32 bytes or more");
    refused(&forged, &Error::TokenInvalid);
}

#[test]
fn a_jwt_whose_claims_were_changed_is_refused() {
    let good = jwt(&json!({"sub": "us_member"}));
    let parts: Vec<&str> = good.split('.').collect();
    refused(&format!("{}.{}.{}", parts[0], base64(&claims().to_string()), parts[2]), &Error::TokenInvalid);
}

#[test]
fn a_jwt_without_algorithm_or_signature_is_refused() {
    let body = base64(&claims().to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = base64(&json!({ "alg": alg }).to_string());
        refused(&format!("{header}.{body}."), &Error::TokenInvalid);
    }
}

#[test]
fn a_jwt_of_another_algorithm_is_refused() {
    for alg in ["HS512", "RS256", "ES256"] {
        refused(&signed(&json!({ "alg": alg }), &claims(), SECRET), &Error::TokenInvalid);
    }
}

#[test]
fn a_jwt_that_brings_its_own_key_is_refused() {
    for header in [
        json!({"alg": "HS256", "jwk": {}}),
        json!({"alg": "HS256", "jku": "https://evil.example"}),
        json!({"alg": "HS256", "crit": ["x"]}),
    ] {
        refused(&signed(&header, &claims(), SECRET), &Error::TokenInvalid);
    }
}

#[test]
fn an_expired_jwt_is_refused() {
    refused(&jwt(&json!({"exp": BEGINNING.0 / 1000 - 61})), &Error::TokenExpired);
}

#[test]
fn a_jwt_of_the_future_is_refused() {
    refused(&jwt(&json!({"nbf": BEGINNING.0 / 1000 + 120})), &Error::TokenInvalid);
    refused(&jwt(&json!({"iat": BEGINNING.0 / 1000 + 120})), &Error::TokenInvalid);
}

#[test]
fn a_jwt_without_an_end_is_refused() {
    refused(&jwt(&json!({"exp": null})), &Error::TokenInvalid);
}

#[test]
fn a_jwt_for_another_audience_or_of_another_issuer_is_refused() {
    refused(&jwt(&json!({"aud": "billing"})), &Error::TokenInvalid);
    refused(&jwt(&json!({"aud": null})), &Error::TokenInvalid);
    refused(&jwt(&json!({"iss": "https://evil.example"})), &Error::TokenInvalid);
}

#[test]
fn an_oversized_jwt_is_refused_unread() {
    refused(&"a".repeat(1_000_000), &Error::TokenInvalid);
    refused(&jwt(&json!({"pad": "x".repeat(9_000)})), &Error::TokenInvalid);
}

#[test]
fn a_user_of_another_workspace_finds_no_workspace() {
    let sim = sim();
    let user = UserId::parse("us_mallory").unwrap();
    block_on(run(&sim.ports.db, workspaces::admit_member(&workspace(EVIL), &user, Role::Owner, sim.now()))).unwrap();
    let mallory = jwt(&json!({"sub": "us_mallory"}));
    assert!(who(&sim, &mallory, EVIL).is_ok());
    assert_eq!(who(&sim, &mallory, WORKSPACE).unwrap_err(), Error::WorkspaceNotFound);
    assert_eq!(who(&sim, &mallory, "ws_never").unwrap_err(), Error::WorkspaceNotFound, "and the two look alike");
    assert_eq!(who(&sim, &mallory, "ws_' OR 1=1").unwrap_err(), Error::WorkspaceNotFound);
}

#[test]
fn a_service_token_of_another_workspace_finds_no_workspace() {
    let sim = sim();
    let token = service_token::mint(sim.random()).unwrap();
    let hash = service_token::hash(token.expose());
    let issue = workspaces::issue_service_token(&hash, &workspace(EVIL), "ci", Role::Owner, None, sim.now());
    block_on(run(&sim.ports.db, issue)).unwrap();
    assert!(who(&sim, token.expose(), EVIL).is_ok());
    assert_eq!(who(&sim, token.expose(), WORKSPACE).unwrap_err(), Error::WorkspaceNotFound);
    assert_eq!(who(&sim, &hash, EVIL).unwrap_err(), Error::TokenInvalid, "its stored hash is no token");
    assert_eq!(who(&sim, &format!("cst_{}", "A".repeat(43)), EVIL).unwrap_err(), Error::TokenInvalid);
}

fn back_end(sim: &Sim) -> Caller {
    Caller { actor: "token:ci".to_owned(), ..sim.caller(Role::Owner) }
}

fn link(sim: &Sim) -> String {
    let ask = LinkRequest { user_id: Some("us_owner"), page: Page::Claim, return_to: None };
    let link = block_on(mint_link(&sim.world(), &back_end(sim), &ask)).unwrap();
    link.url.rsplit_once("link=").unwrap().1.to_owned()
}

fn open(sim: &Sim, link: &str, earlier: Option<&str>) -> Result<String, Error> {
    block_on(open_link(&sim.world(), link, earlier)).map(|opened| opened.session.as_str().to_owned())
}

fn session(sim: &Sim, cookie: &str) -> Result<PageSession, Error> {
    block_on(read_session(&sim.world(), Some(cookie)))
}

#[test]
fn a_link_opens_once() {
    let sim = sim();
    let link = link(&sim);
    let cookie = open(&sim, &link, None).unwrap();
    assert_eq!(open(&sim, &link, None).unwrap_err(), Error::LinkUnusable);
    assert!(session(&sim, &cookie).is_ok(), "and the second try does not end the first one's session");
}

#[test]
fn a_link_two_minutes_old_does_not_open() {
    let sim = sim();
    let link = link(&sim);
    sim.sleep_secs(LINK_LIFE_SECS);
    assert_eq!(open(&sim, &link, None).unwrap_err(), Error::LinkUnusable);
}

#[test]
fn a_guessed_or_hostile_link_does_not_open() {
    let sim = sim();
    for guess in ["", "A", &"A".repeat(43), &"x".repeat(1_000_000), "' OR 1=1 --"] {
        assert_eq!(open(&sim, guess, None).unwrap_err(), Error::LinkUnusable);
    }
}

#[test]
fn a_link_is_no_session_and_a_session_no_link() {
    let sim = sim();
    let link = link(&sim);
    assert_eq!(session(&sim, &link).err(), Some(Error::SessionRequired));
    let cookie = open(&sim, &link, None).unwrap();
    assert_eq!(session(&sim, &link).err(), Some(Error::SessionRequired));
    assert_eq!(open(&sim, &cookie, None).unwrap_err(), Error::LinkUnusable);
}

#[test]
fn a_session_ends_after_half_an_hour() {
    let sim = sim();
    let cookie = open(&sim, &link(&sim), None).unwrap();
    sim.sleep_secs(SESSION_LIFE_SECS);
    assert_eq!(session(&sim, &cookie).err(), Some(Error::SessionRequired));
}

#[test]
fn a_session_planted_before_a_link_is_opened_ends_with_it() {
    // Session fixation: whoever knows the cookie from before knows nothing afterwards.
    let sim = sim();
    let planted = open(&sim, &link(&sim), None).unwrap();
    let fresh = open(&sim, &link(&sim), Some(&planted)).unwrap();
    assert_ne!(planted, fresh);
    assert_eq!(session(&sim, &planted).err(), Some(Error::SessionRequired));
}

#[test]
fn a_tampered_session_cookie_is_none() {
    let sim = sim();
    let cookie = open(&sim, &link(&sim), None).unwrap();
    for tampered in [format!("{cookie}A"), cookie[1..].to_owned(), cookie.to_lowercase(), String::new()] {
        assert_eq!(session(&sim, &tampered).err(), Some(Error::SessionRequired));
    }
}

#[test]
fn a_back_ends_session_cannot_reach_the_persons_other_workspaces() {
    let sim = sim();
    let session = session(&sim, &open(&sim, &link(&sim), None).unwrap()).unwrap();
    assert!(session.caller(Some(WORKSPACE)).is_ok());
    assert_eq!(session.caller(Some(EVIL)).unwrap_err(), Error::WorkspaceNotFound, "us_owner is an owner there, too");
}

#[test]
fn a_session_has_the_role_of_now() {
    let sim = sim();
    let cookie = open(&sim, &link(&sim), None).unwrap();
    let user = UserId::parse("us_owner").unwrap();
    block_on(run(&sim.ports.db, workspaces::admit_member(&workspace(WORKSPACE), &user, Role::Member, sim.now())))
        .unwrap();
    let caller = session(&sim, &cookie).unwrap().caller(None).unwrap();
    assert_eq!(caller.require_admin(), Err(Error::AdminRequired));
}

#[test]
fn a_form_without_the_sessions_token_is_refused() {
    let sim = sim();
    let (own, other) = (open(&sim, &link(&sim), None).unwrap(), open(&sim, &link(&sim), None).unwrap());
    let page = session(&sim, &own).unwrap();
    let foreign = session(&sim, &other).unwrap().form_token();
    for token in [None, Some(""), Some("x"), Some(own.as_str()), Some(foreign.as_str())] {
        assert_eq!(page.check_form(token), Err(Error::FormRefused), "{token:?}");
    }
    assert_eq!(page.check_form(Some(&page.form_token())), Ok(()));
}

#[test]
fn a_link_is_minted_by_administrators_for_members_with_an_own_way_back_only() {
    let sim = sim();
    let mint = |caller: &Caller, user: Option<&str>, return_to: Option<&str>| {
        let ask = LinkRequest { user_id: user, page: Page::Claim, return_to };
        block_on(mint_link(&sim.world(), caller, &ask)).map(|_| ()).unwrap_err()
    };
    let member = sim.caller(Role::Member);
    assert_eq!(mint(&member, None, None), Error::AdminRequired);
    for stranger in ["us_stranger", "nobody", "us_' OR 1=1"] {
        assert!(matches!(mint(&back_end(&sim), Some(stranger), None), Error::Parameter { name: "user_id", .. }));
    }
    assert!(matches!(mint(&back_end(&sim), None, None), Error::Parameter { .. }));
    let owner = sim.caller(Role::Owner);
    assert!(
        matches!(mint(&owner, Some("us_member"), None), Error::Parameter { .. }),
        "nobody mints for another person"
    );
    assert_eq!(mint(&owner, None, Some("https://evil.example/")), Error::ReturnToRefused);
}

#[test]
fn no_secret_of_a_session_is_stored_or_logged() {
    let sim = sim();
    let link = link(&sim);
    let cookie = Secret::new(open(&sim, &link, None).unwrap());
    for secret in [&link, cookie.expose()] {
        assert!(!sim.ports.db.dump().iter().any(|value| value.text.contains(secret.as_str())));
        assert!(!sim.ports.log.borrow().iter().any(|line| line.contains(secret.as_str())));
    }
}
