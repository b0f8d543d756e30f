//! A refresh that is interrupted, in every place and way: the refresh token is never shown twice, and no connection is
//! given up that the CRM would still serve. On the real SQL and adapters, against the stand-in with strict rotation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod gate_rig;

use flows::gate::GateRefusal;
use gate_rig::{Rig, ask};
use model::{ConnectionStatus, Crm, Health};
use stub_crm::{Fault, Lost, Match};

const CALLERS: usize = 1_000;

fn on(path: &str, fault: Fault) -> Fault {
    let on = Match { path_contains: Some(path.into()), count: Some(1), ..Match::default() };
    Fault { on, ..fault }
}

fn on_refresh(fault: Fault) -> Fault {
    let fault = on("/token", fault);
    Fault { on: Match { body_contains: Some("grant_type=refresh_token".into()), ..fault.on }, ..fault }
}

fn lose(lost: Lost) -> Fault {
    on_refresh(Fault { lose: Some(lost), ..Fault::default() })
}

#[test]
fn a_refresh_that_never_arrived_is_made_again_and_everybody_answered() {
    for crm in Crm::ALL {
        let rig = Rig::of(crm);
        rig.place.let_it_expire();
        rig.place.crm.borrow_mut().add_fault(lose(Lost::Request));
        let object = rig.object();
        let answers = rig.callers(&object, CALLERS, &ask());
        rig.executor.run();
        rig.assert_all_admitted(&answers, CALLERS);
        assert_eq!(rig.place.seen(), (1, 0), "{crm}");
    }
}

#[test]
fn a_refresh_whose_answer_was_lost_is_not_shown_again_and_asks_for_a_reconnect() {
    for crm in Crm::ALL {
        let rig = Rig::of(crm);
        rig.place.let_it_expire();
        rig.place.crm.borrow_mut().add_fault(lose(Lost::Answer));
        let object = rig.object();
        let answers = rig.callers(&object, CALLERS, &ask());
        rig.executor.run();
        assert_eq!(answers.borrow().len(), CALLERS, "everybody is answered");
        assert!(answers.borrow().iter().all(|answer| answer.as_ref().err() == Some(&GateRefusal::Reconnect)));
        assert_eq!(rig.place.seen(), (1, 0), "{crm}");
        let row = rig.place.row();
        assert_eq!(row.last_error_code.as_deref(), Some("refresh_interrupted"));
        assert_eq!(rig.place.audited("connection_failed"), 1);
    }
}

#[test]
fn without_rotation_a_lost_answer_costs_nothing_but_time() {
    for crm in Crm::ALL {
        for fault in [lose(Lost::Answer), on_refresh(Fault { status: Some(502), after: true, ..Fault::default() })] {
            let rig = Rig::of(crm);
            {
                let mut stub = rig.place.crm.borrow_mut();
                stub.switches_mut().hubspot_rotation = stub_crm::Rotation::Off;
                stub.switches_mut().salesforce_rotation = stub_crm::Rotation::Off;
                stub.add_fault(fault);
            }
            rig.place.let_it_expire();
            let object = rig.object();
            let answers = rig.callers(&object, CALLERS, &ask());
            rig.executor.run();
            rig.assert_all_admitted(&answers, CALLERS);
        }
    }
}

#[test]
fn a_lost_answer_while_the_token_still_lives_keeps_nobody_waiting() {
    let rig = Rig::new();
    rig.place.clock.advance_secs(1_800 - 115);
    rig.place.crm.borrow_mut().add_fault(lose(Lost::Request));
    let object = rig.object();
    assert!(rig.admit(&object, &ask()).is_ok());
    rig.executor.run();
    let began = rig.place.clock.now();
    assert!(rig.admit(&object, &ask()).is_ok());
    assert!(rig.place.clock.now() < began.plus_secs(1), "the old token is used meanwhile");
    rig.place.clock.advance_secs(60);
    assert_eq!(rig.admit(&object, &ask()).unwrap().token_generation, 2);
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn an_object_evicted_while_the_call_is_on_its_way_loses_nothing_the_crm_would_still_serve() {
    for crm in Crm::ALL {
        for arrives in [false, true] {
            let rig = Rig::of(crm);
            rig.place.let_it_expire();
            if !arrives {
                rig.place.crm.borrow_mut().add_fault(lose(Lost::Request));
            }
            let object = rig.object();
            let _ = rig.callers(&object, CALLERS, &ask());
            let intent = || rig.place.row().refresh_id.is_some();
            rig.executor.run_until(|| if arrives { rig.place.witness.refreshes.get() == 1 } else { intent() });
            if !arrives {
                let until = rig.place.clock.now().plus_secs(1);
                rig.executor.spawn(0, rig.place.clock.sleep(1_000));
                rig.executor.run_until(|| rig.place.clock.now() >= until);
            }
            rig.evict(object);
            let object = rig.object();
            let answers = rig.callers(&object, CALLERS, &ask());
            rig.executor.run();
            assert_eq!(answers.borrow().len(), CALLERS);
            assert_eq!(rig.place.seen(), (1, 0), "{crm}, arrived: {arrives}");
            if arrives {
                // The CRM rotated, and the answer is gone with the object: nothing serves it any more.
                assert_eq!(rig.place.row().last_error_code.as_deref(), Some("refresh_interrupted"));
            } else {
                rig.assert_all_admitted(&answers, CALLERS);
            }
        }
    }
}

#[test]
fn an_answer_that_could_not_be_saved_outlives_the_object() {
    for crm in Crm::ALL {
        let rig = Rig::of(crm);
        rig.place.let_it_expire();
        let object = rig.object();
        let _ = rig.callers(&object, CALLERS, &ask());
        rig.executor.run_until(|| rig.place.witness.refreshes.get() == 1);
        rig.place.db_down.set(true);
        rig.executor.run();
        assert!(rig.place.keeps("unsaved"));
        rig.place.assert_no_token_in_plain();
        rig.evict(object);
        rig.place.clock.advance_secs(600);
        rig.place.db_down.set(false);
        let object = rig.object();
        let answers = rig.callers(&object, CALLERS, &ask());
        rig.executor.run();
        rig.assert_all_admitted(&answers, CALLERS);
        assert_eq!(rig.place.seen(), (1, 0));
        assert!(!rig.place.keeps("unsaved"), "the journal is empty");
        rig.place.assert_no_token_in_plain();
    }
}

#[test]
fn a_late_save_brings_a_connection_back_that_was_given_up() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    let old = rig.object();
    let _ = rig.callers(&old, 1, &ask());
    rig.executor.run_until(|| rig.place.witness.refreshes.get() == 1);
    rig.place.db_down.set(true);
    rig.executor.run();
    rig.place.db_down.set(false);
    // Another instance, which does not see the old one's journal, finds the refresh token spent.
    rig.place.storage.borrow_mut().clear();
    rig.place.clock.advance_secs(80);
    let new = rig.object();
    assert_eq!(rig.admit(&new, &ask()).err(), Some(GateRefusal::Reconnect));
    assert_eq!(rig.place.row().status, ConnectionStatus::Error);
    // The old one still holds the answer.
    rig.place.clock.advance_secs(300);
    let admission = rig.admit(&old, &ask()).expect("the tokens are saved");
    assert!(rig.place.works(&admission.access_token));
    let row = rig.place.row();
    assert_eq!((row.status, row.health, row.last_error), (ConnectionStatus::Connected, Some(Health::Ok), None));
    assert_eq!(rig.place.audited("connection_healed"), 1);
    assert_eq!(rig.place.seen(), (1, 0));
    rig.place.clock.advance_secs(60);
    assert!(rig.admit(&new, &ask()).is_ok(), "the other one sees it too");
}

