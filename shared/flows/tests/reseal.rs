//! Every stored token is sealed again under a new key while the product runs, and nobody notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod gate_rig;

use crypto::{Aad, Column, Keyring, vault};
use flows::reseal_tokens::{ResealReport, reseal_tokens};
use gate_rig::{Object, Place, Rig, ask, keyring};
use model::install::Proof;
use model::{Crm, InstallId, Secret};
use pollster::block_on;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use store::db::run as run_statement;
use store::pending_installs::{self, Parked};
use stub_crm::Rotation;
use stub_db::Fault;

const CONNECTIONS: usize = 10_000;

fn ring(current: &str, previous: &str) -> Keyring {
    let key = |letter: &str| Secret::new(format!("{}=", letter.repeat(43)));
    Keyring::from_base64(&key(current), Some(&key(previous))).ok().unwrap()
}

/// `count` connections under the key E, in a product whose current key is I.
fn old_ones(count: usize) -> Rig {
    let place = Place::with_keys(Crm::Hubspot, ring("I", "E"));
    place.crm.borrow_mut().switches_mut().hubspot_rotation = Rotation::Strict;
    *place.sealing.borrow_mut() = Some(keyring("E"));
    for n in 0..count {
        place.connect_as(&format!("ws_{n}"), &format!("cx_{n}"), 1);
    }
    *place.sealing.borrow_mut() = None;
    Rig::at(place)
}

/// How many sealed texts each key sealed.
fn by_key(place: &Place) -> (usize, usize) {
    let (old, new) = (vault::prefix(&keyring("E")), vault::prefix(&keyring("I")));
    let stored = place.db.dump();
    let sealed: Vec<_> = stored.iter().filter(|value| value.column.ends_with("_token_sealed")).collect();
    let count = |prefix: &str| sealed.iter().filter(|value| value.text.starts_with(prefix)).count();
    (count(&old), count(&new))
}

fn run(rig: &Rig) -> ResealReport {
    let done = Rc::new(RefCell::new(None));
    let (job, out) = (rig.job(), Rc::clone(&done));
    rig.executor.spawn(0, async move {
        let report = reseal_tokens(&job.world()).await.unwrap();
        *out.borrow_mut() = Some(report);
    });
    rig.executor.run_until(|| done.borrow().is_some());
    done.take().unwrap()
}

#[test]
fn ten_thousand_connections_are_sealed_again_under_load_and_no_request_fails() {
    let rig = old_ones(CONNECTIONS);
    assert_eq!(by_key(&rig.place).0, 2 * (CONNECTIONS + 1) - 2, "all but the rig's own are under the old key");
    // Everybody's token is about to end: the callers refresh while the job runs.
    rig.place.clock.advance_secs(1_800 - 60);
    let (asked, failed) = (Rc::new(Cell::new(0_u32)), Rc::new(RefCell::new(Vec::new())));
    let objects: Vec<Object> = (0..500).map(|n| rig.object_of(&format!("ws_{}", n * 20))).collect();
    for (nth, object) in objects.iter().enumerate() {
        for round in 0..12_u64 {
            let (keeper, asked, failed) = (object.keeper.clone(), Rc::clone(&asked), Rc::clone(&failed));
            let nap = rig.place.clock.sleep(u64::try_from(nth).unwrap() * 2 + round * 100);
            rig.executor.spawn(object.group, async move {
                nap.await;
                asked.set(asked.get() + 1);
                if let Err(refusal) = keeper.admit(&ask()).await {
                    failed.borrow_mut().push(refusal);
                }
            });
        }
    }
    let report = run(&rig);
    rig.executor.run();
    println!(
        "resealed {} of {} found, {} moved by refreshes; {} requests meanwhile, {} failed",
        report.resealed,
        report.found,
        report.moved,
        asked.get(),
        failed.borrow().len()
    );
    assert_eq!((asked.get(), failed.borrow().len()), (6_000, 0), "{:?}", failed.borrow().first());
    assert_eq!(report.resealed + report.moved, report.found);
    assert_eq!((report.unknown_key, report.unreadable, report.shards_unfinished), (0, 0, 0));
    let second = run(&rig);
    assert_eq!(by_key(&rig.place), (0, 2 * (CONNECTIONS + 1)), "{second:?}");
    assert_eq!(rig.place.seen(), (500, 0), "each was refreshed once");
}

#[test]
fn a_run_that_is_stopped_is_gone_on_with() {
    for nth in 1..=4 {
        for fault in Fault::ALL {
            let rig = old_ones(250);
            rig.place.db.fail_at(nth, fault);
            let first = run(&rig);
            assert_eq!(first.shards_unfinished, 1, "{nth} {fault:?}");
            let second = run(&rig);
            assert_eq!(second.shards_unfinished, 0);
            assert_eq!(by_key(&rig.place).0, 0);
            rig.place.assert_no_token_in_plain();
            assert!(rig.admit(&rig.object_of("ws_249"), &ask()).is_ok());
        }
    }
}

