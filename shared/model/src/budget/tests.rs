//! The budget against an exact limiter, in simulated time.

use super::{Budget, Calls, Limit, Purpose, Told};
use crate::line::Line;
use crate::{Crm, Timestamp};
use std::collections::VecDeque;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const NOTHING: Calls = Calls { ordinary: 0, searches: 0 };
const ONE: Calls = Calls { ordinary: 1, searches: 0 };
const SEARCH: Calls = Calls { ordinary: 0, searches: 1 };

fn learned(crm: Crm) -> Budget {
    let mut budget = Budget::new(crm);
    budget.report(None, NOTHING, &Told { max: Some(110), remaining: Some(110), ..Told::default() }, NOW);
    budget
}

/// Takes and reports at once.
fn make(budget: &mut Budget, purpose: Purpose, now: Timestamp) -> bool {
    let Ok(permit) = budget.take(purpose, ONE, NOTHING, now) else { return false };
    budget.report(permit.report.then_some(permit.id), ONE, &Told::default(), now);
    true
}

#[test]
fn a_fifth_is_kept_for_people_until_it_would_be_free_anyway() {
    let mut budget = learned(Crm::Hubspot);
    let burst = (0..200).filter(|_| make(&mut budget, Purpose::Writes, NOW)).count();
    assert!(burst <= 88, "{burst}");
    assert!(!make(&mut budget, Purpose::Background, NOW.plus_ms(1)));
    let people = (0..200).filter(|_| make(&mut budget, Purpose::Interactive, NOW.plus_ms(2))).count();
    assert!((20..=22 + 88 - burst).contains(&people), "{people}");
}

#[test]
fn the_window_is_never_overrun_and_nearly_used_up() {
    // Calls arrive 30 ms after their permit and are reported 60 ms after it; many at once.
    let (mut budget, mut line) = (learned(Crm::Hubspot), Line::default());
    let mut arrivals: VecDeque<i64> = VecDeque::new();
    let mut reports: VecDeque<(i64, u64)> = VecDeque::new();
    let mut made = 0_u32;
    let minutes = 10;
    for ms in (0..minutes * 60_000).step_by(10) {
        let now = NOW.plus_ms(ms);
        while reports.front().is_some_and(|(at, _)| *at <= ms) {
            let (_, permit) = reports.pop_front().unwrap();
            budget.report(Some(permit), ONE, &Told::default(), now);
        }
        while let Ok(permit) = budget.take(Purpose::Writes, ONE, line.ahead(Purpose::Writes, ONE, None), now) {
            line.served(Purpose::Writes);
            if permit.report {
                reports.push_back((ms + 60, permit.id));
            }
            arrivals.push_back(ms + 30);
            while arrivals.front().is_some_and(|at| *at <= ms + 30 - 10_000) {
                arrivals.pop_front();
            }
            assert!(arrivals.len() <= 110, "{} in ten seconds at {ms}", arrivals.len());
            made += 1;
        }
    }
    let allowed = u32::try_from(minutes * 660).unwrap();
    assert!(made * 100 >= allowed * 97, "{made} of {allowed}");
}

#[test]
fn searches_have_a_window_of_their_own() {
    let mut budget = learned(Crm::Hubspot);
    let mut made = 0;
    for ms in (0..10_000).step_by(5) {
        let now = NOW.plus_ms(ms);
        if let Ok(permit) = budget.take(Purpose::Interactive, SEARCH, NOTHING, now) {
            budget.report(Some(permit.id), SEARCH, &Told::default(), now);
            made += 1;
        }
    }
    assert!((48..=50).contains(&made), "{made}");
    assert!(make(&mut budget, Purpose::Writes, NOW.plus_ms(9_999)), "ordinary calls go on meanwhile");
}

