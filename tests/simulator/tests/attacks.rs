//! Attacks on the OAuth and install flows: each with its refusal, and nothing changed by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::authenticate::Caller;
use flows::authorize_install::authorize_install;
use flows::claim_install::{Claimed, claim_install};
use flows::finish_oauth::{Callback, Parked};
use flows::purge_installs::purge_installs;
use flows::start_oauth::Start;
use model::install::INSTALL_LIFE_SECS;
use model::{Crm, Role, Secret};
use pollster::block_on;
use simulator::{Browser, Port, Sim};
use store::db::run;

const EVIL: &str = "ws_evil";

/// A Conduit with the victim's workspace (`ws_acme`) and the attacker's, and an install made in the victim's browser.
fn scene() -> (Sim, Parked) {
    let sim = Sim::new(77);
    sim.seed_workspace(EVIL);
    let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    (sim, parked)
}

fn attacker(sim: &Sim) -> Caller {
    sim.caller_of(EVIL, "DB", Role::Owner)
}

fn claim(sim: &Sim, caller: &Caller, cookie: Option<&str>, named: Option<&str>) -> Result<Claimed, Error> {
    block_on(claim_install(&sim.world(), caller, cookie, named))
}

/// The attack is refused with this error, and nothing that stands is changed.
fn refused<T>(sim: &Sim, expected: &Error, attack: impl FnOnce() -> Result<T, Error>) {
    let before = sim.standing();
    assert_eq!(attack().err().as_ref(), Some(expected));
    assert_eq!(sim.standing(), before, "{expected:?}: something changed");
}

/// A callback that must be refused without a request to any CRM.
fn refused_unsent(sim: &Sim, crm: Crm, callback: &Callback, expected: &Error) {
    let sent = sim.ports.used(Port::Http);
    refused(sim, expected, || Browser::new(sim).land(crm, callback).map_err(|unfinished| unfinished.error));
    assert_eq!(sim.ports.used(Port::Http), sent, "a code left for a token endpoint");
}

fn land(sim: &Sim, crm: Crm, callback: &Callback) -> Result<(), Error> {
    Browser::new(sim).land(crm, callback).map(|_| ()).map_err(|unfinished| unfinished.error)
}

#[test]
fn a_stolen_install_id_opens_nothing() {
    let (sim, parked) = scene();
    let id = parked.install_id.as_str();
    for cookie in [None, Some(""), Some(id), Some("."), Some(&*format!("{id}."))] {
        refused(&sim, &Error::InstallNotProven, || claim(&sim, &attacker(&sim), cookie, Some(id)));
    }
}

#[test]
fn a_stolen_install_id_with_the_cookie_of_another_install_opens_nothing() {
    let (sim, parked) = scene();
    let own = Browser::new(&sim).install(Crm::Salesforce).unwrap();
    let cookie = own.claim_cookie.expose();
    refused(&sim, &Error::InstallNotProven, || {
        claim(&sim, &attacker(&sim), Some(cookie), Some(parked.install_id.as_str()))
    });
    let secret = cookie.split_once('.').unwrap().1;
    let spliced = format!("{}.{secret}", parked.install_id);
    refused(&sim, &Error::InstallNotProven, || claim(&sim, &attacker(&sim), Some(&spliced), None));
}

#[test]
fn a_guessed_claim_secret_looks_like_an_unknown_install() {
    let (sim, parked) = scene();
    let guess = format!("{}.{}", parked.install_id, "A".repeat(43));
    refused(&sim, &Error::InstallNotProven, || claim(&sim, &attacker(&sim), Some(&guess), None));
    refused(&sim, &Error::InstallNotProven, || claim(&sim, &attacker(&sim), Some("in_never.secret"), None));
    refused(&sim, &Error::InstallNotProven, || claim(&sim, &attacker(&sim), Some("' OR 1=1 --.x"), None));
}

#[test]
fn the_stored_hash_of_a_claim_secret_is_no_secret() {
    let (sim, parked) = scene();
    let row = block_on(store::pending_installs::fetch(&sim.ports.db, &parked.install_id)).unwrap().unwrap();
    let leaked = format!("{}.{}", parked.install_id, row.claim_secret_hash);
    refused(&sim, &Error::InstallNotProven, || claim(&sim, &attacker(&sim), Some(&leaked), None));
}

#[test]
fn a_member_who_may_not_administer_cannot_claim() {
    let (sim, parked) = scene();
    let member = sim.caller(Role::Member);
    refused(&sim, &Error::AdminRequired, || claim(&sim, &member, Some(parked.claim_cookie.expose()), None));
}

