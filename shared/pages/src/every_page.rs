//! What holds for every page.

use crate::{
    Account, Choice, Decline, Html, Link, STYLE, Visitor, claim, confirm, connected, connections, declined, landing,
    oauth_failed, refused, sign_in,
};

fn every_page() -> Vec<Html> {
    vec![
        oauth_failed("state_used", "this sign-in link was already used", "HubSpot", Some("/again"), "rq_1"),
        oauth_failed("exchange_failed", "Salesforce did not accept the sign-in", "Salesforce", None, "rq_1"),
        connected("HubSpot", "Acme", Some("/settings")),
        connected("Salesforce", "Acme", None),
        landing(&["HubSpot", "Salesforce"], "/functions/v1/openapi.json"),
        sign_in(None, None),
        declined(&ACCOUNT, true),
        declined(&ACCOUNT, false),
        refused("Not connected", "install_expired", "this install was not claimed in time", None, "rq_1"),
    ]
}

const ACCOUNT: Account<'_> = Account { crm_title: "HubSpot", name: Some("acme.example"), id: "4242" };
const NO: Decline<'_> = Decline { install_id: "in_1", form_token: "t" };

fn pages_with_forms() -> Vec<Html> {
    let all = [Choice { id: "ws_a", name: "Acme Support" }, Choice { id: "ws_b", name: "Acme Sales" }];
    let visitor = |workspaces| Visitor { user: "us_ada", form_token: "t", workspaces };
    let salesforce = Account { crm_title: "Salesforce", name: None, id: "00DXX0000000001AAA" };
    let link = |crm, crm_title, connected| Link { crm, crm_title, connected, ended: None };
    let links = [
        link("hubspot", "HubSpot", Some(("acme.example", None))),
        link("salesforce", "Salesforce", Some(("Acme", Some("HubSpot no longer accepts it: reconnect")))),
    ];
    vec![
        claim(&ACCOUNT, &visitor(&all[..1]), &NO),
        claim(&salesforce, &visitor(&all), &NO),
        confirm("hubspot", "HubSpot", Some((&ACCOUNT, &NO)), &visitor(&all[..1])),
        sign_in(Some((&ACCOUNT, &NO)), Some("/sign-in")),
        confirm("salesforce", "Salesforce", None, &visitor(&all)),
        connections(&all[0], "t", &links, Some("/settings")),
    ]
}

fn count(page: &Html, text: &str) -> usize {
    page.as_str().matches(text).count()
}

#[test]
fn a_page_is_complete_has_a_language_a_title_and_one_heading() {
    for page in every_page().into_iter().chain(pages_with_forms()) {
        assert!(page.as_str().starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}");
        for once in ["<title>", "<h1>", "</h1>", "<main", "charset=\"utf-8\"", "name=\"viewport\"", "</html>"] {
            assert_eq!(count(&page, once), 1, "{once} in {page}");
        }
        assert!(!page.as_str().contains("<title> "), "{page}");
    }
}

#[test]
fn a_page_has_one_way_out() {
    for page in every_page().into_iter().chain(pages_with_forms()) {
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
        assert!(!page.has_forms());
    }
    for page in pages_with_forms() {
        for word in ["http", "//", "src=", "url(", "@import", "<link", "<img", "<script", "<iframe", " onclick"] {
            assert_eq!(count(&page, word), 0, "{word} in {page}");
        }
        assert!(page.has_forms());
    }
}

#[test]
fn the_stylesheet_is_the_one_the_policy_names_and_the_only_style() {
    assert!(!STYLE.contains('<'));
    for page in every_page().into_iter().chain(pages_with_forms()) {
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
    for (number, page) in every_page().into_iter().chain(pages_with_forms()).chain([long]).enumerate() {
        std::fs::write(folder.join(format!("{number}.html")), page.as_str()).unwrap();
    }
}
