//! What people, jobs and the queue do: each a task that makes requests, meets their failures as it would in life, and tries
//! again where it would.

use super::book::{DEAL_OF_THREAD, Intent, OF_THREADS};
use super::desk::Desk;
use super::gates;
use super::place::{Place, account_choice, caller};
use super::scenario::{Act, THREAD_WAITS_MS, Twist};
use super::{upkeep, watch};
use crate::browser::brought;
use flows::Error;
use flows::authenticate::Caller;
use flows::check_health::check_health;
use flows::claim_install::claim_install;
use flows::decline_install::{decline_install, decline_token};
use flows::disconnect::disconnect;
use flows::finish_oauth::{Callback, Ended, finish_oauth};
use flows::gate::{Ask, Purpose};
use flows::link_threads::link_threads;
use flows::process_writes::process_writes;
use flows::read_writes::{Query, fetch_write, list_writes};
use flows::reconcile_connections::reconcile_connections;
use flows::reconcile_writes::reconcile_writes;
use flows::replay_writes::replay_dead_letters;
use flows::start_install::start_install;
use flows::start_oauth::{Start, start_oauth};
use flows::submit_writes::submit_writes;
use model::connection::ConnectionKey;
use model::doorbell::Doorbell;
use model::health::CheckRound;
use model::{Crm, Secret};
use providers::{Provider as _, provider};
use serde_json::{Value, json};
use std::rc::Rc;
use store::connections::Connection;
use stub_crm::{KeyField, UniqueOnActivities};

/// A product's client tries a submit again after this long, until it is answered.
const SUBMIT_AGAIN_MS: i64 = 4_000;
/// The queue delivers a failed message again, this often.
const DELIVERIES_MAX: u32 = 4;

/// Does one step.
pub async fn act(place: Rc<Place>, act: Act) {
    place.tell(|| format!("== {act:?}"));
    match act {
        Act::Submit { tenant, crm, first, count, twist } => {
            submit_step(&place, tenant, crm, first..first + count, twist).await;
        }
        Act::Thread { tenant, crm, count, deal_first } => {
            thread_step(&place, tenant, crm, OF_THREADS..OF_THREADS + count, deal_first).await;
        }
        Act::RemoveFields { crm, for_good } => remove_fields(&place, crm, for_good),
        Act::Connect { tenant, crm } => connect(&place, tenant, crm, tenant).await,
        Act::Trespass { tenant, at, crm } => {
            let row = row_of(&place, &caller(at), at, crm);
            if row.is_some_and(|row| row.status == model::ConnectionStatus::Connected) {
                connect(&place, tenant, crm, at).await;
            }
        }
        Act::Disconnect { tenant, crm } => {
            let done = place.request("disconnect", Some(tenant), |desk| async move {
                disconnect(&desk.world(), &caller(tenant), crm).await
            });
            done.await;
        }
        Act::Revoke { tenant, crm } => revoke(&place, tenant, crm),
        Act::Install { tenant, crm } => install(&place, tenant, crm).await,
        Act::Claim { tenant } => claim(&place, tenant).await,
        Act::Evict => {
            let names: Vec<String> = place.gates.borrow().keys().cloned().collect();
            for name in &names {
                gates::evict(&place, name);
            }
        }
        Act::Twins { tenant, crm } => twins(&place, tenant, crm).await,
        Act::Pry { tenant, at } => pry(&place, tenant, at).await,
        Act::Reconcile => reconcile(&place).await,
        Act::Replay { tenant } => replay(&place, tenant).await,
        Act::Check => check_connections(&place).await,
        Act::Purge => upkeep::purge_spent_installs(&place).await,
        Act::DryRun { on } => place.is_dry.set(on),
        Act::Rival { calls } => place.crm.borrow_mut().switches_mut().hubspot_other_consumer = calls,
        Act::Limit { tenant, crm, secs } => {
            place.limits.borrow_mut().insert((tenant, crm), place.time.now_ms() + secs * 1_000);
        }
        Act::Erase { tenant, person } => upkeep::erase(&place, tenant, person).await,
        Act::Sweep => upkeep::sweep(&place).await,
        Act::Seal => upkeep::seal(&place).await,
        Act::Alarms => upkeep::deliver_all(&place).await,
        Act::Decline { tenant } => decline(&place, tenant).await,
        Act::Lock { rows } => place.crm.borrow_mut().switches_mut().salesforce_locked_rows = rows,
    }
    super::check::effects_are_single(&place);
}

