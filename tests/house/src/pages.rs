//! The pages for operators name every Worker, with what its wrangler.toml gives it.

use crate::repo::{assert_none, read};
use crate::workers::{Worker, doors};

/// The row of a table whose first cell names the Worker, alone or with others that are given the same.
fn row<'a>(page: &'a str, worker: &Worker) -> Option<&'a str> {
    let name = format!("`{}`", worker.name());
    page.lines().find(|line| {
        line.strip_prefix("| ")
            .and_then(|row| row.split_once(" |"))
            .is_some_and(|(cell, _)| cell.split(", ").any(|one| one == name))
    })
}

fn has_some(worker: &Worker, path: &[&str]) -> bool {
    let (first, rest) = path.split_first().expect("a path");
    rest.iter().try_fold(worker.config.get(*first), |value, key| Some(value?.get(*key))).flatten().is_some()
}

/// docs/deployment.md: the databases, the schedule and the variables.
fn not_deployed_as_told(page: &str, workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers {
        let Some(row) = row(page, worker) else {
            violations.push(format!("docs/deployment.md has no row for {}", worker.name()));
            continue;
        };
        let mut expect = |what: &str| {
            if !row.contains(&format!("`{what}`")) {
                violations.push(format!("docs/deployment.md, {}: {what} is missing", worker.name()));
            }
        };
        let vars = worker.config.get("vars").and_then(toml::Value::as_table);
        vars.into_iter().flat_map(toml::Table::keys).for_each(|name| expect(name));
        let crons = worker.config.get("triggers").and_then(|t| t.get("crons")).and_then(toml::Value::as_array);
        crons.into_iter().flatten().filter_map(toml::Value::as_str).for_each(expect);
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for (cell, path) in [(2, ["d1_databases"]), (3, ["kv_namespaces"])] {
            if (cells.get(cell).copied().unwrap_or_default() == "●") != has_some(worker, &path) {
                let (name, bound) = (worker.name(), path[0]);
                violations.push(format!("docs/deployment.md, {name}: {bound} is not as in its wrangler.toml"));
            }
        }
    }
    violations
}

/// docs/security.md: who holds which secret, in the order of its columns.
fn not_held_as_told(page: &str, workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers {
        let Some(row) = row(page, worker) else {
            violations.push(format!("docs/security.md has no row for {}", worker.name()));
            continue;
        };
        let held = worker.secrets();
        let apps = |end: &str| {
            let has = |crm: &str| held.contains(&format!("{crm}_{end}"));
            match (has("HUBSPOT"), has("SALESFORCE")) {
                (true, true) => "both",
                (true, false) => "HubSpot",
                (false, true) => "Salesforce",
                (false, false) => "",
            }
        };
        let key = |name: &str| if held.contains(name) { "●" } else { "" };
        let keys = ["JWT_HS256_SECRET", "STATE_MAC_KEY_B64", "TOKEN_ENC_KEY_B64"].map(key);
        let expected = [&keys[..], &[apps("CLIENT_ID"), apps("CLIENT_SECRET")]].concat();
        let cells: Vec<&str> = row.split('|').map(str::trim).skip(2).take(expected.len()).collect();
        if cells != expected {
            violations.push(format!("docs/security.md, {}: it holds {expected:?}, not {cells:?}", worker.name()));
        }
    }
    violations
}

#[test]
fn the_deployment_page_tells_what_each_worker_is_given() {
    assert_none(&not_deployed_as_told(&read("docs/deployment.md"), &doors()));
}

#[test]
fn the_security_page_tells_which_worker_holds_which_secret() {
    assert_none(&not_held_as_told(&read("docs/security.md"), &doors()));
}

#[cfg(test)]
mod wrong_examples {
    use super::{Worker, not_deployed_as_told, not_held_as_told};

    const CONFIG: &str = "[vars]\nDRY_RUN = \"true\"\n[triggers]\ncrons = [\"1 * * * *\"]\n[secrets]\nrequired = [\"TOKEN_ENC_KEY_B64\"]\n[[d1_databases]]\nbinding = \"DB\"";

    #[test]
    fn a_missing_row_variable_schedule_or_database_is_found() {
        let worker = [Worker::new("cron/a", CONFIG)];
        for (page, found) in [
            ("| `a` | ● | | | | cron `1 * * * *`, `DRY_RUN` |", 0),
            ("| `a` | ● | | | | `DRY_RUN` |", 1),
            ("| `a` | ● | | | | cron `1 * * * *` |", 1),
            ("| `a` | | ● | | | cron `1 * * * *`, `DRY_RUN` |", 2),
            ("| `b` | ● | | | | |", 1),
        ] {
            assert_eq!(not_deployed_as_told(page, &worker).len(), found, "{page}");
        }
    }

    #[test]
    fn a_secret_told_wrongly_is_found() {
        let worker = [Worker::new("cron/a", CONFIG)];
        for (page, found) in
            [("| `a` | | | ● | | |", 0), ("| `a` | | | | | |", 1), ("| `a` | | | ● | both | |", 1), ("", 1)]
        {
            assert_eq!(not_held_as_told(page, &worker).len(), found, "{page}");
        }
    }
}
