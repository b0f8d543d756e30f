//! Installs from the marketplace: from the callback to a workspace or to the purge, whatever fails on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use crypto::{Aad, Column, vault};
use flows::Error;
use flows::authenticate::Caller;
use flows::claim_install::{Claimed, claim_install};
use flows::decline_install::{Declined, decline_install, decline_token};
use flows::disconnect::{NotRevoked, disconnect};
use flows::finish_oauth::Parked;
use flows::purge_installs::{Purged, purge_installs};
use flows::read_connections::list_connections;
use flows::read_install::read_install;
use flows::start_oauth::Start;
use model::install::{INSTALL_LIFE_SECS, REVOKE_TRIES_SECS};
use model::{ConnectionStatus, Crm, InstallStatus, Role};
use pollster::block_on;
use simulator::{Browser, Fault, Port, SHARD, Sim, WORKSPACE};
use stub_crm::Rotation;

const OTHER: &str = "ws_other";

fn claim(sim: &Sim, caller: &Caller, parked: &Parked) -> Result<Claimed, Error> {
    let cookie = parked.claim_cookie.expose();
    block_on(claim_install(&sim.world(), caller, Some(cookie), Some(parked.install_id.as_str())))
}

fn purge(sim: &Sim) -> Purged {
    block_on(purge_installs(&sim.world())).unwrap()
}

fn connections(sim: &Sim, caller: &Caller) -> Vec<(Crm, ConnectionStatus, String)> {
    let listed = block_on(list_connections(&sim.world(), caller)).unwrap();
    listed.into_iter().map(|c| (c.crm, c.status, c.external_account_id)).collect()
}

/// Every token in the databases is sealed, and opens only for a live owner: a connection that is not disconnected, an install
/// that is not claimed. Nothing is in plain anywhere.
fn nothing_orphaned(sim: &Sim) {
    assert_eq!(sim.ports.pending_faults(), 0, "the fault was met");
    let dumps: Vec<_> = sim.ports.db.dump().into_iter().chain(sim.ports.shard.dump()).collect();
    for token in sim.ports.crm.borrow().issued() {
        assert!(!dumps.iter().any(|value| value.text.contains(token)), "a token is stored in plain");
        assert!(!sim.ports.log.borrow().iter().any(|line| line.contains(token)), "a token is logged");
    }
    let sealed = dumps.iter().filter(|v| v.column.ends_with("_token_sealed") && v.text.starts_with("v1."));
    for value in sealed {
        assert!(["crm_connections", "pending_installs"].contains(&value.table.as_str()), "{}", value.table);
    }
}

fn living_grants(sim: &Sim) -> usize {
    let page = sim.ports.stand_in("tokens");
    assert!(page.get("tokens").is_some());
    sim.ports.crm.borrow().living_grants()
}

#[test]
fn both_shapes_of_hubspot_and_salesforce_end_in_a_connection() {
    let sim = Sim::new(1);
    let owner = sim.caller(Role::Owner);
    let mut browser = Browser::new(&sim);

    let callback = browser.marketplace_with_sign_in("4242");
    let parked = browser.finish_install(Crm::Hubspot, &callback).unwrap();
    assert!(parked.return_url.as_deref().unwrap().starts_with("https://app.hubspot.com/marketplace/hubspot/finish"));
    let claimed = claim(&sim, &owner, &parked).unwrap();
    assert_eq!((claimed.crm, claimed.external_account_id.as_str()), (Crm::Hubspot, "4242"));

    let parked = browser.install(Crm::Salesforce).unwrap();
    assert_eq!(parked.return_url, None);
    assert_eq!(claim(&sim, &owner, &parked).unwrap().crm, Crm::Salesforce);
    assert_eq!(connections(&sim, &owner).len(), 2);
    nothing_orphaned(&sim);
    for crm in Crm::ALL {
        block_on(disconnect(&sim.world(), &owner, crm)).unwrap();
    }

    // Without a sign-in the browser proves nothing: the consent does.
    let callback = browser.marketplace("4242");
    assert!(callback.state.is_none() && callback.code.is_some());
    let parked = browser.finish_install(Crm::Hubspot, &callback).unwrap();
    assert!(parked.return_url.is_some());
    assert_eq!(claim(&sim, &owner, &parked).unwrap_err(), Error::ConsentRequired(Crm::Hubspot));
    assert_eq!(browser.connect(Crm::Hubspot).unwrap().external_account_id, "4242");
    let view = block_on(read_install(&sim.world(), Some(parked.claim_cookie.expose()))).unwrap();
    assert_eq!(view.status, InstallStatus::Claimed, "the consent settled the install");
    nothing_orphaned(&sim);
}

