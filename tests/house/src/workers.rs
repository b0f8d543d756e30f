//! The Workers' wrangler.toml files: each right by itself, and all of one mind.

use crate::repo::{assert_none, list, read, root};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// A Worker: its folder, and its configuration.
pub struct Worker {
    /// `functions/crm-writes`.
    pub folder: String,
    /// Where the configuration stands: in the folder, but for the gateway at the root.
    pub file: String,
    pub config: Table,
}

const GATEWAY: &str = "functions/gateway";
/// Functions nobody calls over HTTP from outside: a queue and a Durable Object's namespace do.
const NOT_OVER_HTTP: [&str; 3] = ["connection-gate", "hubspot-write-processor", "salesforce-write-processor"];
/// A Worker of local runs only.
const STAND_IN: &str = "tests/stub-crm";

impl Worker {
    /// From the folder and the text of its wrangler.toml.
    pub fn new(folder: &str, config: &str) -> Self {
        let file = if folder == GATEWAY { "wrangler.toml".to_owned() } else { format!("{folder}/wrangler.toml") };
        let config = config.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { folder: folder.to_owned(), file, config }
    }

    /// The folder's name, which is the Worker's.
    pub fn name(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or_default()
    }

    fn text(&self, key: &str) -> &str {
        self.config.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The tables of a list: `[[d1_databases]]`, `[[queues.producers]]`.
    fn entries(&self, path: &[&str]) -> Vec<&Table> {
        let (first, rest) = path.split_first().expect("a path");
        let found = rest.iter().try_fold(self.config.get(*first), |value, key| Some(value?.get(*key)));
        let list = found.flatten().and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_table).collect()
    }

    /// The secrets it is given.
    pub fn secrets(&self) -> BTreeSet<String> {
        let required = self.config.get("secrets").and_then(|s| s.get("required")).and_then(Value::as_array);
        required.into_iter().flatten().filter_map(|v| v.as_str().map(ToOwned::to_owned)).collect()
    }
}

fn field<'a>(entry: &'a Table, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Folders of doors, the gateway among them.
fn door_folders() -> Vec<String> {
    ["functions", "cron"]
        .iter()
        .flat_map(|group| list(group).into_iter().map(move |name| format!("{group}/{name}")))
        .collect()
}

fn file_of(folder: &str) -> String {
    if folder == GATEWAY { "wrangler.toml".to_owned() } else { format!("{folder}/wrangler.toml") }
}

/// The doors that have a configuration; that all have is a test of its own.
pub fn doors() -> Vec<Worker> {
    let there = door_folders().into_iter().filter(|folder| root().join(file_of(folder)).is_file());
    there.map(|folder| Worker::new(&folder, &read(&file_of(&folder)))).collect()
}

fn with_the_stand_in() -> Vec<Worker> {
    doors().into_iter().chain([Worker::new(STAND_IN, &read(&file_of(STAND_IN)))]).collect()
}

fn misnamed(workers: &[Worker]) -> Vec<String> {
    let wrong = workers.iter().filter(|w| w.text("name") != w.name());
    wrong.map(|w| format!("{}: name must be \"{}\", as the folder", w.file, w.name())).collect()
}

fn wrong_main(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers {
        let at_the_root = worker.file == "wrangler.toml";
        let main = if at_the_root { format!("{}/build/index.js", worker.folder) } else { "build/index.js".to_owned() };
        if worker.text("main").trim_start_matches("./") != main {
            violations.push(format!("{}: main must be \"{main}\"", worker.file));
        }
    }
    violations
}

fn differing_dates(workers: &[Worker]) -> Vec<String> {
    let dates: BTreeSet<&str> = workers.iter().map(|w| w.text("compatibility_date")).collect();
    if dates.len() <= 1 && !dates.contains("") {
        return Vec::new();
    }
    workers.iter().map(|w| format!("{}: compatibility_date \"{}\"", w.file, w.text("compatibility_date"))).collect()
}

fn service_bindings(worker: &Worker) -> Vec<(&str, &str)> {
    worker.entries(&["services"]).into_iter().map(|s| (field(s, "binding"), field(s, "service"))).collect()
}

/// The gateway reaches every function of HTTP, and no binding of any Worker leads nowhere.
fn unreachable(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    let gateway = workers.iter().find(|w| w.folder == GATEWAY);
    let reached: BTreeSet<&str> =
        gateway.iter().flat_map(|g| service_bindings(g)).map(|(_, service)| service).collect();
    let over_http = workers
        .iter()
        .filter(|w| w.folder.starts_with("functions/") && w.folder != GATEWAY && !NOT_OVER_HTTP.contains(&w.name()));
    for worker in over_http.filter(|w| !reached.contains(w.name())) {
        violations.push(format!("wrangler.toml: no [[services]] entry leads to {}", worker.name()));
    }
    let names: BTreeSet<&str> = workers.iter().map(Worker::name).collect();
    for worker in workers {
        let mut bindings = BTreeSet::new();
        for (binding, service) in service_bindings(worker) {
            if !names.contains(service) {
                violations.push(format!("{}: the service {service} is no folder of functions or cron", worker.file));
            }
            if !bindings.insert(binding) {
                violations.push(format!("{}: the binding {binding} stands twice", worker.file));
            }
        }
    }
    violations
}

