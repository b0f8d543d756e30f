//! A day of simulated time: 2,000 connections, 200,000 writes, 3 % of the calls to a CRM lost on the way there or back, and six
//! hours in which HubSpot lets the app in no more. The jobs run on their schedules, the processors and checkers hear their
//! queues. What must hold is checked at the end; what the jobs cost is printed: queries, and the rows they were answered. (The
//! rows that D1 read for it, and bills, are counted on D1 itself: `npm run bench -- --only jobs`.)
//!
//!     npm run simulate -- --day [connections] [writes]
//!
//! `npm test` lives through a small one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::needless_pass_by_ref_mut,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measure: it fails by a panic and prints what it found"
)]

mod check;

use async_trait::async_trait;
use crypto::Keyring;
use crypto::pii::PiiMaster;
use flows::authenticate::Caller;
use flows::check_health::{Checked, check_health};
use flows::process_writes::{HubSpot, Salesforce, process_writes};
use flows::purge_installs::purge_installs;
use flows::purge_retention::{PurgeKeys, purge_retention};
use flows::reconcile_connections::reconcile_connections;
use flows::reconcile_crm_writes::reconcile_crm_writes;
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use flows::seal_audit::seal_audit;
use flows::start_oauth::Start;
use flows::submit_writes::submit_writes;
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use model::health::CheckRound;
use model::{Crm, Health, Role, Secret, Timestamp, WorkspaceId};
use pollster::block_on;
use serde_json::{Value, json};
use simulator::{Browser, Fault, Port, Sim, workspace};
use std::collections::BTreeMap;
use stub_db::Counters;

const DAY_MINUTES: usize = 24 * 60;
/// HubSpot refuses the app's checks in these minutes.
const REFUSING: std::ops::Range<usize> = 600..960;
/// Every write is final this long after its last obstacle, whatever was lost.
const BOUND_SECS: i64 = 2 * 3_600;

/// The ticks of the nightly purge: at night every state of the day before is spent.
const PURGES: [usize; 4] = [1_600, 1_660, 1_690, 1_720];

/// No attachments are kept.
struct EmptyBucket;

#[async_trait(?Send)]
impl Objects for EmptyBucket {
    async fn remove(&self, _: &[&str]) -> Result<(), ObjectsUnavailable> {
        Ok(())
    }
}

fn key(letter: &str) -> Secret<String> {
    Secret::new(format!("{}=", letter.repeat(43)))
}

fn audit_keys() -> Keyring {
    Keyring::from_base64(&key("E"), None).ok().unwrap()
}

struct Connection {
    caller: Caller,
    key: ConnectionKey,
    submitted: usize,
}

/// What one kind of job run cost.
#[derive(Default)]
struct Cost {
    runs: u64,
    statements: u64,
    rows: u64,
    most_statements: u64,
    found: u64,
}

struct Day {
    sim: Sim,
    connections: Vec<Connection>,
    writes_each: usize,
    chance: u64,
    faults: u64,
    checks: BTreeMap<(WorkspaceId, Crm), Vec<(Timestamp, Health)>>,
    costs: BTreeMap<&'static str, Cost>,
    /// When HubSpot began to refuse, and when it ended that.
    refused: Vec<Timestamp>,
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    live(numbers.first().copied().unwrap_or(2_000), numbers.get(1).copied().unwrap_or(200_000));
}

fn live(connections: usize, writes: usize) {
    let began = std::time::Instant::now();
    let mut day = Day::begin(connections, writes / connections);
    println!("{connections} connections made ({:.0} s)", began.elapsed().as_secs_f64());
    let start = day.sim.now();
    for minute in 0..DAY_MINUTES + 300 {
        let due = start.plus_secs(i64::try_from(minute).unwrap() * 60);
        let wait = (due.0 - day.sim.now().0) / 1_000;
        if wait > 0 {
            day.sim.sleep_secs(wait);
        }
        day.minute(minute);
        if minute.is_multiple_of(240) {
            println!("hour {}: {:.0} s", minute / 60, began.elapsed().as_secs_f64());
        }
    }
    day.check(start);
    println!("the day took {:.0} s", began.elapsed().as_secs_f64());
}