#[test]
fn a_claim_takes_three_round_trips() {
    let sim = Sim::new(2);
    let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    sim.ports.db.reset_counters();
    claim(&sim, &sim.caller(Role::Owner), &parked).unwrap();
    assert_eq!(sim.ports.db.counters().round_trips, 3);
}

#[test]
fn a_claim_is_audited_and_the_connection_keeps_what_was_known() {
    let sim = Sim::new(3);
    let parked = Browser::new(&sim).install(Crm::Salesforce).unwrap();
    let claimed = claim(&sim, &sim.caller(Role::Owner), &parked).unwrap();
    let dump = sim.ports.db.dump();
    let events: Vec<&str> =
        dump.iter().filter(|v| v.table == "audit_events" && v.column == "event").map(|v| v.text.as_str()).collect();
    assert!(events.contains(&"install_claimed") && events.contains(&"connection_connected"), "{events:?}");
    let events: Vec<&str> =
        dump.iter().filter(|v| v.table == "install_events" && v.column == "event").map(|v| v.text.as_str()).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    let listed = block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap();
    assert_eq!(listed[0].id, claimed.connection_id);
    assert!(listed[0].instance_url.is_some() && !listed[0].scopes.is_empty());
}

#[test]
fn a_second_install_refreshes_the_first_and_the_last_browser_holds_the_claim() {
    for crm in Crm::ALL {
        let sim = Sim::new(4);
        let first = Browser::new(&sim).install(crm).unwrap();
        let second = Browser::new(&sim).install(crm).unwrap();
        assert_eq!(first.install_id, second.install_id);
        if crm == Crm::Salesforce {
            assert_eq!(living_grants(&sim), 1, "the superseded grant was ended");
        }
        let owner = sim.caller(Role::Owner);
        assert_eq!(claim(&sim, &owner, &first).unwrap_err(), Error::InstallNotProven);
        claim(&sim, &owner, &second).unwrap();
        assert_eq!(living_grants(&sim), if crm == Crm::Salesforce { 1 } else { 2 });
        nothing_orphaned(&sim);
    }
}

#[test]
fn what_nobody_claims_is_revoked_and_erased() {
    for crm in Crm::ALL {
        let sim = Sim::new(5);
        let parked = Browser::new(&sim).install(crm).unwrap();
        assert_eq!(purge(&sim), Purged::default(), "nothing has ended");
        sim.sleep_secs(INSTALL_LIFE_SECS);
        let owner = sim.caller(Role::Owner);
        assert_eq!(claim(&sim, &owner, &parked).unwrap_err(), Error::InstallExpired, "before the purge");
        assert_eq!(purge(&sim), Purged { revoked: 1, ..Purged::default() });
        assert_eq!(claim(&sim, &owner, &parked).unwrap_err(), Error::InstallExpired, "and after it");
        assert!(!sim.ports.db.dump().iter().any(|v| v.table == "pending_installs" && v.text.starts_with("v1.")));
        if crm == Crm::Salesforce {
            assert_eq!(living_grants(&sim), 0);
        }
        assert_eq!(purge(&sim), Purged::default());
        assert!(Browser::new(&sim).install(crm).is_ok(), "it can be installed again");
        sim.sleep_secs(100 * 86_400);
        purge(&sim);
        purge(&sim);
        nothing_orphaned(&sim);
    }
}

/// Calls that arrived at a CRM, by pattern, as the stand-in counts them.
fn calls(sim: &Sim, pattern: &str) -> u64 {
    sim.ports.stand_in("ledger?effects=false")["calls"][pattern].as_u64().unwrap_or_default()
}