/// Resources that several Workers share: where they stand, what names them, and what must be the same everywhere.
const SHARED: [(&[&str], &str, &[&str]); 4] = [
    (&["d1_databases"], "binding", &["database_name", "database_id"]),
    (&["kv_namespaces"], "binding", &["id"]),
    (&["queues", "producers"], "binding", &["queue"]),
    (&["r2_buckets"], "binding", &["bucket_name"]),
];

fn disagreements(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, key, fields) in SHARED {
        let mut by_name: BTreeMap<String, (String, String)> = BTreeMap::new();
        let mut by_identity: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (worker, entry) in workers.iter().flat_map(|w| w.entries(path).into_iter().map(move |e| (w, e))) {
            let name = field(entry, key).to_owned();
            let identity = fields.iter().map(|f| format!("{f} {}", field(entry, f))).collect::<Vec<_>>().join(", ");
            if fields.iter().any(|f| field(entry, f).is_empty()) {
                violations.push(format!("{}: {name} lacks one of {}", worker.file, fields.join(", ")));
            }
            let first = by_name.entry(name.clone()).or_insert_with(|| (identity.clone(), worker.file.clone()));
            if first.0 != identity {
                violations.push(format!("{}: {name} is {identity}, but {} in {}", worker.file, first.0, first.1));
            }
            let first = by_identity.entry(identity.clone()).or_insert_with(|| (name.clone(), worker.file.clone()));
            if first.0 != name {
                violations
                    .push(format!("{}: {identity} is called {name}, but {} in {}", worker.file, first.0, first.1));
            }
        }
    }
    violations
}

/// The binding, and (class, Worker that defines it).
fn objects(worker: &Worker) -> Vec<(&str, (&str, &str))> {
    let bound = worker.entries(&["durable_objects", "bindings"]).into_iter();
    bound
        .map(|b| {
            let script = field(b, "script_name");
            (field(b, "name"), (field(b, "class_name"), if script.is_empty() { worker.name() } else { script }))
        })
        .collect()
}

/// Each Durable Object has one name everywhere, and is defined (with SQLite) where it is said to be.
fn wrong_objects(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut seen: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for worker in workers {
        for (binding, object) in objects(worker) {
            let first = seen.entry(binding).or_insert(object);
            if *first != object {
                violations.push(format!("{}: {binding} is {object:?}, but {first:?} elsewhere", worker.file));
            }
            let (class, script) = object;
            let defined = workers.iter().filter(|w| w.name() == script).any(|w| {
                let migrations = w.entries(&["migrations"]).into_iter();
                let classes = migrations.filter_map(|m| m.get("new_sqlite_classes")?.as_array()).flatten();
                classes.filter_map(Value::as_str).any(|c| c == class)
            });
            if !defined {
                violations.push(format!("{}: {script} has no migration with new_sqlite_classes {class}", worker.file));
            }
        }
    }
    violations
}

/// Every queue has who rings and one who answers; its dead letters go to a queue that is not itself.
fn wrong_queues(workers: &[Worker]) -> Vec<String> {
    let of = |path: &'static [&'static str]| {
        workers
            .iter()
            .flat_map(move |w| w.entries(path).into_iter().map(|e| field(e, "queue").to_owned()))
            .collect::<Vec<_>>()
    };
    let (produced, consumed) = (of(&["queues", "producers"]), of(&["queues", "consumers"]));
    let mut violations = Vec::new();
    for queue in produced.iter().collect::<BTreeSet<_>>() {
        let consumers = consumed.iter().filter(|c| *c == queue).count();
        if consumers != 1 {
            violations.push(format!("the queue {queue} has {consumers} consumers"));
        }
    }
    let dead: BTreeSet<String> = workers
        .iter()
        .flat_map(|w| w.entries(&["queues", "consumers"]))
        .map(|c| field(c, "dead_letter_queue").to_owned())
        .collect();
    for queue in consumed.iter().filter(|queue| !produced.contains(queue) && !dead.contains(*queue)) {
        violations.push(format!("the queue {queue} has a consumer and nobody who rings it"));
    }
    violations
}

/// What keeps something outside of D1: KV namespaces, Durable Object classes, queues.
pub fn stored_names(workers: &[Worker]) -> BTreeSet<String> {
    let kinds: [(&[&str], &str); 4] = [
        (&["kv_namespaces"], "binding"),
        (&["r2_buckets"], "bucket_name"),
        (&["durable_objects", "bindings"], "class_name"),
        (&["queues", "producers"], "queue"),
    ];
    let of =
        |w: &Worker| kinds.iter().flat_map(|(p, f)| w.entries(p).into_iter().map(|e| field(e, f).to_owned())).collect();
    workers.iter().flat_map(|w| -> Vec<String> { of(w) }).collect()
}

