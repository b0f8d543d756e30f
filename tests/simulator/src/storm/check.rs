//! The rules (DESIGN section 4, and the write's states of section 5), one by one: what a batch may change, and what must stand
//! at the end.

use super::book::{DEAL_OF_THREAD, Intent};
use super::desk::Desk;
use super::place::{Place, caller};
use super::watch::{self, ConnectionRow, InstallRow, WriteRow};
use crypto::{Aad, Column, vault};
use model::Crm;
use model::backoff::WRITES;
use serde_json::Value;
use std::collections::BTreeMap;
use stub_crm::Effect;

/// A write's row changed.
pub fn write_step(desk: &Desk, was: Option<&WriteRow>, is: &WriteRow, audits: &[&String]) {
    let place = &desk.place;
    let from = was.map_or("nothing", |row| row.status.as_str());
    let name = format!("{from} → {}", is.status);
    *place.coverage.borrow_mut().transitions.entry(name.clone()).or_default() += 1;
    place.tell(|| {
        format!("{} {} {}: {name}{}", desk.id, is.crm, is.object_id, if is.in_doubt == 1 { " (in doubt)" } else { "" })
    });
    let wrong = |rule: &str| {
        place.wrong(rule, &format!("{} {} {}: {name} by {}", is.workspace_id, is.crm, is.object_id, desk.id));
    };

    let now = watch::at(desk.now());
    match (from, is.status.as_str()) {
        // Accepted; or dry run is over and the write was submitted again.
        ("nothing" | "planned", "planned") => {}
        ("planned" | "failed" | "unknown", "in_flight") => {
            let due = was.and_then(|row| row.next_retry_at).is_some_and(|at| at <= now);
            if !due {
                wrong("4 leased before it was due");
            }
            leased(desk, from, is, &wrong);
        }
        ("in_flight", "in_flight") if was.map(|row| &row.lease_id) != Some(&is.lease_id) => {
            if was.and_then(|row| row.lease_until).is_none_or(|until| until > now) {
                wrong("4 leased while somebody held the lease");
            }
            if is.in_doubt == 0 {
                wrong("4 a crash in flight is not in doubt");
            }
            leased(desk, "expired", is, &wrong);
        }
        ("in_flight", "succeeded" | "failed" | "unknown" | "permanent_failure") => settled(desk, was, is, &wrong),
        ("in_flight", "planned") if desk.is_dry => {}
        // What was in doubt when its account was disconnected is taken up again with it.
        ("permanent_failure", "unknown") if matches!(desk.what.get(), "connect" | "claim") => {}
        // A person is erased, and what waits to be sent to them is not sent.
        ("planned" | "failed", "permanent_failure") if is_erasing(desk) => given_up(desk, is, &wrong),
        // A person replays.
        ("permanent_failure", "planned" | "failed" | "unknown") if desk.what.get() == "replay" => {}
        (same, other) if same == other => {}
        _ => wrong("4 a step that is none"),
    }
    if was.is_some_and(|row| row.in_doubt == 1) && is.in_doubt == 0 && is.status != "succeeded" {
        wrong("4 doubt ended without proof");
    }
    if was.is_some_and(|row| row.request_hash != is.request_hash) {
        wrong("4 a write's content was exchanged");
    }
    // Those taken up with their account are told of with it, and an erasure tells how many it cancelled.
    let names_it =
        |text: &&&String| text.contains(&is.idempotency_key) || matches!(desk.what.get(), "connect" | "claim");
    if from != is.status && is.status != "in_flight" && !is_erasing(desk) && !audits.iter().any(|text| names_it(&text))
    {
        wrong("9 a state change without an audit event");
    }
}