async fn submit_step(place: &Rc<Place>, tenant: usize, crm: Crm, numbers: std::ops::Range<u32>, twist: Twist) {
    let habits = place.scenario.habits;
    let intents: Vec<Intent> =
        numbers.map(|number| Intent::new(number, tenant, crm, habits.shared_people, habits.poison)).collect();
    for intent in &intents {
        place.book.borrow_mut().intents.insert(intent.number, intent.clone());
    }
    let numbers: Vec<u32> = intents.iter().map(|intent| intent.number).collect();
    if twist == Twist::Twice {
        let (twin, of, same) = (Rc::clone(place), numbers.clone(), tenant);
        place.time.spawn(0, async move { submit(&twin, same, &of).await });
    }
    submit(place, tenant, &numbers).await;
    if twist == Twist::OtherContent {
        forge(place, tenant, &intents).await;
    }
}

/// Threads are linked to a deal. Where the deal was there first and the link was answered, their outcomes must be tied to it.
async fn thread_step(place: &Rc<Place>, tenant: usize, crm: Crm, threads: std::ops::Range<u32>, deal_first: bool) {
    let deal = DEAL_OF_THREAD..DEAL_OF_THREAD + 1;
    if deal_first {
        submit_step(place, tenant, crm, deal, Twist::Plain).await;
        let until_ms = place.time.now_ms() + THREAD_WAITS_MS;
        while !is_deal_known(place, crm) {
            if place.time.now_ms() >= until_ms {
                return;
            }
            place.time.sleep(20_000).await;
        }
        if link(place, tenant, threads.clone()).await {
            place.book.borrow_mut().linked.extend(threads.clone());
        }
    } else {
        link(place, tenant, threads.clone()).await;
        let (here, same) = (Rc::clone(place), tenant);
        place.time.spawn(0, async move { submit_step(&here, same, crm, deal, Twist::Plain).await });
    }
    submit_step(place, tenant, crm, threads, Twist::Plain).await;
}

fn is_deal_known(place: &Place, crm: Crm) -> bool {
    let rows = place.databases.iter().flat_map(|database| watch::writes(database));
    let object = format!("th_{DEAL_OF_THREAD}");
    rows.into_iter().any(|row| row.object_id == object && row.crm == crm.as_str() && row.status == "succeeded")
}

/// Whether it was answered.
async fn link(place: &Rc<Place>, tenant: usize, threads: std::ops::Range<u32>) -> bool {
    let links: Vec<Value> = threads
        .map(|number| json!({"thread_id": format!("th_{number}"), "deal_id": format!("d_{DEAL_OF_THREAD}")}))
        .collect();
    for _ in 0..5 {
        let body = json!({ "links": links });
        let work = |desk: Rc<Desk>| async move { link_threads(&desk.world(), &caller(tenant), &body).await };
        if let Some(Ok(_)) = place.request("link", Some(tenant), work).await {
            return true;
        }
        place.time.sleep(SUBMIT_AGAIN_MS).await;
    }
    false
}

/// Submits until there is an answer, for a while; what stays unanswered is submitted again in the calm.
pub async fn submit(place: &Rc<Place>, tenant: usize, numbers: &[u32]) {
    for _ in 0..5 {
        let intents: Vec<Intent> =
            numbers.iter().filter_map(|number| place.book.borrow().intents.get(number).cloned()).collect();
        let body = json!({"writes": intents.iter().map(|intent| intent.body.clone()).collect::<Vec<_>>()});
        let work = |desk: Rc<Desk>| async move { submit_writes(&desk.world(), &caller(tenant), &body).await };
        let Some(Ok(answers)) = place.request("submit", Some(tenant), work).await else {
            place.time.sleep(SUBMIT_AGAIN_MS).await;
            continue;
        };
        for (number, answer) in numbers.iter().zip(answers) {
            let mut book = place.book.borrow_mut();
            let Some(intent) = book.intents.get_mut(number) else { continue };
            match answer {
                Ok(accepted) => match &intent.accepted {
                    Some(earlier) if *earlier != accepted.write.id => {
                        drop(book);
                        place.wrong("4 a repeat was answered with another write", &accepted.write.id);
                    }
                    _ => intent.accepted = Some(accepted.write.id),
                },
                Err(Error::NotConnected(_)) if intent.accepted.is_none() => intent.is_refused = true,
                Err(error) => {
                    drop(book);
                    place.wrong("4 a submit was refused", &error.to_string());
                }
            }
        }
        return;
    }
}

