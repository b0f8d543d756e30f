//! An app that is removed in the CRM: HubSpot's journal tells, and what it had in the account ends here, once, whatever fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use flows::Error;
use flows::authenticate::Caller;
use flows::claim_install::claim_install;
use flows::finish_oauth::Parked;
use flows::read_connections::{ConnectionView, list_connections};
use flows::start_oauth::Start;
use flows::watch_installs::{Watched, watch_installs};
use model::{ConnectionStatus, Crm, Health, Role};
use pollster::block_on;
use serde_json::json;
use simulator::{Browser, Fault, Port, SHARD, Sim};

const OTHER: &str = "ws_other";
const CAUGHT_UP: Watched = Watched { files: 0, uninstalls: 0, connections: 0, installs: 0, caught_up: true };

/// A Conduit whose journal has been read once, so that it is subscribed.
fn watching(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    assert_eq!(watch(&sim), CAUGHT_UP);
    sim
}

fn watch(sim: &Sim) -> Watched {
    block_on(watch_installs(&sim.world())).unwrap()
}

/// A person removes the app in the settings of a HubSpot account.
fn uninstall(sim: &Sim, hub: &str) {
    let request = stub_crm::Request {
        method: "POST".to_owned(),
        url: format!("https://stand-in.example/stand-in/uninstall/{hub}"),
        ..stub_crm::Request::default()
    };
    assert_eq!(sim.ports.ask_crm(&request).status, 200);
}

fn connection(sim: &Sim, caller: &Caller) -> ConnectionView {
    let listed = block_on(list_connections(&sim.world(), caller)).unwrap();
    listed.into_iter().find(|c| c.crm == Crm::Hubspot).unwrap()
}

fn sealed(sim: &Sim) -> usize {
    let all = sim.ports.db.dump().into_iter().chain(sim.ports.shard.dump());
    all.filter(|v| v.column.ends_with("_token_sealed") && v.text.starts_with("v1.")).count()
}

fn audited(sim: &Sim, event: &str) -> usize {
    let all = sim.ports.db.dump().into_iter().chain(sim.ports.shard.dump());
    all.filter(|v| v.column == "event" && v.text == event).count()
}

fn no_token_leaked(sim: &Sim) {
    let log = sim.ports.log.borrow();
    for secret in sim.ports.crm.borrow().issued() {
        assert!(!log.iter().any(|line| line.contains(secret)), "a token or a signed address is logged");
        assert!(!sim.ports.db.dump().iter().any(|v| v.text.contains(secret)), "or stored in plain");
    }
}

fn calls(sim: &Sim, path: &str) -> u64 {
    let ledger = sim.ports.stand_in("ledger?effects=false");
    let calls = ledger["calls"].as_object().unwrap();
    calls.iter().filter(|(name, _)| name.contains(path)).filter_map(|(_, count)| count.as_u64()).sum()
}

#[test]
fn a_removal_disconnects_with_a_reason_erases_the_tokens_and_lets_the_account_go() {
    for shard in ["DB", SHARD] {
        let sim = watching(1);
        sim.seed_workspace_on(OTHER, shard);
        let caller = sim.caller_of(OTHER, shard, Role::Owner);
        let mut browser = Browser::new(&sim);
        let url = browser.start_as(&caller, Crm::Hubspot, &Start::default()).unwrap();
        browser.finish(Crm::Hubspot, &browser.consent(&url, "approve")).unwrap();
        assert_eq!(connection(&sim, &caller).status, ConnectionStatus::Connected);
        sim.sleep_secs(60);
        uninstall(&sim, "4242");
        sim.sleep_secs(60);
        // The install is an event, too.
        let expected = Watched { files: 2, uninstalls: 1, connections: 1, installs: 0, caught_up: true };
        assert_eq!(watch(&sim), expected, "{shard}");

        let ended = connection(&sim, &caller);
        assert_eq!(ended.status, ConnectionStatus::Disconnected);
        let error = ended.last_error.unwrap();
        assert_eq!(error.code, "app_uninstalled");
        assert!(error.advice.unwrap().contains("install it again"), "it says what to do");
        assert_eq!(ended.health.unwrap().status, Health::Error);
        assert_eq!((sealed(&sim), audited(&sim, "connection_uninstalled")), (0, 1));
        let alarms = sim.ports.db.dump().into_iter().chain(sim.ports.shard.dump());
        let told = alarms.filter(|v| v.table == "alarms" && v.text.contains("app_uninstalled")).count();
        assert_eq!(told, 1, "the operator is told");
        let owner = block_on(store::crm_accounts::fetch_owner(&sim.ports.db, Crm::Hubspot, "4242")).unwrap();
        assert_eq!(owner, None, "whoever installs it next may have it");

        assert_eq!(watch(&sim), CAUGHT_UP, "once");
        assert!(Browser::new(&sim).connect(Crm::Hubspot).is_ok(), "by another workspace, say");
        no_token_leaked(&sim);
    }
}

