//! Installs, claims, refusals, connects, disconnects, removals in the CRM and purges among writes and faults, in an order drawn
//! from a seed: afterwards every sealed token belongs to one live owner, every CRM account to one workspace at most, and, where no
//! answer of a CRM was lost, no grant lives there that nobody has the tokens of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use crypto::random::number;
use flows::authenticate::Caller;
use flows::claim_install::claim_install;
use flows::decline_install::{decline_install, decline_token};
use flows::disconnect::disconnect;
use flows::finish_oauth::Parked;
use flows::process_writes::process_writes;
use flows::purge_installs::purge_installs;
use flows::reconcile_writes::reconcile_writes;
use flows::start_oauth::Start;
use flows::submit_writes::submit_writes;
use flows::watch_installs::watch_installs;
use model::{Crm, Role};
use pollster::block_on;
use providers::provider;
use serde_json::json;
use simulator::{Browser, Fault, Port, SHARD, Sim, WORKSPACE};
use std::collections::{BTreeMap, BTreeSet};

const OTHER: &str = "ws_other";

/// Reads, past the faults that a step planned and did not meet.
fn read<T, E>(work: impl Fn() -> Result<T, E>) -> T {
    (0..20).find_map(|_| work().ok()).unwrap()
}

/// One run: so many steps, about one in four under a fault.
struct Run {
    sim: Sim,
    callers: [Caller; 2],
    parked: Vec<Parked>,
    writes: u32,
    /// How many faults were planned.
    faults: u32,
    /// Plan none.
    faultless: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        sim.seed_workspace_on(OTHER, SHARD);
        let callers = [sim.caller_of(WORKSPACE, "DB", Role::Owner), sim.caller_of(OTHER, SHARD, Role::Owner)];
        Self { sim, callers, parked: Vec::new(), writes: 0, faults: 0, faultless: seed % 4 == 3 }
    }

    fn draw(&self, below: u32) -> u32 {
        number(self.sim.random()).unwrap() % below
    }

    fn plan_a_fault(&mut self) {
        if self.faultless || self.sim.ports.pending_faults() > 0 {
            return;
        }
        let nth = u64::from(1 + self.draw(4));
        let refused = [stub_db::Fault::Refused, stub_db::Fault::Applied][self.draw(2) as usize];
        match self.draw(12) {
            0 => self.sim.ports.db.fail_at(nth, refused),
            1 => self.sim.ports.shard.fail_at(nth, refused),
            2 => self.sim.ports.fail_at(Port::Http, nth, [Fault::Before, Fault::After][self.draw(2) as usize]),
            _ => return,
        }
        self.faults += 1;
    }

    fn step(&mut self) {
        self.plan_a_fault();
        let crm = Crm::ALL[self.draw(2) as usize];
        let caller = self.callers[self.draw(2) as usize].clone();
        let mut browser = Browser::new(&self.sim);
        // Any of these may be refused, by a fault or by the rules: what they leave behind is what counts.
        match self.draw(11) {
            0 | 1 => self.parked.extend(browser.install(crm)),
            2 => {
                let callback = browser.marketplace("4242");
                let _ = browser.land(Crm::Hubspot, &callback);
            }
            3 | 4 => {
                if let Some(parked) = self.parked.pop() {
                    let _ =
                        block_on(claim_install(&self.sim.world(), &caller, Some(parked.claim_cookie.expose()), None));
                }
            }
            5 => {
                if let Ok(url) = browser.start_as(&caller, crm, &Start::default()) {
                    let _ = browser.land(crm, &browser.consent(&url, "approve"));
                }
            }
            6 => drop(block_on(disconnect(&self.sim.world(), &caller, crm))),
            7 => self.write(&caller, crm),
            8 => {
                if let Some(parked) = self.parked.pop() {
                    let (cookie, id) = (parked.claim_cookie.expose(), parked.install_id.as_str());
                    let token = decline_token(cookie);
                    let _ = block_on(decline_install(&self.sim.world(), Some(cookie), id, Some(&token)));
                }
            }
            9 => {
                self.sim.sleep_secs(1);
                let uninstall = stub_crm::Request {
                    method: "POST".to_owned(),
                    url: "https://stand-in.example/stand-in/uninstall/4242".to_owned(),
                    ..stub_crm::Request::default()
                };
                self.sim.ports.ask_crm(&uninstall);
                self.sim.sleep_secs(i64::from(self.draw(1_000)));
                let _ = block_on(watch_installs(&self.sim.world()));
            }
            _ => {
                self.sim.sleep_secs(i64::from(self.draw(40_000)));
                let _ = block_on(purge_installs(&self.sim.world()));
            }
        }
    }

    fn write(&mut self, caller: &Caller, crm: Crm) {
        self.writes += 1;
        let write = json!({
            "crm": crm, "action": "upsert_contact", "object_type": "thread", "object_id": format!("t{}", self.writes),
            "source_event_id": "e", "contact": {"email": "ada@customer.example", "last_name": "Lovelace"},
        });
        let _ = block_on(submit_writes(&self.sim.world(), caller, &write));
        let _ = block_on(reconcile_writes(&self.sim.world()));
        for doorbell in self.sim.ports.hear() {
            let _ = block_on(process_writes(&self.sim.world(), &provider(doorbell.connection.crm), &doorbell));
        }
    }

    /// What must hold at every moment, whatever failed.
    fn check(&self, seed: u64) {
        let dumps: Vec<_> = self.sim.ports.db.dump().into_iter().chain(self.sim.ports.shard.dump()).collect();
        for token in self.sim.ports.crm.borrow().issued() {
            assert!(!dumps.iter().any(|value| value.text.contains(token)), "seed {seed}: a token in plain");
        }
        let mut live: BTreeMap<(Crm, String), BTreeSet<&str>> = BTreeMap::new();
        let mut sealed = 0;
        for caller in &self.callers {
            let world = self.sim.world();
            let tenant = world.tenant(&caller.workspace_id, &caller.shard).unwrap();
            for row in read(|| block_on(store::connections::list(tenant.db, &tenant.scope))) {
                if row.access_token_sealed.is_some() {
                    sealed += 1 + usize::from(row.refresh_token_sealed.is_some());
                    live.entry((row.crm, row.external_account_id)).or_default().insert(caller.workspace_id.as_str());
                }
            }
        }
        for ((crm, account), owners) in &live {
            assert_eq!(owners.len(), 1, "seed {seed}: {crm} {account} has two workspaces");
            let owner = read(|| block_on(store::crm_accounts::fetch_owner(&self.sim.ports.db, *crm, account)));
            assert_eq!(owner.unwrap().workspace_id.as_str(), *owners.first().unwrap(), "seed {seed}");
        }
        let end = self.sim.now().plus_secs(1_000_000);
        for install in read(|| block_on(store::pending_installs::list_ended(&self.sim.ports.db, end, None, 100))) {
            sealed += 1 + usize::from(install.refresh_token_sealed.is_some());
        }
        let found = dumps.iter().filter(|v| v.column.ends_with("_token_sealed") && v.text.starts_with("v1.")).count();
        assert_eq!(found, sealed, "seed {seed}: a sealed token without an owner");
    }

    /// Time passes, nothing fails any more: what nobody claimed is gone.
    fn settle(&self, seed: u64) {
        while self.sim.ports.pending_faults() > 0 {
            let _ = block_on(purge_installs(&self.sim.world()));
            let _ = block_on(disconnect(&self.sim.world(), &self.callers[1], Crm::Hubspot));
            let _ = block_on(disconnect(&self.sim.world(), &self.callers[1], Crm::Salesforce));
            let _ = Browser::new(&self.sim).install(Crm::Salesforce);
        }
        self.sim.sleep_secs(3 * 86_400);
        block_on(purge_installs(&self.sim.world())).unwrap();
        block_on(purge_installs(&self.sim.world())).unwrap();
        let left = self.sim.ports.db.dump();
        let left = left.iter().any(|v| v.table == "pending_installs" && v.text.starts_with("v1."));
        assert!(!left, "seed {seed}: an install's token outlived it");
        self.check(seed);
        if self.faults == 0 {
            for caller in &self.callers {
                for crm in Crm::ALL {
                    let _ = block_on(disconnect(&self.sim.world(), caller, crm));
                }
            }
            let living = self.sim.ports.crm.borrow().living_grants();
            assert_eq!(living, 0, "seed {seed}: a grant lives that nobody has the tokens of");
        }
    }
}

/// `CONDUIT_MIXED_RUNS=200` for a long look.
#[test]
fn no_token_is_orphaned_and_no_account_has_two_workspaces() {
    let runs = std::env::var("CONDUIT_MIXED_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut claimed = 0;
    for seed in 0..runs {
        let mut run = Run::new(seed);
        for _ in 0..40 {
            run.step();
            run.check(seed);
        }
        run.settle(seed);
        let events = run.sim.ports.db.dump();
        claimed += events.iter().filter(|v| v.table == "pending_installs" && v.text == "claimed").count();
    }
    assert!(claimed as u64 > runs / 2, "claims happened: {claimed}");
}
