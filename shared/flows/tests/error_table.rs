//! docs/api/errors.md and the source say the same: every code has a line with its status, and no line has no code.
//!
//! The status of a kind is `edge::respond::status`; flows do not know the edge, so the table below is a copy, and a test
//! beside the original holds that one to it. Codes that stand nowhere but at their use are read from the source text.

use flows::{Error, Kind};
use model::curated::Refusal;
use model::retention;
use model::write::{ErrorClass, WriteStatus};
use model::{Crm, Timestamp};
use providers::oauth::TokenRefusal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store::DbError;

const PAGE: &str = include_str!("../../../docs/api/errors.md");

/// One of every variant; that none is missing is a test of its own.
fn errors() -> Vec<Error> {
    let crm = Crm::Hubspot;
    vec![
        Error::TokenRequired,
        Error::TokenInvalid,
        Error::TokenExpired,
        Error::KeysUnavailable,
        Error::WorkspaceNotFound,
        Error::WorkspaceRequired,
        Error::AdminRequired,
        Error::UnknownCrm,
        Error::CrmNotConfigured(crm),
        Error::Parameter { name: "limit", rule: "must be a number" },
        Error::MalformedJson(String::new()),
        Error::BodyTooLarge { max: 1 },
        Error::TooManyWrites { max: 100, given: 101 },
        Error::WritesRefused(Vec::new()),
        Error::IdempotencyKeyReused,
        Error::NotConnected(crm),
        Error::WriteNotFound,
        Error::NotADeadLetter(WriteStatus::Planned),
        Error::LinksRefused(""),
        Error::ReturnToRefused,
        Error::LoginHostRefused,
        Error::StateMissing,
        Error::StateUnknown,
        Error::StateUsed,
        Error::StateExpired,
        Error::StateForeignBrowser,
        Error::ConsentDenied(crm),
        Error::CodeMissing(crm),
        Error::ExchangeFailed { crm, cause: TokenRefusal::Lost },
        Error::SignatureInvalid(crm),
        Error::AccountUnknown(crm),
        Error::WrongAccount { crm, connected: String::new() },
        Error::AccountOwnedElsewhere(crm),
        Error::InstallNotProven,
        Error::InstallExpired,
        Error::InstallClaimed,
        Error::ConsentRequired(crm),
        Error::ReturnUrlRefused,
        Error::SessionRequired,
        Error::LinkUnusable,
        Error::FormRefused,
        Error::OperatorRequired,
        Error::JobNotFound,
        Error::JobRunning { since: Timestamp(0) },
        Error::UserRequired,
        Error::PolicyRefused(retention::Refusal::Shape),
        Error::PolicyRefused(retention::Refusal::UnknownField),
        Error::PolicyRefused(retention::Refusal::NotDays("write_days")),
        Error::PolicyRefused(retention::Refusal::OutOfRange { field: "write_days", min: 7 }),
        Error::PolicyMoved,
        Error::ShardMissing(String::new()),
        Error::SecretMissing("TOKEN_ENC_KEY_B64"),
        Error::NoRandom,
        Error::Unsealable,
        Error::Db(DbError::Unavailable),
    ]
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::NotCurated(String::new()),
        Refusal::TooLarge,
        Refusal::Shape(String::new()),
        Refusal::Email,
        Refusal::Text { field: "object_id", max: 1 },
        Refusal::Time("task.due_at"),
        Refusal::Amount,
        Refusal::NoContact,
        Refusal::Part { action: "create_task", part: "`task`" },
    ]
}

/// The class after this one: a match without a wildcard, so that a new class does not compile before it is listed.
const fn class_after(class: ErrorClass) -> Option<ErrorClass> {
    match class {
        ErrorClass::Transient => Some(ErrorClass::RateLimited),
        ErrorClass::RateLimited => Some(ErrorClass::Auth),
        ErrorClass::Auth => Some(ErrorClass::Mapping),
        ErrorClass::Mapping => Some(ErrorClass::Conflict),
        ErrorClass::Conflict => Some(ErrorClass::UnknownOutcome),
        ErrorClass::UnknownOutcome => None,
    }
}

const fn status(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unauthenticated => 401,
        Kind::Forbidden => 403,
        Kind::NotFound => 404,
        Kind::Conflict => 409,
        Kind::TooLarge => 413,
        Kind::Unprocessable => 422,
        Kind::Provider => 502,
        Kind::Unavailable => 503,
        Kind::Internal => 500,
    }
}