#[test]
fn what_others_use_is_left_to_them_and_taken_back_when_they_stop() {
    let mut budget = learned(Crm::Hubspot);
    assert!(make(&mut budget, Purpose::Writes, NOW));
    let told = |remaining| Told { max: Some(110), remaining: Some(remaining), ..Told::default() };
    budget.report(None, NOTHING, &told(54), NOW);
    let now = NOW.plus_ms(10);
    let count = |budget: &Budget, now| {
        let mut budget = budget.clone();
        (0..200).filter(|_| make(&mut budget, Purpose::Interactive, now)).count()
    };
    assert_eq!(count(&budget, now), 54);
    budget.refused(Limit::Window, now.plus_secs(10), None, now);
    assert_eq!(count(&budget, now.plus_ms(999)), 0, "a moment's rest");
    assert_eq!(count(&budget, now.plus_ms(1_001)), 52, "and a little less");
    assert_eq!(count(&budget, now.plus_secs(60)), 110, "long after");
}

#[test]
fn until_the_first_headers_only_a_few_are_under_way() {
    let mut budget = Budget::new(Crm::Hubspot);
    let permits: Vec<_> = (0..50).map_while(|_| budget.take(Purpose::Writes, ONE, NOTHING, NOW).ok()).collect();
    assert_eq!(permits.len(), 10);
    assert!(permits.iter().all(|permit| permit.report));
    budget.report(Some(permits[0].id), ONE, &Told { max: Some(110), remaining: Some(100), ..Told::default() }, NOW);
    assert!(budget.take(Purpose::Writes, ONE, NOTHING, NOW).is_ok());
}

#[test]
fn what_a_lot_did_not_need_is_free_at_once() {
    let mut budget = learned(Crm::Hubspot);
    let all = Calls { ordinary: 88, searches: 0 };
    let permit = budget.take(Purpose::Writes, all, NOTHING, NOW).unwrap();
    assert!(permit.report);
    assert!(!make(&mut budget, Purpose::Writes, NOW));
    budget.report(Some(permit.id), ONE, &Told::default(), NOW.plus_ms(100));
    assert!(make(&mut budget, Purpose::Writes, NOW.plus_ms(100)));
}

#[test]
fn a_holder_that_is_gone_does_not_keep_its_permits() {
    let mut budget = learned(Crm::Hubspot);
    let all = Calls { ordinary: 88, searches: 0 };
    assert!(budget.take(Purpose::Writes, all, NOTHING, NOW).is_ok());
    assert!(!make(&mut budget, Purpose::Writes, NOW.plus_secs(59)));
    assert!(make(&mut budget, Purpose::Writes, NOW.plus_secs(71)));
}

#[test]
fn an_easy_budget_wants_no_report() {
    let mut budget = learned(Crm::Hubspot);
    let mut wants = |calls, second| {
        let lot = Calls { ordinary: calls, searches: 0 };
        budget.take(Purpose::Writes, lot, NOTHING, NOW.plus_secs(second)).unwrap().report
    };
    assert!((0..100).all(|second| !wants(4, second)));
    assert!(wants(20, 100), "more than half");
    assert!(wants(1, 129), "and for a while after it");
    assert!(!wants(1, 200));
}

#[test]
fn the_day_ends_for_backfills_first_and_for_people_last() {
    for (used, background, writes, people) in [
        (7_999, true, true, true),
        (8_000, false, true, true),
        (9_500, false, false, true),
        (10_000, false, false, false),
    ] {
        let told = Told { daily_used: Some(used), daily_max: Some(10_000), ..Told::default() };
        for (purpose, expected) in
            [(Purpose::Background, background), (Purpose::Writes, writes), (Purpose::Interactive, people)]
        {
            let mut budget = Budget::new(Crm::Salesforce);
            budget.report(None, NOTHING, &told, NOW);
            let taken = budget.take(purpose, ONE, NOTHING, NOW);
            assert_eq!(taken.is_ok(), expected, "{purpose:?} at {used}");
            if let Err(at) = taken {
                assert_eq!(at, NOW.plus_secs(900));
                assert!(budget.take(purpose, ONE, NOTHING, at).is_ok(), "one looks");
                assert!(budget.take(purpose, ONE, NOTHING, at).is_err(), "only one");
            }
        }
    }
}

