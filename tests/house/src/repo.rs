//! The repository on disk: its root, its files, and what cargo says of its members.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the root Cargo.toml.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository has a root")
}

/// A file's text, by its path from the root.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names in a folder, sorted; none when there is no such folder.
pub fn list(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().expect("names are UTF-8")).collect();
    names.sort();
    names
}

/// Every file below the folders whose name ends so: its path from the root, and its text. Build output is left out.
pub fn files(folders: &[&str], ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending: Vec<String> = folders.iter().rev().map(|&folder| folder.to_owned()).collect();
    while let Some(path) = pending.pop() {
        if root().join(&path).is_dir() {
            let inner =
                list(&path).into_iter().rev().filter(|name| !["target", "build", "node_modules"].contains(&&**name));
            pending.extend(inner.map(|name| format!("{path}/{name}")));
        } else if path.ends_with(ending) {
            found.push((path.clone(), read(&path)));
        }
    }
    found
}

/// A dependency of a member, as cargo resolved its manifest.
#[derive(Clone, Debug)]
pub struct Dependency {
    pub name: String,
    /// In `[dev-dependencies]`: only tests see it.
    pub dev: bool,
}

/// A member of the workspace.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    /// Its folder from the root: `shared/model`.
    pub folder: String,
    pub dependencies: Vec<Dependency>,
}

/// Every member, by `cargo metadata`.
pub fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("it has packages").iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root()).ok()).expect("a member is inside");
    let dependencies = package["dependencies"].as_array().expect("a list").iter();
    Member {
        name: text(&package["name"]),
        folder: folder.to_str().expect("paths are UTF-8").replace('\\', "/"),
        dependencies: dependencies
            .map(|d| Dependency { name: text(&d["name"]), dev: d["kind"].as_str() == Some("dev") })
            .collect(),
    }
}

/// Fails with every violation on a line of its own.
#[track_caller]
pub fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}