#[test]
fn a_row_under_an_unknown_key_is_reported_and_kept() {
    let rig = old_ones(3);
    *rig.place.sealing.borrow_mut() = Some(keyring("M"));
    rig.place.connect_as("ws_stray", "cx_stray", 1);
    let report = run(&rig);
    let expected = ResealReport { found: 4, resealed: 3, unknown_key: 1, ..ResealReport::default() };
    assert_eq!(report, expected);
    assert_eq!(rig.place.logged("token_under_unknown_key"), 1);
    let kept = vault::prefix(&keyring("M"));
    assert_eq!(
        rig.place.db.dump().iter().filter(|value| value.text.starts_with(&kept)).count(),
        2,
        "it is still there"
    );
    assert_eq!(run(&rig), ResealReport { found: 1, unknown_key: 1, ..ResealReport::default() });
}

/// Parks an install as a callback did when `keys` were the current ones.
fn park(rig: &Rig, keys: &Keyring, id: &str, account: &str) {
    let now = rig.place.clock.now();
    let seal = |column| {
        let aad = Aad { scope: "pending_installs", connection: id, column, generation: 1 };
        vault::seal(keys, &rig.place.random, &aad, &Secret::new(format!("plain-{id}"))).ok().unwrap().into_string()
    };
    let row = pending_installs::park(&Parked {
        id: &InstallId::parse(id).unwrap(),
        crm: Crm::Hubspot,
        external_account_id: account,
        external_account_name: None,
        external_user_id: None,
        instance_url: None,
        login_host: None,
        scopes_json: "[]",
        access_token_sealed: &seal(Column::AccessToken),
        refresh_token_sealed: Some(&seal(Column::RefreshToken)),
        token_expires_at: now,
        token_generation: 1,
        claim_secret_hash: "hash",
        proof: Proof::Browser,
        at: now,
        expires_at: now.plus_secs(86_400),
    });
    assert_eq!(block_on(run_statement(&rig.place.db, row)).unwrap().changes, 1);
}

/// The tokens of an install, opened with what the product has now.
fn opened(rig: &Rig, id: &str) -> Option<(String, String)> {
    let row = block_on(pending_installs::fetch(&rig.place.db, &InstallId::parse(id).unwrap())).unwrap().unwrap();
    let open = |column, sealed: Option<String>| {
        let aad = Aad { scope: "pending_installs", connection: id, column, generation: row.token_generation };
        vault::open(&keyring("I"), &aad, &sealed?).ok().map(|plain| plain.expose().clone())
    };
    Some((open(Column::AccessToken, row.access_token_sealed)?, open(Column::RefreshToken, row.refresh_token_sealed)?))
}

#[test]
fn installs_that_wait_are_sealed_again_too_and_one_under_an_unknown_key_is_reported_and_kept() {
    let rig = old_ones(0);
    for n in 0..250 {
        park(&rig, &keyring("E"), &format!("in_{n:03}"), &n.to_string());
    }
    park(&rig, &keyring("M"), "in_stray", "999");
    let report = run(&rig);
    let expected = ResealReport { found: 251, installs: 251, resealed: 250, unknown_key: 1, ..ResealReport::default() };
    assert_eq!(report, expected);
    assert_eq!(opened(&rig, "in_000"), Some(("plain-in_000".to_owned(), "plain-in_000".to_owned())));
    assert!(opened(&rig, "in_249").is_some() && opened(&rig, "in_stray").is_none());
    let kept = vault::prefix(&keyring("M"));
    assert_eq!(
        rig.place.db.dump().iter().filter(|value| value.text.starts_with(&kept)).count(),
        2,
        "it is still there"
    );
    let told = rig.place.log.borrow().iter().filter(|line| line.contains("in_stray")).count();
    assert_eq!(told, 1, "the log names it");
    assert_eq!(run(&rig), ResealReport { found: 1, installs: 1, unknown_key: 1, ..ResealReport::default() });
}

#[test]
fn a_run_that_is_stopped_at_the_installs_is_gone_on_with() {
    // Connections take one read; then come the installs' pages: a read and a write each.
    for nth in 2..=6 {
        for fault in Fault::ALL {
            let rig = old_ones(0);
            for n in 0..150 {
                park(&rig, &keyring("E"), &format!("in_{n:03}"), &n.to_string());
            }
            rig.place.db.fail_at(nth, fault);
            let first = run(&rig);
            assert_eq!((first.shards_unfinished, rig.place.db.pending_faults()), (1, 0), "{nth} {fault:?}");
            assert_eq!(run(&rig).shards_unfinished, 0);
            assert_eq!(by_key(&rig.place).0, 0, "{nth} {fault:?}");
            assert!((0..150).all(|n| opened(&rig, &format!("in_{n:03}")).is_some()), "{nth} {fault:?}");
        }
    }
}
