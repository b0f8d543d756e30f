//! The audit trail: sealed in order, and whatever is done to it afterwards is found at its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use async_trait::async_trait;
use crypto::Keyring;
use crypto::audit_chain::{self, Fields, Head};
use crypto::pii::PiiMaster;
use flows::purge_retention::{PurgeKeys, purge_retention};
use flows::read_audit::{Query, export_audit, list_audit};
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use flows::seal_audit::{SETTLED_AFTER_SECS, SealReport, seal_audit};
use flows::verify_audit::{Fault, Verification, verify_audit};
use flows::{Error, audit};
use model::{Role, Secret, Timestamp};
use pollster::block_on;
use serde_json::{Value, json};
use simulator::{Sim, WORKSPACE, workspace};
use std::collections::BTreeSet;
use store::{Bind, Db, Statement, WorkspaceScope};

const OTHER: &str = "ws_globex";

fn ring(letter: &str) -> Keyring {
    Keyring::from_base64(&Secret::new(format!("{}=", letter.repeat(43))), None).ok().unwrap()
}

fn append(sim: &Sim, workspace_id: &str, name: &'static str, n: u32) {
    let scope = WorkspaceScope::of(workspace(workspace_id));
    let event = audit::event(&sim.world(), "us_owner", name, &format!("cx_{n}"), json!({"n": n, "crm": "hubspot"}));
    block_on(sim.ports.db.batch(vec![event.unwrap().append(&scope)])).unwrap();
}

/// `count` events of two workspaces, a second apart (two of them at the same time), sealed.
fn sealed(seed: u64, count: u32) -> Sim {
    let sim = Sim::new(seed);
    sim.seed_workspace(OTHER);
    for n in 0..count {
        append(&sim, WORKSPACE, "connection_connected", n);
        append(&sim, OTHER, "connection_disconnected", n);
        if n != 3 {
            sim.sleep_secs(1);
        }
    }
    sim.sleep_secs(SETTLED_AFTER_SECS);
    let report = seal(&sim);
    assert_eq!((report.sealed, report.chains, report.broken), (2 * count, 2, 0));
    sim
}

fn seal(sim: &Sim) -> SealReport {
    block_on(seal_audit(&sim.world(), &ring("E"))).unwrap()
}

fn verify_with(sim: &Sim, keys: &Keyring) -> Verification {
    block_on(verify_audit(&sim.world(), &sim.caller(Role::Owner), keys, None)).unwrap()
}

fn verify(sim: &Sim) -> Verification {
    verify_with(sim, &ring("E"))
}

/// What the verifier names: the fault and the number.
fn found(sim: &Sim) -> (Fault, u32) {
    let verification = verify(sim);
    assert_eq!(verification.status, "broken", "{verification:?}");
    let broken = verification.broken.unwrap();
    (broken.fault, broken.seq)
}

/// Somebody with the database in their hands.
fn tamper(sim: &Sim, sql: &'static str, binds: impl Into<Vec<Bind>>) {
    let done = block_on(sim.ports.db.batch(vec![Statement::new(sql, binds)]));
    let changes = done.unwrap_or_else(|_| panic!("{sql}: {:?}", sim.ports.db.last_failure()))[0].changes;
    assert!(changes > 0, "{sql} changed nothing");
}

fn of(seq: u32) -> Vec<Bind> {
    vec![WORKSPACE.into(), seq.into()]
}

const COUNT: u32 = 8;

#[test]
fn an_untouched_trail_is_intact_and_what_is_young_is_not_sealed() {
    let sim = sealed(1, COUNT);
    append(&sim, WORKSPACE, "connection_connected", 99);
    let seen = verify(&sim);
    let expected =
        Verification { status: "intact", verified: COUNT, sealed: COUNT, unsealed: 1, broken: None, cursor: None };
    assert_eq!(seen, expected);
    assert_eq!(seal(&sim), SealReport::default(), "not before it is settled");
    sim.sleep_secs(SETTLED_AFTER_SECS);
    assert_eq!(seal(&sim).sealed, 1);
    assert_eq!(verify(&sim).verified, COUNT + 1);
    let refused = block_on(verify_audit(&sim.world(), &sim.caller(Role::Member), &ring("E"), None));
    assert_eq!(refused, Err(Error::AdminRequired));
}

