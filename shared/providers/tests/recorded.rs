//! Every payload recorded from the real APIs decodes or is classified as the reference says. The recordings are not part of
//! the repository: without them this says so and passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by a panic, and a table is as long as it is"
)]

mod given;

use given::{NOW, answer, entry, failure, lot, name, names, next, step};
use model::Crm;
use model::write::ErrorClass as C;
use providers::http::Effect;
use providers::{Provider, hubspot, provider, salesforce};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a recording must come to.
enum Expect {
    /// A request or a read that the adapters have no call for yet: well-formed JSON.
    Json,
    /// An error answer.
    Error { crm: Crm, status: u16, class: C, code: &'static str },
    /// A collection's results, each with its class.
    Results(&'static [Option<C>]),
    /// A 207 whose items are refusals of this class.
    Items(C),
    /// A result with an id for every row, by this pointer.
    Ids { rows: &'static str, id: &'static str, count: usize },
    /// The health check of this portal.
    Portal(&'static str),
    /// The answer of a contact upsert for these addresses.
    Contacts(&'static [&'static str]),
}

fn expectation(name: &str) -> Option<Expect> {
    use Crm::{Hubspot, Salesforce};
    let error = |crm, status, class, code| Expect::Error { crm, status, class, code };
    Some(match name {
        "hubspot/account-info.json" => Expect::Portal("12345678"),
        "hubspot/associations-batch-create-error.json" | "hubspot/contacts-batch-update-err-partial-success.json" => {
            Expect::Items(C::Mapping)
        }
        "hubspot/associations-batch-create.json" => Expect::Ids { rows: "/results", id: "toObjectId", count: 2 },
        "hubspot/contacts-batch-create-err-conflict.json" => error(Hubspot, 409, C::Conflict, "CONFLICT"),
        "hubspot/contacts-batch-create-err-many-invalid-properties.json"
        | "hubspot/contacts-batch-update-err-many-invalid-properties.json" => {
            error(Hubspot, 400, C::Mapping, "PROPERTY_DOESNT_EXIST")
        }
        "hubspot/contacts-batch-create-err-partial-success.json" => Expect::Items(C::Conflict),
        "hubspot/contacts-batch-update-err-duplicate-ids.json" => error(Hubspot, 400, C::Mapping, "VALIDATION_ERROR"),
        "hubspot/contacts-batch-create-success.json" => Expect::Contacts(&["lilyskinner@hubspot.com"]),
        "hubspot/contacts-batch-read.json" => Expect::Contacts(&["bh@hubspot.com", "EmailMaria@hubspot.com"]),
        "hubspot/contacts-list.json" => Expect::Contacts(&["a@example.com", "c@example.com"]),
        "hubspot/contacts-batch-update-success.json" => Expect::Ids { rows: "/results", id: "id", count: 2 },
        "hubspot/associations-labels.json"
        | "hubspot/pipelines-deals.json"
        | "hubspot/properties-batch-create-request.json"
        | "hubspot/properties-batch-create-response.json"
        | "hubspot/properties-contacts.json"
        | "salesforce/collections-create-contacts-payload.json"
        | "salesforce/read-list-leads.json"
        | "salesforce/read-opportunity-with-contacts.json" => Expect::Json,
        "salesforce/collections-create-contacts-err-bad-request.json" => {
            error(Salesforce, 400, C::Mapping, "REQUIRED_FIELD_MISSING")
        }
        "salesforce/collections-create-contacts-partial-but-allOrNone.json" => {
            Expect::Results(&[Some(C::Mapping), Some(C::Transient)])
        }
        "salesforce/collections-update-contacts-partial-but-allOrNone.json" => {
            Expect::Results(&[Some(C::Transient), Some(C::Mapping)])
        }
        "salesforce/collections-update-contacts-err-each-no-ids.json" => {
            Expect::Results(&[Some(C::Mapping), Some(C::Mapping)])
        }
        "salesforce/collections-create-contacts-success.json" => Expect::Results(&[None, None]),
        "salesforce/create-ok.json" => Expect::Ids { rows: "", id: "id", count: 1 },
        "salesforce/invalid-field-upsert.json" => error(Salesforce, 400, C::Mapping, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        "salesforce/unknown-field.json" => error(Salesforce, 400, C::Mapping, "INVALID_FIELD"),
        "salesforce/unknown-object.json" => error(Salesforce, 400, C::Mapping, "INVALID_TYPE"),
        _ => return None,
    })
}

fn check(name: &str, text: &str, expect: &Expect) {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    match expect {
        Expect::Json => {}
        Expect::Error { crm, status, class, code } => {
            let given = answer(*status, text);
            let outcome = match crm {
                Crm::Hubspot => hubspot::errors::classify(&given, Effect::Creates, NOW),
                Crm::Salesforce => salesforce::errors::classify(&given, Effect::Creates, NOW),
            };
            let said = failure(&outcome);
            assert_eq!((said.class, said.code.as_str()), (*class, *code), "{name}");
            assert!(!said.detail.is_empty() && !said.detail.starts_with('\n'), "{name}: {}", said.detail);
        }
        Expect::Results(classes) => {
            let results = json.as_array().unwrap();
            assert_eq!(results.len(), classes.len(), "{name}");
            let response = answer(200, text).unwrap();
            for (result, class) in results.iter().zip(*classes) {
                let failed = result["success"] != true;
                assert_eq!(failed, class.is_some(), "{name}");
                if let Some(class) = class {
                    let outcome = salesforce::errors::classify_part(&response, 200, result, Effect::Creates, NOW);
                    assert_eq!(failure(&outcome).class, *class, "{name}");
                    let halted = *class == C::Transient;
                    assert_eq!(salesforce::errors::is_halted(result), halted, "{name}");
                } else {
                    assert_eq!(salesforce::ids::to_18(result["id"].as_str().unwrap()).unwrap(), result["id"]);
                }
            }
        }
        Expect::Items(class) => {
            let response = answer(207, text).unwrap();
            let items = json["errors"].as_array().unwrap();
            assert!(!items.is_empty());
            for item in items {
                assert_eq!(failure(&hubspot::errors::classify_item(&response, item, NOW)).class, *class, "{name}");
            }
        }
        Expect::Ids { rows, id, count } => {
            let rows = json.pointer(rows).unwrap();
            let rows = rows.as_array().map_or(std::slice::from_ref(rows), Vec::as_slice);
            assert_eq!(rows.iter().filter(|row| row[id].is_string() || row[id].is_u64()).count(), *count, "{name}");
        }
        Expect::Portal(portal) => {
            let mut facts = lot(Crm::Hubspot, vec![]).connection;
            (*portal).clone_into(&mut facts.external_account_id);
            assert_eq!(provider(Crm::Hubspot).read_health(&answer(200, text), &facts), Ok(()), "{name}");
        }
        Expect::Contacts(emails) => {
            let entries = emails.iter().enumerate().map(|(n, e)| entry(Crm::Hubspot, n, "upsert_contact", e)).collect();
            let mut lot = lot(Crm::Hubspot, entries);
            assert_eq!(next(&mut lot).entries.len(), emails.len());
            step(&mut lot, &answer(200, text));
            assert!(lot.entries.iter().all(|e| name_is_applied(e.outcome.as_ref())), "{name}: {:?}", names(&lot));
            assert!(lot.entries.iter().all(|e| e.external_ids.contains_key("contact")), "{name}");
        }
    }
}

fn name_is_applied(outcome: Option<&model::write::WriteOutcome>) -> bool {
    name(outcome) == "applied"
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_recorded_payload_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/recorded");
    if !folder.is_dir() {
        println!("skipped: no recorded payloads beside the repository");
        return;
    }
    let mut found = Vec::new();
    files(&folder, &mut found);
    let mut read = 0;
    for path in found {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/");
        if matches!(name.as_str(), "README.md" | "LICENSE") {
            continue;
        }
        let expect = expectation(&name).unwrap_or_else(|| panic!("{name} is new: say here what it must come to"));
        check(&name, &std::fs::read_to_string(&path).unwrap(), &expect);
        read += 1;
    }
    println!("{read} recorded payloads read");
    assert!(read > 0);
}