#[test]
fn a_service_token_cannot_claim() {
    let (sim, parked) = scene();
    let token = Caller { actor: "token:ci".to_owned(), ..sim.caller(Role::Owner) };
    refused(&sim, &Error::UserRequired, || claim(&sim, &token, Some(parked.claim_cookie.expose()), None));
}

#[test]
fn a_claim_for_another_workspace_after_the_first_is_refused() {
    let (sim, parked) = scene();
    let cookie = parked.claim_cookie.expose();
    claim(&sim, &sim.caller(Role::Owner), Some(cookie), None).unwrap();
    refused(&sim, &Error::InstallClaimed, || claim(&sim, &attacker(&sim), Some(cookie), None));
}

#[test]
fn a_claim_repeated_changes_nothing() {
    let (sim, parked) = scene();
    let again = || claim(&sim, &sim.caller(Role::Owner), Some(parked.claim_cookie.expose()), None).unwrap();
    let first = again();
    let before = sim.standing();
    assert_eq!(again(), first);
    assert_eq!(sim.standing(), before);
}

#[test]
fn a_claim_after_a_disconnect_does_not_bring_the_tokens_back() {
    let (sim, parked) = scene();
    let owner = sim.caller(Role::Owner);
    let cookie = parked.claim_cookie.expose();
    claim(&sim, &owner, Some(cookie), None).unwrap();
    block_on(flows::disconnect::disconnect(&sim.world(), &owner, Crm::Hubspot)).unwrap();
    refused(&sim, &Error::InstallClaimed, || claim(&sim, &owner, Some(cookie), None));
}

#[test]
fn a_claim_after_the_end_is_refused_before_and_after_the_purge() {
    let (sim, parked) = scene();
    let try_it = || claim(&sim, &sim.caller(Role::Owner), Some(parked.claim_cookie.expose()), None);
    sim.sleep_secs(INSTALL_LIFE_SECS);
    refused(&sim, &Error::InstallExpired, try_it);
    block_on(purge_installs(&sim.world())).unwrap();
    refused(&sim, &Error::InstallExpired, try_it);
}

#[test]
fn a_clock_moved_back_revives_nothing() {
    let (sim, parked) = scene();
    let mut browser = Browser::new(&sim);
    let url = browser.start(Crm::Salesforce, &Start::default()).unwrap();
    let callback = browser.consent(&url, "approve");
    browser.finish(Crm::Salesforce, &callback).unwrap();
    sim.sleep_secs(INSTALL_LIFE_SECS);
    block_on(purge_installs(&sim.world())).unwrap();
    sim.sleep_secs(-INSTALL_LIFE_SECS);
    let owner = sim.caller(Role::Owner);
    refused(&sim, &Error::InstallExpired, || claim(&sim, &owner, Some(parked.claim_cookie.expose()), None));
    refused_unsent(&sim, Crm::Salesforce, &callback, &Error::StateUsed);
}

#[test]
fn an_attackers_code_opened_in_the_victims_browser_cannot_be_claimed_there() {
    // Login CSRF: the attacker installs into a portal of his own and lets the victim's browser land on the callback.
    let sim = Sim::new(78);
    let lure = Browser::new(&sim).marketplace("666");
    let mut victim = Browser::new(&sim);
    let planted = victim.finish_install(Crm::Hubspot, &lure).unwrap();
    let owner = sim.caller(Role::Owner);
    refused(&sim, &Error::ConsentRequired(Crm::Hubspot), || {
        claim(&sim, &owner, Some(planted.claim_cookie.expose()), Some(planted.install_id.as_str()))
    });
    // Consenting, as the page asks for, connects the portal of whoever consents: the victim's own.
    assert_eq!(victim.connect(Crm::Hubspot).unwrap().external_account_id, "4242");
    refused(&sim, &Error::ConsentRequired(Crm::Hubspot), || {
        claim(&sim, &owner, Some(planted.claim_cookie.expose()), None)
    });
}

#[test]
fn an_attackers_state_in_the_victims_browser_is_refused() {
    let (sim, _) = scene();
    for install in [true, false] {
        let mut browser = Browser::new(&sim);
        let url = if install {
            browser.start_install(Crm::Hubspot).unwrap()
        } else {
            browser.start_as(&attacker(&sim), Crm::Hubspot, &Start::default()).unwrap()
        };
        let lure = browser.consent(&format!("{url}&hub_id=666"), "approve");
        let mut victim = Browser::new(&sim);
        victim.start(Crm::Hubspot, &Start::default()).unwrap();
        let opened = Callback { browser_cookie: victim.cookie(), ..lure };
        refused_unsent(&sim, Crm::Hubspot, &opened, &Error::StateForeignBrowser);
    }
}

