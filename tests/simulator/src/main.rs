//! `npm run simulate`: seeds through the storm, the coverage of it, and the planted bugs.
//!
//!   --seeds N      how many (default 1,000)
//!   --from S       the first (default 1)
//!   --json FILE    the figures, as one flat JSON object
//!   --trace        every call of the first seed
//!   --no-planted   without the planted bugs
//!   --exactly-once N   instead of seeds: N outcomes through Conduit and through a client as templates are

use simulator::storm::side_by_side::{self, Left};
use simulator::storm::{Bug, Coverage, Kind, Scenario, Telling, run, shrink};
use std::process::ExitCode;
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "how long a run takes is measured on the wall")]
fn now() -> Instant {
    Instant::now()
}

/// A planted bug must be caught within this many seeds.
const PLANTED_SEEDS_MAX: u64 = 3_000;

struct Options {
    seeds: u64,
    from: u64,
    json: Option<String>,
    trace: bool,
    planted: bool,
    exactly_once: Option<u32>,
}

fn options() -> Options {
    let words: Vec<String> = std::env::args().collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)).cloned();
    let number = |name: &str, otherwise| value(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let is_given = |name: &str| words.iter().any(|word| word == name);
    Options {
        seeds: number("--seeds", 1_000),
        from: number("--from", 1),
        json: value("--json"),
        trace: is_given("--trace"),
        planted: !is_given("--no-planted"),
        exactly_once: value("--exactly-once").and_then(|text| text.parse().ok()),
    }
}

fn commit() -> String {
    let out = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    out.ok()
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn main() -> ExitCode {
    let options = options();
    if let Some(count) = options.exactly_once {
        return exactly_once(count, options.json.as_deref());
    }
    println!("commit {}, seeds {} to {}", commit(), options.from, options.from + options.seeds - 1);
    let began = now();
    let (coverage, violations) = storm(&options);
    let secs = began.elapsed().as_secs_f64();
    println!("{}", coverage.table());
    println!(
        "{} seeds in {secs:.1} s, {violations} with a violation; {} of {} kinds of faults met",
        options.seeds,
        coverage.reached(),
        Kind::DRAWN.len()
    );
    let caught = if options.planted { planted(options.from) } else { 0 };
    if let Some(file) = &options.json {
        let figures = format!(
            "{{\"seeds\": {}, \"violations\": {violations}, \"planted_caught\": {caught}, \"planted_total\": {}, \"faults_reached\": {}, \"faults_total\": {}}}\n",
            options.seeds,
            Bug::ALL.len(),
            coverage.reached(),
            Kind::DRAWN.len()
        );
        if !write_down(file, &figures) {
            return ExitCode::FAILURE;
        }
    }
    let all_caught = !options.planted || caught == Bug::ALL.len();
    if violations == 0 && all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_down(file: &str, figures: &str) -> bool {
    let done = std::fs::write(file, figures);
    if let Err(error) = &done {
        eprintln!("{file}: {error}");
    }
    done.is_ok()
}

/// The same outcomes both ways.
fn exactly_once(count: u32, json: Option<&str>) -> ExitCode {
    let (ours, naive) = (side_by_side::conduit(count), side_by_side::naive(count));
    println!("{count} outcomes, 1 % of answers lost, 1 % answered 500 after the effect, 5 % of messages twice");
    for (name, Left { doubles, losses, calls }) in [("conduit", ours), ("naive", naive)] {
        println!("{name:<10} doubles {doubles:>6}  losses {losses:>6}  calls {calls:>7}");
    }
    let figures = format!(
        "{{\"doubles.conduit\": {}, \"losses.conduit\": {}, \"doubles.naive\": {}, \"losses.naive\": {}}}\n",
        ours.doubles, ours.losses, naive.doubles, naive.losses
    );
    let is_written = json.is_none_or(|file| write_down(file, &figures));
    if is_written && ours.doubles == 0 && ours.losses == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn storm(options: &Options) -> (Coverage, u64) {
    let mut coverage = Coverage::default();
    let mut violations = 0;
    for seed in options.from..options.from + options.seeds {
        let scenario = Scenario::draw(seed);
        let telling = if options.trace && seed == options.from { Telling::Trace } else { Telling::Quiet };
        let report = run(&scenario, None, telling);
        report.trace.iter().for_each(|line| println!("{line}"));
        coverage.add(&report.coverage);
        if !report.wrongs.is_empty() {
            violations += 1;
            if violations <= 5 {
                tell_of(seed, &scenario, &report.wrongs);
            }
        }
    }
    (coverage, violations)
}

/// A failing seed, made smaller.
fn tell_of(seed: u64, scenario: &Scenario, wrongs: &[String]) {
    println!("seed {seed} (npm run simulate -- --from {seed} --seeds 1 --trace --no-planted)");
    wrongs.iter().take(3).for_each(|wrong| println!("  {wrong}"));
    let smallest = shrink(scenario, None);
    println!("  smallest: {} steps, {} faults, {:?}", smallest.steps.len(), smallest.faults.len(), smallest.habits);
    smallest.steps.iter().for_each(|step| println!("    {step:?}"));
    smallest.faults.iter().for_each(|fault| println!("    {fault:?}"));
    run(&smallest, None, Telling::Trace).trace.iter().for_each(|line| println!("      {line}"));
}

/// How many planted bugs are caught, each told with the seeds it took.
fn planted(from: u64) -> usize {
    let mut caught = 0;
    for bug in Bug::ALL {
        let mut was_bent = false;
        let found = (from..from + PLANTED_SEEDS_MAX).find_map(|seed| {
            let scenario = Scenario::draw(seed);
            let report = run(&scenario, Some(bug), Telling::Quiet);
            was_bent |= report.was_bent;
            let wrong = report.wrongs.into_iter().next()?;
            // Without the bug the same seed must be clean: else it is something else that was caught.
            run(&scenario, None, Telling::Quiet).wrongs.is_empty().then_some((seed - from + 1, wrong))
        });
        match found {
            Some((seeds, wrong)) => {
                caught += 1;
                println!(
                    "caught  {:<28} after {seeds:>5} seeds: {}",
                    format!("{bug:?}"),
                    wrong.chars().take(90).collect::<String>()
                );
            }
            None if was_bent => println!("MISSED  {bug:?} in {PLANTED_SEEDS_MAX} seeds"),
            None => println!("MISSED  {bug:?}: its words fit no statement or request any more"),
        }
    }
    println!("{caught} of {} planted bugs caught", Bug::ALL.len());
    caught
}
