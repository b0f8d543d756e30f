//! The control plane under `/stand-in/`: switches, faults, the ledger, the records, the clock, and a new beginning.
//!
//! No part of either provider. It has no lock: the stand-in holds made-up data only.

use crate::StubCrm;
use crate::faults::Fault;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::ledger::Effect;
use crate::pages;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

impl StubCrm {
    /// `/` and `/stand-in/...`
    pub(crate) fn control(&mut self, call: &Call<'_>) -> Answer {
        self.controlled(call).unwrap_or_else(|refusal| refusal)
    }

    fn controlled(&mut self, call: &Call<'_>) -> Reply {
        match (call.method(), call.parts().as_slice()) {
            ("GET", [] | ["stand-in"]) => Ok(self.overview()),
            ("GET", ["stand-in", "ledger"]) => Ok(self.ledger_answer(call)),
            ("GET", ["stand-in", "records", object]) => self.records(object),
            ("GET", ["stand-in", "tokens"]) => Ok(Answer::json(200, &json!({"tokens": self.issued}))),
            ("GET", ["stand-in", "faults"]) => Ok(self.faults_answer()),
            ("POST", ["stand-in", "faults"]) => self.set_faults(call),
            ("POST", ["stand-in", "clock"]) => self.set_clock(call),
            ("POST", ["stand-in", "uninstall", hub]) => Ok(self.uninstall(call, hub)),
            ("POST", ["stand-in", "convert-lead", id]) => match self.salesforce.convert(id, call.now_ms) {
                Some(contact) => Ok(Answer::json(200, &json!({"contact": contact}))),
                None => Err(Answer::json(404, &json!({"error": "no such lead"}))),
            },
            ("POST", ["stand-in", "reset"]) => Ok(self.reset(call)),
            _ => Err(Answer::json(404, &json!({"error": "the control plane has no such path"}))),
        }
    }

    /// A person removes the app in the settings of a `HubSpot` account.
    fn uninstall(&mut self, call: &Call<'_>, hub: &str) -> Answer {
        let client_id = self.config.hubspot.client_id.clone();
        let (hubspot, _, mut env) = self.parts(call.now_ms);
        hubspot.remove_app(hub, &client_id, &mut env);
        Answer::json(200, &json!({"uninstalled": hub}))
    }