/// The same keys with another content: refused, and nothing of it goes out.
async fn forge(place: &Rc<Place>, tenant: usize, intents: &[Intent]) {
    let known =
        |intent: &&Intent| place.book.borrow().intents.get(&intent.number).is_some_and(|i| i.accepted.is_some());
    let forged: Vec<Value> = intents.iter().filter(known).map(Intent::other_content).collect();
    if forged.is_empty() {
        return;
    }
    let body = json!({"writes": forged});
    let work = |desk: Rc<Desk>| async move { submit_writes(&desk.world(), &caller(tenant), &body).await };
    let Some(Ok(answers)) = place.request("submit", Some(tenant), work).await else { return };
    for answer in answers {
        if !matches!(answer, Err(Error::IdempotencyKeyReused)) {
            place.wrong(
                "4 another content was accepted under the same key",
                &format!("{:?}", answer.map(|a| a.write.id)),
            );
        }
    }
}

/// A doorbell on its way: delivered at least once, again when it failed, in the end left to the reconciler.
pub fn deliver(place: &Rc<Place>, doorbell: Doorbell, wait_ms: i64) {
    let here = Rc::clone(place);
    place.time.spawn(0, async move {
        here.time.sleep(wait_ms).await;
        for _ in 0..DELIVERIES_MAX {
            let bell = doorbell.clone();
            let tenant = super::check::tenant_of(doorbell.connection.workspace_id.as_str());
            let done = here
                .request("lease", tenant, |desk| async move {
                    process_writes(&desk.world(), &provider(bell.connection.crm), &bell).await
                })
                .await;
            super::check::effects_are_single(&here);
            match done {
                Some(Ok(_)) => return,
                Some(Err(_)) => here.time.sleep(10_000).await,
                None => here.time.sleep(30_000).await,
            }
        }
    });
}

/// An operator replays a workspace's dead letters, after a look at which they are.
async fn replay(place: &Rc<Place>, tenant: usize) {
    for dry_run in [true, false] {
        let body = json!({ "dry_run": dry_run });
        let work = |desk: Rc<Desk>| async move { replay_dead_letters(&desk.world(), &caller(tenant), &body).await };
        let done = place.request(if dry_run { "read" } else { "replay" }, Some(tenant), work).await;
        if let Some(Err(error)) = done.filter(|_| place.is_calm.get()) {
            place.wrong("4 a replay was refused", &error.to_string());
        }
    }
}

/// The hourly job that rings for the checks of connections.
pub async fn check_connections(place: &Rc<Place>) {
    place.request("health", None, |desk| async move { reconcile_connections(&desk.world()).await }).await;
}

/// A round of checks on its way; one that fails is due again by itself.
pub fn check_later(place: &Rc<Place>, round: CheckRound, wait_ms: i64) {
    let here = Rc::clone(place);
    place.time.spawn(0, async move {
        here.time.sleep(wait_ms).await;
        for (workspace_id, crm) in round.connections {
            let tenant = super::check::tenant_of(workspace_id.as_str());
            let key = ConnectionKey { workspace_id, shard: round.shard.clone(), crm };
            here.request("health", tenant, |desk| async move { check_health(&desk.world(), &key).await }).await;
        }
    });
}

/// The cron job.
pub async fn reconcile(place: &Rc<Place>) {
    place.request("reconcile", None, |desk| async move { reconcile_writes(&desk.world()).await }).await;
}

fn consent(place: &Place, url: &str, tenant: usize, crm: Crm, cookie: &str) -> Callback {
    let request = stub_crm::Request {
        method: "GET".to_owned(),
        url: format!("{url}&{}&decision=approve", account_choice(tenant, crm)),
        ..stub_crm::Request::default()
    };
    let answer = place.crm.borrow_mut().handle(&request, place.time.now_ms());
    brought(answer.header("location").unwrap_or_default(), Some(cookie.to_owned()))
}