#[test]
fn a_change_of_any_field_of_any_event_is_found_at_its_place() {
    let fields = [
        "UPDATE audit_events SET actor = 'us_eve' WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET event = 'nothing' WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET subject = 'cx_0x' WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET detail_json = '{}' WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET detail_json = detail_json || ' ' WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET request_id = 'req_0' WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET at = at + 1 WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET hash = 'x' || hash WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET hash = NULL WHERE workspace_id = ?1 AND seq = ?2",
        "UPDATE audit_events SET seq = NULL WHERE workspace_id = ?1 AND seq = ?2",
    ];
    for sql in fields {
        for seq in 1..=COUNT {
            let sim = sealed(2, COUNT);
            tamper(&sim, sql, of(seq));
            let (fault, at) = found(&sim);
            // Of two events at one time the first one, a millisecond later, is the second.
            let moved = sql.contains("at = at") && seq == 4;
            assert_eq!(fault, if moved { Fault::Reordered } else { Fault::Tampered }, "{sql} of {seq}");
            assert_eq!(at, seq, "{sql} of {seq}");
        }
    }
    for seq in 1..=COUNT {
        let sim = sealed(2, COUNT);
        // An id decides the order only between events of one time.
        tamper(&sim, "UPDATE audit_events SET id = id || 'x' WHERE workspace_id = ?1 AND seq = ?2", of(seq));
        assert_eq!(found(&sim).1, seq, "the id of {seq}");
        let sim = sealed(2, COUNT);
        tamper(&sim, "UPDATE audit_events SET workspace_id = 'ws_else' WHERE workspace_id = ?1 AND seq = ?2", of(seq));
        assert_eq!(found(&sim), (Fault::Removed, seq), "{seq} given to another workspace");
    }
}

#[test]
fn a_removed_event_is_missed_also_at_the_end() {
    for seq in 1..=COUNT {
        let sim = sealed(3, COUNT);
        tamper(&sim, "DELETE FROM audit_events WHERE workspace_id = ?1 AND seq = ?2", of(seq));
        assert_eq!(found(&sim), (Fault::Removed, seq));
        let sim = sealed(3, COUNT);
        tamper(&sim, "DELETE FROM audit_events WHERE workspace_id = ?1 AND seq >= ?2", of(seq));
        assert_eq!(found(&sim), (Fault::Removed, seq), "everything from {seq} on");
    }
    let sim = sealed(3, COUNT);
    // Renumbering those behind it does not hide the gap.
    tamper(&sim, "DELETE FROM audit_events WHERE workspace_id = ?1 AND seq = ?2", of(3));
    tamper(&sim, "UPDATE audit_events SET seq = seq - 1 WHERE workspace_id = ?1 AND seq > ?2", of(3));
    assert_eq!(found(&sim), (Fault::Tampered, 3));
}

#[test]
fn events_that_change_places_are_found() {
    for seq in 1..COUNT {
        let sim = sealed(4, COUNT);
        let swap = "UPDATE audit_events SET seq = 2 * ?2 + 1 - seq WHERE workspace_id = ?1 AND seq IN (?2, ?2 + 1)";
        tamper(&sim, swap, of(seq));
        assert_eq!(found(&sim), (Fault::Reordered, seq), "the numbers of {seq} and the next");
        let sim = sealed(4, COUNT);
        tamper(&sim, "UPDATE audit_events SET at = at + 100000 WHERE workspace_id = ?1 AND seq = ?2", of(seq));
        assert_eq!(found(&sim), (Fault::Reordered, seq), "{seq} moved to the end");
        let sim = sealed(4, COUNT);
        tamper(&sim, "UPDATE audit_events SET at = at - 100000 WHERE workspace_id = ?1 AND seq = ?2", of(seq + 1));
        assert_eq!(found(&sim), (Fault::Reordered, 1), "{} moved to the front", seq + 1);
    }
}