/// First and second cell of every row under a heading. A first cell may name several codes.
fn rows(heading: &str) -> BTreeMap<String, String> {
    let section = PAGE.split("\n## ").find(|section| section.lines().next() == Some(heading)).unwrap_or_default();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (names, second) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        for name in names.split(", ") {
            rows.insert(name.trim_matches('`').to_owned(), second.to_owned());
        }
    }
    rows
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The product's text (up to the first test module) of every `.rs` file below a folder of the repository.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = std::fs::read_to_string(&path).unwrap_or_default();
            text.push_str(file.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
    text
}

/// The text literal that `rest` begins with, after blanks; none when it is a pattern of a match.
fn literal(rest: &str) -> Option<&str> {
    let (text, after) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    let is_pattern = [" =>", " |"].iter().any(|next| after.starts_with(next));
    (!is_pattern).then_some(text)
}

#[test]
fn every_error_of_a_flow_has_its_line_and_status() {
    let source: BTreeMap<String, String> =
        errors().iter().map(|error| (error.code().to_owned(), status(error.kind()).to_string())).collect();
    assert_eq!(rows("Requests"), source);
}

#[test]
fn no_error_of_a_flow_is_left_out_here() {
    let source = include_str!("../src/error.rs");
    let (_, code) = source.split_once("fn code(").expect("Error has codes");
    let (code, _) = code.split_once("fn ").expect("and more");
    let arms = code.matches("=> \"").count();
    assert_eq!(errors().len(), arms, "a variant of flows::Error is missing in errors()");
}

#[test]
fn every_refusal_of_a_write_has_its_line() {
    let source: BTreeMap<String, String> =
        refusals().iter().map(|refusal| (refusal.code().to_owned(), status(Kind::Unprocessable).to_string())).collect();
    assert_eq!(rows("Writes that cannot be accepted"), source);
}

#[test]
fn every_class_of_a_failure_has_its_line() {
    let classes = std::iter::successors(Some(ErrorClass::Transient), |class| class_after(*class));
    let mut source: Vec<&str> = classes.map(ErrorClass::as_str).collect();
    source.sort_unstable();
    assert_eq!(rows("Writes that did not arrive: classes").into_keys().collect::<Vec<_>>(), source);
}

#[test]
fn every_problem_of_the_edge_and_the_doors_has_its_line_and_status() {
    let text: String = ["shared/edge/src", "functions", "cron"].map(|folder| sources(&root().join(folder))).concat();
    let mut source = BTreeMap::new();
    for rest in text.split("problem(").skip(1) {
        let Some((number, rest)) = rest.split_once(',') else { continue };
        if let (Ok(number), Some(code)) = (number.trim().parse::<u16>(), literal(rest)) {
            source.insert(code.to_owned(), number.to_string());
        }
    }
    assert_eq!(rows("Answers of the gateway and the edge"), source);
}

#[test]
fn every_code_we_give_a_failed_write_has_its_line() {
    let text: String =
        ["shared/providers/src", "shared/flows/src"].map(|folder| sources(&root().join(folder))).concat();
    let listed = rows("Writes that did not arrive: codes of ours");
    let mut missing = Vec::new();
    for rest in text.split("ErrorClass::").skip(1) {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if let Some(code) = after.strip_prefix(',').and_then(literal).filter(|code| !listed.contains_key(*code)) {
            missing.push(code);
        }
    }
    assert!(missing.is_empty(), "docs/api/errors.md has no line for {missing:?}");
}

#[test]
fn every_code_of_a_connection_in_error_has_its_line() {
    let text = sources(&root().join("shared/flows/src/gate_keeper"));
    let given = text.split("Dead::of(").skip(1).filter_map(|rest| rest.split_once("row, ")?.1.split('"').nth(1));
    let by_checks = [model::health::ACCESS_REFUSED, model::health::ACCOUNT_MISMATCH];
    let given: std::collections::BTreeSet<&str> = given.chain(by_checks).collect();
    let listed = rows("Connections in error");
    assert_eq!(listed.keys().map(String::as_str).collect::<Vec<_>>(), given.into_iter().collect::<Vec<_>>());
}
