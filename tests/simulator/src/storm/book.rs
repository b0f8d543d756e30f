//! What the storm knows independently of the product: what was submitted and promised, who leased what, which refresh tokens
//! are spent, whose which account is.

use flows::finish_oauth::Parked;
use model::Crm;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Outcomes with numbers from here on are about deals; two of one deal follow one another.
pub const OF_DEALS: u32 = 1_000_000;

/// The deal that a thread is said to belong to: an outcome about it is submitted with those of the thread.
pub const DEAL_OF_THREAD: u32 = OF_DEALS + 2;

/// Outcomes of threads that belong to a deal have numbers from here on.
pub const OF_THREADS: u32 = 2_000;

const fn deal_of(number: u32) -> u32 {
    number - number % 2
}

fn deal(number: u32, tenant: usize, crm: Crm) -> Value {
    let deal = deal_of(number);
    let stage = match (crm, number % 2) {
        (Crm::Hubspot, 0) => "contractsent",
        (Crm::Hubspot, _) => "77011",
        (Crm::Salesforce, _) => "Prospecting",
    };
    json!({
        "crm": crm, "action": "upsert_deal", "object_type": "deal", "object_id": format!("th_{number}"),
        "source_event_id": format!("evt_{number}"),
        "contact": {"email": format!("person{deal}@t{tenant}.example"), "last_name": format!("Of plain job{deal}.")},
        "deal": {"deal_id": format!("d_{deal}"), "name": format!("plain job{deal}."), "stage": stage, "amount": "1250.50",
            "close_date": "2026-12-31T23:00:00Z"},
    })
}

/// An outcome the product wants in a CRM.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its number: `job7.` stands in every text it brings about.
    pub number: u32,
    /// Whose.
    pub tenant: usize,
    /// Where.
    pub crm: Crm,
    /// What is submitted.
    pub body: Value,
    /// The write's id, once a submit was answered with it.
    pub accepted: Option<String>,
    /// Refused for good: there was no connection.
    pub is_refused: bool,
    /// The CRM will refuse its content.
    pub is_poison: bool,
}

impl Intent {
    /// An outcome, one of four kinds.
    pub fn new(number: u32, tenant: usize, crm: Crm, shares_people: bool, may_be_poison: bool) -> Self {
        let is_poison = may_be_poison && number % 10 == 4;
        let person = if shares_people { number % 3 } else { number };
        let word = if is_poison { "poison" } else { "plain" };
        let text = format!("{word} job{number}.");
        if number >= OF_DEALS {
            return Self {
                number,
                tenant,
                crm,
                body: deal(number, tenant, crm),
                accepted: None,
                is_refused: false,
                is_poison: false,
            };
        }
        let mut body = json!({
            "crm": crm, "object_type": "thread", "object_id": format!("th_{number}"), "source_event_id": format!("evt_{number}"),
            "contact": {"email": format!("person{person}@t{tenant}.example"), "last_name": format!("Of {text}")},
        });
        let (action, part) = match number % 4 {
            0 | 1 => (
                "create_task",
                Some(("task", json!({"subject": text, "due_at": "2026-11-27T09:00:00Z", "text": "They asked."}))),
            ),
            2 => ("create_weekly_rollup", Some(("rollup", json!({"week_of": "2026-11-16", "text": text})))),
            _ => ("upsert_contact", None),
        };
        body["action"] = json!(action);
        if let Some((name, part)) = part {
            body[name] = part;
        }
        Self { number, tenant, crm, body, accepted: None, is_refused: false, is_poison }
    }

    /// What stands in every record made for it.
    pub fn mark(&self) -> String {
        format!("job{}.", if self.is_of_deal() { deal_of(self.number) } else { self.number })
    }

    /// It makes or changes a deal.
    pub const fn is_of_deal(&self) -> bool {
        self.number >= OF_DEALS
    }

    /// The same logical write with another content.
    pub fn other_content(&self) -> Value {
        let mut body = self.body.clone();
        body["contact"]["last_name"] = json!(format!("forged{}.", self.number));
        body
    }

    /// Its thread belongs to a deal.
    pub const fn is_of_thread(&self) -> bool {
        self.number >= OF_THREADS && !self.is_of_deal()
    }

    /// The kind of record it makes, besides the person.
    pub fn activity(&self) -> Option<&'static str> {
        match (self.crm, self.body["action"].as_str()) {
            (Crm::Hubspot, Some("create_task")) => Some("tasks"),
            (Crm::Hubspot, Some("create_weekly_rollup")) => Some("notes"),
            (Crm::Salesforce, Some("create_task" | "create_weekly_rollup")) => Some("Task"),
            (Crm::Hubspot, Some("upsert_deal")) => Some("deals"),
            (Crm::Salesforce, Some("upsert_deal")) => Some("Opportunity"),
            _ => None,
        }
    }
}

/// The book.
#[derive(Default)]
pub struct Book {
    /// By number.
    pub intents: BTreeMap<u32, Intent>,
    /// Which request holds a lease.
    pub leases: BTreeMap<String, String>,
    /// Which CRM account was ever connected to which workspace.
    pub accounts: BTreeSet<(Crm, String, usize)>,
    /// Refresh tokens that were replaced.
    pub spent: BTreeSet<String>,
    /// Authorization codes that were sent to a token endpoint.
    pub codes: BTreeSet<String>,
    /// Until when a gate's instance was told to wait.
    pub waits: BTreeMap<String, (u64, i64)>,
    /// Outcomes whose thread was linked, and the deal known, before they were submitted.
    pub linked: BTreeSet<u32>,
    /// Installs nobody has claimed yet.
    pub parked: Vec<Parked>,
}