#[test]
fn an_event_slipped_in_is_found_whatever_it_claims() {
    let insert =
        "INSERT INTO audit_events (workspace_id, at, id, actor, event, subject, detail_json, request_id, seq, hash)
         SELECT workspace_id, at, id || '0', 'us_eve', event, subject, detail_json, request_id,
             CASE ?3 WHEN 'both' THEN seq WHEN 'next' THEN seq + 1 END, CASE ?3 WHEN 'none' THEN NULL ELSE hash END
         FROM audit_events WHERE workspace_id = ?1 AND seq = ?2";
    for seq in 1..COUNT {
        for (claim, fault, at) in [
            ("none", Fault::Inserted, seq + 1),
            ("hash", Fault::Tampered, seq + 1),
            ("both", Fault::Reordered, seq + 1),
            ("next", Fault::Tampered, seq + 1),
        ] {
            let sim = sealed(5, COUNT);
            tamper(&sim, insert, [of(seq), vec![claim.into()]].concat());
            let seen = found(&sim);
            // Of two events at one time an id decides, and the new one may stand behind both.
            if seq != 4 {
                assert_eq!(seen, (fault, at), "{claim} behind {seq}");
            }
        }
    }
}

#[test]
fn the_end_of_a_chain_is_the_sealers_alone() {
    let cut = "DELETE FROM audit_events WHERE workspace_id = ?1 AND seq > ?2";
    let back =
        "UPDATE audit_heads SET seq = ?2, hash = (SELECT hash FROM audit_events WHERE workspace_id = ?1 AND seq = ?2),
         last_at = (SELECT at FROM audit_events WHERE workspace_id = ?1 AND seq = ?2),
         last_id = (SELECT id FROM audit_events WHERE workspace_id = ?1 AND seq = ?2) WHERE workspace_id = ?1";
    let sim = sealed(6, COUNT);
    tamper(&sim, cut, of(5));
    tamper(&sim, back, of(5));
    assert_eq!(found(&sim), (Fault::HeadForged, 5), "the tail is cut off and the end set back");
    append(&sim, WORKSPACE, "connection_connected", 9);
    sim.sleep_secs(SETTLED_AFTER_SECS);
    assert_eq!((seal(&sim).broken, found(&sim).0), (1, Fault::HeadForged), "a sealer does not make it good again");

    let sim = sealed(6, COUNT);
    tamper(
        &sim,
        "UPDATE audit_heads SET mac = (SELECT mac FROM audit_heads WHERE workspace_id = ?2) WHERE workspace_id = ?1",
        [Bind::from(WORKSPACE), OTHER.into()],
    );
    assert_eq!(found(&sim).0, Fault::HeadForged, "the end of another workspace's");

    let sim = sealed(6, COUNT);
    tamper(&sim, "DELETE FROM audit_heads WHERE workspace_id = ?1", [Bind::from(WORKSPACE)]);
    assert_eq!(found(&sim).0, Fault::HeadMissing);
    assert_eq!(seal(&sim).broken, 1, "a sealer does not begin anew over numbers");

    let sim = sealed(6, COUNT);
    assert_eq!(verify_with(&sim, &ring("I")).broken.unwrap().fault, Fault::HeadKeyUnknown);
}