    fn set_faults(&mut self, call: &Call<'_>) -> Reply {
        let body = call.json().filter(Value::is_object).ok_or_else(|| wrong("the body must be a JSON object"))?;
        for name in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !["clear", "faults", "switches"].contains(&name.as_str()) {
                return Err(wrong(&format!("unknown field {name}: clear, faults and switches are known")));
            }
        }
        let faults: Vec<Fault> = match body.get("faults") {
            Some(list) => serde_json::from_value(list.clone()).map_err(|error| wrong(&error.to_string()))?,
            None => Vec::new(),
        };
        let mut switches = self.switches.clone();
        if let Some(changes) = body.get("switches") {
            switches.turn(changes).map_err(|error| wrong(&error))?;
        }
        if body.get("clear").and_then(Value::as_bool).unwrap_or_default() {
            self.faults.clear();
        }
        self.switches = switches;
        self.faults.extend(faults);
        Ok(self.faults_answer())
    }

    fn faults_answer(&self) -> Answer {
        Answer::json(200, &json!({"faults": self.faults, "switches": self.switches}))
    }

    fn set_clock(&mut self, call: &Call<'_>) -> Reply {
        let body = call.json().unwrap_or(Value::Null);
        let number = |name: &str| body.get(name).and_then(Value::as_i64);
        match (number("offset_ms"), number("advance_ms")) {
            (Some(offset), None) => self.clock_offset_ms = offset,
            (None, Some(more)) => self.clock_offset_ms = self.clock_offset_ms.saturating_add(more),
            _ => return Err(wrong("give offset_ms or advance_ms")),
        }
        Ok(Answer::json(200, &json!({"offset_ms": self.clock_offset_ms})))
    }

    /// A new beginning. With `{"keep_grants":true}` the connections stay and the records, counters and faults go.
    fn reset(&mut self, call: &Call<'_>) -> Answer {
        let body = call.json().unwrap_or(Value::Null);
        if body.get("keep_grants").and_then(Value::as_bool).unwrap_or_default() {
            self.hubspot.forget_records();
            self.salesforce.forget_records();
            self.faults.clear();
            self.ledger = crate::ledger::Ledger::default();
            self.switches = self.config.switches.clone();
        } else {
            let issued = std::mem::take(&mut self.issued);
            let random = self.random.clone();
            *self = Self { random, issued, ..Self::new(self.config.clone()) };
        }
        Answer::json(200, &json!({"reset": true}))
    }

    /// How many calls arrived.
    pub fn calls(&self) -> u64 {
        self.ledger.calls.values().sum()
    }

    /// Every record there ever was.
    pub fn effects(&self) -> Vec<Effect> {
        self.hubspot.effects().chain(self.salesforce.effects()).collect()
    }

    fn ledger_answer(&self, call: &Call<'_>) -> Answer {
        let effects = self.effects();
        let mut totals: BTreeMap<String, [u64; 3]> = BTreeMap::new();
        for effect in &effects {
            let [created, updates, archived] =
                totals.entry(format!("{} {}", effect.provider, effect.object)).or_default();
            *created += 1;
            *updates += u64::from(effect.writes.saturating_sub(1));
            *archived += u64::from(effect.archived);
        }
        let totals: BTreeMap<&String, Value> = totals
            .iter()
            .map(|(name, [created, updates, archived])| {
                (name, json!({"created": created, "updates": updates, "archived": archived}))
            })
            .collect();
        let calls: u64 = self.ledger.calls.values().sum();
        let mut body = json!({"calls": self.ledger.calls, "statuses": self.ledger.statuses, "calls_total": calls, "totals": totals});
        if call.query("effects") != Some("false") {
            let wanted = call.query("object");
            let list: Vec<&Effect> =
                effects.iter().filter(|effect| wanted.is_none_or(|object| object == effect.object)).collect();
            body.put("effects", json!(list));
        }
        Answer::json(200, &body)
    }

    fn records(&self, object: &str) -> Reply {
        let found = self.salesforce.dump(object).or_else(|| self.hubspot.dump(object));
        found
            .map(|records| Answer::json(200, &json!({"object": object, "records": records})))
            .ok_or_else(|| Answer::json(404, &json!({"error": "no such object type"})))
    }

    fn overview(&self) -> Answer {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for effect in self.effects().iter().filter(|effect| !effect.archived) {
            *counts.entry(format!("{} {}, account {}", effect.provider, effect.object, effect.account)).or_default() +=
                1;
        }
        let rows = counts.iter().fold(String::new(), |mut out, (name, count)| {
            let _ = write!(out, "<tr><td>{}</td><td>{count}</td></tr>", pages::escape(name));
            out
        });
        let links = [
            "ledger",
            "faults",
            "tokens",
            "records/contacts",
            "records/companies",
            "records/deals",
            "records/tasks",
            "records/notes",
            "records/Lead",
            "records/Contact",
            "records/Task",
            "records/Opportunity",
            "records/Account",
        ];
        let links = links.iter().fold(String::new(), |mut out, name| {
            let _ = write!(out, "<li><a href=\"/stand-in/{name}\">{name}</a></li>");
            out
        });
        let grants = self.hubspot.living_grants() + self.salesforce.living_grants();
        let calls: u64 = self.ledger.calls.values().sum();
        pages::page(
            200,
            "Stand-in CRM",
            &format!(
                "<p>{calls} calls, {grants} living connections, {} faults waiting.</p><table><tr><th>Records</th><th>Count</th></tr>{rows}</table><ul>{links}</ul>",
                self.faults.len()
            ),
        )
    }
}

fn wrong(reason: &str) -> Answer {
    Answer::json(400, &json!({"error": reason}))
}