/// An owner connects, in the account of that workspace; the browser sends the callback twice.
pub async fn connect(place: &Rc<Place>, tenant: usize, crm: Crm, account: usize) {
    let work =
        |desk: Rc<Desk>| async move { start_oauth(&desk.world(), &caller(tenant), crm, &Start::default()).await };
    let Some(Ok(started)) = place.request("connect", Some(tenant), work).await else { return };
    let callback = consent(place, &started.authorize_url, account, crm, started.browser_cookie.as_str());
    let (twin, again) = (Rc::clone(place), callback.clone());
    let (slot, filler) = super::time::Slot::new();
    place.time.spawn(0, async move { filler.fill(land(&twin, Some(tenant), crm, again).await) });
    let first = land(place, Some(tenant), crm, callback).await;
    let second = slot.wait().await.flatten();
    let ends: Vec<Ended> = [first, second].into_iter().flatten().collect();
    if ends.len() > 1 {
        place.wrong("3 a state was accepted twice", crm.as_str());
    }
}

async fn land(place: &Rc<Place>, tenant: Option<usize>, crm: Crm, callback: Callback) -> Option<Ended> {
    let what = if tenant.is_some() { "connect" } else { "install" };
    let work = |desk: Rc<Desk>| async move { finish_oauth(&desk.world(), crm, &callback).await };
    match place.request(what, tenant, work).await {
        Some(Ok(ended)) => Some(ended),
        _ => None,
    }
}

async fn install(place: &Rc<Place>, tenant: usize, crm: Crm) {
    let work = |desk: Rc<Desk>| async move { start_install(&desk.world(), crm, &Start::default()).await };
    let Some(Ok(started)) = place.request("install", None, work).await else { return };
    let callback = consent(place, &started.authorize_url, tenant, crm, started.browser_cookie.as_str());
    if let Some(Ended::Parked(parked)) = land(place, None, crm, callback).await {
        place.book.borrow_mut().parked.push(parked);
    }
}

/// Two workspaces press the button at once; one may win.
async fn claim(place: &Rc<Place>, tenant: usize) {
    let Some(parked) = place.book.borrow_mut().parked.pop() else { return };
    let rival = (tenant + 1) % super::scenario::TENANTS;
    let (twin, cookie) = (Rc::clone(place), parked.claim_cookie.clone());
    let (slot, filler) = super::time::Slot::new();
    place.time.spawn(0, async move { filler.fill(claim_for(&twin, rival, cookie).await) });
    let mine = claim_for(place, tenant, parked.claim_cookie).await;
    if mine && slot.wait().await == Some(true) {
        place.wrong("8 an install was claimed by two workspaces", parked.install_id.as_str());
    }
}

async fn claim_for(place: &Rc<Place>, tenant: usize, cookie: Secret<String>) -> bool {
    let work = |desk: Rc<Desk>| async move {
        claim_install(&desk.world(), &caller(tenant), Some(cookie.expose()), None).await
    };
    matches!(place.request("claim", Some(tenant), work).await, Some(Ok(_)))
}

/// The person changes their mind: one of the two may stand.
async fn decline(place: &Rc<Place>, tenant: usize) {
    let Some(parked) = place.book.borrow_mut().parked.pop() else { return };
    let (twin, cookie) = (Rc::clone(place), parked.claim_cookie.clone());
    let (slot, filler) = super::time::Slot::new();
    place.time.spawn(0, async move { filler.fill(claim_for(&twin, tenant, cookie).await) });
    let (id, cookie) = (parked.install_id.to_string(), parked.claim_cookie);
    let work = |desk: Rc<Desk>| async move {
        let token = decline_token(cookie.expose());
        decline_install(&desk.world(), Some(cookie.expose()), &id, Some(&token)).await
    };
    let is_declined = matches!(place.request("decline", None, work).await, Some(Ok(_)));
    if is_declined && slot.wait().await == Some(true) {
        place.wrong("8 an install was claimed and declined", parked.install_id.as_str());
    }
}

/// A connection's row, as it stands.
fn row_of(place: &Place, caller: &Caller, tenant: usize, crm: Crm) -> Option<Connection> {
    let database = &*place.databases[usize::from(tenant == 2)];
    let scope = store::WorkspaceScope::of(caller.workspace_id.clone());
    pollster::block_on(store::connections::fetch(database, &scope, crm)).ok().flatten()
}