#[test]
fn a_chain_computed_anew_without_the_key_is_found() {
    let sim = sealed(7, COUNT);
    tamper(&sim, "UPDATE audit_events SET actor = 'us_eve' WHERE workspace_id = ?1 AND seq = ?2", of(2));
    let mut hash = String::new();
    for (n, event) in exported(&sim).iter().enumerate() {
        let seq = u32::try_from(n).unwrap() + 1;
        hash = rehash(&hash, seq, event);
        let binds = [of(seq), vec![hash.as_str().into()]].concat();
        tamper(&sim, "UPDATE audit_events SET hash = ?3 WHERE workspace_id = ?1 AND seq = ?2", binds);
    }
    assert_eq!(found(&sim), (Fault::Tampered, COUNT + 1), "every link holds, but the end is another");
    let forged = audit_chain::seal(&ring("M"), &Head { workspace_id: WORKSPACE, seq: u64::from(COUNT), hash: &hash });
    let binds = [Bind::from(WORKSPACE), hash.as_str().into(), forged.as_str().into()];
    tamper(&sim, "UPDATE audit_heads SET hash = ?2, mac = ?3 WHERE workspace_id = ?1", binds);
    assert_eq!(found(&sim).0, Fault::HeadKeyUnknown, "a key of one's own");
}

fn exported(sim: &Sim) -> Vec<Value> {
    let page = block_on(export_audit(&sim.world(), &sim.caller(Role::Owner), &ring("E"), None)).unwrap();
    assert_eq!(page.next_cursor, None);
    page.ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What anyone can compute from a line of the export.
fn rehash(before: &str, seq: u32, line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap();
    let fields = Fields {
        workspace_id: WORKSPACE,
        at: Timestamp::parse(text("at")).unwrap().0,
        id: text("id"),
        actor: text("actor"),
        event: text("event"),
        subject: text("subject"),
        detail_json: &line["detail"].to_string(),
        request_id: text("request_id"),
    };
    audit_chain::link(before, u64::from(seq), &fields)
}

#[test]
fn an_export_carries_everything_its_hashes_are_made_of() {
    let sim = Sim::new(8);
    for n in 0..5 {
        append(&sim, WORKSPACE, "connection_connected", n);
        sim.sleep_secs(1);
    }
    sim.sleep_secs(SETTLED_AFTER_SECS);
    // Nobody has sealed anything yet: the export does.
    let mut hash = String::new();
    for (n, line) in exported(&sim).iter().enumerate() {
        let seq = u32::try_from(n).unwrap() + 1;
        hash = rehash(&hash, seq, line);
        assert_eq!((&line["seq"], &line["hash"]), (&json!(seq), &json!(hash)));
    }
    assert_eq!(verify(&sim).verified, 5);
}

#[test]
fn a_long_trail_is_sealed_exported_and_verified_in_parts() {
    let sim = Sim::new(9);
    for n in 0..1_450 {
        append(&sim, WORKSPACE, "connection_connected", n);
        if n % 3 == 0 {
            sim.sleep_secs(1);
        }
    }
    sim.sleep_secs(SETTLED_AFTER_SECS);
    assert_eq!(seal(&sim).sealed, 1_450);
    let first = exported_all(&sim);
    let seen = verify(&sim);
    assert_eq!((seen.status, seen.verified, seen.unsealed), ("intact", 1_450, 0));
    assert_eq!(seal(&sim), SealReport::default());
    assert_eq!(exported_all(&sim), first);
}

fn exported_all(sim: &Sim) -> Vec<String> {
    let (mut lines, mut cursor) = (Vec::new(), None);
    loop {
        let (world, caller, keys) = (sim.world(), sim.caller(Role::Owner), ring("E"));
        let page = block_on(export_audit(&world, &caller, &keys, cursor.as_deref())).unwrap();
        lines.extend(page.ndjson.lines().map(str::to_owned));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return lines;
        }
    }
}

#[test]
fn whatever_step_of_a_seal_fails_the_next_one_makes_one_chain_of_all() {
    for nth in 1..=6 {
        for fault in stub_db::Fault::ALL {
            let sim = Sim::new(10);
            for n in 0..5 {
                append(&sim, WORKSPACE, "connection_connected", n);
                sim.sleep_secs(1);
            }
            sim.sleep_secs(SETTLED_AFTER_SECS);
            sim.ports.db.fail_at(nth, fault);
            let _ = block_on(seal_audit(&sim.world(), &ring("E")));
            sim.ports.db.clear_faults();
            seal(&sim);
            let seen = verify(&sim);
            assert_eq!((seen.status, seen.verified), ("intact", 5), "{nth} {fault:?}");
        }
    }
}