#[test]
fn a_refusal_waits_for_what_ends_it() {
    let until = NOW.plus_secs(3_600);
    for (limit, told, ordinary_at, search_at) in [
        (Limit::Daily, None, until, until),
        (Limit::Daily, Some(NOW.plus_secs(7)), NOW.plus_secs(7), NOW.plus_secs(7)),
        (Limit::Window, Some(NOW.plus_secs(7)), NOW.plus_secs(7), NOW),
        (Limit::Window, None, NOW.plus_secs(1), NOW),
        (Limit::Searches, None, NOW, NOW.plus_secs(1)),
    ] {
        let mut budget = learned(Crm::Hubspot);
        budget.refused(limit, until, told, NOW);
        let at = |calls| budget.clone().take(Purpose::Interactive, calls, NOTHING, NOW).err().unwrap_or(NOW);
        assert_eq!((at(ONE), at(SEARCH)), (ordinary_at, search_at), "{limit:?} {told:?}");
    }
}

#[test]
fn a_locked_row_makes_writes_go_one_by_one_for_a_minute() {
    let mut budget = learned(Crm::Salesforce);
    budget.refused(Limit::Lock, NOW, None, NOW);
    let first = budget.take(Purpose::Writes, ONE, NOTHING, NOW).unwrap();
    assert!(budget.take(Purpose::Writes, ONE, NOTHING, NOW).is_err());
    assert!(budget.take(Purpose::Interactive, ONE, NOTHING, NOW).is_ok(), "a person does not queue for it");
    let mut later = budget.clone();
    assert!(later.take(Purpose::Writes, ONE, NOTHING, NOW.plus_secs(61)).is_ok());
    budget.refused(Limit::Concurrent, NOW, None, NOW);
    budget.report(Some(first.id), ONE, &Told::default(), NOW.plus_secs(1));
    assert!(budget.take(Purpose::Writes, ONE, NOTHING, NOW.plus_secs(1)).is_ok());
    assert!(budget.take(Purpose::Writes, ONE, NOTHING, NOW.plus_secs(1)).is_err(), "two at once");
}

#[test]
fn a_snapshot_brings_back_what_was_known() {
    let mut budget = learned(Crm::Hubspot);
    for _ in 0..60 {
        assert!(make(&mut budget, Purpose::Writes, NOW));
    }
    budget.refused(Limit::Daily, NOW.plus_secs(2_000), None, NOW);
    let line = budget.due_snapshot(NOW).unwrap();
    assert_eq!(budget.due_snapshot(NOW.plus_secs(60)), None, "nothing new");
    let restored = Budget::restored(Crm::Hubspot, &line, NOW.plus_secs(1));
    let at = |now| restored.clone().take(Purpose::Interactive, ONE, NOTHING, now).err();
    assert_eq!(at(NOW.plus_secs(1_999)), Some(NOW.plus_secs(2_000)));
    assert_eq!(at(NOW.plus_secs(2_000)), None);

    let mut busy = learned(Crm::Hubspot);
    for _ in 0..60 {
        assert!(make(&mut busy, Purpose::Writes, NOW));
    }
    let line = busy.due_snapshot(NOW).unwrap();
    let mut restored = Budget::restored(Crm::Hubspot, &line, NOW.plus_secs(1));
    let left = (0..200).filter(|_| make(&mut restored, Purpose::Interactive, NOW.plus_secs(1))).count();
    assert_eq!(left, 110 - 60 - 16, "and what may have been permitted since");

    for torn in ["", "1 1 1", "2", "2 2 x", "2 9 1 110 10000 0 0 0 0 0 0 -5 0", "2 9 1 110 10000 0 0 0 0 0 0 5 0 7"] {
        let mut fresh = Budget::restored(Crm::Hubspot, torn, NOW);
        assert!(fresh.take(Purpose::Writes, ONE, NOTHING, NOW).is_ok(), "{torn}");
    }
}

