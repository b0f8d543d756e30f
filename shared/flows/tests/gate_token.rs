//! The gate's token: never spent twice, never lost while the CRM would still serve it, whatever is slow, late, lost or
//! evicted. In simulated time, on the real SQL and adapter, against the stand-in with strict single-use rotation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod gate_rig;

use flows::gate::GateRefusal;
use gate_rig::{Answers, Rig, ask, refused};
use model::ConnectionStatus;
use stub_crm::{Fault, Match};
use stub_db::Fault as DbFault;

const CALLERS: usize = 1_000;

fn on_token_endpoint(fault: Fault) -> Fault {
    let on = Match {
        path_contains: Some("/token".into()),
        body_contains: Some("grant_type=refresh_token".into()),
        count: Some(1),
        ..Match::default()
    };
    Fault { on, ..fault }
}

#[test]
fn a_good_token_is_read_once_and_handed_to_everybody() {
    let rig = Rig::new();
    let object = rig.object();
    rig.place.db.reset_counters();
    let answers = rig.callers(&object, CALLERS, &ask());
    rig.executor.run();
    assert_eq!(rig.place.db.counters().round_trips, 1, "one look at the row");
    rig.assert_all_admitted(&answers, CALLERS);
    assert_eq!(rig.place.seen(), (0, 0));
}

#[test]
fn a_thousand_callers_cause_one_refresh() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    let object = rig.object();
    let answers = rig.callers(&object, CALLERS, &ask());
    rig.executor.run();
    rig.assert_all_admitted(&answers, CALLERS);
    assert_eq!(rig.place.seen(), (1, 0));
    rig.place.assert_no_token_in_plain();
}

#[test]
fn a_token_endpoint_that_takes_half_a_minute_is_asked_once() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    rig.place.crm.borrow_mut().add_fault(on_token_endpoint(Fault { delay_ms: 30_000, ..Fault::default() }));
    let object = rig.object();
    let mut waves: Vec<Answers> = Vec::new();
    for _ in 0..10 {
        waves.push(rig.callers(&object, CALLERS / 10, &ask()));
        let until = rig.place.clock.now().plus_secs(2);
        rig.executor.spawn(0, rig.place.clock.sleep(2_000));
        rig.executor.run_until(|| rig.place.clock.now() >= until);
    }
    rig.executor.run();
    for wave in &waves {
        rig.assert_all_admitted(wave, CALLERS / 10);
    }
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn two_instances_of_the_object_cause_one_refresh() {
    for delay_ms in [0, 30_000] {
        let rig = Rig::new();
        rig.place.let_it_expire();
        rig.place.crm.borrow_mut().add_fault(on_token_endpoint(Fault { delay_ms, ..Fault::default() }));
        let (old, new) = (rig.object(), rig.object());
        let answers = [&old, &new].map(|object| rig.callers(object, CALLERS / 2, &ask()));
        rig.executor.run();
        for answers in &answers {
            rig.assert_all_admitted(answers, CALLERS / 2);
        }
        assert_eq!(rig.place.seen(), (1, 0), "with a delay of {delay_ms} ms");
    }
}

#[test]
fn a_refresh_goes_on_when_its_callers_have_left() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    let object = rig.object();
    // The callers are a group of their own here; the flight belongs to the object.
    let keeper = object.keeper.clone();
    rig.executor.spawn(99, async move {
        let _ = keeper.admit(&ask()).await;
    });
    rig.executor.run_until(|| rig.place.witness.refreshes.get() == 1);
    rig.executor.kill(99);
    rig.executor.run();
    assert_eq!(rig.place.row().token_generation, 2, "the answer was saved");
    assert!(rig.admit(&object, &ask()).is_ok());
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn the_save_is_repeated_while_the_database_fails() {
    for fault in DbFault::ALL {
        for faults in 1..=4 {
            let rig = Rig::new();
            rig.place.let_it_expire();
            // Read, intent, then the saves.
            for nth in 0..faults {
                rig.place.db.fail_at(3 + nth, fault);
            }
            let object = rig.object();
            let answers = rig.callers(&object, CALLERS, &ask());
            rig.executor.run();
            rig.assert_all_admitted(&answers, CALLERS);
            assert_eq!(rig.place.seen(), (1, 0), "{fault:?} x {faults}");
            rig.place.db.clear_faults();
        }
    }
}

