//! What holds for every page.

use crate::{Html, STYLE, connected, landing, oauth_failed};

fn every_page() -> Vec<Html> {
    vec![
        oauth_failed("state_used", "this sign-in link was already used", "HubSpot", Some("/again"), "rq_1"),
        oauth_failed("exchange_failed", "Salesforce did not accept the sign-in", "Salesforce", None, "rq_1"),
        connected("HubSpot", "Acme", Some("/settings")),
        connected("Salesforce", "Acme", None),
        landing(&["HubSpot", "Salesforce"], "/functions/v1/openapi.json"),
    ]
}

fn count(page: &Html, text: &str) -> usize {
    page.as_str().matches(text).count()
}

#[test]
fn a_page_is_complete_has_a_language_a_title_and_one_heading() {
    for page in every_page() {
        assert!(page.as_str().starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}");
        for once in ["<title>", "<h1>", "</h1>", "<main", "charset=\"utf-8\"", "name=\"viewport\"", "</html>"] {
            assert_eq!(count(&page, once), 1, "{once} in {page}");
        }
        assert!(!page.as_str().contains("<title> "), "{page}");
    }
}

#[test]
fn a_page_has_one_way_out() {
    for page in every_page() {
        assert_eq!(count(&page, "class=\"way-out\""), 1, "{page}");
        assert!(count(&page, "<a ") <= 1, "{page}");
    }
}

#[test]
fn a_page_asks_for_nothing_from_elsewhere() {
    for page in every_page() {
        for word in ["http", "//", "src=", "url(", "@import", "<link", "<img", "<script", "<form", "<iframe"] {
            assert_eq!(count(&page, word), 0, "{word} in {page}");
        }
    }
}

#[test]
fn the_stylesheet_is_the_one_the_policy_names_and_the_only_style() {
    assert!(!STYLE.contains('<'));
    for page in every_page() {
        assert_eq!(count(&page, &format!("<style>{STYLE}</style>")), 1);
        assert_eq!(count(&page, "<style"), 1);
        assert_eq!(count(&page, " style="), 0);
    }
}

/// `cargo test -p pages -- --ignored` writes every page to target/pages, to be looked at.
#[test]
#[ignore = "writes files for a person to open"]
fn write_every_page() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/pages");
    std::fs::create_dir_all(&folder).unwrap();
    let long = connected("Salesforce", &"Donaudampfschifffahrtsgesellschaft".repeat(4), Some("/settings"));
    for (number, page) in every_page().into_iter().chain([long]).enumerate() {
        std::fs::write(folder.join(format!("{number}.html")), page.as_str()).unwrap();
    }
}
