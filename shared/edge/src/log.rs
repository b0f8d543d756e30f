//! One line of JSON per event: what happened, in which request, in which Worker, and fields from an allow-list.
//!
//! Never a token, a body, a query string or a person's data: a field that is not on the list loses its value, loudly enough to
//! be seen in the first test that prints it.

use std::cell::{Cell, RefCell};

use flows::world::Log;
use serde_json::{Map, Value};

use crate::meter::Meter;
use crate::rounds::{AUTHENTICATED, Rounds};

/// The fields that may be logged: ids, codes, counts, times, states, and the platform's own words on a failure.
const FIELDS: &[&str] = &[
    "account_id",
    "action",
    "actor",
    "alarm_id",
    "attachments",
    "attempts",
    "calls",
    "chains_broken",
    "chains_verified",
    "class",
    "code",
    "connection_id",
    "connections",
    "count",
    "crm",
    "cron",
    "database",
    "doorbells",
    "due",
    "effect",
    "external_account_id",
    "failed",
    "files",
    "flow",
    "found",
    "generation",
    "hash",
    "http_status",
    "install_id",
    "installs",
    "into",
    "job",
    "key_id",
    "kind",
    "left",
    "limit_max",
    "limit_used",
    "messages",
    "method",
    "moved",
    "ms",
    "not_before",
    "operation_id",
    "outcome",
    "overdue",
    "path",
    "place",
    "provider_correlation_id",
    "reason",
    "report",
    "resealed",
    "retry_at",
    "revoked",
    "role",
    "rounds",
    "rounds_lost",
    "seq",
    "shard",
    "shards_failed",
    "shards_unfinished",
    "status",
    "step",
    "token_kind",
    "unfinished",
    "uninstalls",
    "unknown_key",
    "unreadable",
    "user_id",
    "workspace_id",
    "workspaces",
    "write_id",
    "writes",
];

/// Values are cut to this many characters.
const VALUE_CHARS_MAX: usize = 200;

/// The log of one request.
pub struct Lines {
    worker: &'static str,
    request_id: String,
    operation_id: String,
    meter: RefCell<Option<Meter>>,
    caller: RefCell<Vec<(&'static str, String)>>,
    /// What the request cost.
    pub rounds: Rounds,
}

impl Lines {
    /// The log of a request.
    pub fn new(worker: &'static str, request_id: String) -> Self {
        Self {
            worker,
            request_id,
            operation_id: crate::entry::random_id(),
            meter: RefCell::default(),
            caller: RefCell::default(),
            rounds: Rounds::default(),
        }
    }

    /// The request's id.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// From now on events become data points too, where there is a dataset.
    pub fn measure(&self, meter: Option<Meter>) {
        *self.meter.borrow_mut() = meter;
    }

    /// A line with the caller's fields on it, where the caller is known.
    pub fn with_caller(&self, name: &'static str, fields: &[(&'static str, &str)]) {
        let caller = self.caller.borrow();
        let known = caller.iter().map(|(name, value)| (*name, value.as_str()));
        print(&self.line(name, fields.iter().copied().chain(known)));
    }
}

impl Log for Lines {
    fn event(&self, name: &'static str, fields: &[(&'static str, &str)]) {
        if name == AUTHENTICATED {
            self.rounds.authenticated();
            *self.caller.borrow_mut() = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        } else {
            if let Some(meter) = &*self.meter.borrow() {
                meter(name, fields);
            }
            print(&self.line(name, fields.iter().copied()));
        }
    }
}

impl Lines {
    fn line<'a>(&self, event: &str, fields: impl Iterator<Item = (&'static str, &'a str)>) -> String {
        line(self.worker, [&self.request_id, &self.operation_id], event, fields)
    }
}

fn line<'a>(
    worker: &str,
    [correlation_id, operation_id]: [&str; 2],
    event: &str,
    fields: impl Iterator<Item = (&'static str, &'a str)>,
) -> String {
    let mut line = Map::new();
    // A piece of work within a message, such as a lot, has an id of its own.
    line.insert("operation_id".to_owned(), Value::String(operation_id.to_owned()));
    for (name, value) in fields {
        let value = if FIELDS.contains(&name) {
            value
                .char_indices()
                .nth(VALUE_CHARS_MAX)
                .map_or(value, |(end, _)| value.get(..end).unwrap_or(value))
                .to_owned()
        } else {
            "(not on the allow-list)".to_owned()
        };
        line.insert(name.to_owned(), Value::String(value));
    }
    for (name, value) in [("event", event), ("correlation_id", correlation_id), ("worker", worker)] {
        line.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    model::json::text(&Value::Object(line))
}

fn print(line: &str) {
    web_sys::console::log_1(&wasm_bindgen::JsValue::from_str(line));
}

thread_local! {
    static HOOKED: Cell<bool> = const { Cell::new(false) };
}

/// Makes a panic leave one line with its place, before the runtime's own hook marks the instance as lost. The message stays
/// out of the line: it may hold a value.
pub fn on_panic(worker: &'static str) {
    if HOOKED.replace(true) {
        return;
    }
    let runtime = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        print(&line(worker, ["", ""], "panic", [("place", place.as_str())].into_iter()));
        runtime(info);
    }));
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_field_that_is_not_listed_loses_its_value() {
        let text =
            line("crm-writes", ["r1", "o1"], "refused", [("code", "state_used"), ("token", "na1-secret")].into_iter());
        assert!(!text.contains("na1-secret"));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["event"], "refused");
        assert_eq!(json["code"], "state_used");
        assert_eq!(json["token"], "(not on the allow-list)");
    }

    #[test]
    fn no_field_replaces_the_lines_own_names() {
        let text = line("w", ["r1", "o1"], "refused", [("event", "other"), ("correlation_id", "r2")].into_iter());
        assert!(text.contains("\"correlation_id\":\"r1\"") && text.contains("\"event\":\"refused\""));
    }
}