#[test]
fn the_app_leaves_the_portal_when_nobody_claims_it_though_its_access_token_has_ended() {
    for rotation in [Rotation::Off, Rotation::On, Rotation::Strict] {
        let sim = Sim::new(14);
        sim.ports.crm.borrow_mut().switches_mut().hubspot_rotation = rotation;
        Browser::new(&sim).install(Crm::Hubspot).unwrap();
        sim.sleep_secs(INSTALL_LIFE_SECS);
        assert_eq!(purge(&sim), Purged { revoked: 1, ..Purged::default() }, "{rotation:?}");
        assert_eq!(living_grants(&sim), 0, "{rotation:?}: the app is out of the portal");
        nothing_orphaned(&sim);
    }
}

#[test]
fn a_renewal_whose_answer_was_lost_is_settled_by_asking_and_the_token_is_spent_once() {
    for (rotation, fault, settled) in [
        // Never arrived: the token still works.
        (Rotation::Strict, Fault::Before, Purged { revoked: 1, ..Purged::default() }),
        (Rotation::Off, Fault::After, Purged { revoked: 1, ..Purged::default() }),
        // Spent: what it brought is lost, and nothing can be ended with the old one.
        (Rotation::Strict, Fault::After, Purged { revoked: 1, ..Purged::default() }),
    ] {
        let sim = Sim::new(15);
        sim.ports.crm.borrow_mut().switches_mut().hubspot_rotation = rotation;
        Browser::new(&sim).install(Crm::Hubspot).unwrap();
        sim.sleep_secs(INSTALL_LIFE_SECS);
        sim.ports.fail_at(Port::Http, 1, fault);
        assert_eq!(purge(&sim), Purged { left: 1, ..Purged::default() }, "{rotation:?} {fault:?}");
        assert_eq!(purge(&sim), Purged { left: 1, ..Purged::default() }, "another run may still be at it");
        sim.sleep_secs(3_600);
        assert_eq!(purge(&sim), settled, "{rotation:?} {fault:?}");
        let spent = calls(&sim, "hubspot POST /oauth/2026-03/token");
        assert!((2..=3).contains(&spent), "{rotation:?} {fault:?}: the code, and a refresh or two, {spent}");
        nothing_orphaned(&sim);
    }
}

fn decline(sim: &Sim, parked: &Parked) -> Result<Declined, Error> {
    let cookie = parked.claim_cookie.expose();
    let token = decline_token(cookie);
    block_on(decline_install(&sim.world(), Some(cookie), parked.install_id.as_str(), Some(&token)))
}

fn install_events(sim: &Sim) -> Vec<String> {
    let dump = sim.ports.db.dump();
    let events = dump.iter().filter(|v| v.table == "install_events" && v.column == "event");
    events.map(|v| v.text.clone()).collect()
}

#[test]
fn a_person_declines_an_install_and_it_is_revoked_and_erased_at_once() {
    for crm in Crm::ALL {
        let sim = Sim::new(17);
        let parked = Browser::new(&sim).install(crm).unwrap();
        let declined = decline(&sim, &parked).unwrap();
        assert!(declined.revoked && declined.crm == crm);
        assert_eq!(living_grants(&sim), 0, "{crm}: the app is out");
        let events = install_events(&sim);
        for event in ["install_declined", "install_revoked"] {
            assert!(events.iter().any(|e| e == event), "{events:?}");
        }
        assert!(!sim.ports.db.dump().iter().any(|v| v.table == "pending_installs" && v.text.starts_with("v1.")));
        let owner = sim.caller(Role::Owner);
        assert_eq!(claim(&sim, &owner, &parked).unwrap_err(), Error::InstallExpired);
        assert!(decline(&sim, &parked).unwrap().revoked, "saying no twice is no error");
        assert_eq!(install_events(&sim).len(), events.len(), "and no second event");
        let again = Browser::new(&sim).install(crm).unwrap();
        claim(&sim, &owner, &again).unwrap();
        assert_eq!(decline(&sim, &again).unwrap_err(), Error::InstallClaimed, "a claimed one is disconnected instead");
        assert_eq!(connections(&sim, &owner).len(), 1);
        nothing_orphaned(&sim);
    }
}

