//! Every member's Cargo.toml: it takes the workspace's lints and versions, and is named after its folder.

use crate::repo::{assert_none, files, list, read};
use toml::{Table, Value};

const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// All Cargo.toml files of members, by path from the root.
fn manifests() -> Vec<(String, Table)> {
    let read = files(&["shared", "functions", "cron", "tests"], "/Cargo.toml").into_iter();
    read.map(|(path, text)| (path, text.parse().expect("a Cargo.toml is TOML"))).collect()
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key))
}

fn without_the_lints(manifests: &[(String, Table)]) -> Vec<String> {
    let without = manifests.iter().filter(|(_, m)| at(m, &["lints", "workspace"]) != Some(&Value::Boolean(true)));
    without.map(|(path, _)| format!("{path}: write `[lints] workspace = true`")).collect()
}

/// The dependency tables of a manifest, those of `[target.….dependencies]` among them.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|t| t.values());
    let holders = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    holders.flat_map(|holder| TABLES.iter().filter_map(|name| holder.get(*name)?.as_table())).collect()
}

fn versions_outside_the_root(manifests: &[(String, Table)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (path, manifest) in manifests {
        for (name, value) in dependency_tables(manifest).into_iter().flatten() {
            let inherited = value.get("workspace") == Some(&Value::Boolean(true));
            if !inherited {
                violations.push(format!("{path}: {name} must come from the root (`{name}.workspace = true`)"));
            }
        }
    }
    violations
}

/// Versions the root declares and no member takes.
fn unused_versions(root: &Table, manifests: &[(String, Table)]) -> Vec<String> {
    let declared = at(root, &["workspace", "dependencies"]).and_then(Value::as_table).expect("the root has versions");
    let used = |name: &str| manifests.iter().any(|(_, m)| dependency_tables(m).iter().any(|t| t.contains_key(name)));
    declared.keys().filter(|name| !used(name)).map(|name| format!("Cargo.toml: nobody uses {name}")).collect()
}

fn not_named_after_the_folder(manifests: &[(String, Table)]) -> Vec<String> {
    let folder = |path: &str| path.rsplit('/').nth(1).unwrap_or_default().to_owned();
    let wrong =
        manifests.iter().filter(|(path, m)| at(m, &["package", "name"]).and_then(Value::as_str) != Some(&folder(path)));
    wrong.map(|(path, _)| format!("{path}: the package must be named {}", folder(path))).collect()
}

/// The lints that make a rule of the house a compile error.
const DENIED: [&str; 5] = ["expect_used", "indexing_slicing", "panic", "todo", "unwrap_used"];

fn weakened_lints(root: &Table) -> Vec<String> {
    let level = |path: &[&str]| at(root, path).and_then(Value::as_str).unwrap_or("nothing").to_owned();
    let mut violations = Vec::new();
    let unsafe_code = level(&["workspace", "lints", "rust", "unsafe_code"]);
    if unsafe_code != "forbid" {
        violations.push(format!("unsafe_code must be forbid, is {unsafe_code}"));
    }
    for lint in DENIED {
        let is = level(&["workspace", "lints", "clippy", lint]);
        if is != "deny" && is != "forbid" {
            violations.push(format!("{lint} must be deny, is {is}"));
        }
    }
    violations
}

#[test]
fn every_member_takes_the_workspaces_lints() {
    assert_none(&without_the_lints(&manifests()));
}

#[test]
fn every_version_stands_in_the_root_once() {
    assert_none(&versions_outside_the_root(&manifests()));
}

#[test]
fn every_version_in_the_root_is_used() {
    assert_none(&unused_versions(&read("Cargo.toml").parse().unwrap(), &manifests()));
}

#[test]
fn every_package_is_named_after_its_folder() {
    assert_none(&not_named_after_the_folder(&manifests()));
}

#[test]
fn the_lints_forbid_unsafe_code_and_panics() {
    assert_none(&weakened_lints(&read("Cargo.toml").parse().unwrap()));
}

#[test]
fn every_folder_of_shared_functions_and_cron_is_a_member() {
    let found: Vec<String> = manifests().into_iter().map(|(path, _)| path).collect();
    let folders =
        ["shared", "functions", "cron"].iter().flat_map(|g| list(g).into_iter().map(move |n| format!("{g}/{n}")));
    let without = folders.filter(|folder| !found.contains(&format!("{folder}/Cargo.toml")));
    assert_none(&without.map(|folder| format!("{folder} has no Cargo.toml")).collect::<Vec<_>>());
}

#[cfg(test)]
mod wrong_examples {
    use super::*;

    fn manifest(text: &str) -> Vec<(String, Table)> {
        vec![("shared/model/Cargo.toml".to_owned(), text.parse().unwrap())]
    }

    #[test]
    fn a_member_without_the_lints_is_found() {
        assert_eq!(without_the_lints(&manifest("[package]\nname = 'model'")).len(), 1);
        assert_eq!(without_the_lints(&manifest("[lints]\nworkspace = false")).len(), 1);
        assert_none(&without_the_lints(&manifest("[lints]\nworkspace = true")));
    }

    #[test]
    fn a_version_in_a_member_is_found_in_every_table() {
        for wrong in [
            "[dependencies]\nserde = '1'",
            "[dependencies]\nserde = { version = '1' }",
            "[dependencies]\nmodel = { path = '../model' }",
            "[dev-dependencies]\nserde = '1'",
            "[build-dependencies]\nserde = '1'",
            "[target.'cfg(unix)'.dependencies]\nserde = '1'",
        ] {
            assert_eq!(versions_outside_the_root(&manifest(wrong)).len(), 1, "{wrong}");
        }
        assert_none(&versions_outside_the_root(&manifest(
            "[dependencies]\nserde = { workspace = true, features = ['rc'] }",
        )));
    }

    #[test]
    fn an_unused_version_is_found() {
        let root = "[workspace.dependencies]\nserde = '1'\nurl = '2'".parse().unwrap();
        assert_eq!(
            unused_versions(&root, &manifest("[dependencies]\nserde.workspace = true")),
            ["Cargo.toml: nobody uses url"]
        );
    }

    #[test]
    fn another_name_than_the_folders_is_found() {
        assert_eq!(not_named_after_the_folder(&manifest("[package]\nname = 'words'")).len(), 1);
        assert_none(&not_named_after_the_folder(&manifest("[package]\nname = 'model'")));
    }

    #[test]
    fn a_weakened_lint_is_found() {
        let weak =
            "[workspace.lints.rust]\nunsafe_code = 'deny'\n[workspace.lints.clippy]\npanic = 'warn'".parse().unwrap();
        assert_eq!(weakened_lints(&weak).len(), 1 + DENIED.len());
    }
}
