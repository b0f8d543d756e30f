//! Which Worker holds which secret, and no other: what a Worker does not hold, a flaw in it cannot give away.

use crate::repo::{assert_none, read};
use crate::workers::{Worker, doors};
use std::collections::{BTreeMap, BTreeSet};

const TOKENS: &str = "TOKEN_ENC_KEY_B64";
const STATES: &str = "STATE_MAC_KEY_B64";
const AUDIT: &str = "AUDIT_MAC_KEY_B64";
const PEOPLE: &str = "PII_HASH_KEY_B64";
const CALLERS: &str = "JWT_HS256_SECRET";
const OPERATOR: &str = "OPERATOR_TOKEN";
const HUBSPOT: [&str; 2] = ["HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET"];
const SALESFORCE: [&str; 2] = ["SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"];

/// Every door and what it holds, with the reason. A new door needs a line here, and a new secret a good one.
fn expected() -> BTreeMap<&'static str, Vec<&'static str>> {
    let both_apps = || HUBSPOT.into_iter().chain(SALESFORCE);
    BTreeMap::from([
        // Passes requests on.
        ("gateway", vec![]),
        // Know who asks, make the PKCE verifier, name the app. They cannot open a token, nor act as the app.
        ("hubspot-oauth-start", vec![CALLERS, STATES, "HUBSPOT_CLIENT_ID"]),
        ("salesforce-oauth-start", vec![CALLERS, STATES, "SALESFORCE_CLIENT_ID"]),
        // Make the verifier again, exchange the code as the app, seal the tokens. The state is their caller's proof.
        ("hubspot-oauth-callback", [STATES, TOKENS].into_iter().chain(HUBSPOT).collect()),
        ("salesforce-oauth-callback", [STATES, TOKENS].into_iter().chain(SALESFORCE).collect()),
        // Knows who asks, opens the install's tokens and seals them for the connection. It cannot act as an app.
        ("claim-install", vec![CALLERS, TOKENS]),
        // Knows who asks. Its links and sessions are chance, stored as hashes.
        ("connect-sessions", vec![CALLERS]),
        // Opens the tokens of installs nobody claimed, to revoke them as the app.
        ("purge-installs", [TOKENS].into_iter().chain(both_apps()).collect()),
        // Reads the app's journal as the app. It erases tokens, and cannot open one.
        ("watch-installs", HUBSPOT.to_vec()),
        // Know who asks.
        ("crm-connections", vec![CALLERS]),
        ("crm-writes", vec![CALLERS]),
        // Knows who asks, and finds a person by a pseudonym.
        ("retention-policy", vec![CALLERS, PEOPLE]),
        // Knows who asks, and checks the ends of the audit chains, or seals them before an export.
        ("audit-events", vec![AUDIT, CALLERS]),
        // Seals the ends of the audit chains.
        ("seal-audit", vec![AUDIT]),
        ("thread-links", vec![CALLERS]),
        // Knows who asks, opens the tokens to revoke them, as the app.
        ("crm-disconnect", [CALLERS, TOKENS].into_iter().chain(both_apps()).collect()),
        // Take their access tokens from the gate.
        ("hubspot-write-processor", vec![]),
        ("salesforce-write-processor", vec![]),
        // Opens, refreshes and seals tokens, as the app.
        ("connection-gate", [TOKENS].into_iter().chain(both_apps()).collect()),
        // Opens tokens and seals them again; cannot act as the app.
        ("reseal-tokens", vec![TOKENS]),
        // Removes what is old, goes on with erasures, and checks the ends of the audit chains.
        ("purge-retention", vec![AUDIT, PEOPLE]),
        // Know the operator.
        ("jobs", vec![OPERATOR]),
        ("metrics", vec![OPERATOR]),
        // Asks a Worker that holds the keys.
        ("health", vec![]),
        // Takes its access tokens from the gate.
        ("reconcile-connections", vec![]),
        // Rings the queue again, signs what it tells the webhook.
        ("reconcile-crm-writes", vec!["WEBHOOK_SECRET"]),
    ])
}

