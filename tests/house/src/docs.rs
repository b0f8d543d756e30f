//! What operators read says what the source does: every log field and event, every alarm, every code.

use crate::repo::{assert_none, files, read};
use std::collections::BTreeSet;

/// First cells of a page's tables, each of the names in backticks in it.
fn named(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.trim_start_matches('|').split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
}

/// The events of the log that a source text names.
fn events(text: &str) -> BTreeSet<String> {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = [
        ".event(",
        ".log(",
        "with_caller(",
        "tell(",
        "let event = if error.is_none() { ",
        "let event = if try_at.is_some() { ",
    ];
    let mut found = BTreeSet::new();
    for call in calls {
        for rest in product.split(call).skip(1) {
            let mut words = rest.trim_start().splitn(3, '"');
            if words.next() != Some("") {
                continue;
            }
            found.extend(words.next().filter(|word| is_event(word)).map(ToOwned::to_owned));
            if call.starts_with("let event") {
                let other = rest.split("} else { \"").nth(1).and_then(|rest| rest.split('"').next());
                found.extend(other.map(ToOwned::to_owned));
            }
        }
    }
    found
}

fn is_event(word: &str) -> bool {
    !word.is_empty()
        && word.contains(['_', '.'])
        && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.')
}

fn all_events() -> BTreeSet<String> {
    let product = files(&["shared/flows/src", "shared/edge/src", "functions", "cron"], ".rs");
    product.iter().flat_map(|(_, text)| events(text)).filter(|name| name != "authenticated").collect()
}

fn fields() -> BTreeSet<String> {
    let source = read("shared/edge/src/log.rs");
    let list = source.split("const FIELDS").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

fn missing(wanted: BTreeSet<String>, page: &str, text: &str) -> Vec<String> {
    let there = named(text);
    wanted
        .into_iter()
        .filter(|name| !there.contains(name))
        .map(|name| format!("{page} does not speak of `{name}`"))
        .collect()
}

#[test]
fn every_event_and_field_of_the_log_is_described() {
    let events = all_events();
    assert!(
        events.len() > 40 && events.contains("integration.crm.sync_started"),
        "the scan does not see them: {events:?}"
    );
    assert!(fields().len() > 40);
    let page = read("docs/observability.md");
    assert_none(&missing(events, "docs/observability.md", &page));
    assert_none(&missing(fields(), "docs/observability.md", &page));
}

#[test]
fn every_code_and_every_alarm_is_in_the_runbook() {
    let page = read("docs/runbook.md");
    let codes = named(&read("docs/api/errors.md"));
    assert!(codes.len() > 80, "the scan does not see the codes");
    let classes = ["transient", "rate_limited", "auth", "mapping", "conflict", "unknown_outcome"];
    let codes = codes.into_iter().filter(|code| !classes.contains(&code.as_str())).collect();
    assert_none(&missing(codes, "docs/runbook.md", &page));
    let alarms = read("schema/0006_operations.sql");
    let kinds = alarms.split('\'').filter(|word| word.starts_with("crm.")).map(ToOwned::to_owned).collect();
    assert_none(&missing(kinds, "docs/runbook.md", &page));
    // What the log says when something is wrong: by its name.
    let wrong = [
        "_lost",
        "_failed",
        "_refused",
        "_unreachable",
        "_unreadable",
        "_misconfigured",
        "_given_up",
        "_unopenable",
        "_unknown_key",
        "not_saved",
    ];
    let alarming = all_events().into_iter().filter(|name| wrong.iter().any(|end| name.ends_with(end))).collect();
    assert_none(&missing(alarming, "docs/runbook.md", &page));
}

#[test]
fn every_job_is_in_the_runbook() {
    let jobs = crate::repo::list("cron").into_iter().collect();
    assert_none(&missing(jobs, "docs/runbook.md", &read("docs/runbook.md")));
}

/// The metrics that a source text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let names = text.split('"').filter(|word| word.starts_with("conduit_"));
    names.map(ToOwned::to_owned).collect()
}

#[test]
fn every_metric_is_described_and_every_one_described_is_there() {
    let source = metrics(&read("shared/flows/src/read_metrics.rs"));
    assert!(source.contains("conduit_writes_open"), "the scan does not see them: {source:?}");
    let page = read("docs/observability.md");
    assert_none(&missing(source.clone(), "docs/observability.md", &page));
    let gone: Vec<String> =
        named(&page).into_iter().filter(|name| name.starts_with("conduit_") && !source.contains(name)).collect();
    assert_none(&gone);
    // An alert on a metric that is not there never fires.
    let runbook = read("docs/runbook.md");
    let alerts = runbook.split('`').filter(|word| word.starts_with("conduit_"));
    let unknown = alerts.filter_map(|word| word.split('{').next()).filter(|name| !source.contains(*name));
    assert_none(&unknown.map(ToOwned::to_owned).collect::<Vec<_>>());
}
