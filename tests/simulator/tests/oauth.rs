//! Connecting and disconnecting through the real redirects: what is stored, what is refused, what it costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::disconnect::disconnect;
use flows::finish_oauth::Callback;
use flows::read_connections::list_connections;
use flows::start_oauth::{Start, start_oauth};
use model::{ConnectionStatus, Crm, Role, Secret};
use pollster::block_on;
use simulator::{Browser, Fault, Port, Sim};

#[test]
fn both_crms_connect_in_three_round_trips_and_two_calls() {
    for crm in Crm::ALL {
        let sim = Sim::new(1);
        let mut browser = Browser::new(&sim);
        let url = browser.start(crm, &Start::default()).unwrap();
        assert_eq!(sim.ports.db.counters().round_trips, 1, "a start is one round trip");
        let callback = browser.consent(&url, "approve");
        sim.ports.db.reset_counters();
        let finished = browser.finish(crm, &callback).unwrap();
        assert_eq!(sim.ports.db.counters().round_trips, 3);
        assert_eq!(sim.ports.used(Port::Http), 2);

        let listed = block_on(list_connections(&sim.world(), &sim.caller(Role::Member))).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].status, ConnectionStatus::Connected);
        assert_eq!(listed[0].external_account_id, finished.external_account_id);
        assert!(!listed[0].scopes.is_empty(), "{crm}: granted scopes are stored");
        assert_eq!(listed[0].health.as_ref().unwrap().status, model::Health::Ok);
        no_token_in_plain(&sim);
    }
}

/// Every token the stand-in ever issued, looked for in every value of the database and every log line.
fn no_token_in_plain(sim: &Sim) {
    let issued = sim.ports.crm.borrow().issued().to_vec();
    assert!(!issued.is_empty());
    for token in &issued {
        for value in sim.ports.db.dump() {
            assert!(!value.text.contains(token), "{}.{} holds a token in plain", value.table, value.column);
        }
        assert!(!sim.ports.log.borrow().iter().any(|line| line.contains(token)));
    }
}

#[test]
fn a_state_is_good_once_in_its_browser_for_ten_minutes() {
    let sim = Sim::new(2);
    let mut browser = Browser::new(&sim);
    let refused = |callback: &Callback| {
        Browser::new(&sim).finish(Crm::Hubspot, callback).map_err(|unfinished| unfinished.error).unwrap_err()
    };

    let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
    let good = browser.consent(&url, "approve");
    assert_eq!(refused(&Callback { state: None, ..good.clone() }), Error::StateMissing);
    assert_eq!(refused(&Callback { state: Some("x".repeat(43)), ..good.clone() }), Error::StateUnknown);
    assert!(browser.finish(Crm::Hubspot, &good).is_ok());
    assert_eq!(refused(&good), Error::StateUsed);

    let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
    let foreign = Callback { browser_cookie: Some("another".to_owned()), ..browser.consent(&url, "approve") };
    assert_eq!(refused(&foreign), Error::StateForeignBrowser);
    let own = browser.consent(&url, "approve");
    assert_eq!(refused(&own), Error::StateUsed, "a state tried in a foreign browser is spent");

    let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
    let late = browser.consent(&url, "approve");
    sim.sleep_secs(600);
    assert_eq!(refused(&late), Error::StateExpired);

    let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
    let mixed = browser.consent(&url, "approve");
    let unfinished = browser.finish(Crm::Salesforce, &mixed).unwrap_err();
    assert_eq!(unfinished.error, Error::StateUnknown, "a HubSpot state at Salesforce's callback is no state");
}

#[test]
fn refusals_say_why_and_store_nothing() {
    let sim = Sim::new(3);
    let mut browser = Browser::new(&sim);
    let start = Start { return_to: Some("https://app.example/settings".to_owned()), login_host: None };
    let url = browser.start(Crm::Hubspot, &start).unwrap();
    let denied = browser.finish(Crm::Hubspot, &browser.consent(&url, "deny")).unwrap_err();
    assert_eq!(denied.error, Error::ConsentDenied(Crm::Hubspot));
    assert_eq!(denied.return_to.as_deref(), Some("https://app.example/settings"));

    let url = browser.start(Crm::Hubspot, &start).unwrap();
    let wrong_code = Callback { code: Some(Secret::new("na1-wrong".to_owned())), ..browser.consent(&url, "approve") };
    let failed = browser.finish(Crm::Hubspot, &wrong_code).unwrap_err();
    assert!(matches!(failed.error, Error::ExchangeFailed { .. }), "{failed:?}");

    let both = {
        let url = browser.start(Crm::Hubspot, &start).unwrap();
        Callback { error: Some("access_denied".to_owned()), ..browser.consent(&url, "approve") }
    };
    assert_eq!(browser.finish(Crm::Hubspot, &both).unwrap_err().error, Error::ConsentDenied(Crm::Hubspot));
    assert!(block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap().is_empty());
}

