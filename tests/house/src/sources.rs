//! What every Rust file owes its reader, and where SQL may stand.

use crate::repo::{assert_none, files};
use crate::rust_source::Source;
use std::collections::BTreeSet;

/// A file of ours.
struct File {
    path: String,
    text: String,
    source: Source,
    /// Its byte ranges that are tests.
    tests: Vec<std::ops::Range<usize>>,
}

impl File {
    /// The code without comments, literals and tests.
    fn product_code(&self) -> String {
        let mut bytes = self.source.code.clone().into_bytes();
        for byte in self.tests.iter().flat_map(Clone::clone) {
            if bytes[byte] != b'\n' {
                bytes[byte] = b' ';
            }
        }
        String::from_utf8(bytes).expect("code is UTF-8 without its literals")
    }

    fn is_test(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }
}

/// Takes files apart; one that another declares as a `#[cfg(test)] mod` is a test from end to end.
fn taken_apart(files: Vec<(String, String)>) -> Vec<File> {
    let mut taken: Vec<File> = files
        .into_iter()
        .map(|(path, text)| {
            let source = Source::of(&text);
            let tests = source.test_ranges();
            File { path, text, source, tests }
        })
        .collect();
    let test_stems: BTreeSet<String> = taken
        .iter()
        .flat_map(|file| file.source.test_modules().into_iter().map(|module| format!("{}/{module}", stem(&file.path))))
        .collect();
    for file in &mut taken {
        let own = file.path.trim_end_matches(".rs");
        let of_module = |stem: &String| own == stem || own.starts_with(&format!("{stem}/"));
        let in_a_test_folder = file.path.split('/').skip(2).any(|part| part == "tests" || part == "benches");
        if in_a_test_folder || test_stems.iter().any(of_module) {
            file.tests = std::iter::once(0..file.text.len()).collect();
        }
    }
    taken
}

/// Where a file's modules stand: `src` for `src/lib.rs` and `src/mod.rs`, `src/vault` for `src/vault.rs`.
fn stem(path: &str) -> &str {
    let without = path.trim_end_matches(".rs");
    ["/lib", "/mod", "/main"].iter().find_map(|end| without.strip_suffix(end)).unwrap_or(without)
}

/// The product's: shared, functions, cron. The tests' own crates are held to fewer rules.
fn product() -> Vec<File> {
    taken_apart(files(&["shared", "functions", "cron"], ".rs"))
}

fn all() -> Vec<File> {
    taken_apart(files(&["shared", "functions", "cron", "tests"], ".rs"))
}

const SQL: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE TABLE"];

fn is_sql(literal: &str) -> bool {
    let text = literal.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == '\\');
    SQL.iter().any(|word| text.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\n'])))
}

/// SQL stands in `store`, where `edge` and `stub-db` find it.
fn sql_outside_store(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with("shared/store/")) {
        let literals =
            file.source.literals.iter().filter(|literal| is_sql(&literal.text) && !file.is_test(literal.offset));
        // Salesforce's query language reads like SQL and belongs to its adapter; it can only select.
        let soql =
            |text: &str| file.path.starts_with("shared/providers/src/salesforce/") && text.starts_with("SELECT ");
        for literal in literals.filter(|literal| !soql(&literal.text)) {
            violations.push(format!("{}:{}: SQL outside of shared/store", file.path, literal.line));
        }
    }
    violations
}

fn without_a_header(files: &[File]) -> Vec<String> {
    let without = files.iter().filter(|file| {
        let said = file.text.strip_prefix("//! ").and_then(|rest| rest.lines().next()).unwrap_or_default();
        said.trim_end_matches('.').eq_ignore_ascii_case("placeholder") || said.len() < 10
    });
    without.map(|file| format!("{}: begin with `//!` and say what this file is", file.path)).collect()
}

/// The aim is 400; a file above this has two subjects.
const MOST_LINES: usize = 500;

fn too_long(files: &[File]) -> Vec<String> {
    let lines = |file: &File| {
        let in_tests: usize = file.tests.iter().map(|range| file.text[range.clone()].lines().count()).sum();
        file.text.lines().count().saturating_sub(in_tests)
    };
    let long = files.iter().filter(|file| lines(file) > MOST_LINES);
    long.map(|file| format!("{}: {} lines without tests, at most {MOST_LINES}", file.path, lines(file))).collect()
}

/// What product code must not say, and what it says instead.
const BANNED: [(&str, &str); 5] = [
    ("println!", "log through `World`"),
    ("eprintln!", "log through `World`"),
    ("dbg!", "log through `World`"),
    ("SystemTime::now", "use `World::now`"),
    ("Instant::now", "use `World::now`"),
];

fn banned_words(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.product_code().lines()) {
            // `eprintln!` contains `println!`: one is enough.
            if let Some((word, instead)) = BANNED.iter().find(|(word, _)| line.contains(word)) {
                violations.push(format!("{}:{number}: {word} in product code: {instead}", file.path));
            }
        }
    }
    violations
}