#[test]
fn an_install_of_a_browser_that_proves_nothing_can_be_declined_and_the_purge_goes_on_where_the_crm_was_away() {
    let sim = Sim::new(18);
    let browser = Browser::new(&sim);
    let callback = browser.marketplace("4242");
    let parked = browser.finish_install(Crm::Hubspot, &callback).unwrap();
    sim.ports.fail_at(Port::Http, 1, Fault::Before);
    assert!(!decline(&sim, &parked).unwrap().revoked);
    let owner = sim.caller(Role::Owner);
    assert_eq!(claim(&sim, &owner, &parked).unwrap_err(), Error::InstallExpired);
    assert_eq!(purge(&sim), Purged { revoked: 1, ..Purged::default() });
    assert_eq!(living_grants(&sim), 0);
    nothing_orphaned(&sim);
}

#[test]
fn in_dry_run_nothing_is_revoked_or_uninstalled_and_everything_is_forgotten_here() {
    for crm in Crm::ALL {
        let mut sim = Sim::new(19);
        sim.settings_mut().dry_run = true;
        sim.connect(crm);
        let owner = sim.caller(Role::Owner);
        let before = sim.ports.used(Port::Http);
        let done = block_on(disconnect(&sim.world(), &owner, crm)).unwrap();
        assert_eq!((done.revoked, done.not_revoked, done.was_connected), (false, Some(NotRevoked::DryRun), true));
        assert_eq!(connections(&sim, &owner)[0].1, ConnectionStatus::Disconnected);
        let dump = sim.ports.db.dump();
        let told = |v: &&stub_db::DumpedValue| v.column == "detail_json" && v.text.contains("\"dry_run\":true");
        assert_eq!(dump.iter().filter(told).count(), 1, "the audit trail says so");

        let parked = Browser::new(&sim).install(crm).unwrap();
        let after_install = sim.ports.used(Port::Http);
        assert!(!decline(&sim, &parked).unwrap().revoked);
        sim.sleep_secs(REVOKE_TRIES_SECS);
        assert_eq!(purge(&sim), Purged { erased_only: 1, ..Purged::default() });
        assert_eq!(sim.ports.used(Port::Http), after_install, "{crm}: nothing left");
        assert!(after_install > before, "signing in does speak to the CRM");
        assert_eq!(living_grants(&sim), 2);
        nothing_orphaned(&sim);
    }
}

#[test]
fn disconnecting_after_the_access_token_has_ended_takes_the_app_out_of_the_portal_all_the_same() {
    let sim = Sim::new(20);
    sim.ports.crm.borrow_mut().switches_mut().hubspot_rotation = Rotation::Strict;
    sim.connect(Crm::Hubspot);
    sim.sleep_secs(3_600);
    let done = block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), Crm::Hubspot)).unwrap();
    assert_eq!((done.revoked, done.not_revoked), (true, None));
    assert_eq!(living_grants(&sim), 0);
    nothing_orphaned(&sim);
}

#[test]
fn a_crm_that_is_away_is_asked_again_for_a_day_and_then_the_tokens_are_erased() {
    let sim = Sim::new(6);
    Browser::new(&sim).install(Crm::Salesforce).unwrap();
    sim.sleep_secs(INSTALL_LIFE_SECS);
    sim.ports.fail_at(Port::Http, 1, Fault::Before);
    assert_eq!(purge(&sim), Purged { left: 1, ..Purged::default() });
    assert_eq!(purge(&sim), Purged { revoked: 1, ..Purged::default() });

    let sim = Sim::new(6);
    Browser::new(&sim).install(Crm::Salesforce).unwrap();
    sim.sleep_secs(INSTALL_LIFE_SECS + REVOKE_TRIES_SECS);
    sim.ports.fail_at(Port::Http, 1, Fault::Before);
    assert_eq!(purge(&sim), Purged { erased_only: 1, ..Purged::default() });
    nothing_orphaned(&sim);
}