/// No attachments are in these simulations.
struct NoBucket;

#[async_trait(?Send)]
impl Objects for NoBucket {
    async fn remove(&self, _: &[&str]) -> Result<(), ObjectsUnavailable> {
        Err(ObjectsUnavailable("there is no bucket".to_owned()))
    }
}

#[test]
fn the_nightly_purge_looks_through_the_chains_once_a_day_and_reports_a_broken_one() {
    let sim = sealed(12, COUNT);
    let pii = PiiMaster::from_base64(&Secret::new(format!("{}=", "I".repeat(43)))).ok().unwrap();
    let keys = PurgeKeys { audit: ring("E"), pii };
    let purge = || block_on(purge_retention(&sim.world(), &NoBucket, &keys)).unwrap();
    let first = purge();
    assert_eq!((first.chains_verified, first.chains_broken, first.events_verified), (2, 0, 2 * COUNT));
    assert_eq!(purge().events_verified, 0, "not again on the same day");
    tamper(&sim, "UPDATE audit_events SET subject = 'cx_9' WHERE workspace_id = ?1 AND seq = ?2", of(3));
    sim.sleep_secs(86_400);
    let second = purge();
    assert_eq!((second.chains_verified, second.chains_broken), (1, 1));
    let line = sim.ports.log.borrow().iter().find(|line| line.starts_with("audit_chain_broken")).cloned().unwrap();
    assert_eq!(line, "audit_chain_broken workspace_id=ws_acme code=tampered seq=3");
}

#[test]
fn the_trail_is_paged_newest_first_and_filtered_by_event_and_time() {
    let sim = Sim::new(11);
    let began = sim.now();
    for n in 0..10 {
        append(&sim, WORKSPACE, if n % 5 == 0 { "rare" } else { "common" }, n);
        append(&sim, OTHER, "foreign", n);
        sim.sleep_secs(60);
    }
    let page = |query: Query| block_on(list_audit(&sim.world(), &sim.caller(Role::Admin), &query));
    let subjects = |page: &Value| {
        let events = page["events"].as_array().unwrap().iter();
        events.map(|event| event["subject"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut query = Query { limit: Some("4".to_owned()), ..Query::default() };
    let mut all = Vec::new();
    loop {
        let seen = page(query.clone()).unwrap();
        all.extend(subjects(&seen));
        let Some(cursor) = seen["next_cursor"].as_str() else { break };
        query.cursor = Some(cursor.to_owned());
    }
    assert_eq!(all, (0..10).rev().map(|n| format!("cx_{n}")).collect::<Vec<_>>());
    let rare = page(Query { event: Some("rare".to_owned()), ..Query::default() }).unwrap();
    assert_eq!((subjects(&rare), &rare["next_cursor"]), (vec!["cx_5".to_owned(), "cx_0".to_owned()], &Value::Null));
    let times =
        Query { from: Some(began.plus_secs(120).iso()), to: Some(began.plus_secs(240).iso()), ..Query::default() };
    assert_eq!(subjects(&page(times).unwrap()), ["cx_3", "cx_2"]);

    let kinds: BTreeSet<String> = ["from", "to", "cursor", "limit"]
        .into_iter()
        .map(|name| {
            let text = Some("x".to_owned());
            let query = match name {
                "from" => Query { from: text, ..Query::default() },
                "to" => Query { to: text, ..Query::default() },
                "cursor" => Query { cursor: text, ..Query::default() },
                _ => Query { limit: text, ..Query::default() },
            };
            match page(query) {
                Err(Error::Parameter { name, .. }) => name.to_owned(),
                other => panic!("{name}: {other:?}"),
            }
        })
        .collect();
    assert_eq!(kinds.len(), 4);
    let refused = block_on(list_audit(&sim.world(), &sim.caller(Role::Member), &Query::default()));
    assert_eq!(refused, Err(Error::AdminRequired));
}