/// Lints that no product file may allow itself: a panic takes the whole wasm instance with it.
const NEVER_ALLOWED: [&str; 5] = ["unwrap_used", "expect_used", "indexing_slicing", "clippy::panic", "clippy::todo"];

fn allowed_panics(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        let code = file.product_code();
        for (start, _) in code.match_indices("allow(").chain(code.match_indices("expect(clippy")) {
            let attribute = code[start..].split(")]").next().unwrap_or_default();
            for lint in NEVER_ALLOWED.iter().filter(|lint| attribute.contains(**lint)) {
                violations.push(format!("{}: allows {lint}, which is denied for the product", file.path));
            }
        }
    }
    violations
}

#[test]
fn sql_stands_in_store_only() {
    let files = product();
    let in_store = files.iter().filter(|f| f.path.starts_with("shared/store/")).flat_map(|f| &f.source.literals);
    assert!(in_store.filter(|literal| is_sql(&literal.text)).count() > 10, "the scan does not see the SQL there is");
    assert_none(&sql_outside_store(&files));
}

#[test]
fn every_file_opens_with_what_it_is() {
    assert_none(&without_a_header(&all()));
}

#[test]
fn no_file_has_two_subjects() {
    assert_none(&too_long(&all()));
}

#[test]
fn the_product_neither_prints_nor_reads_the_clock() {
    assert_none(&banned_words(&product()));
}

#[test]
fn no_product_file_allows_itself_to_panic() {
    assert_none(&allowed_panics(&product()));
}

#[cfg(test)]
mod wrong_examples {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<File> {
        taken_apart(vec![(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn sql_elsewhere_is_found() {
        for sql in
            ["SELECT 1", "  INSERT INTO a", "UPDATE a", "DELETE FROM a", "WITH a AS", "CREATE TABLE a", "SELECT\\n x"]
        {
            let text = format!("const A: &str = \"{}\";", sql.replace("\\n", "\n"));
            assert_eq!(sql_outside_store(&file("shared/flows/src/a.rs", &text)).len(), 1, "{sql}");
            assert_none(&sql_outside_store(&file("shared/store/src/a.rs", &text)));
        }
        let soql = "f(\"SELECT Id FROM Lead\");";
        assert_none(&sql_outside_store(&file("shared/providers/src/salesforce/find.rs", soql)));
        assert_eq!(sql_outside_store(&file("shared/providers/src/hubspot/find.rs", soql)).len(), 1);
    }

    #[test]
    fn prose_comments_and_tests_are_not_sql() {
        for text in
            ["f(\"WITHOUT\");", "f(\"Select one\");", "// \"SELECT 1\"", "#[cfg(test)]\nmod t { f(\"SELECT 1\"); }"]
        {
            assert_none(&sql_outside_store(&file("shared/flows/src/a.rs", text)));
        }
    }

    #[test]
    fn a_test_module_in_its_own_file_is_a_test() {
        let files = |declared: &str| {
            taken_apart(vec![
                ("shared/flows/src/lib.rs".to_owned(), declared.to_owned()),
                ("shared/flows/src/race.rs".to_owned(), "f(\"SELECT 1\");".to_owned()),
            ])
        };
        assert_none(&sql_outside_store(&files("#[cfg(test)]\nmod race;")));
        assert_eq!(sql_outside_store(&files("mod race;")).len(), 1);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        for text in ["use a;", "", "//! Placeholder.", "//! x", "// Not a doc comment, though it is long."] {
            assert_eq!(without_a_header(&file("a.rs", text)).len(), 1, "{text}");
        }
        assert_none(&without_a_header(&file("a.rs", "//! What this file is about.\n")));
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_not_counted() {
        let lines = |count: usize| "fn a() {}\n".repeat(count);
        assert_eq!(too_long(&file("a.rs", &lines(MOST_LINES + 1))).len(), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(MOST_LINES), lines(300));
        assert_none(&too_long(&file("a.rs", &tested)));
    }

    #[test]
    fn printing_and_the_clock_are_found_outside_of_tests() {
        for code in ["println!(1)", "eprintln!(1)", "dbg!(1)", "std::time::Instant::now()", "SystemTime::now()"] {
            assert_eq!(banned_words(&file("a.rs", &format!("fn a() {{ {code} }}"))).len(), 1, "{code}");
            assert_none(&banned_words(&file("a.rs", &format!("#[cfg(test)]\nmod t {{ fn a() {{ {code} }} }}"))));
        }
        assert_none(&banned_words(&file("a.rs", "// println!\nf(\"dbg!\")")));
    }

    #[test]
    fn an_allowed_panic_is_found() {
        for code in [
            "#[allow(clippy::unwrap_used)]",
            "#![allow(clippy::panic, reason = \"x\")]",
            "#[expect(clippy::expect_used)]",
        ] {
            assert_eq!(allowed_panics(&file("a.rs", code)).len(), 1, "{code}");
        }
        assert_none(&allowed_panics(&file("a.rs", "#[allow(clippy::cast_lossless)]\nfn a() {}")));
    }
}