/// Both instances want to refresh; one may.
async fn twins(place: &Rc<Place>, tenant: usize, crm: Crm) {
    let caller = caller(tenant);
    let Some(row) = row_of(place, &caller, tenant, crm) else { return };
    let key = ConnectionKey { workspace_id: caller.workspace_id, shard: caller.shard, crm };
    let refused_generation = Some(row.token_generation);
    let ask = Ask { calls: 0, searches: 0, purpose: Purpose::Check, refused_generation };
    let (here, there, same) = (Rc::clone(place), key.clone(), ask.clone());
    place.time.spawn(0, async move { gates::ask_twin(&here, &there, same).await });
    gates::ask_twin(place, &key, ask).await;
}

/// The customer removes the app in the CRM's own settings.
fn revoke(place: &Place, tenant: usize, crm: Crm) {
    let caller = caller(tenant);
    let row = row_of(place, &caller, tenant, crm);
    let (Some(row), Some(keys)) = (row, place.keys.tokens.as_ref()) else { return };
    let aad = crypto::Aad {
        scope: caller.workspace_id.as_str(),
        connection: row.id.as_str(),
        column: crypto::Column::RefreshToken,
        generation: row.token_generation,
    };
    let Some(token) = row.refresh_token_sealed.and_then(|sealed| crypto::vault::open(keys, &aad, &sealed).ok()) else {
        return;
    };
    let Ok(app) = place.settings.app(crm) else { return };
    for request in provider(crm).revoke_requests(app, None, Some(&token), None) {
        place.crm.borrow_mut().handle(&crate::ports::carried(&request), place.time.now_ms());
    }
}

/// As an administrator would in the CRM's own settings.
fn remove_fields(place: &Place, crm: Crm, for_good: bool) {
    let mut stand_in = place.crm.borrow_mut();
    match crm {
        Crm::Salesforce => stand_in.switches_mut().salesforce_key_field = KeyField::Absent,
        Crm::Hubspot => {
            if for_good {
                stand_in.switches_mut().hubspot_unique_on_activities = UniqueOnActivities::Refused;
            }
            let tokens = stand_in.issued().to_vec();
            for (kind, token) in ["tasks", "notes"].into_iter().flat_map(|kind| tokens.iter().map(move |t| (kind, t))) {
                let request = stub_crm::Request {
                    method: "DELETE".to_owned(),
                    url: format!("https://api.hubapi.com/crm/properties/2026-03/{kind}/conduit_write_key"),
                    headers: vec![("authorization".to_owned(), format!("Bearer {token}"))],
                    body: Vec::new(),
                };
                stand_in.handle(&request, place.time.now_ms());
            }
        }
    }
}

/// A workspace asks for another's writes.
async fn pry(place: &Rc<Place>, tenant: usize, at: usize) {
    let theirs: Vec<String> = {
        let book = place.book.borrow();
        book.intents.values().filter(|i| i.tenant == at).filter_map(|i| i.accepted.clone()).take(2).collect()
    };
    for id in theirs {
        let read = id.clone();
        let work = |desk: Rc<Desk>| async move { fetch_write(&desk.world(), &caller(tenant), &read).await.map(|_| ()) };
        if place.request("read", Some(tenant), work).await == Some(Ok(())) {
            place.wrong("6 another workspace's write was read", &id);
        }
    }
    let query = Query { limit: Some("100".to_owned()), ..Query::default() };
    let work = |desk: Rc<Desk>| async move { list_writes(&desk.world(), &caller(tenant), &query).await };
    if let Some(Ok(page)) = place.request("read", Some(tenant), work).await {
        let book = place.book.borrow();
        let own =
            |object: &str| book.intents.values().any(|i| i.tenant == tenant && format!("th_{}", i.number) == object);
        let foreign = page.writes.iter().find(|write| !own(&write.object_id)).map(|write| write.object_id.clone());
        drop(book);
        if let Some(object) = foreign {
            place.wrong("6 another workspace's write is listed", &object);
        }
        let text = serde_json::to_string(&page.writes).unwrap_or_default();
        place.must_not_tell_a_token("the log page", &text);
    }
}