fn leased(desk: &Desk, origin: &str, is: &WriteRow, wrong: &dyn Fn(&str)) {
    if is.attempts == 0 {
        wrong("4 no attempt row before the call");
    }
    let lease = is.lease_id.clone().unwrap_or_default();
    desk.place.book.borrow_mut().leases.insert(lease, desk.id.clone());
    // The most interesting origin names what this request is doing.
    let rank = |what: &str| ["planned", "failed", "unknown", "expired"].iter().position(|name| *name == what);
    let name =
        ["planned", "failed", "unknown", "expired"].into_iter().find(|name| *name == origin).unwrap_or("planned");
    if rank(desk.what.get()) < rank(name) {
        desk.what.set(name);
    }
}

fn settled(desk: &Desk, was: Option<&WriteRow>, is: &WriteRow, wrong: &dyn Fn(&str)) {
    let place = &desk.place;
    let lease = was.and_then(|row| row.lease_id.clone()).unwrap_or_default();
    if place.book.borrow().leases.get(&lease) != Some(&desk.id) {
        wrong("4 settled by one who does not hold the lease");
    }
    let counted = is.retry_count.saturating_sub(was.map_or(0, |row| row.retry_count));
    if counted > 1 || was.is_some_and(|row| row.retry_count > is.retry_count) {
        wrong("4 attempts are counted wrong");
    }
    let is_final = matches!(is.status.as_str(), "succeeded" | "permanent_failure");
    if is_final == is.next_retry_at.is_some() {
        wrong("4 due although final, or the other way round");
    }
    if is.status == "failed" && is.retry_count >= WRITES.attempts_max {
        wrong("4 tried without bound");
    }
    if is.status == "permanent_failure" && is.error_code.is_none() {
        wrong("4 given up without a reason");
    }
    if is.status == "permanent_failure" {
        place.household.note_dead_letter(is);
        given_up(desk, is, wrong);
    }
    let Some(intent) = intent_of(place, is) else { return };
    if is.status == "succeeded" && effects_of(place, &intent).is_empty() {
        wrong("4 succeeded without an effect");
    }
}

/// It will not be tried again by itself: then it is not there, or its doubt says so.
fn given_up(desk: &Desk, is: &WriteRow, wrong: &dyn Fn(&str)) {
    let Some(intent) = intent_of(&desk.place, is) else { return };
    // A part that is there is named: what failed is the rest of it.
    let is_unknown = |effect: &Effect| !is.external_ids_json.contains(&effect.id);
    // A deal may be there by another outcome about it.
    let is_certain = is.in_doubt == 0 && intent.activity().is_some() && !intent.is_of_deal();
    if is_certain && effects_of(&desk.place, &intent).iter().any(is_unknown) {
        wrong("4 given up as certainly not applied, and it is there");
    }
}

fn is_erasing(desk: &Desk) -> bool {
    matches!(desk.what.get(), "erase" | "sweep")
}

/// A connection's row changed.
pub fn connection_step(desk: &Desk, was: Option<&ConnectionRow>, is: &ConnectionRow, audits: &[&String]) {
    let place = &desk.place;
    let from = was.map_or("nothing", |row| row.status.as_str());
    let name = format!("connection {from} → {}", is.status);
    place.tell(|| format!("{} {} {}: {name}, generation {}", desk.id, is.workspace_id, is.crm, is.token_generation));
    let wrong = |rule: &str| place.wrong(rule, &format!("{} {}: {name} by {}", is.workspace_id, is.crm, desk.id));
    if from != is.status && audits.is_empty() {
        wrong("9 a state change without an audit event");
    }
    if let Some(was) = was {
        let tokens = (&was.access_token_sealed, &was.refresh_token_sealed)
            != (&is.access_token_sealed, &is.refresh_token_sealed);
        if tokens && is.token_generation != was.token_generation + 1 {
            wrong("2 tokens changed without a new generation");
        }
        if is.token_generation < was.token_generation {
            wrong("2 a generation was rolled back");
        }
        let comes_back = was.status == "disconnected" && is.status != "disconnected";
        if comes_back && !matches!(desk.what.get(), "connect" | "claim") {
            wrong("5 a connection came back by itself");
        }
    }
    sealed_right(place, is);
    let crm = Crm::ALL.into_iter().find(|crm| crm.as_str() == is.crm);
    if let (Some(crm), Some(tenant), "connected") = (crm, tenant_of(&is.workspace_id), is.status.as_str()) {
        place.book.borrow_mut().accounts.insert((crm, is.external_account_id.clone(), tenant));
    }
}