#[test]
fn an_answer_outlives_a_database_that_is_down_for_minutes() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    let object = rig.object();
    let answers = rig.callers(&object, 10, &ask());
    rig.executor.run_until(|| rig.place.witness.refreshes.get() == 1);
    rig.place.db_down.set(true);
    rig.executor.run();
    assert!(answers.borrow().iter().all(|answer| answer.as_ref().err() == Some(&GateRefusal::Unavailable)));
    for _ in 0..10 {
        rig.place.clock.advance_secs(30);
        assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::Unavailable));
    }
    rig.place.db_down.set(false);
    rig.place.clock.advance_secs(30);
    let admission = rig.admit(&object, &ask()).expect("the token that was held is saved and handed out");
    assert!(rig.place.works(&admission.access_token));
    assert_eq!(rig.place.seen(), (1, 0));
    assert_eq!(rig.place.row().token_generation, 2);
}

#[test]
fn a_token_whose_row_cannot_be_read_is_handed_out_for_five_minutes_only() {
    // The connection may have been ended meanwhile, and the message about it lost.
    let rig = Rig::new();
    let object = rig.object();
    rig.admit(&object, &ask()).expect("the token is at hand");
    rig.place.db_down.set(true);
    rig.place.clock.advance_secs(240);
    rig.admit(&object, &ask()).expect("a database that is away for minutes stops nobody");
    rig.place.clock.advance_secs(60);
    assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::Unavailable));
    rig.place.db_down.set(false);
    rig.place.clock.advance_secs(5);
    rig.admit(&object, &ask()).expect("the row is there again");
}

#[test]
fn every_step_of_a_refresh_may_fail_and_the_next_caller_is_served() {
    // Read, intent, save, and whatever follows a failure: each in each way, once.
    for fault in DbFault::ALL {
        for nth in 1..=6 {
            let rig = Rig::new();
            rig.place.let_it_expire();
            rig.place.db.fail_at(nth, fault);
            let object = rig.object();
            let _ = rig.admit(&object, &ask());
            rig.executor.run();
            rig.place.clock.advance_secs(10);
            let admission = rig.admit(&object, &ask()).unwrap_or_else(|why| panic!("{fault:?} at {nth}: {why}"));
            assert!(rig.place.works(&admission.access_token));
            assert_eq!(rig.place.seen(), (1, 0), "{fault:?} at {nth}");
            rig.place.db.clear_faults();
        }
    }
}

#[test]
fn a_revoked_connection_costs_one_call() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    rig.place.revoke();
    let mut object = rig.object();
    for second in 0..3_600 {
        // The object is evicted now and then.
        if second % 600 == 599 {
            rig.evict(object);
            object = rig.object();
        }
        let answers = rig.callers(&object, 3, &ask());
        rig.executor.run();
        assert!(answers.borrow().iter().all(|answer| answer.as_ref().err() == Some(&GateRefusal::Reconnect)));
        rig.place.clock.advance_secs(1);
    }
    println!("measure refresh_calls.revoked_hour {}", rig.place.seen().0);
    assert_eq!(rig.place.seen(), (1, 0));
    let row = rig.place.row();
    assert_eq!((row.status, row.last_error_code.as_deref()), (ConnectionStatus::Error, Some("grant_revoked")));
    assert_eq!(row.health, Some(model::Health::Error));
    assert!(row.last_error.unwrap().contains("reconnect"));
    assert_eq!(rig.place.audited("connection_failed"), 1);

    rig.place.connect(2);
    object.keeper.forget();
    assert!(rig.admit(&object, &ask()).is_ok(), "a reconnect opens it at once");
}

#[test]
fn a_reconnect_whose_message_is_lost_is_seen_within_a_minute() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    rig.place.revoke();
    let object = rig.object();
    assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::Reconnect));
    rig.place.connect(2);
    rig.place.clock.advance_secs(60);
    assert!(rig.admit(&object, &ask()).is_ok());
}