#[test]
fn restarts_do_not_count_a_call_again() {
    // Fifty calls every thirteen seconds, and a new instance for each time.
    let mut line = {
        let mut budget = learned(Crm::Hubspot);
        assert!(make(&mut budget, Purpose::Writes, NOW));
        budget.due_snapshot(NOW).unwrap()
    };
    for round in 0..20 {
        let now = NOW.plus_ms(13_000 * round + 300);
        let mut budget = Budget::restored(Crm::Hubspot, &line, now);
        for nth in 0..50 {
            assert!(make(&mut budget, Purpose::Writes, now.plus_ms(nth)), "call {nth} of round {round} waits");
            line = budget.due_snapshot(now.plus_ms(nth)).unwrap_or(line);
        }
    }
    // Nor are they forgotten: restarted twice within a second of it, the window is as full as it was. 49 calls were kept in
    // the last round, and every restart may have lost 16.
    let now = NOW.plus_ms(13_000 * 19 + 1_000);
    let mut budget = Budget::restored(Crm::Hubspot, &line, now);
    assert!(make(&mut budget, Purpose::Interactive, now));
    budget.unsaved = super::snapshot::CALLS_MAX;
    line = budget.due_snapshot(now).unwrap();
    let mut budget = Budget::restored(Crm::Hubspot, &line, now);
    let left = (0..110).filter(|_| make(&mut budget, Purpose::Interactive, now)).count();
    assert_eq!(left, 110 - 49 - 1 - 3 * 16);
}

#[test]
fn a_lot_larger_than_what_is_left_by_others_still_goes_some_time() {
    let mut budget = learned(Crm::Hubspot);
    budget.report(None, NOTHING, &Told { max: Some(110), remaining: Some(0), ..Told::default() }, NOW);
    let lot = Calls { ordinary: 24, searches: 0 };
    assert!(budget.take(Purpose::Writes, lot, NOTHING, NOW).is_ok(), "two are always ours, and nothing else is there");
}

#[test]
fn people_go_first_and_the_others_by_turns() {
    let mut line = Line::default();
    let writes: Vec<u64> = (0..2).map(|_| line.join(Purpose::Writes, ONE)).collect();
    let background = line.join(Purpose::Background, ONE);
    assert_eq!(line.ahead(Purpose::Writes, ONE, Some(writes[0])), NOTHING);
    assert_eq!(line.ahead(Purpose::Writes, ONE, Some(writes[1])), ONE);
    assert_eq!(line.ahead(Purpose::Background, ONE, Some(background)), ONE, "not its turn");
    for _ in 0..3 {
        line.served(Purpose::Writes);
    }
    assert_eq!(line.ahead(Purpose::Background, ONE, Some(background)), NOTHING);
    assert_eq!(line.ahead(Purpose::Writes, ONE, Some(writes[0])), ONE);
    let person = line.join(Purpose::Interactive, ONE);
    assert_eq!(line.ahead(Purpose::Interactive, ONE, Some(person)), NOTHING);
    assert_eq!(line.ahead(Purpose::Background, ONE, Some(background)), ONE);
    assert_eq!(line.ahead(Purpose::Writes, SEARCH, None), NOTHING, "searches have a budget of their own");
    line.leave(person);
    line.leave(background);
    assert_eq!(line.ahead(Purpose::Writes, ONE, Some(writes[0])), NOTHING);
}

#[test]
fn told_times_follow_each_other_and_are_kept_a_minute() {
    let mut line = Line::default();
    let first = line.tell(Purpose::Writes, ONE, NOW.plus_secs(10), 91);
    let second = line.tell(Purpose::Writes, ONE, NOW.plus_secs(10), 91);
    assert_eq!((first, second), (NOW.plus_secs(10), NOW.plus_secs(10).plus_ms(91)));
    assert_eq!(line.open_at(Purpose::Writes, ONE), second.plus_ms(91));
    assert!(!line.take_told(Purpose::Writes, ONE, NOW.plus_secs(9)));
    assert!(line.take_told(Purpose::Writes, ONE, first));
    assert!(!line.take_told(Purpose::Background, ONE, second), "another lane's");
    assert!(!line.take_told(Purpose::Writes, ONE, second.plus_secs(61)), "nobody came");
    assert_eq!(line.open_at(Purpose::Writes, ONE), Timestamp::default());
}