/// An install's row changed.
pub fn install_step(desk: &Desk, was: Option<&InstallRow>, is: &InstallRow, audits: &[&String]) {
    let from = was.map_or("nothing", |row| row.status.as_str());
    if from != is.status && audits.is_empty() {
        desk.place.wrong("9 a state change without an audit event", &format!("install {from} → {}", is.status));
    }
    if from == "claimed" && is.status != "claimed" {
        desk.place.wrong("8 a claimed install is claimable again", &is.id);
    }
}

/// Sealed tokens open where they stand, and only hold what the CRM gave out.
fn sealed_right(place: &Place, row: &ConnectionRow) {
    let id = connection_id(place, row);
    let Some(keys) = place.keys.tokens.as_ref() else { return };
    for (column, sealed) in
        [(Column::AccessToken, &row.access_token_sealed), (Column::RefreshToken, &row.refresh_token_sealed)]
    {
        let Some(sealed) = sealed else { continue };
        let aad = Aad { scope: &row.workspace_id, connection: &id, column, generation: row.token_generation };
        match vault::open(keys, &aad, sealed) {
            Ok(token) if place.crm.borrow().issued().iter().any(|issued| issued == token.expose()) => {}
            Ok(_) => place.wrong("2 a sealed token that nobody gave out", &format!("{} {}", row.workspace_id, row.crm)),
            Err(_) => {
                place
                    .wrong("2 a sealed token does not open in its place", &format!("{} {}", row.workspace_id, row.crm));
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Named {
    id: String,
    workspace_id: String,
    crm: String,
}

fn connection_id(place: &Place, row: &ConnectionRow) -> String {
    let all = place.databases.iter().flat_map(|database| {
        watch::rows::<Named>(database, "SELECT id, workspace_id, crm FROM crm_connections LIMIT 100")
    });
    all.into_iter()
        .find(|id| id.workspace_id == row.workspace_id && id.crm == row.crm)
        .map(|id| id.id)
        .unwrap_or_default()
}

fn intent_of(place: &Place, row: &WriteRow) -> Option<Intent> {
    let number: u32 = row.object_id.strip_prefix("th_")?.parse().ok()?;
    place.book.borrow().intents.get(&number).cloned()
}

/// The records in the CRM that this outcome brought about; the person's, when it is about nothing else.
pub fn effects_of(place: &Place, intent: &Intent) -> Vec<Effect> {
    let effects = place.crm.borrow().effects();
    let mark = intent.mark();
    let email = intent.body["contact"]["email"].as_str().unwrap_or_default().to_owned();
    let is_ours = |effect: &Effect| match intent.activity() {
        Some(object) => effect.object == object && (effect.label.contains(&mark) || effect.text_end.contains(&mark)),
        None => is_person(&effect.object) && has_email(effect, &email),
    };
    effects.into_iter().filter(|effect| !effect.archived && is_ours(effect)).collect()
}

fn is_person(object: &str) -> bool {
    matches!(object, "contacts" | "Lead" | "Contact")
}

fn has_email(effect: &Effect, email: &str) -> bool {
    effect.keys.iter().any(|(name, value)| name.eq_ignore_ascii_case("email") && value.eq_ignore_ascii_case(email))
        || effect.label.eq_ignore_ascii_case(email)
}

/// What must hold at every moment in the CRMs: called after each step.
pub fn effects_are_single(place: &Place) {
    if place.hazard.get().is_some() {
        // Counted at the end: there are thousands.
        return;
    }
    let effects = place.crm.borrow().effects();
    let book = place.book.borrow();
    let mut wrongs = Vec::new();
    for intent in book.intents.values() {
        let mark = intent.mark();
        let Some(object) = intent.activity() else { continue };
        let made = effects
            .iter()
            .filter(|e| !e.archived && (e.label.contains(&mark) || e.text_end.contains(&mark)) && e.object == object);
        let made: Vec<&Effect> = made.collect();
        if made.len() > 1 {
            wrongs.push(("4 one logical write has two effects", format!("{mark} in {}", intent.crm)));
        }
        for effect in made {
            if !book.accounts.contains(&(intent.crm, effect.account.clone(), intent.tenant)) {
                wrongs.push(("6 an effect in a foreign account", format!("{mark} in {}", effect.account)));
            }
        }
    }
    let mut people: BTreeMap<(String, String), u32> = BTreeMap::new();
    for effect in effects.iter().filter(|effect| !effect.archived) {
        if effect.label.contains("forged") || effect.text_end.contains("forged") {
            wrongs.push(("4 another content went out under the same key", effect.label.clone()));
        }
        if is_person(&effect.object) {
            let email = effect
                .keys
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("email"))
                .map_or(&effect.label, |(_, value)| value);
            *people.entry((effect.account.clone(), email.clone())).or_default() += 1;
        }
    }
    for ((account, email), count) in people {
        if count > 1 {
            wrongs.push(("4 one person is there twice", format!("{email} in {account}")));
        }
    }
    drop(book);
    for (rule, what) in wrongs {
        place.wrong(rule, &what);
    }
}

/// What must stand at the end, when nothing fails any more and everybody had time.
pub fn nothing_is_left(place: &Place) {
    effects_are_single(place);
    let rows: Vec<WriteRow> = place.databases.iter().flat_map(|database| watch::writes(database)).collect();
    for row in &rows {
        let what = format!("{} {} {} is {} {:?}", row.workspace_id, row.crm, row.object_id, row.status, row.error_code);
        if !matches!(row.status.as_str(), "succeeded" | "permanent_failure") {
            place.wrong("4 a write never settled", &what);
        }
    }
    let intents: Vec<Intent> = place.book.borrow().intents.values().cloned().collect();
    for intent in &intents {
        let object = format!("th_{}", intent.number);
        let row = rows.iter().find(|row| row.object_id == object && row.crm == intent.crm.as_str());
        match (&intent.accepted, row) {
            (Some(_), None) => place.wrong("4 an accepted write is lost", &object),
            (None, _) if !intent.is_refused => place.wrong("4 a submit was never answered", &object),
            _ => {}
        }
        if row.is_some_and(|row| row.status == "succeeded") {
            complete(place, intent);
        }
    }
    for database in &place.databases {
        for row in watch::connections(database) {
            sealed_right(place, &row);
        }
    }
    nothing_orphaned(place);
}

/// The effect is there, and tied to its person.
fn complete(place: &Place, intent: &Intent) {
    let effects = effects_of(place, intent);
    // A person may be in each account that the workspace was connected to; more than once in one is found elsewhere.
    if effects.is_empty() || (intent.activity().is_some() && effects.len() > 1) {
        place.wrong(
            "4 succeeded, and the CRM does not show one effect",
            &format!("{}: {}", intent.mark(), effects.len()),
        );
    }
    let (Some(object), Some(effect)) = (intent.activity(), effects.first()) else { return };
    let request = stub_crm::Request {
        method: "GET".to_owned(),
        url: format!("https://stand-in.example/stand-in/records/{object}"),
        ..stub_crm::Request::default()
    };
    let all = place.crm.borrow_mut().handle(&request, place.time.now_ms()).value();
    let id = |record: &Value| {
        record
            .get("id")
            .or_else(|| record.get("Id"))
            .and_then(|id| id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|id| id.to_string())))
    };
    // Two accounts have records of one id.
    let is_it =
        |record: &&Value| record["account"] == effect.account.as_str() && id(record).as_deref() == Some(&effect.id);
    let record = all["records"].as_array().into_iter().flatten().find(is_it);
    let is_tied = record.is_some_and(|record| match intent.crm {
        Crm::Hubspot => record["associations"]["contacts"]["results"].as_array().is_some_and(|ties| !ties.is_empty()),
        // The person of an opportunity is not written.
        Crm::Salesforce if intent.is_of_deal() => true,
        Crm::Salesforce => record["WhoId"].as_str().is_some_and(|who| !who.is_empty()),
    });
    if !is_tied {
        place.wrong("4 succeeded, and the activity is not tied to its person", &intent.mark());
    }
    if let Some(record) = record.filter(|_| !intent.is_of_deal()) {
        tied_to_its_deal(place, intent, &effect.account, record);
    }
}

/// To the deal of its thread and no other; surely, where that was known before it was submitted.
fn tied_to_its_deal(place: &Place, intent: &Intent, account: &str, record: &Value) {
    let ties: Vec<&str> = match intent.crm {
        Crm::Hubspot => {
            let ties = record["associations"]["deals"]["results"].as_array();
            ties.into_iter().flatten().filter_map(|tie| tie["id"].as_str()).collect()
        }
        Crm::Salesforce => record["WhatId"].as_str().into_iter().filter(|id| !id.is_empty()).collect(),
    };
    let book = place.book.borrow();
    let deal = book.intents.get(&DEAL_OF_THREAD).filter(|_| intent.is_of_thread());
    let deals = deal.into_iter().flat_map(|deal| effects_of(place, deal));
    let deals: Vec<String> = deals.filter(|effect| effect.account == account).map(|effect| effect.id).collect();
    // An opportunity is a task's only together with a contact, and these people are leads.
    let must_be = intent.crm == Crm::Hubspot && book.linked.contains(&intent.number);
    drop(book);
    if ties.iter().any(|tie| !deals.iter().any(|deal| deal == tie)) {
        place.wrong("6 tied to a deal that is not its own", &intent.mark());
    }
    // In an account the workspace went to later the deal is not.
    if must_be && !deals.is_empty() && ties.is_empty() {
        place.wrong("4 succeeded, and the activity is not tied to the deal of its thread", &intent.mark());
    }
}

#[derive(serde::Deserialize)]
struct Held {
    status: String,
    held: u8,
}

#[derive(serde::Deserialize)]
struct Account {
    workspace_id: String,
    crm: String,
    external_account_id: String,
}

/// A sealed token has a live owner; what is claimed or disconnected holds none; an account has one workspace.
fn nothing_orphaned(place: &Place) {
    let installs = "SELECT status, (access_token_sealed IS NOT NULL OR refresh_token_sealed IS NOT NULL) AS held FROM pending_installs LIMIT 1000";
    for install in watch::rows::<Held>(&place.databases[0], installs) {
        if install.held == 1 && install.status != "pending" {
            place.wrong("8 an install's token outlived it", &install.status);
        }
    }
    let mut live: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for database in &place.databases {
        let accounts = "SELECT workspace_id, crm, external_account_id FROM crm_connections WHERE status <> 'disconnected' LIMIT 1000";
        for row in watch::rows::<Account>(database, accounts) {
            live.entry((row.crm, row.external_account_id)).or_default().push(row.workspace_id);
        }
    }
    for ((crm, account), owners) in live {
        if owners.len() > 1 {
            place.wrong("6 an account has two workspaces", &format!("{crm} {account}: {owners:?}"));
        }
    }
}

/// The number of a workspace.
pub fn tenant_of(workspace: &str) -> Option<usize> {
    (0..super::scenario::TENANTS).find(|&tenant| caller(tenant).workspace_id.as_str() == workspace)
}
