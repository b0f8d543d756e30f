//! What stands at the top of the repository, and why.

use crate::repo::{assert_none, list, read, root};

/// A new entry at the top needs a reason here.
const TOP: &[(&str, &str)] = &[
    (".ci", "what the continuous integration calls"),
    (".gitignore", "git looks here"),
    (".npmrc", "npm looks here"),
    ("Cargo.lock", "the versions that were tested"),
    ("Cargo.toml", "the workspace: members, versions, lints, profiles"),
    ("LICENSE", "where people look for it"),
    ("README.md", "where people begin"),
    ("clippy.toml", "clippy looks here"),
    ("cron", "doors: one folder, one schedule"),
    ("docs", "architecture, API, security, runbook"),
    ("functions", "doors: one folder, one endpoint"),
    ("package-lock.json", "the versions that were tested"),
    ("package.json", "the commands: start, test, build, demo, bench, simulate, deploy"),
    ("rust-toolchain.toml", "rustup looks here"),
    ("rustfmt.toml", "rustfmt looks here"),
    ("schema", "the D1 migrations and what they mean"),
    ("scripts", "what the commands of package.json run"),
    ("shared", "words, tools, deeds and the edge"),
    ("tests", "what judges the others"),
    ("wrangler.toml", "the gateway, the one public door"),
];

/// A person's own, which git does not take either.
const PERSONAL: [&str; 4] = [".git", ".DS_Store", ".idea", ".vscode"];

fn without_a_reason(entries: &[String], ignored: &str) -> Vec<String> {
    let in_gitignore = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let unknown = entries.iter().filter(|name| {
        !TOP.iter().any(|(known, _)| known == name) && !PERSONAL.contains(&&***name) && !in_gitignore(name)
    });
    unknown
        .map(|name| format!("{name} stands at the top without a reason: see TOP in tests/house/src/layout.rs"))
        .collect()
}

#[test]
fn every_entry_at_the_top_has_a_reason() {
    // Git does not keep empty folders, and leaves them behind.
    let empty = |name: &String| root().join(name).is_dir() && list(name).is_empty();
    let entries: Vec<String> = list("").into_iter().filter(|name| !empty(name)).collect();
    assert_none(&without_a_reason(&entries, &read(".gitignore")));
}

#[test]
fn an_entry_without_a_reason_is_found() {
    let found = without_a_reason(&["utils".to_owned(), "shared".to_owned(), "target".to_owned()], "/target/\n*.log");
    assert!(matches!(&found[..], [one] if one.starts_with("utils")), "{found:?}");
}
