//! Making a failing scenario smaller: steps and faults are left out as long as the same rule is still broken.

use super::place::Telling;
use super::planted::Bug;
use super::run;
use super::scenario::Scenario;

/// The smallest scenario found that still breaks the rule that this one breaks first.
pub fn shrink(scenario: &Scenario, bug: Option<Bug>) -> Scenario {
    let rule = |scenario: &Scenario| {
        let report = run(scenario, bug, Telling::Quiet);
        report.wrongs.first().map(|wrong| wrong.split(':').next().unwrap_or_default().to_owned())
    };
    let Some(broken) = rule(scenario) else { return scenario.clone() };
    let mut smallest = scenario.clone();
    loop {
        let before = smallest.steps.len() + smallest.faults.len();
        for at in (0..smallest.faults.len()).rev() {
            let mut less = smallest.clone();
            less.faults.remove(at);
            if rule(&less).as_ref() == Some(&broken) {
                smallest = less;
            }
        }
        for at in (0..smallest.steps.len()).rev() {
            let mut less = smallest.clone();
            less.steps.remove(at);
            if rule(&less).as_ref() == Some(&broken) {
                smallest = less;
            }
        }
        if smallest.steps.len() + smallest.faults.len() == before {
            return smallest;
        }
    }
}