#[test]
fn an_event_that_comes_late_or_again_does_not_end_what_was_connected_since() {
    let sim = watching(2);
    sim.connect(Crm::Hubspot);
    sim.sleep_secs(60);
    uninstall(&sim, "4242");
    sim.sleep_secs(60);
    sim.connect(Crm::Hubspot);
    let owner = sim.caller(Role::Owner);
    let before = (connection(&sim, &owner).status, sealed(&sim));
    let watched = watch(&sim);
    assert_eq!((watched.uninstalls, watched.connections), (1, 0));
    assert_eq!((connection(&sim, &owner).status, sealed(&sim)), before);
    let account = block_on(store::crm_accounts::fetch_owner(&sim.ports.db, Crm::Hubspot, "4242")).unwrap();
    assert!(account.is_some(), "the account is still the workspace's");
    assert_eq!(audited(&sim, "connection_uninstalled"), 0);
}

#[test]
fn a_whole_journal_read_again_changes_nothing() {
    let sim = watching(3);
    sim.connect(Crm::Hubspot);
    sim.sleep_secs(60);
    uninstall(&sim, "4242");
    sim.sleep_secs(60);
    watch(&sim);
    let standing = sim.standing();
    let back = store::journal_cursors::fetch(&sim.ports.db, Crm::Hubspot);
    let cursor = block_on(back).unwrap().unwrap();
    let anew = store::journal_cursors::advance(Crm::Hubspot, cursor.read_after.as_deref(), None, sim.now());
    block_on(store::db::run(&sim.ports.db, anew)).unwrap();
    let watched = watch(&sim);
    assert_eq!((watched.files, watched.uninstalls, watched.connections, watched.installs), (2, 1, 0, 0));
    assert_eq!(sim.standing(), standing);
}

fn claim(sim: &Sim, parked: &Parked) -> Result<(), Error> {
    let cookie = parked.claim_cookie.expose();
    block_on(claim_install(&sim.world(), &sim.caller(Role::Owner), Some(cookie), None)).map(|_| ())
}

#[test]
fn an_install_that_waits_ends_with_the_app_and_a_newer_one_does_not() {
    let sim = watching(4);
    let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    sim.sleep_secs(60);
    uninstall(&sim, "4242");
    sim.sleep_secs(60);
    let watched = watch(&sim);
    assert_eq!((watched.uninstalls, watched.installs, sealed(&sim)), (1, 1, 0));
    assert_eq!(claim(&sim, &parked).unwrap_err(), Error::InstallExpired);
    assert_eq!(audited(&sim, "install_uninstalled"), 1);

    uninstall(&sim, "4242");
    sim.sleep_secs(60);
    let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    assert_eq!(watch(&sim).installs, 0);
    claim(&sim, &parked).unwrap();
    no_token_leaked(&sim);
}

#[test]
fn other_accounts_and_the_other_crm_are_left_alone() {
    let sim = watching(5);
    sim.connect(Crm::Hubspot);
    sim.connect(Crm::Salesforce);
    sim.sleep_secs(60);
    uninstall(&sim, "4243");
    sim.sleep_secs(60);
    let standing = sim.standing();
    let watched = watch(&sim);
    assert_eq!((watched.uninstalls, watched.connections), (1, 0));
    assert_eq!(sim.standing(), standing);
}

#[test]
fn both_events_are_subscribed_to_once_and_looked_at_daily() {
    let sim = watching(6);
    assert_eq!(calls(&sim, "POST /webhooks-journal/subscriptions"), 2);
    watch(&sim);
    assert_eq!(calls(&sim, "GET /webhooks-journal/subscriptions"), 1, "not looked at again today");
    sim.sleep_secs(86_400);
    watch(&sim);
    assert_eq!(calls(&sim, "GET /webhooks-journal/subscriptions"), 2);
    assert_eq!(calls(&sim, "POST /webhooks-journal/subscriptions"), 2, "nor made again");
    // A list that cannot be read: making them again is refused with 409, which is as good.
    sim.sleep_secs(86_400);
    let fault = json!({"match": {"method": "GET", "path_contains": "/subscriptions"}, "status": 500});
    sim.ports.crm.borrow_mut().add_fault(serde_json::from_value(fault).unwrap());
    watch(&sim);
    let cursor = block_on(store::journal_cursors::fetch(&sim.ports.db, Crm::Hubspot)).unwrap().unwrap();
    assert_eq!((calls(&sim, "POST /webhooks-journal/subscriptions"), cursor.subscribed_at), (4, Some(sim.now())));
}

