//! `npm run simulate`: seeds through the storm, the coverage of it, and the planted bugs.
//!
//!   --seeds N      how many (default 1,000)
//!   --from S       the first (default 1)
//!   --json FILE    the figures, as one flat JSON object
//!   --trace        every call of the first seed
//!   --no-planted   without the planted bugs
//!   --bug NAME     with this planted bug alone
//!   --exactly-once N   instead of seeds: N outcomes through Conduit and through a client as templates are

use simulator::storm::side_by_side::{self, Left};
use simulator::storm::{Bug, Coverage, Kind, Scenario, Telling, run, shrink};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "how long a run takes is measured on the wall")]
fn now() -> Instant {
    Instant::now()
}

/// So many failing seeds are made smaller.
const SHRUNK_MAX: u64 = 5;
/// A planted bug must be caught within this many seeds.
const PLANTED_SEEDS_MAX: u64 = 3_000;
/// And must be in the way of something within this many: else its words are those of an older product.
const BENT_SEEDS_MAX: u64 = 300;

struct Options {
    seeds: u64,
    from: u64,
    json: Option<String>,
    trace: bool,
    bugs: Vec<Bug>,
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
        bugs: if is_given("--no-planted") { Vec::new() } else { bugs(value("--bug").as_deref()) },
        exactly_once: value("--exactly-once").and_then(|text| text.parse().ok()),
    }
}

/// The one of this name, or all.
fn bugs(name: Option<&str>) -> Vec<Bug> {
    Bug::ALL.into_iter().filter(|bug| name.is_none_or(|name| format!("{bug:?}") == name)).collect()
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
    if options.bugs.is_empty() && std::env::args().any(|word| word == "--bug") {
        eprintln!("there is no such bug; there are {:?}", Bug::ALL);
        return ExitCode::FAILURE;
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
    let caught = if options.bugs.is_empty() { 0 } else { planted(&options) };
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
    if violations == 0 && caught == options.bugs.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// Does the work of every number on all of the machine's processors. A run belongs to one thread whole, so it is the same run
/// whatever goes on beside it.
fn on_every_processor(numbers: std::ops::Range<u64>, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(numbers.start);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

fn storm(options: &Options) -> (Coverage, u64) {
    let sum = Mutex::new((Coverage::default(), 0));
    on_every_processor(options.from..options.from + options.seeds, |seed| {
        let scenario = Scenario::draw(seed);
        let telling = if options.trace && seed == options.from { Telling::Trace } else { Telling::Quiet };
        let report = run(&scenario, None, telling);
        report.trace.iter().for_each(|line| println!("{line}"));
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0.add(&report.coverage);
        if !report.wrongs.is_empty() {
            sum.1 += 1;
            tell_of(seed, &scenario, &report.wrongs, sum.1);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A failing seed; the first ones made smaller.
fn tell_of(seed: u64, scenario: &Scenario, wrongs: &[String], nth: u64) {
    println!("seed {seed} (npm run simulate -- --from {seed} --seeds 1 --trace --no-planted)");
    wrongs.iter().take(3).for_each(|wrong| println!("  {wrong}"));
    if nth > SHRUNK_MAX {
        return;
    }
    let smallest = shrink(scenario, None);
    println!("  smallest: {} steps, {} faults, {:?}", smallest.steps.len(), smallest.faults.len(), smallest.habits);
    smallest.steps.iter().for_each(|step| println!("    {step:?}"));
    smallest.faults.iter().for_each(|fault| println!("    {fault:?}"));
    run(&smallest, None, Telling::Trace).trace.iter().for_each(|line| println!("      {line}"));
}

/// How many planted bugs are caught, each told with the seeds it took.
fn planted(options: &Options) -> usize {
    let caught = AtomicUsize::new(0);
    let count = u64::try_from(options.bugs.len()).unwrap_or(u64::MAX);
    on_every_processor(0..count, |nth| {
        let bug = usize::try_from(nth).ok().and_then(|nth| options.bugs.get(nth));
        if bug.is_some_and(|bug| is_caught(*bug, options.from)) {
            caught.fetch_add(1, Ordering::Relaxed);
        }
    });
    let caught = caught.into_inner();
    println!("{caught} of {} planted bugs caught", options.bugs.len());
    caught
}

fn is_caught(bug: Bug, from: u64) -> bool {
    let mut was_bent = false;
    for seed in from..from + PLANTED_SEEDS_MAX {
        let scenario = Scenario::draw(seed);
        let report = run(&scenario, Some(bug), Telling::Quiet);
        was_bent |= report.was_bent;
        if let Some(words) = report.stale {
            println!("STALE   {bug:?}: its statement no longer has the words {words:?}");
            return false;
        }
        if !was_bent && seed == from + BENT_SEEDS_MAX {
            println!("STALE   {bug:?}: it was in the way of nothing in {BENT_SEEDS_MAX} seeds");
            return false;
        }
        let Some(wrong) = report.wrongs.first() else { continue };
        // Without the bug the same seed must be clean: else it is something else that was caught.
        if run(&scenario, None, Telling::Quiet).wrongs.is_empty() {
            let (name, wrong) = (format!("{bug:?}"), wrong.chars().take(90).collect::<String>());
            println!("caught  {name:<28} after {:>5} seeds: {wrong}", seed - from + 1);
            return true;
        }
    }
    println!("MISSED  {bug:?} in {PLANTED_SEEDS_MAX} seeds");
    false
}