/// Every D1 that a Worker is bound to gets the migrations of schema/.
fn migrations_from_elsewhere(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers {
        let schema = if worker.file == "wrangler.toml" { "schema" } else { "../../schema" };
        for database in worker.entries(&["d1_databases"]) {
            if field(database, "migrations_dir") != schema {
                violations.push(format!("{}: migrations_dir must be \"{schema}\"", worker.file));
            }
        }
    }
    violations
}

/// One public door: every other Worker says that it has no address, and none claims a route.
fn public(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers.iter().filter(|w| w.folder != GATEWAY) {
        for address in ["workers_dev", "preview_urls"] {
            if worker.config.get(address) != Some(&Value::Boolean(false)) {
                violations
                    .push(format!("{}: write `{address} = false`: the gateway is the only public door", worker.file));
            }
        }
        if worker.config.contains_key("route") || worker.config.contains_key("routes") {
            violations.push(format!("{}: a route makes it public", worker.file));
        }
    }
    violations
}

/// What is sent to a CRM by mistake cannot be taken back: the files say `DRY_RUN = "true"`, and an operator turns it off.
fn dry_run_turned_off(workers: &[Worker]) -> Vec<String> {
    let off = workers.iter().filter(|w| {
        w.config.get("vars").and_then(|vars| vars.get("DRY_RUN")).is_some_and(|value| value.as_str() != Some("true"))
    });
    off.map(|w| format!("{}: DRY_RUN must be \"true\"", w.file)).collect()
}

/// The platform's own invocation logs keep URLs, and a callback's URL carries a code.
fn urls_in_logs(workers: &[Worker]) -> Vec<String> {
    let kept = workers.iter().filter(|w| {
        let logs = w.config.get("observability").and_then(|o| o.get("logs"));
        logs.and_then(|logs| logs.get("invocation_logs")) != Some(&Value::Boolean(false))
    });
    kept.map(|w| format!("{}: write `invocation_logs = false` under [observability.logs]", w.file)).collect()
}

/// A cron door has a schedule, a function has none.
fn wrong_schedules(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers {
        let crons = worker.config.get("triggers").and_then(|t| t.get("crons")).and_then(Value::as_array);
        let scheduled = crons.is_some_and(|crons| !crons.is_empty());
        if scheduled != worker.folder.starts_with("cron/") {
            violations
                .push(format!("{}: [triggers] crons belongs to the doors of cron/, and to each of them", worker.file));
        }
    }
    violations
}

#[test]
fn every_door_has_a_wrangler_file() {
    let without = door_folders().into_iter().map(|folder| file_of(&folder)).filter(|file| !root().join(file).is_file());
    assert_none(&without.map(|file| format!("{file} is missing")).collect::<Vec<_>>());
}

#[test]
fn every_worker_is_named_after_its_folder() {
    assert_none(&misnamed(&with_the_stand_in()));
}

#[test]
fn every_worker_runs_what_the_build_makes() {
    assert_none(&wrong_main(&with_the_stand_in()));
}

#[test]
fn every_worker_has_the_same_compatibility_date() {
    assert_none(&differing_dates(&with_the_stand_in()));
}

#[test]
fn the_gateway_reaches_every_function_and_every_binding_leads_somewhere() {
    assert_none(&unreachable(&doors()));
}

#[test]
fn databases_queues_and_namespaces_are_the_same_everywhere() {
    assert_none(&disagreements(&doors()));
}

#[test]
fn every_durable_object_is_defined_where_it_is_said_to_be() {
    assert_none(&wrong_objects(&with_the_stand_in()));
}

#[test]
fn every_queue_is_rung_and_answered() {
    assert_none(&wrong_queues(&doors()));
}

/// What runs on a schedule can also be run by hand.
fn jobs_nobody_can_run(workers: &[Worker]) -> Vec<String> {
    let jobs = workers.iter().find(|w| w.folder == "functions/jobs");
    let reached: BTreeSet<&str> = jobs.iter().flat_map(|w| service_bindings(w)).map(|(_, service)| service).collect();
    let crons = workers.iter().filter(|w| w.folder.starts_with("cron/") && !reached.contains(w.name()));
    crons.map(|w| format!("functions/jobs/wrangler.toml: no [[services]] entry leads to {}", w.name())).collect()
}

#[test]
fn every_cron_can_be_run_by_hand() {
    assert_none(&jobs_nobody_can_run(&doors()));
}

#[test]
fn crons_and_only_crons_have_a_schedule() {
    assert_none(&wrong_schedules(&doors()));
}

#[test]
fn every_database_gets_the_schemas_migrations() {
    assert_none(&migrations_from_elsewhere(&doors()));
}

#[test]
fn only_the_gateway_is_public() {
    assert_none(&public(&doors()));
}

#[test]
fn no_file_turns_dry_run_off() {
    assert_none(&dry_run_turned_off(&doors()));
}

#[test]
fn no_platform_log_keeps_the_urls_of_callbacks() {
    assert_none(&urls_in_logs(&doors()));
}

#[cfg(test)]
mod wrong_examples;