#[test]
fn in_dry_run_nothing_is_subscribed_to_and_the_journal_is_read() {
    let mut sim = Sim::new(7);
    sim.settings_mut().dry_run = true;
    assert_eq!(watch(&sim), CAUGHT_UP);
    assert_eq!(calls(&sim, "POST /webhooks-journal"), 0);
    let cursor = block_on(store::journal_cursors::fetch(&sim.ports.db, Crm::Hubspot)).unwrap();
    assert_eq!(cursor.and_then(|cursor| cursor.subscribed_at), None);
}

#[test]
fn nothing_newer_may_be_said_with_404_and_an_offset_that_is_gone_begins_anew() {
    let sim = watching(8);
    sim.ports.crm.borrow_mut().switches_mut().hubspot_journal_404 = true;
    assert_eq!(watch(&sim), CAUGHT_UP, "an empty journal");
    sim.connect(Crm::Hubspot);
    assert_eq!(watch(&sim).files, 1);
    assert_eq!(watch(&sim), CAUGHT_UP, "the offset is the latest");
    // Four days without a run: the entries up to there are gone, and a removal is among what is left.
    sim.sleep_secs(4 * 86_400);
    uninstall(&sim, "4242");
    sim.sleep_secs(60);
    let watched = watch(&sim);
    assert_eq!((watched.uninstalls, watched.connections, watched.caught_up), (1, 1, true));
}

#[test]
fn a_run_is_bounded_and_the_next_goes_on() {
    let sim = watching(9);
    sim.connect(Crm::Hubspot);
    for _ in 0..60 {
        uninstall(&sim, "77");
    }
    let first = watch(&sim);
    assert_eq!((first.files, first.caught_up), (50, false));
    let second = watch(&sim);
    assert_eq!((second.files, second.caught_up), (11, true));
}

#[test]
fn a_file_that_cannot_be_read_is_tried_again() {
    let sim = watching(10);
    sim.connect(Crm::Hubspot);
    sim.sleep_secs(60);
    uninstall(&sim, "4242");
    sim.sleep_secs(60);
    // The token, the entry, then its file: lost.
    sim.ports.fail_at(Port::Http, 3, Fault::Before);
    assert_eq!(watch(&sim), Watched { caught_up: false, ..CAUGHT_UP });
    let fault = json!({"match": {"path_contains": "/hubspot-journal/", "count": 1}, "status": 200, "body": "html"});
    sim.ports.crm.borrow_mut().add_fault(serde_json::from_value(fault).unwrap());
    assert_eq!(watch(&sim).files, 0, "a page instead of the file");
    assert_eq!(watch(&sim).connections, 1);
    no_token_leaked(&sim);
}

#[test]
fn every_step_of_a_run_may_fail_and_the_next_ends_it_once() {
    for shard in ["DB", SHARD] {
        let mut met = 0;
        for on_shard in [false, true] {
            for nth in 1..=8 {
                for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied] {
                    let sim = watching(11);
                    sim.seed_workspace_on(OTHER, shard);
                    let caller = sim.caller_of(OTHER, shard, Role::Owner);
                    let mut browser = Browser::new(&sim);
                    let url = browser.start_as(&caller, Crm::Hubspot, &Start::default()).unwrap();
                    browser.finish(Crm::Hubspot, &browser.consent(&url, "approve")).unwrap();
                    sim.sleep_secs(60);
                    uninstall(&sim, "4242");
                    sim.sleep_secs(60);
                    let db = if on_shard { &sim.ports.shard } else { &sim.ports.db };
                    db.fail_at(nth, fault);
                    let _ = block_on(watch_installs(&sim.world()));
                    if db.pending_faults() > 0 {
                        continue;
                    }
                    met += 1;
                    watch(&sim);
                    assert_eq!(watch(&sim), CAUGHT_UP);
                    let ended = connection(&sim, &caller);
                    assert_eq!(ended.status, ConnectionStatus::Disconnected, "{shard} {nth} {fault:?}");
                    assert_eq!((sealed(&sim), audited(&sim, "connection_uninstalled")), (0, 1), "{nth} {fault:?}");
                    // On another shard an account may be left without a connection; it is taken over after ten minutes.
                    sim.sleep_secs(601);
                    assert!(Browser::new(&sim).connect(Crm::Hubspot).is_ok(), "{shard} {nth} {fault:?}");
                }
            }
        }
        assert!(met >= 10, "{shard}: {met} faults were met");
    }
}