impl Day {
    fn begin(count: usize, writes_each: usize) -> Self {
        let sim = Sim::new(1);
        let mut connections = Vec::with_capacity(count);
        for n in 0..count {
            let crm = Crm::ALL[n % 2];
            let id = format!("ws_day{n}");
            sim.seed_workspace(&id);
            let caller = sim.caller_of(&id, "DB", Role::Owner);
            let mut browser = Browser::new(&sim);
            let url = browser.start_as(&caller, crm, &Start::default()).unwrap();
            let account =
                if crm == Crm::Hubspot { format!("&hub_id={}", 100_000 + n) } else { format!("&org={}", 100 + n) };
            let callback = browser.consent(&format!("{url}{account}"), "approve");
            browser.finish(crm, &callback).unwrap();
            let key = ConnectionKey { workspace_id: workspace(&id), shard: "DB".to_owned(), crm };
            connections.push(Connection { caller, key, submitted: 0 });
        }
        let chance = 88_172_645_463_325_252;
        let (checks, costs) = (BTreeMap::new(), BTreeMap::new());
        Self { sim, connections, writes_each, chance, faults: 0, checks, costs, refused: Vec::new() }
    }

    /// xorshift64: the same day every time.
    fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % below
    }

    /// One fault is always planned: on average every 33rd call is lost.
    fn plan_fault(&mut self) {
        if self.sim.ports.pending_faults() == 0 {
            let (nth, way) = (1 + self.random(65), self.random(2));
            self.sim.ports.fail_at(Port::Http, nth, if way == 0 { Fault::Before } else { Fault::After });
            self.faults += 1;
        }
    }

    fn minute(&mut self, minute: usize) {
        if minute == REFUSING.start || minute == REFUSING.end {
            self.refuse(minute == REFUSING.start);
        }
        if minute < DAY_MINUTES {
            self.submit(minute);
        }
        self.hear();
        if minute % 60 == 7 {
            self.job("reconcile-connections", |sim| {
                u64::from(block_on(reconcile_connections(&sim.world())).unwrap().due)
            });
        }
        if minute.is_multiple_of(10) {
            self.job("reconcile-crm-writes", |sim| {
                u64::from(block_on(reconcile_crm_writes(&sim.world())).unwrap().writes.due)
            });
            self.hear();
            let keys = audit_keys();
            self.job("seal-audit", |sim| u64::from(block_on(seal_audit(&sim.world(), &keys)).unwrap().sealed));
        }
        if minute % 60 == 23 {
            self.job("purge-installs", |sim| u64::from(block_on(purge_installs(&sim.world())).unwrap().sessions));
        }
        if PURGES.contains(&minute) {
            let keys = PurgeKeys { audit: audit_keys(), pii: PiiMaster::from_base64(&key("I")).ok().unwrap() };
            self.job("purge-retention", |sim| {
                let report = block_on(purge_retention(&sim.world(), &EmptyBucket, &keys)).unwrap();
                assert_eq!((report.chains_broken, report.workspaces_failed), (0, 0), "{report:?}");
                u64::from(report.states)
            });
        }
        self.check_rounds();
        self.sim.ports.log.borrow_mut().clear();
    }

    /// HubSpot's account information is refused, as when an administrator took a permission away; or given again.
    fn refuse(&mut self, begins: bool) {
        self.refused.push(self.sim.now());
        let fault = json!({"match": {"provider": "hubspot", "path_contains": "/account-info/"}, "status": 403});
        let faults = if begins { vec![fault] } else { Vec::new() };
        let request = stub_crm::Request {
            method: "POST".to_owned(),
            url: "https://stand-in.example/stand-in/faults".to_owned(),
            body: json!({"clear": true, "faults": faults}).to_string().into_bytes(),
            ..stub_crm::Request::default()
        };
        assert_eq!(self.sim.ports.ask_crm(&request).status, 200);
    }

    /// Each connection's writes are spread over the day, a few at a time.
    fn submit(&mut self, minute: usize) {
        for at in 0..self.connections.len() {
            // Once an hour, at a minute of its own.
            if !(minute + at * 7).is_multiple_of(60) {
                continue;
            }
            let hours = minute / 60 + 1;
            let connection = &mut self.connections[at];
            let until = self.writes_each * hours / 24;
            let writes: Vec<Value> = (connection.submitted..until).map(|n| task(connection.key.crm, n)).collect();
            connection.submitted = until;
            if writes.is_empty() {
                continue;
            }
            let answers = block_on(submit_writes(&self.sim.world(), &connection.caller, &json!({"writes": writes})));
            assert!(answers.unwrap().iter().all(Result::is_ok));
        }
    }

    fn hear(&mut self) {
        let mut by_connection: BTreeMap<ConnectionKey, Doorbell> = BTreeMap::new();
        for doorbell in self.sim.ports.hear() {
            match by_connection.get_mut(&doorbell.connection) {
                Some(of) => of.writes.extend(doorbell.writes),
                None => drop(by_connection.insert(doorbell.connection.clone(), doorbell)),
            }
        }
        for doorbell in by_connection.into_values() {
            self.plan_fault();
            let began = self.sim.now();
            let world = self.sim.world();
            let _ = match doorbell.connection.crm {
                Crm::Hubspot => block_on(process_writes(&world, &HubSpot, &doorbell)),
                Crm::Salesforce => block_on(process_writes(&world, &Salesforce, &doorbell)),
            };
            self.others_go_on(began);
        }
    }

    /// A gate that waits to try again holds up its own connection: the others work at the same time.
    fn others_go_on(&self, began: Timestamp) {
        self.sim.sleep_secs((began.0 - self.sim.now().0) / 1_000);
    }

    fn check_rounds(&mut self) {
        for round in self.sim.ports.hear_checks() {
            for (workspace_id, crm) in round.connections.clone() {
                self.plan_fault();
                let key = ConnectionKey { workspace_id: workspace_id.clone(), shard: round.shard.clone(), crm };
                let began = self.sim.now();
                let checked = block_on(check_health(&self.sim.world(), &key));
                self.others_go_on(began);
                let again_secs = match checked {
                    Ok(Checked::As(health)) => {
                        self.checks.entry((workspace_id, crm)).or_default().push((self.sim.now(), health));
                        continue;
                    }
                    Ok(Checked::NotDue | Checked::AtRest) => continue,
                    // The message is handed back to the queue, as the Worker does.
                    Ok(Checked::Later(secs)) => secs,
                    Err(_) => 60,
                };
                let again = CheckRound { connections: vec![(workspace_id, crm)], ..round.clone() };
                let at = self.sim.now().plus_secs(i64::from(again_secs));
                self.sim.ports.checks.borrow_mut().push((at, again));
            }
        }
    }

    fn job(&mut self, name: &'static str, run: impl FnOnce(&Sim) -> u64) {
        let before: Counters = self.sim.ports.db.counters();
        let found = run(&self.sim);
        let after = self.sim.ports.db.counters();
        let cost = self.costs.entry(name).or_default();
        let statements = after.statements - before.statements;
        cost.runs += 1;
        cost.found += found;
        cost.statements += statements;
        cost.rows += after.rows_returned - before.rows_returned;
        cost.most_statements = cost.most_statements.max(statements);
    }
}

fn task(crm: Crm, n: usize) -> Value {
    json!({"crm": crm, "action": "create_task", "object_type": "thread", "object_id": format!("th_{n}"),
           "source_event_id": format!("evt_{n}"),
           "contact": {"email": format!("person{n}@example.com"), "first_name": "Ada", "last_name": format!("L{n}")},
           "task": {"subject": format!("Call back {n}"), "due_at": "2026-11-27T09:00:00Z", "text": "They asked for a quote."}})
}

#[cfg(test)]
#[test]
fn a_small_day_ends_well() {
    live(20, 480);
}
