//! A few hundred seeds of the storm, and that a seed is the same run every time. `npm run simulate` runs thousands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use simulator::storm::{Bug, Coverage, Scenario, Telling, run};

/// `CONDUIT_STORM_SEEDS=5000` for a long look.
#[test]
fn no_seed_breaks_a_rule() {
    let seeds = std::env::var("CONDUIT_STORM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let mut coverage = Coverage::default();
    for seed in 1..=seeds {
        let report = run(&Scenario::draw(seed), None, Telling::Quiet);
        assert_eq!(
            report.wrongs,
            Vec::<String>::new(),
            "seed {seed}: npm run simulate -- --from {seed} --seeds 1 --trace"
        );
        coverage.add(&report.coverage);
    }
    assert!(coverage.reached() > 30, "the faults are met:\n{}", coverage.table());
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [1, 7, 42] {
        let scenario = Scenario::draw(seed);
        let (first, second) = (run(&scenario, None, Telling::Trace), run(&scenario, None, Telling::Trace));
        assert!(first.trace.len() > 20, "{:?}", first.trace);
        assert_eq!(first.trace, second.trace);
    }
}

/// The product's statements change, and the words of the bugs must follow.
#[test]
fn every_planted_bug_fits_the_product() {
    for bug in Bug::ALL {
        let is_bent = (1..=300).any(|seed| {
            let report = run(&Scenario::draw(seed), Some(bug), Telling::Quiet);
            assert_eq!(report.stale, None, "{bug:?}: its statement no longer has these words");
            report.was_bent
        });
        assert!(is_bent, "{bug:?} was in the way of nothing");
    }
}

/// Those that a few seeds show; `npm run simulate` demands all.
#[test]
fn a_planted_bug_is_caught_and_a_clean_run_is_not_blamed() {
    for bug in [
        Bug::NoAttemptRow,
        Bug::AuditOfWritesMissing,
        Bug::TokenLogged,
        Bug::RefreshTokenNotStored,
        Bug::DisconnectKeepsGeneration,
        Bug::AssociationDropped,
    ] {
        let caught = (1..=40).any(|seed| {
            let scenario = Scenario::draw(seed);
            let report = run(&scenario, Some(bug), Telling::Quiet);
            !report.wrongs.is_empty() && report.was_bent && run(&scenario, None, Telling::Quiet).wrongs.is_empty()
        });
        assert!(caught, "{bug:?} in 40 seeds");
    }
}
