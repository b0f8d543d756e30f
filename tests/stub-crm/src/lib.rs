//! The stand-in CRM: `HubSpot` and Salesforce over HTTP as values, deterministic, single-threaded, without I/O or a clock.
//!
//! Not a copy of either: it has what Conduit touches and refuses what the real one refuses. It is written once and used
//! three ways: as a Worker (`worker.rs`), as the `stub` provider's transport, and in-process by native tests and the
//! simulator. The behaviour is that of the providers' published documentation and of recorded answers; where those are
//! silent, the narrowest likely shape is taken and the variant is a switch (`config.rs`).

mod clock;
mod config;
mod control;
mod faults;
mod fields;
mod http;
mod hubspot;
mod ledger;
mod limits;
mod marketplace;
mod oauth;
mod pages;
mod random;
mod salesforce;
#[cfg(test)]
mod tests;
#[cfg(all(feature = "worker", target_arch = "wasm32"))]
mod worker;

pub use config::{App, Config, DeadToken, DuplicateRules, KeyField, Rotation, Switches, UniqueOnActivities};
pub use faults::{BodyKind, Fault, Lost, Match};
pub use http::{Answer, Fate, Request};
pub use ledger::Effect;

use faults::Late;
use http::Call;
use ledger::Ledger;
use random::Random;
use serde::{Deserialize, Serialize};

/// Both CRMs, with everything they remember. Serialise it to stop and go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StubCrm {
    config: Config,
    switches: Switches,
    clock_offset_ms: i64,
    random: Random,
    issued: Vec<String>,
    faults: Vec<Fault>,
    #[serde(default)]
    late: Vec<Late>,
    ledger: Ledger,
    hubspot: hubspot::HubSpot,
    salesforce: salesforce::Salesforce,
}

/// What a provider's rules may see and change besides the provider's own state.
#[derive(Debug)]
pub(crate) struct Env<'a> {
    /// Epoch milliseconds on the stand-in's clock.
    pub now_ms: i64,
    /// The apps.
    pub config: &'a Config,
    /// Some switches count down.
    pub switches: &'a mut Switches,
    /// Chance.
    pub random: &'a mut Random,
    /// Every secret ever given out.
    pub issued: &'a mut Vec<String>,
    /// This call's id, as `HubSpot` tells it.
    pub correlation: String,
}

impl Env<'_> {
    /// Notes a code or token as given out.
    pub fn issue(&mut self, secret: String) -> String {
        self.issued.push(secret.clone());
        secret
    }
}

impl StubCrm {
    /// An empty place.
    pub fn new(config: Config) -> Self {
        Self {
            switches: config.switches.clone(),
            clock_offset_ms: 0,
            random: Random::new(config.seed),
            issued: Vec::new(),
            faults: Vec::new(),
            late: Vec::new(),
            ledger: Ledger::default(),
            hubspot: hubspot::HubSpot::default(),
            salesforce: salesforce::Salesforce::default(),
            config,
        }
    }

    /// Answers one request at a time given in epoch milliseconds.
    pub fn handle(&mut self, request: &Request, now_ms: i64) -> Answer {
        let call = Call::new(request, now_ms.saturating_add(self.clock_offset_ms));
        self.catch_up(call.now_ms);
        let provider = match call.segments.first().map(String::as_str) {
            None | Some("stand-in") => return self.control(&call),
            Some("marketplace") => return self.marketplace(&call),
            Some("services" | "id") => "salesforce",
            Some("oauth" | "crm" | "account-info" | "appinstalls" | "webhooks-journal" | "hubspot-journal") => {
                "hubspot"
            }
            Some(_) => return Answer::text(404, "The stand-in has nothing at this path."),
        };
        let fault = faults::take(&mut self.faults, provider, &call);
        if let Some(answer) = fault.as_ref().and_then(|fault| fault.before(provider)) {
            if let Some(after_ms) = fault.as_ref().and_then(|fault| fault.commit_after_ms) {
                self.late.push(Late::new(request, call.now_ms.saturating_add(after_ms)));
            }
            if answer.fate == Fate::Deliver {
                self.ledger.count(provider, &call, answer.status);
            }
            return answer;
        }
        let answer = self.work(provider, &call);
        self.ledger.count(provider, &call, answer.status);
        match fault {
            Some(fault) => fault.after(provider, answer),
            None => answer,
        }
    }

    /// Does the work of requests that went on running, as far as it is over by now.
    fn catch_up(&mut self, now_ms: i64) {
        while let Some(at) = self.late.iter().position(|late| late.due_at <= now_ms) {
            let late = self.late.remove(at);
            let due_at = late.due_at;
            let request = late.request();
            let call = Call::new(&request, due_at);
            let is_salesforce = call.segments.first().is_some_and(|first| first == "services");
            self.work(if is_salesforce { "salesforce" } else { "hubspot" }, &call);
        }
    }

    fn work(&mut self, provider: &str, call: &Call<'_>) -> Answer {
        let (hubspot, salesforce, mut env) = self.parts(call.now_ms);
        match provider {
            "hubspot" => hubspot.handle(call, &mut env),
            _ => salesforce.handle(call, &mut env),
        }
    }

    /// Both providers, and what their rules may see and change besides.
    pub(crate) fn parts(&mut self, now_ms: i64) -> (&mut hubspot::HubSpot, &mut salesforce::Salesforce, Env<'_>) {
        let correlation = self.random.uuid();
        let env = Env {
            correlation,
            now_ms,
            config: &self.config,
            switches: &mut self.switches,
            random: &mut self.random,
            issued: &mut self.issued,
        };
        (&mut self.hubspot, &mut self.salesforce, env)
    }

    /// Where the switches stand.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Turns switches without a request.
    pub fn switches_mut(&mut self) -> &mut Switches {
        &mut self.switches
    }

    /// Adds a fault without a request.
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// How many grants live, of both providers.
    pub fn living_grants(&self) -> usize {
        self.hubspot.living_grants() + self.salesforce.living_grants()
    }

    /// Every code and token ever given out: what must never be found anywhere else.
    pub fn issued(&self) -> &[String] {
        &self.issued
    }

    /// Another app registration (a Worker restarts with the environment's, not with the stored one).
    pub fn register(&mut self, config: Config) {
        self.config = config;
    }
}