#[test]
fn the_victims_state_in_the_attackers_browser_is_refused() {
    let (sim, _) = scene();
    let mut victim = Browser::new(&sim);
    let url = victim.start_install(Crm::Hubspot).unwrap();
    let seen = victim.consent(&url, "approve");
    let stolen = Callback { browser_cookie: Some("B".repeat(43)), ..seen.clone() };
    refused_unsent(&sim, Crm::Hubspot, &stolen, &Error::StateForeignBrowser);
    refused_unsent(&sim, Crm::Hubspot, &seen, &Error::StateUsed);
}

#[test]
fn a_state_without_any_cookie_is_refused() {
    let (sim, _) = scene();
    let mut browser = Browser::new(&sim);
    let url = browser.start_install(Crm::Hubspot).unwrap();
    let bare = Callback { browser_cookie: None, ..browser.consent(&url, "approve") };
    refused_unsent(&sim, Crm::Hubspot, &bare, &Error::StateForeignBrowser);
}

#[test]
fn a_state_replayed_is_refused() {
    let (sim, _) = scene();
    let mut browser = Browser::new(&sim);
    let url = browser.start_install(Crm::Salesforce).unwrap();
    let callback = browser.consent(&url, "approve");
    browser.finish_install(Crm::Salesforce, &callback).unwrap();
    for _ in 0..20 {
        refused_unsent(&sim, Crm::Salesforce, &callback, &Error::StateUsed);
    }
}

#[test]
fn a_state_guessed_oversized_or_hostile_is_unknown() {
    let (sim, _) = scene();
    let code = Some(Secret::new("na1-x".to_owned()));
    for state in ["A".repeat(43), "x".repeat(1_000_000), "' OR 1=1 --".to_owned(), "\u{0}".to_owned(), String::new()] {
        let callback = Callback { state: Some(state), code: code.clone(), ..Callback::default() };
        refused_unsent(&sim, Crm::Hubspot, &callback, &Error::StateUnknown);
    }
}

#[test]
fn a_state_older_than_ten_minutes_is_refused() {
    let (sim, _) = scene();
    let mut browser = Browser::new(&sim);
    let callback = browser.marketplace_with_sign_in("4242");
    sim.sleep_secs(600);
    refused_unsent(&sim, Crm::Hubspot, &callback, &Error::StateExpired);
}

#[test]
fn a_code_replayed_under_a_new_state_is_refused() {
    let (sim, _) = scene();
    let mut browser = Browser::new(&sim);
    let url = browser.start_install(Crm::Hubspot).unwrap();
    let used = browser.consent(&url, "approve");
    browser.finish_install(Crm::Hubspot, &used).unwrap();
    let url = browser.start_install(Crm::Hubspot).unwrap();
    let replay = Callback { code: used.code, ..browser.consent(&url, "approve") };
    let before = sim.standing();
    assert!(matches!(land(&sim, Crm::Hubspot, &replay), Err(Error::ExchangeFailed { .. })));
    assert_eq!(sim.standing(), before);
}

#[test]
fn a_marketplace_code_replayed_is_refused() {
    let sim = Sim::new(79);
    let callback = Browser::new(&sim).marketplace("4242");
    land(&sim, Crm::Hubspot, &callback).unwrap();
    let before = sim.standing();
    assert!(matches!(land(&sim, Crm::Hubspot, &callback), Err(Error::ExchangeFailed { .. })));
    assert_eq!(sim.standing(), before);
}

#[test]
fn a_code_of_another_persons_flow_fails_at_its_verifier() {
    let (sim, _) = scene();
    let mut evil = Browser::new(&sim);
    let url = evil.start_install(Crm::Hubspot).unwrap();
    let injected = evil.consent(&format!("{url}&hub_id=666"), "approve").code;
    let mut victim = Browser::new(&sim);
    let url = victim.start(Crm::Hubspot, &Start::default()).unwrap();
    let callback = Callback { code: injected, ..victim.consent(&url, "approve") };
    let before = sim.standing();
    assert!(matches!(land(&sim, Crm::Hubspot, &callback), Err(Error::ExchangeFailed { .. })));
    assert_eq!(sim.standing(), before);
}

#[test]
fn a_code_of_another_app_is_refused() {
    let mut sim = Sim::new(80);
    let callback = Browser::new(&sim).marketplace("4242");
    sim.settings_mut().hubspot.as_mut().unwrap().client_id = "another-app".to_owned();
    let before = sim.standing();
    assert!(matches!(land(&sim, Crm::Hubspot, &callback), Err(Error::ExchangeFailed { .. })));
    assert_eq!(sim.standing(), before);
}

