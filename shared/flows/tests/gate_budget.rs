//! The gate's request budget: thousands of queued calls against the stand-in, which enforces HubSpot's limits exactly. In
//! simulated time. Prints what it measures, as `measure KEY NUMBER`, for the bench.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_precision_loss, reason = "tests")]

mod gate_rig;

use flows::gate::{Ask, GateRefusal, Limit, Purpose, Report};
use flows::gate_keeper::GateKeeper;
use flows::world::Http;
use gate_rig::{Object, Ports, Rig};
use model::Timestamp;
use providers::http::{Body, Effect, Method, Request};
use std::cell::RefCell;
use std::rc::Rc;

/// What became of the calls.
#[derive(Default)]
struct Tally {
    sent: u32,
    refused: u32,
    last_at: Timestamp,
    waits_ms: Vec<i64>,
    asks: u32,
}

type Shared = Rc<RefCell<Tally>>;

fn request(is_search: bool) -> Request {
    let contacts = "https://api.hubapi.com/crm/objects/2026-03/contacts";
    if is_search {
        let body = Body::Json("{\"limit\":1}".to_owned());
        return Request::new(Method::Post, format!("{contacts}/search"), body, Effect::Reads);
    }
    Request::get(format!("{contacts}?limit=1"))
}

/// One call, as a flow makes it: a permit, the call, the report; a time that is told is waited for.
async fn call(keeper: GateKeeper, ports: Rc<Ports>, purpose: Purpose, is_search: bool, tally: Shared) {
    let ask = Ask { calls: u32::from(!is_search), searches: u32::from(is_search), purpose, refused_generation: None };
    let began = ports.0.clock.now();
    loop {
        tally.borrow_mut().asks += 1;
        let admission = match keeper.admit(&ask).await {
            Ok(admission) => admission,
            Err(GateRefusal::Wait(at)) => {
                ports.0.clock.sleep(u64::try_from(at.0 - ports.0.clock.now().0).unwrap_or(0)).await;
                continue;
            }
            Err(refusal) => panic!("{refusal}"),
        };
        tally.borrow_mut().waits_ms.push(ports.0.clock.now().0 - began.0);
        let answer = ports.send(request(is_search).with_bearer(admission.access_token.clone())).await.unwrap();
        let is_refused = answer.status == 429;
        {
            let mut tally = tally.borrow_mut();
            tally.sent += 1;
            tally.refused += u32::from(is_refused);
            tally.last_at = ports.0.clock.now();
        }
        let limit = if is_search { Limit::Searches } else { Limit::Window };
        let report = Report {
            permit: admission.permit,
            calls: ask.calls,
            searches: ask.searches,
            limits: answer.headers.clone(),
            refused: is_refused.then_some(limit),
            not_before: None,
        };
        if admission.permit.is_some() || is_refused {
            keeper.report(&report);
        }
        if !is_refused {
            return;
        }
    }
}

/// A connection whose token outlives the test.
fn rig() -> Rig {
    let rig = Rig::new();
    rig.place.crm.borrow_mut().switches_mut().hubspot_token_life_secs = 80_000;
    rig.place.crm.borrow_mut().switches_mut().hubspot_check_scopes = false;
    rig.place.connect(2);
    rig
}

fn queue(rig: &Rig, object: &Object, calls: u32, purpose: Purpose, is_search: bool) -> Shared {
    let tally = Shared::default();
    let ports = Rc::new(Ports(Rc::clone(&rig.place)));
    for _ in 0..calls {
        let one = call(object.keeper.clone(), Rc::clone(&ports), purpose, is_search, Rc::clone(&tally));
        rig.executor.spawn(object.group, one);
    }
    tally
}

/// One call of a person every so often, for as long as there are others.
fn people(rig: &Rig, object: &Object, every_ms: u64, calls: u32) -> Shared {
    let tally = Shared::default();
    let ports = Rc::new(Ports(Rc::clone(&rig.place)));
    for nth in 0..u64::from(calls) {
        let (keeper, ports, tally) = (object.keeper.clone(), Rc::clone(&ports), Rc::clone(&tally));
        let nap = rig.place.clock.sleep(nth * every_ms);
        rig.executor.spawn(object.group, async move {
            nap.await;
            call(keeper, ports, Purpose::Interactive, false, tally).await;
        });
    }
    tally
}

fn secs(began: Timestamp, tally: &Shared) -> f64 {
    (tally.borrow().last_at.0 - began.0) as f64 / 1_000.0
}