#[test]
fn tokens_that_come_late_do_not_undo_a_reconnect_or_a_disconnect() {
    for reconnected in [true, false] {
        let rig = Rig::new();
        rig.place.let_it_expire();
        let object = rig.object();
        let _ = rig.callers(&object, 1, &ask());
        rig.executor.run_until(|| rig.place.witness.refreshes.get() == 1);
        rig.place.db_down.set(true);
        rig.executor.run();
        rig.place.db_down.set(false);
        if reconnected {
            rig.place.connect(2);
        } else {
            let now = rig.place.clock.now();
            let gone = store::connections::disconnect(&gate_rig::scope(), Crm::Hubspot, now);
            pollster::block_on(store::db::run(&rig.place.db, gone)).unwrap();
        }
        rig.place.clock.advance_secs(60);
        let answer = rig.admit(&object, &ask());
        assert_eq!(answer.is_ok(), reconnected, "{answer:?}");
        assert_eq!(rig.place.row().token_generation, 2);
        assert!(!rig.place.keeps("unsaved"));
    }
}

#[test]
fn where_introspection_does_not_tell_the_old_token_is_used_to_its_end() {
    let rig = Rig::of(Crm::Salesforce);
    let object = rig.object();
    rig.place.clock.advance_secs(7_200 - 110);
    {
        let mut crm = rig.place.crm.borrow_mut();
        crm.add_fault(lose(Lost::Answer));
        let on = Match { path_contains: Some("/introspect".into()), ..Match::default() };
        crm.add_fault(Fault { on, status: Some(400), ..Fault::default() });
    }
    for _ in 0..9 {
        assert!(rig.admit(&object, &ask()).is_ok(), "{:?}", rig.place.row().last_error_code);
        rig.executor.run();
        rig.place.clock.advance_secs(5);
    }
    assert_eq!(rig.place.row().status, ConnectionStatus::Connected);
    rig.place.clock.advance_secs(120);
    assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::Reconnect));
    assert_eq!(rig.place.row().last_error_code.as_deref(), Some("refresh_interrupted"));
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn while_introspection_cannot_be_reached_nothing_is_decided() {
    let rig = Rig::of(Crm::Salesforce);
    rig.place.let_it_expire();
    {
        let mut crm = rig.place.crm.borrow_mut();
        crm.add_fault(lose(Lost::Request));
        let on = Match { path_contains: Some("/introspect".into()), count: Some(3), ..Match::default() };
        crm.add_fault(Fault { on, status: Some(503), ..Fault::default() });
    }
    let object = rig.object();
    let mut served = 0;
    for _ in 0..60 {
        if rig.admit(&object, &ask()).is_ok() {
            served += 1;
        }
        assert_eq!(rig.place.row().status, ConnectionStatus::Connected);
        rig.place.clock.advance_secs(10);
    }
    assert!(served > 20, "{served}");
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn the_life_of_a_salesforce_session_is_learned_once() {
    let rig = Rig::of(Crm::Salesforce);
    rig.place.crm.borrow_mut().switches_mut().salesforce_session_secs = 900;
    rig.place.let_it_expire();
    let object = rig.object();
    assert!(rig.admit(&object, &ask()).is_ok());
    let (now, ends_at) = (rig.place.clock.now(), rig.place.row().expires_at.unwrap());
    assert!((now.plus_secs(890)..=now.plus_secs(900)).contains(&ends_at), "{ends_at:?}");
    for refreshes in 2..10 {
        rig.place.clock.advance_secs(800);
        assert!(rig.admit(&object, &ask()).is_ok());
        assert_eq!(rig.place.seen(), (refreshes, 0), "refreshed before it ends, not after");
    }
    assert_eq!(rig.place.witness.introspections.get(), 1);
}