#[test]
fn a_verifier_cannot_be_left_out_of_a_flow_of_ours() {
    // The victim's code, from a flow with a challenge, brought as a marketplace's: no verifier, no token.
    let (sim, _) = scene();
    let mut victim = Browser::new(&sim);
    let url = victim.start_install(Crm::Hubspot).unwrap();
    let code = victim.consent(&url, "approve").code;
    let downgraded = Callback { code, return_url: Some("https://app.hubspot.com/x".to_owned()), ..Callback::default() };
    let before = sim.standing();
    assert!(matches!(land(&sim, Crm::Hubspot, &downgraded), Err(Error::ExchangeFailed { .. })));
    assert_eq!(sim.standing(), before);
}

fn return_url_is_refused(url: &str) {
    let (sim, _) = scene();
    let callback = Callback { return_url: Some(url.to_owned()), ..Browser::new(&sim).marketplace("4242") };
    refused_unsent(&sim, Crm::Hubspot, &callback, &Error::ReturnUrlRefused);
    refused(&sim, &Error::ReturnUrlRefused, || block_on(authorize_install(&sim.world(), Some(url))));
}

#[test]
fn a_return_url_on_another_host_is_refused() {
    return_url_is_refused("https://evil.example/");
}

#[test]
fn a_return_url_that_only_begins_like_hubspot_is_refused() {
    return_url_is_refused("https://app.hubspot.com.evil.example/");
}

#[test]
fn a_return_url_with_userinfo_is_refused() {
    return_url_is_refused("https://app.hubspot.com@evil.example/");
    return_url_is_refused("https://user:pw@app.hubspot.com/");
}

#[test]
fn a_return_url_with_another_scheme_is_refused() {
    return_url_is_refused("http://app.hubspot.com/");
    return_url_is_refused("javascript:alert(1)");
    return_url_is_refused("//app.hubspot.com/");
}

#[test]
fn a_return_url_with_a_port_a_backslash_or_a_line_break_is_refused() {
    return_url_is_refused("https://app.hubspot.com:8443/");
    return_url_is_refused("https://app.hubspot.com\\@evil.example/");
    return_url_is_refused("https://app.hubspot.com/\r\nSet-Cookie: a=b");
}

#[test]
fn a_return_url_on_a_made_up_hublet_is_refused() {
    return_url_is_refused("https://app-eu1.hubspot.com.evil.example/");
    return_url_is_refused("https://app-x.evil.hubspot.com/");
    return_url_is_refused(&format!("https://app.hubspot.com/{}", "a".repeat(4_000)));
}

#[test]
fn a_return_url_that_would_hand_the_state_to_another_app_is_refused() {
    for query in [
        "client_id=theirs&redirect_uri=https%3A%2F%2Fevil.example%2F",
        "client_id=hubspot-client&redirect_uri=https%3A%2F%2Fevil.example%2F",
        "client_id=hubspot-client&client_id=theirs",
        "state=planted",
    ] {
        let (sim, _) = scene();
        let url = format!("https://app.hubspot.com/oauth/authorize?{query}");
        refused(&sim, &Error::ReturnUrlRefused, || block_on(authorize_install(&sim.world(), Some(&url))));
    }
}

#[test]
fn an_administrator_who_lost_the_role_since_the_start_connects_nothing() {
    for change in [
        "UPDATE workspace_members SET role = 'member' WHERE user_id = 'us_owner'",
        "DELETE FROM workspace_members WHERE user_id = 'us_owner'",
    ] {
        let sim = Sim::new(78);
        let mut browser = Browser::new(&sim);
        let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
        let callback = browser.consent(&url, "approve");
        block_on(store::db::run(&sim.ports.db, store::Statement::new(change, []))).unwrap();
        refused_unsent(&sim, Crm::Hubspot, &callback, &Error::AdminRequired);
    }
}