fn p99(waits: &mut [i64]) -> i64 {
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

#[test]
fn five_thousand_queued_calls_meet_no_429_and_use_the_allowed_rate() {
    let rig = rig();
    let object = rig.object();
    let began = rig.place.clock.now();
    let ordinary = queue(&rig, &object, 4_000, Purpose::Writes, false);
    let searches = queue(&rig, &object, 1_000, Purpose::Writes, true);
    rig.executor.run();
    // What a rolling window allows in this time: a full one at the start, and one more each ten seconds.
    let share = |tally: &Shared, window: f64, per_window: f64| {
        f64::from(tally.borrow().sent) / (secs(began, tally) / window * per_window)
    };
    let (of_calls, of_searches) = (share(&ordinary, 10.0, 110.0), share(&searches, 1.0, 5.0));
    println!("measure budget.used_share {:.4}", of_calls.min(of_searches).min(1.0));
    println!("calls {of_calls:.4}, searches {of_searches:.4}");
    assert_eq!((ordinary.borrow().sent, searches.borrow().sent), (4_000, 1_000), "each call was made once");
    assert_eq!(ordinary.borrow().refused + searches.borrow().refused, 0, "no 429");
    assert!(of_calls >= 0.95 && of_searches >= 0.95, "{of_calls} {of_searches}");
    // Nobody polls: a first question, perhaps a second one at the time that was told.
    let asks = ordinary.borrow().asks + searches.borrow().asks;
    println!("questions per call: {:.2}", f64::from(asks) / 5_000.0);
    assert!(asks < 12_500, "{asks}");
}

#[test]
fn half_of_the_budget_used_by_another_consumer_is_left_to_it() {
    let rig = rig();
    rig.place.crm.borrow_mut().switches_mut().hubspot_other_consumer = 55;
    let object = rig.object();
    let began = rig.place.clock.now();
    let writes = queue(&rig, &object, 5_000, Purpose::Writes, false);
    let persons = people(&rig, &object, 2_000, 400);
    rig.executor.run();
    let (writes, mut persons) = (writes.borrow(), persons.borrow_mut());
    let share_429 = f64::from(writes.refused + persons.refused) / f64::from(writes.sent + persons.sent);
    let secs = (writes.last_at.0 - began.0) as f64 / 1_000.0;
    let used = f64::from(writes.sent + persons.sent) / (secs / 10.0 * 55.0);
    println!("measure budget.share_429 {share_429:.5}");
    println!("measure budget.interactive_p99_ms {}", p99(&mut persons.waits_ms));
    println!("of the half that is left: {used:.3}");
    assert!(share_429 < 0.01, "{share_429}");
    assert!(used > 0.9, "{used}");
    assert!(p99(&mut persons.waits_ms) <= 3_000, "{}", p99(&mut persons.waits_ms));
}

#[test]
fn a_person_does_not_wait_behind_a_backfill() {
    let rig = rig();
    let object = rig.object();
    let backfill = queue(&rig, &object, 3_000, Purpose::Background, false);
    let persons = people(&rig, &object, 1_000, 200);
    rig.executor.run();
    let waited = p99(&mut persons.borrow_mut().waits_ms);
    println!("interactive p99 beside a backfill: {waited} ms");
    assert!(waited <= 2_500, "{waited}");
    assert_eq!(backfill.borrow().refused + persons.borrow().refused, 0);
}

#[test]
fn writes_and_background_work_both_go_on() {
    let rig = rig();
    let object = rig.object();
    let writes = queue(&rig, &object, 1_500, Purpose::Writes, false);
    let background = queue(&rig, &object, 500, Purpose::Background, false);
    let until = rig.place.clock.now().plus_secs(100);
    rig.executor.run_until(|| rig.place.clock.now() >= until);
    let (w, b) = (writes.borrow().sent, background.borrow().sent);
    println!("after 100 s: {w} writes, {b} of background work");
    assert!(b * 6 >= w && b <= w, "{w} {b}");
    rig.executor.run();
    assert_eq!((writes.borrow().sent, background.borrow().sent), (1_500, 500), "all of it, in the end");
}

#[test]
fn the_budget_outlives_the_object() {
    let rig = rig();
    let object = rig.object();
    let first = queue(&rig, &object, 88, Purpose::Writes, false);
    let until = rig.place.clock.now().plus_secs(2);
    rig.executor.spawn(0, rig.place.clock.sleep(2_000));
    rig.executor.run_until(|| rig.place.clock.now() >= until);
    rig.evict(object);
    let object = rig.object();
    let second = queue(&rig, &object, 200, Purpose::Writes, false);
    rig.executor.run();
    assert!(first.borrow().sent >= 80);
    assert_eq!(
        first.borrow().refused + second.borrow().refused,
        0,
        "what the old one permitted is known to the new one"
    );
}