#[test]
fn one_account_has_one_workspace_until_it_is_disconnected() {
    for crm in Crm::ALL {
        let sim = Sim::new(7);
        sim.seed_workspace(OTHER);
        sim.connect(crm);
        let theirs = sim.caller_of(OTHER, "DB", Role::Owner);
        let mut browser = Browser::new(&sim);
        let grants = living_grants(&sim);

        let url = browser.start_as(&theirs, crm, &Start::default()).unwrap();
        let refused = browser.finish(crm, &browser.consent(&url, "approve")).unwrap_err();
        assert_eq!(refused.error, Error::AccountOwnedElsewhere(crm));
        assert!(connections(&sim, &theirs).is_empty());
        let refused = browser.install(crm).unwrap_err();
        assert_eq!(refused.error, Error::AccountOwnedElsewhere(crm), "nor can it be installed");
        if crm == Crm::Salesforce {
            assert_eq!(living_grants(&sim), grants, "the refused grants were ended");
        }

        block_on(disconnect(&sim.world(), &sim.caller(Role::Owner), crm)).unwrap();
        let url = browser.start_as(&theirs, crm, &Start::default()).unwrap();
        assert!(browser.finish(crm, &browser.consent(&url, "approve")).is_ok());
        nothing_orphaned(&sim);
    }
}

#[test]
fn an_account_left_by_a_crash_on_another_shard_is_taken_over_after_ten_minutes() {
    let sim = Sim::new(8);
    sim.seed_workspace_on(OTHER, SHARD);
    let theirs = sim.caller_of(OTHER, SHARD, Role::Owner);
    let mut browser = Browser::new(&sim);
    let url = browser.start_as(&theirs, Crm::Hubspot, &Start::default()).unwrap();
    let callback = browser.consent(&url, "approve");
    // The read, then the write, of the shard.
    sim.ports.shard.fail_at(2, stub_db::Fault::Refused);
    assert!(browser.finish(Crm::Hubspot, &callback).is_err());
    assert!(connections(&sim, &theirs).is_empty(), "the account is taken, the connection is not there");
    assert!(matches!(browser.connect(Crm::Hubspot).unwrap_err().error, Error::AccountOwnedElsewhere(_)));
    sim.sleep_secs(601);
    assert!(browser.connect(Crm::Hubspot).is_ok());
    nothing_orphaned(&sim);
}

#[test]
fn a_reinstall_refreshes_the_connection_for_a_proven_member_only() {
    let sim = Sim::new(9);
    sim.connect(Crm::Hubspot);
    let mut browser = Browser::new(&sim);
    for (user, role, refreshed) in [("us_owner", Role::Owner, true), ("us_member", Role::Member, false)] {
        let session = sim.session(&sim.caller(Role::Owner), user);
        let url = browser.start_install(Crm::Hubspot).unwrap();
        let mut callback = browser.consent(&url, "approve");
        callback.session = Some(session);
        let ended = browser.land(Crm::Hubspot, &callback);
        assert_eq!(ended.is_ok(), refreshed, "{role:?}");
    }
    let listed = block_on(list_connections(&sim.world(), &sim.caller(Role::Owner))).unwrap();
    assert_eq!(listed.len(), 1);
    nothing_orphaned(&sim);
}

fn claimable(shard: &str, crm: Crm) -> (Sim, Caller, Parked) {
    let sim = Sim::new(10);
    sim.seed_workspace_on(OTHER, shard);
    let caller = sim.caller_of(OTHER, shard, Role::Owner);
    let parked = Browser::new(&sim).install(crm).unwrap();
    (sim, caller, parked)
}

#[test]
fn every_step_of_a_claim_may_fail_and_the_next_try_ends_it() {
    for shard in ["DB", SHARD] {
        for crm in Crm::ALL {
            let mut met = 0;
            for nth in 1..=6 {
                for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied] {
                    for on_shard in [false, true] {
                        let (sim, caller, parked) = claimable(shard, crm);
                        let db = if on_shard { &sim.ports.shard } else { &sim.ports.db };
                        db.fail_at(nth, fault);
                        let first = claim(&sim, &caller, &parked);
                        if db.pending_faults() > 0 {
                            continue;
                        }
                        met += 1;
                        assert!(first.is_err(), "{shard} {crm} {nth} {fault:?}");
                        sim.sleep_secs(1);
                        claim(&sim, &caller, &parked).unwrap();
                        claimed_once(&sim, &caller, &parked);
                    }
                }
            }
            assert!(met >= 6, "{shard} {crm}: {met} faults were met");
        }
    }
}