#[test]
fn start_refuses_members_foreign_hosts_and_foreign_returns() {
    let sim = Sim::new(4);
    let try_start = |role, crm, return_to: Option<&str>, login_host: Option<&str>| {
        let start = Start { return_to: return_to.map(str::to_owned), login_host: login_host.map(str::to_owned) };
        block_on(start_oauth(&sim.world(), &sim.caller(role), crm, &start)).map(|_| ()).unwrap_err()
    };
    assert_eq!(try_start(Role::Member, Crm::Hubspot, None, None), Error::AdminRequired);
    assert_eq!(try_start(Role::Owner, Crm::Hubspot, Some("https://evil.example/"), None), Error::ReturnToRefused);
    assert_eq!(
        try_start(Role::Owner, Crm::Salesforce, None, Some("my.salesforce.com.evil.example")),
        Error::LoginHostRefused
    );
    assert_eq!(sim.ports.db.counters().round_trips, 0, "nothing was stored");
}

#[test]
fn a_reconnect_keeps_the_connection_and_refuses_another_account() {
    let sim = Sim::new(5);
    sim.connect(Crm::Hubspot);
    let first = block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap();
    sim.sleep_secs(60);
    sim.connect(Crm::Hubspot);
    let again = block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap();
    assert_eq!(first[0].id, again[0].id);

    let mut browser = Browser::new(&sim);
    let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
    let other = browser.consent(&format!("{url}&hub_id=777"), "approve");
    let refused = browser.finish(Crm::Hubspot, &other).unwrap_err();
    assert!(matches!(refused.error, Error::WrongAccount { .. }), "{refused:?}");

    block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), Crm::Hubspot)).unwrap();
    let url = browser.start(Crm::Hubspot, &Start::default()).unwrap();
    let other = browser.consent(&format!("{url}&hub_id=777"), "approve");
    assert_eq!(browser.finish(Crm::Hubspot, &other).unwrap().external_account_id, "777");
}

#[test]
fn disconnecting_forgets_the_tokens_even_when_the_crm_is_away() {
    for crm in Crm::ALL {
        let sim = Sim::new(6);
        sim.connect(crm);
        assert_eq!(
            block_on(disconnect(&sim.world(), &sim.caller(Role::Member), crm)).unwrap_err(),
            Error::AdminRequired
        );
        for nth in 1..=3 {
            sim.ports.fail_at(Port::Http, nth, Fault::Before);
        }
        let gone = block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), crm)).unwrap();
        assert!(gone.was_connected && !gone.revoked, "{crm}");
        let listed = block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap();
        assert_eq!(listed[0].status, ConnectionStatus::Disconnected);
        assert!(!sim.ports.db.dump().iter().any(|v| v.table == "crm_connections" && v.text.starts_with("v1.")));
        let again = block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), crm)).unwrap();
        assert!(!again.was_connected);

        let sim = Sim::new(7);
        sim.connect(crm);
        assert!(block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), crm)).unwrap().revoked, "{crm}");
    }
}

#[test]
fn every_step_of_a_callback_may_fail_and_the_person_can_begin_again() {
    for crm in Crm::ALL {
        let steps = |sim: &Sim| sim.ports.db.counters().round_trips + sim.ports.used(Port::Http);
        let clean = Sim::new(8);
        clean.connect(crm);
        assert!(steps(&clean) >= 6);
        for nth in 1..=3 {
            for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied] {
                let sim = Sim::new(8);
                let mut browser = Browser::new(&sim);
                let url = browser.start(crm, &Start::default()).unwrap();
                let callback = browser.consent(&url, "approve");
                sim.ports.db.fail_at(nth, fault);
                assert!(browser.finish(crm, &callback).is_err(), "{crm} db {nth} {fault:?}");
                settles(&sim, crm);
            }
        }
        for nth in 1..=2 {
            for fault in [Fault::Before, Fault::After] {
                let sim = Sim::new(8);
                let mut browser = Browser::new(&sim);
                let url = browser.start(crm, &Start::default()).unwrap();
                let callback = browser.consent(&url, "approve");
                sim.ports.fail_at(Port::Http, nth, fault);
                // The second call only adds what is known of the account: the CRM may be connected without it.
                let finished = browser.finish(crm, &callback);
                assert!(nth == 2 || finished.is_err(), "{crm} http {nth} {fault:?}");
                settles(&sim, crm);
            }
        }
    }
}

/// Nothing is left over, and a new connect works.
fn settles(sim: &Sim, crm: Crm) {
    assert_eq!(sim.ports.pending_faults(), 0, "the fault was met");
    no_token_in_plain(sim);
    sim.connect(crm);
    let listed = block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap();
    assert_eq!((listed.len(), listed[0].status), (1, ConnectionStatus::Connected));
}