#[test]
fn a_disconnect_whose_message_is_lost_is_seen_within_a_minute() {
    let rig = Rig::new();
    let object = rig.object();
    assert!(rig.admit(&object, &ask()).is_ok());
    let now = rig.place.clock.now();
    pollster::block_on(store::db::run(
        &rig.place.db,
        store::connections::disconnect(&gate_rig::scope(), model::Crm::Hubspot, now),
    ))
    .unwrap();
    rig.place.clock.advance_secs(60);
    assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::NotConnected));
}

#[test]
fn a_refused_token_is_refreshed_once_for_all_who_were_refused() {
    let rig = Rig::new();
    let object = rig.object();
    let first = rig.admit(&object, &ask()).unwrap();
    let answers = rig.callers(&object, CALLERS, &refused(first.token_generation));
    rig.executor.run();
    rig.assert_all_admitted(&answers, CALLERS);
    assert_eq!(rig.place.seen(), (1, 0));

    // A late one whose token was replaced meanwhile gets the new one.
    assert_eq!(rig.admit(&object, &refused(1)).unwrap().token_generation, 2);
    // The new one refused as well: a person must look.
    assert_eq!(rig.admit(&object, &refused(2)).err(), Some(GateRefusal::Reconnect));
    assert_eq!(rig.place.row().last_error_code.as_deref(), Some("token_refused"));
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn a_refusal_is_remembered_over_an_eviction() {
    let rig = Rig::new();
    let object = rig.object();
    assert_eq!(rig.admit(&object, &refused(1)).unwrap().token_generation, 2);
    rig.evict(object);
    let object = rig.object();
    assert_eq!(rig.admit(&object, &refused(2)).err(), Some(GateRefusal::Reconnect));
    assert_eq!(rig.place.seen(), (1, 0));
}

#[test]
fn wrong_app_credentials_raise_an_alarm_and_leave_the_tenant_alone() {
    let rig = Rig::new();
    rig.place.clock.advance_secs(1_800 - 60);
    let wrong =
        stub_crm::App { client_id: "client".into(), client_secret: "another".into(), ..stub_crm::App::default() };
    rig.place.crm.borrow_mut().register(stub_crm::Config { hubspot: wrong, ..stub_crm::Config::default() });
    let object = rig.object();
    assert!(rig.admit(&object, &ask()).is_ok(), "the token has a minute left");
    assert_eq!(rig.place.logged("app_credentials_refused"), 1);
    rig.place.clock.advance_secs(50);
    assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::Unavailable));
    assert_eq!(rig.place.row().status, ConnectionStatus::Connected);
    assert_eq!(rig.place.row().refresh_id, None);
}

#[test]
fn a_token_endpoint_that_is_down_is_asked_ever_more_seldom() {
    let rig = Rig::new();
    rig.place.let_it_expire();
    let on = Match { path_contains: Some("/token".into()), ..Match::default() };
    rig.place.crm.borrow_mut().add_fault(Fault { on, status: Some(503), ..Fault::default() });
    let object = rig.object();
    for _ in 0..3_600 {
        assert_eq!(rig.admit(&object, &ask()).err(), Some(GateRefusal::Unavailable));
        rig.place.clock.advance_secs(1);
    }
    let (calls, twice) = rig.place.seen();
    assert!((12..60).contains(&calls), "{calls} calls in an hour");
    assert_eq!(twice, 0);
    assert_eq!(rig.place.row().status, ConnectionStatus::Connected);
}

#[test]
fn an_idle_connection_is_kept_alive() {
    let rig = Rig::new();
    let object = rig.object();
    for week in 1..=5 {
        rig.place.clock.advance_secs(7 * 86_400);
        let keeper = object.keeper.clone();
        rig.executor.spawn(object.group, async move {
            keeper.keep_alive().await.expect("it is kept alive");
        });
        rig.executor.run();
        assert_eq!(rig.place.seen(), (week, 0));
    }
}