fn claimed_once(sim: &Sim, caller: &Caller, parked: &Parked) {
    assert_eq!(connections(sim, caller).len(), 1);
    let view = block_on(read_install(&sim.world(), Some(parked.claim_cookie.expose()))).unwrap();
    assert_eq!(view.status, InstallStatus::Claimed);
    assert!(!sim.ports.db.dump().iter().any(|v| v.table == "pending_installs" && v.text.starts_with("v1.")));
    opens(sim, caller);
    nothing_orphaned(sim);
}

/// The connection's token opens, for its own place and generation.
fn opens(sim: &Sim, caller: &Caller) {
    let world = sim.world();
    let tenant = world.tenant(&caller.workspace_id, &caller.shard).unwrap();
    for crm in Crm::ALL {
        let Some(row) = block_on(store::connections::fetch(tenant.db, &tenant.scope, crm)).unwrap() else { continue };
        let aad = Aad {
            scope: caller.workspace_id.as_str(),
            connection: row.id.as_str(),
            column: Column::AccessToken,
            generation: row.token_generation,
        };
        let keys = sim.keys().tokens.as_ref().unwrap();
        assert!(vault::open(keys, &aad, row.access_token_sealed.as_deref().unwrap()).is_ok());
    }
}

#[test]
fn a_claim_that_died_before_its_last_step_is_ended_by_the_purge_and_its_tokens_live_on() {
    let (sim, caller, parked) = claimable(SHARD, Crm::Salesforce);
    // Reads the install; begins; ends.
    sim.ports.db.fail_at(3, stub_db::Fault::Refused);
    assert!(claim(&sim, &caller, &parked).is_err());
    sim.sleep_secs(INSTALL_LIFE_SECS);
    assert_eq!(purge(&sim), Purged { claims_ended: 1, ..Purged::default() });
    assert_eq!(living_grants(&sim), 1, "nothing was revoked");
    claimed_once(&sim, &caller, &parked);
}

#[test]
fn every_step_of_an_install_may_fail_and_the_person_can_begin_again() {
    for crm in Crm::ALL {
        for nth in 1..=4 {
            for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied] {
                let sim = Sim::new(11);
                let mut browser = Browser::new(&sim);
                let url = browser.start_install(crm).unwrap();
                let callback = browser.consent(&url, "approve");
                sim.ports.db.fail_at(nth, fault);
                let first = browser.land(crm, &callback);
                if sim.ports.db.pending_faults() > 0 {
                    continue;
                }
                assert!(first.is_err(), "{crm} {nth} {fault:?}");
                let parked = browser.install(crm).unwrap();
                claim(&sim, &sim.caller(Role::Owner), &parked).unwrap();
                nothing_orphaned(&sim);
            }
        }
    }
}

#[test]
fn every_step_of_a_purge_may_fail_and_the_next_runs_end_it() {
    // HubSpot's has the renewal in between.
    for (crm, steps) in [(Crm::Salesforce, 6), (Crm::Hubspot, 8)] {
        for nth in 1..=steps {
            for fault in [stub_db::Fault::Refused, stub_db::Fault::Applied] {
                let sim = Sim::new(12);
                Browser::new(&sim).install(crm).unwrap();
                sim.sleep_secs(INSTALL_LIFE_SECS);
                sim.ports.db.fail_at(nth, fault);
                let _ = block_on(purge_installs(&sim.world()));
                assert_eq!(sim.ports.db.pending_faults(), 0, "{crm} {nth} {fault:?}: met");
                for _ in 0..2 {
                    sim.sleep_secs(3_600);
                    purge(&sim);
                }
                assert_eq!(living_grants(&sim), 0, "{crm} {nth} {fault:?}");
                assert!(
                    !sim.ports.db.dump().iter().any(|v| v.table == "pending_installs" && v.text.starts_with("v1."))
                );
                nothing_orphaned(&sim);
            }
        }
    }
}

#[test]
fn a_workspace_of_an_install_is_its_claimers() {
    let sim = Sim::new(13);
    let parked = Browser::new(&sim).install(Crm::Hubspot).unwrap();
    claim(&sim, &sim.caller(Role::Owner), &parked).unwrap();
    let owner = block_on(store::crm_accounts::fetch_owner(&sim.ports.db, Crm::Hubspot, "4242")).unwrap().unwrap();
    assert_eq!(owner.workspace_id.as_str(), WORKSPACE);
}