fn against_the_table(workers: &[Worker], table: &BTreeMap<&str, Vec<&str>>) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers {
        let Some(expected) = table.get(worker.name()) else {
            violations.push(format!("{} has no line in tests/house/src/secrets.rs", worker.name()));
            continue;
        };
        let expected: BTreeSet<String> = expected.iter().map(|&secret| secret.to_owned()).collect();
        let held = worker.secrets();
        for extra in held.difference(&expected) {
            violations.push(format!("{} holds {extra} and should not", worker.file));
        }
        for missing in expected.difference(&held) {
            violations.push(format!("{} lacks {missing}", worker.file));
        }
    }
    let gone = table.keys().filter(|name| !workers.iter().any(|w| w.name() == **name));
    violations.extend(gone.map(|name| format!("{name} is in the table of secrets and has no wrangler.toml")));
    violations
}

/// What holds whatever the table says: a start can neither open tokens nor act as the app, the gateway holds nothing.
fn starts_that_hold_too_much(workers: &[Worker]) -> Vec<String> {
    let mut violations = Vec::new();
    for worker in workers.iter().filter(|w| w.name().ends_with("-oauth-start") || w.name() == "gateway") {
        let too_much =
            worker.secrets().into_iter().filter(|s| s.starts_with("TOKEN_ENC_KEY") || s.ends_with("_CLIENT_SECRET"));
        violations.extend(too_much.map(|secret| format!("{} must not hold {secret}", worker.name())));
    }
    violations
}

/// `[vars]` are in the repository and in the dashboard for all to read.
fn secrets_as_plain_vars(workers: &[Worker]) -> Vec<String> {
    let secret =
        |name: &str| ["KEY", "SECRET", "TOKEN", "PASSWORD"].iter().any(|word| name.split('_').any(|w| w == *word));
    let mut violations = Vec::new();
    for worker in workers {
        let vars = worker.config.get("vars").and_then(toml::Value::as_table).into_iter().flat_map(|vars| vars.keys());
        violations.extend(
            vars.filter(|name| secret(name)).map(|name| format!("{}: {name} is a var, not a secret", worker.file)),
        );
    }
    violations
}

#[test]
fn every_worker_holds_the_secrets_it_needs_and_no_other() {
    assert_none(&against_the_table(&doors(), &expected()));
}

#[test]
fn an_oauth_start_can_neither_open_tokens_nor_act_as_the_app() {
    assert_none(&starts_that_hold_too_much(&doors()));
}

#[test]
fn no_secret_is_a_plain_variable() {
    assert_none(&secrets_as_plain_vars(&doors()));
}

#[test]
fn every_secret_of_the_table_is_on_the_list_of_the_scripts() {
    let scripts = read("scripts/secrets.mjs");
    let all: BTreeSet<&str> = expected().into_values().flatten().collect();
    let unknown = all.into_iter().filter(|secret| !scripts.contains(&format!("{secret}:")));
    assert_none(&unknown.map(|secret| format!("scripts/secrets.mjs does not know {secret}")).collect::<Vec<_>>());
}

#[cfg(test)]
mod wrong_examples {
    use super::*;

    fn start(text: &str) -> Vec<Worker> {
        vec![Worker::new("functions/hubspot-oauth-start", text)]
    }

    #[test]
    fn a_secret_too_many_or_too_few_and_a_worker_without_a_line_are_found() {
        let table = BTreeMap::from([("hubspot-oauth-start", vec![STATES])]);
        assert_eq!(
            against_the_table(&start("secrets.required = ['STATE_MAC_KEY_B64', 'PII_HASH_KEY_B64']"), &table).len(),
            1
        );
        assert_eq!(against_the_table(&start(""), &table).len(), 1);
        assert_eq!(against_the_table(&start(""), &BTreeMap::new()).len(), 1);
        assert_eq!(against_the_table(&[], &table).len(), 1);
        assert_none(&against_the_table(&start("secrets.required = ['STATE_MAC_KEY_B64']"), &table));
    }

    #[test]
    fn a_start_with_a_token_key_or_the_apps_secret_is_found() {
        for secret in ["TOKEN_ENC_KEY_B64", "TOKEN_ENC_KEY_PREVIOUS_B64", "HUBSPOT_CLIENT_SECRET"] {
            assert_eq!(
                starts_that_hold_too_much(&start(&format!("secrets.required = ['{secret}']"))).len(),
                1,
                "{secret}"
            );
        }
    }

    #[test]
    fn a_secret_among_the_vars_is_found() {
        assert_eq!(secrets_as_plain_vars(&start("vars.JWT_HS256_SECRET = 'x'")).len(), 1);
        assert_none(&secrets_as_plain_vars(&start("vars.DRY_RUN = 'true'")));
    }
}