#[test]
fn a_service_token_that_was_revoked_since_the_start_connects_nothing() {
    let sim = Sim::new(79);
    let sql = |text: &'static str| block_on(store::db::run(&sim.ports.db, store::Statement::new(text, []))).unwrap();
    sql(
        "INSERT INTO service_tokens (token_hash, workspace_id, name, role, created_at) VALUES ('h', 'ws_acme', 'ci', 'owner', 1)",
    );
    let back_end = Caller { actor: "token:ci".to_owned(), ..sim.caller(Role::Owner) };
    let mut browser = Browser::new(&sim);
    let mut begun = || {
        let url = browser.start_as(&back_end, Crm::Hubspot, &Start::default()).unwrap();
        browser.consent(&url, "approve")
    };
    let (good, late) = (begun(), begun());
    sql("UPDATE service_tokens SET revoked_at = 2");
    refused_unsent(&sim, Crm::Hubspot, &late, &Error::AdminRequired);
    sql("UPDATE service_tokens SET revoked_at = NULL");
    let with_cookie = Callback { browser_cookie: good.browser_cookie.clone(), ..good };
    assert!(land(&sim, Crm::Hubspot, &with_cookie).is_ok(), "one that stands connects");
}

#[test]
fn a_first_leg_without_a_return_url_is_refused() {
    let (sim, _) = scene();
    refused(&sim, &Error::ReturnUrlRefused, || block_on(authorize_install(&sim.world(), None)));
}

#[test]
fn a_finalize_without_its_state_is_refused_and_not_bounced_back() {
    let (sim, _) = scene();
    let callback = Callback { step: Some("finalize".to_owned()), ..Browser::new(&sim).marketplace("4242") };
    refused_unsent(&sim, Crm::Hubspot, &callback, &Error::StateMissing);
    let url = Browser::new(&sim).land(Crm::Hubspot, &callback).unwrap_err().return_to;
    assert_eq!(url, None);
}

#[test]
fn a_code_without_state_or_return_url_is_dropped_unexchanged() {
    let (sim, _) = scene();
    let callback = Callback { return_url: None, ..Browser::new(&sim).marketplace("4242") };
    refused_unsent(&sim, Crm::Hubspot, &callback, &Error::StateMissing);
}

#[test]
fn a_return_url_does_not_make_salesforce_accept_a_code_without_state() {
    let (sim, _) = scene();
    let callback = Browser::new(&sim).marketplace("4242");
    refused_unsent(&sim, Crm::Salesforce, &callback, &Error::StateMissing);
}

#[test]
fn hubspots_code_and_state_at_salesforces_callback_go_nowhere() {
    let (sim, _) = scene();
    let mut browser = Browser::new(&sim);
    for (minted_for, landed_on) in [(Crm::Hubspot, Crm::Salesforce), (Crm::Salesforce, Crm::Hubspot)] {
        let url = browser.start_install(minted_for).unwrap();
        let callback = browser.consent(&url, "approve");
        refused_unsent(&sim, landed_on, &callback, &Error::StateUnknown);
    }
}

#[test]
fn an_error_beside_a_code_is_an_error() {
    let (sim, _) = scene();
    let mut browser = Browser::new(&sim);
    let url = browser.start_install(Crm::Hubspot).unwrap();
    let both = Callback { error: Some("<script>".to_owned()), ..browser.consent(&url, "approve") };
    refused_unsent(&sim, Crm::Hubspot, &both, &Error::ConsentDenied(Crm::Hubspot));
    let both = Callback { error: Some("access_denied".to_owned()), ..browser.marketplace("4242") };
    refused_unsent(&sim, Crm::Hubspot, &both, &Error::ConsentDenied(Crm::Hubspot));
}

#[test]
fn a_claim_of_an_account_that_another_workspace_has_is_refused() {
    let (sim, parked) = scene();
    let victim = sim.caller(Role::Owner);
    run_take(&sim, &victim);
    let before = sim.standing();
    let stolen = claim(&sim, &attacker(&sim), Some(parked.claim_cookie.expose()), None);
    assert_eq!(stolen, Err(Error::AccountOwnedElsewhere(Crm::Hubspot)));
    assert_eq!(sim.standing(), before);
}

/// The account is taken: as by a connect of the other workspace a moment ago.
fn run_take(sim: &Sim, caller: &Caller) {
    let take = store::crm_accounts::take(Crm::Hubspot, "4242", &caller.workspace_id, sim.now());
    block_on(run(&sim.ports.db, take)).unwrap();
}

#[test]
fn a_claim_for_a_workspace_that_has_another_account_is_refused() {
    let sim = Sim::new(81);
    sim.connect(Crm::Hubspot);
    let mut browser = Browser::new(&sim);
    let url = browser.start_install(Crm::Hubspot).unwrap();
    let callback = browser.consent(&format!("{url}&hub_id=777"), "approve");
    let parked = browser.finish_install(Crm::Hubspot, &callback).unwrap();
    let expected = Error::WrongAccount { crm: Crm::Hubspot, connected: "4242".to_owned() };
    refused(&sim, &expected, || claim(&sim, &sim.caller(Role::Owner), Some(parked.claim_cookie.expose()), None));
}
