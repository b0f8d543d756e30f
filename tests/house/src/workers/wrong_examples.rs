//! Small wrong wrangler files, each with the checker that must find it.

use super::*;

const RIGHT: &str = "name = 'crm-writes'\nmain = 'build/index.js'\ncompatibility_date = '2026-07-30'";

fn two(first: &str, second: &str) -> Vec<Worker> {
    vec![Worker::new("functions/crm-writes", first), Worker::new("functions/hubspot-write-processor", second)]
}

#[test]
fn another_name_than_the_folders_is_found() {
    assert_eq!(misnamed(&[Worker::new("functions/crm-write", RIGHT)]).len(), 1);
    assert_none(&misnamed(&[Worker::new("functions/crm-writes", RIGHT)]));
}

#[test]
fn another_main_is_found() {
    assert_eq!(wrong_main(&[Worker::new("cron/job", "main = 'src/lib.rs'")]).len(), 1);
    assert_eq!(wrong_main(&[Worker::new(GATEWAY, "main = 'build/index.js'")]).len(), 1);
    assert_none(&wrong_main(&[Worker::new(GATEWAY, "main = 'functions/gateway/build/index.js'")]));
}

#[test]
fn another_date_or_none_is_found() {
    assert!(!differing_dates(&two(RIGHT, "compatibility_date = '2026-07-31'")).is_empty());
    assert!(!differing_dates(&two(RIGHT, "")).is_empty());
    assert!(!differing_dates(&[Worker::new("cron/job", "")]).is_empty());
    assert_none(&differing_dates(&two(RIGHT, RIGHT)));
}

#[test]
fn a_function_the_gateway_does_not_reach_is_found() {
    let with = |services: &str| {
        let functions = two("", "");
        unreachable(&functions.into_iter().chain([Worker::new(GATEWAY, services)]).collect::<Vec<_>>())
    };
    assert_eq!(with(""), ["wrangler.toml: no [[services]] entry leads to crm-writes"]);
    let right = "services = [{ binding = 'CRM_WRITES', service = 'crm-writes' }]";
    assert_none(&with(right));
    assert_eq!(with(&right.replace("}]", "}, { binding = 'OLD', service = 'old' }]")).len(), 1);
    assert_eq!(with(&right.replace("}]", "}, { binding = 'CRM_WRITES', service = 'crm-writes' }]")).len(), 1);
}

#[test]
fn a_resource_that_differs_is_found() {
    let d1 = |binding: &str, id: &str| {
        format!("d1_databases = [{{ binding = '{binding}', database_name = 'conduit', database_id = '{id}' }}]")
    };
    assert_eq!(disagreements(&two(&d1("DB", "1"), &d1("DB", "2"))).len(), 1);
    assert_eq!(disagreements(&two(&d1("DB", "1"), &d1("DATABASE", "1"))).len(), 1);
    assert_eq!(disagreements(&[Worker::new("cron/job", &d1("DB", ""))]).len(), 1);
    assert_none(&disagreements(&two(&d1("DB", "1"), &d1("DB", "1"))));
    let kv = |id: &str| format!("kv_namespaces = [{{ binding = 'CACHE', id = '{id}' }}]");
    assert_eq!(disagreements(&two(&kv("1"), &kv("2"))).len(), 1);
    let queue = |name: &str| format!("[[queues.producers]]\nbinding = 'WRITES'\nqueue = '{name}'");
    assert_eq!(disagreements(&two(&queue("a"), &queue("b"))).len(), 1);
}

#[test]
fn an_object_without_its_definition_is_found() {
    let binding =
        "durable_objects.bindings = [{ name = 'GATE', class_name = 'Gate', script_name = 'hubspot-write-processor' }]";
    let migration = "migrations = [{ tag = 'v1', new_sqlite_classes = ['Gate'] }]";
    assert_eq!(wrong_objects(&two(binding, "")).len(), 1);
    assert_none(&wrong_objects(&two(binding, migration)));
    let other = format!("durable_objects.bindings = [{{ name = 'GATE', class_name = 'Other' }}]\n{migration}");
    assert!(!wrong_objects(&two(binding, &other)).is_empty());
}

#[test]
fn a_queue_nobody_answers_or_rings_is_found() {
    let producer = "[[queues.producers]]\nbinding = 'WRITES'\nqueue = 'a'";
    let consumer = "[[queues.consumers]]\nqueue = 'a'\ndead_letter_queue = 'a-dead'";
    assert_eq!(wrong_queues(&two(producer, "")), ["the queue a has 0 consumers"]);
    assert_eq!(wrong_queues(&two("", consumer)).len(), 1);
    assert_none(&wrong_queues(&two(producer, consumer)));
}

#[test]
fn a_cron_without_a_schedule_and_a_function_with_one_are_found() {
    let schedule = "triggers.crons = ['*/10 * * * *']";
    assert_eq!(wrong_schedules(&[Worker::new("cron/job", "")]).len(), 1);
    assert_eq!(wrong_schedules(&[Worker::new("functions/crm-writes", schedule)]).len(), 1);
    assert_none(&wrong_schedules(&[Worker::new("cron/job", schedule), Worker::new("functions/crm-writes", "")]));
}

#[test]
fn migrations_from_elsewhere_are_found() {
    let d1 = |folder: &str| format!("d1_databases = [{{ binding = 'DB', migrations_dir = '{folder}' }}]");
    assert_eq!(migrations_from_elsewhere(&[Worker::new("cron/job", &d1("../schema"))]).len(), 1);
    assert_none(&migrations_from_elsewhere(&[
        Worker::new("cron/job", &d1("../../schema")),
        Worker::new(GATEWAY, &d1("schema")),
    ]));
}

#[test]
fn a_second_public_door_is_found() {
    let private = "workers_dev = false\npreview_urls = false\n";
    assert_eq!(public(&[Worker::new("cron/job", "")]).len(), 2);
    assert_eq!(public(&[Worker::new("cron/job", &format!("{private}route = 'x'"))]).len(), 1);
    assert_none(&public(&[Worker::new("cron/job", private), Worker::new(GATEWAY, "workers_dev = true")]));
}

#[test]
fn a_dry_run_that_is_off_and_a_log_with_urls_are_found() {
    for off in ["'false'", "false", "'True'"] {
        assert_eq!(dry_run_turned_off(&[Worker::new("cron/job", &format!("vars.DRY_RUN = {off}"))]).len(), 1, "{off}");
    }
    assert_none(&dry_run_turned_off(&two("vars.DRY_RUN = 'true'", "")));
    assert_eq!(urls_in_logs(&[Worker::new("cron/job", "observability.logs.enabled = true")]).len(), 1);
    assert_none(&urls_in_logs(&[Worker::new("cron/job", "observability.logs.invocation_logs = false")]));
}

#[test]
fn what_keeps_something_is_named() {
    let text =
        "kv_namespaces = [{ binding = 'CACHE', id = '1' }]\n[[queues.producers]]\nbinding = 'W'\nqueue = 'writes'";
    assert_eq!(stored_names(&[Worker::new("cron/job", text)]).into_iter().collect::<Vec<_>>(), ["CACHE", "writes"]);
}
