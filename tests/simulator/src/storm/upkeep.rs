//! What goes on beside the writes: people are erased, what is old is purged, the audit trail is sealed, alarms are delivered;
//! and what must hold of it at the end.

use super::desk::Desk;
use super::place::{Place, caller};
use super::planted::{self, Bug};
use super::scenario::{Act, TENANTS};
use super::watch::{self, WriteRow};
use crate::BEGINNING;
use async_trait::async_trait;
use crypto::Keyring;
use crypto::pii::{PiiMaster, WorkspacePiiKey};
use flows::deliver_alarms::deliver_alarms;
use flows::erase_person::erase_person;
use flows::purge_installs::purge_installs;
use flows::purge_retention::{PurgeKeys, purge_retention};
use flows::remove_attachments::{Objects, ObjectsUnavailable};
use flows::seal_audit::seal_audit;
use flows::verify_audit::verify_audit;
use model::{Crm, Secret, Timestamp, WriteId};
use pollster::block_on;
use providers::http::{Body, Request, Response};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use store::attachments::{self, NewAttachment};
use store::messages::{self, NewMessage};
use store::{Db, WorkspaceScope};

/// Where alarms go.
pub const WEBHOOK_URL: &str = "https://hooks.example.com/conduit";
/// What they are signed with: the specification's example.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Messages are of these people, each a day and 400 days old.
const PEOPLE: std::ops::Range<u32> = 0..3;
const AGES_DAYS: [i64; 2] = [1, 400];
/// An erasure is asked for again until it is answered.
const ERASE_TRIES: u32 = 5;

/// What there is beside writes and connections, and what was promised of it.
#[derive(Default)]
pub struct Household {
    /// Keys of attachments whose bytes are there.
    bucket: RefCell<BTreeSet<String>>,
    /// Whom a workspace erased, and from when on the product counts.
    erased: RefCell<Vec<(usize, String, i64)>>,
    /// Writes that were given up after a try: somebody must be told.
    dead_letters: RefCell<BTreeSet<String>>,
    /// Ids of the alarms that arrived.
    received: RefCell<BTreeSet<String>>,
}

impl Household {
    /// A write was given up after a try.
    pub fn note_dead_letter(&self, row: &WriteRow) {
        let crm = Crm::parse(&row.crm);
        let id = crm.and_then(|crm| WriteId::of(crm, &row.idempotency_key));
        self.dead_letters.borrow_mut().extend(id.map(|id| id.to_string()));
    }
}

/// The address of outcomes with this number, where people are not shared.
pub fn email_of(tenant: usize, person: u32) -> String {
    format!("person{person}@t{tenant}.example")
}

fn ring() -> Keyring {
    let ring = Keyring::from_base64(&Secret::new(format!("{}=", "E".repeat(43))), None);
    ring.unwrap_or_else(|error| unreachable!("{error}"))
}

fn master() -> PiiMaster {
    let master = PiiMaster::from_base64(&Secret::new(format!("{}=", "I".repeat(43))));
    master.unwrap_or_else(|_| unreachable!("a key of 32 bytes"))
}

fn is_upkeep(act: Act) -> bool {
    matches!(act, Act::Erase { .. } | Act::Sweep | Act::Seal | Act::Alarms)
}

fn has_upkeep(place: &Place) -> bool {
    place.scenario.steps.iter().any(|step| is_upkeep(step.act))
}

/// Messages with attachments, in scenarios that are about them.
pub fn furnish(place: &Place) {
    if !has_upkeep(place) {
        return;
    }
    for tenant in 0..TENANTS {
        let workspace = caller(tenant).workspace_id;
        let pseudonyms = WorkspacePiiKey::derive(&master(), &workspace);
        let scope = WorkspaceScope::of(workspace);
        let mut statements = Vec::new();
        for person in PEOPLE {
            for age_days in AGES_DAYS {
                let email = email_of(tenant, person);
                let (id, received_at) = (format!("m{person}_{age_days}"), BEGINNING.plus_secs(-age_days * 86_400));
                let object_key = object_key(tenant, person, age_days);
                let hmac = pseudonyms.email_hmac(&email);
                let message = NewMessage {
                    id: &id,
                    thread_id: "th_0",
                    contact_hmac: hmac.as_deref(),
                    subject: Some("a subject"),
                    body: Some(&email),
                    received_at,
                };
                let attachment = NewAttachment {
                    id: &id,
                    message_id: &id,
                    object_key: &object_key,
                    file_name: Some("a name"),
                    size_bytes: 1,
                    received_at,
                };
                statements.extend([messages::keep(&scope, &message), attachments::keep(&scope, &attachment)]);
                place.household.bucket.borrow_mut().insert(object_key);
            }
        }
        let database = &place.databases[usize::from(tenant == 2)];
        if block_on(database.batch(statements)).is_err() {
            unreachable!("{:?}", database.last_failure());
        }
    }
}

fn object_key(tenant: usize, person: u32, age_days: i64) -> String {
    format!("{}/m{person}_{age_days}", caller(tenant).workspace_id)
}

/// The bucket; now and then it is away, before or after it did what it was asked to.
#[async_trait(?Send)]
impl Objects for Desk {
    async fn remove(&self, keys: &[&str]) -> Result<(), ObjectsUnavailable> {
        self.travel(1, 20).await;
        let away = || Err(ObjectsUnavailable("away".to_owned()));
        let fails = |place: &Place| !place.is_calm.get() && place.chance.percent(10);
        if fails(&self.place) {
            return away();
        }
        if self.place.bug == Some(Bug::AttachmentForgotten) {
            planted::bend();
            return Ok(());
        }
        for key in keys {
            self.place.household.bucket.borrow_mut().remove(*key);
        }
        if fails(&self.place) { away() } else { Ok(()) }
    }
}

/// An owner erases a person, and asks again until there is an answer.
pub async fn erase(place: &Rc<Place>, tenant: usize, person: u32) {
    let email = email_of(tenant, person);
    for _ in 0..ERASE_TRIES {
        let of = email.clone();
        let work =
            |desk: Rc<Desk>| async move { erase_person(&desk.world(), &caller(tenant), &*desk, &master(), &of).await };
        if let Some(Ok(told)) = place.request("erase", Some(tenant), work).await {
            let at = told["requested_at"].as_str().and_then(Timestamp::parse);
            let erased = (tenant, email, at.map_or(0, |at| at.0));
            place.household.erased.borrow_mut().push(erased);
            return;
        }
        place.time.sleep(5_000).await;
    }
}

/// The retention's purge, which also goes on with erasures and looks through the audit chains.
pub async fn sweep(place: &Rc<Place>) {
    let work = |desk: Rc<Desk>| async move {
        let keys = PurgeKeys { audit: ring(), pii: master() };
        purge_retention(&desk.world(), &*desk, &keys).await
    };
    if let Some(Ok(report)) = place.request("sweep", None, work).await
        && report.chains_broken > 0
    {
        place.wrong("9 the purge finds an audit chain broken", &format!("{report:?}"));
    }
}

/// The audit trail is sealed.
pub async fn seal(place: &Rc<Place>) {
    let work = |desk: Rc<Desk>| async move { seal_audit(&desk.world(), &ring()).await };
    if let Some(Ok(report)) = place.request("seal", None, work).await
        && report.broken > 0
    {
        place.wrong("9 the sealer finds an audit chain broken", &format!("{report:?}"));
    }
}

/// Installs that nobody claimed, or that were declined, are ended.
pub async fn purge_spent_installs(place: &Rc<Place>) {
    place.request("purge", None, |desk| async move { purge_installs(&desk.world()).await }).await;
}

/// Alarms are delivered.
pub async fn deliver_all(place: &Rc<Place>) {
    place.request("alarms", None, |desk| async move { deliver_alarms(&desk.world()).await }).await;
}

/// The receiver of alarms: takes what is signed, unless it fails.
pub fn receive(place: &Place, request: &Request, fault: Option<&stub_crm::Fault>) -> Response {
    let header = |name: &str| request.headers.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value.as_str());
    let Body::Json(body) = &request.body else { return answered(400) };
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp").parse().unwrap_or(0));
    let expected = crypto::webhook::sign(&Secret::new(WEBHOOK_SECRET.to_owned()), id, timestamp, body);
    if expected.as_deref() != Some(header("webhook-signature")) {
        place.wrong("an alarm is not signed", id);
    }
    place.must_not_tell_a_token("an alarm", body);
    if body.contains('@') {
        place.wrong("1 a person in an alarm", id);
    }
    let status = fault.and_then(|fault| fault.status);
    if status.is_none() || fault.is_some_and(|fault| fault.after) {
        place.household.received.borrow_mut().insert(id.to_owned());
    }
    answered(status.unwrap_or(204))
}

fn answered(status: u16) -> Response {
    Response { status, headers: Vec::new(), body: Secret::new(Vec::new()) }
}

/// Nothing fails any more: the jobs run once more, and everything promised must have come about.
pub async fn finish(place: &Rc<Place>) {
    // A declined install whose grant could not be ended at once is the purge's.
    if place.scenario.steps.iter().any(|step| matches!(step.act, Act::Decline { .. })) {
        place.time.sleep(60 * 60_000).await;
        purge_spent_installs(place).await;
    }
    if !has_upkeep(place) {
        return;
    }
    place.time.sleep(60 * 60_000).await;
    seal(place).await;
    for _ in 0..2 {
        sweep(place).await;
        deliver_all(place).await;
    }
    erased_are_gone(place);
    old_is_gone_and_young_is_there(place);
    dead_letters_are_told(place);
    for tenant in 0..TENANTS {
        let work = |desk: Rc<Desk>| async move { verify_audit(&desk.world(), &caller(tenant), &ring(), None).await };
        match place.request("read", Some(tenant), work).await {
            Some(Ok(seen)) if seen.broken.is_none() => {}
            other => place.wrong("9 an audit trail is not whole", &format!("{other:?}")),
        }
    }
}

#[derive(Deserialize)]
struct Kept {
    workspace_id: String,
    created_at: i64,
    payload_json: String,
    error_code: Option<String>,
}

#[derive(Deserialize)]
struct Erasure {
    id: String,
    status: String,
}

/// Nothing of an erased person is left in what the product kept when it was asked.
fn erased_are_gone(place: &Place) {
    for (tenant, email, requested_at) in &*place.household.erased.borrow() {
        let database = &place.databases[usize::from(*tenant == 2)];
        let workspace = caller(*tenant).workspace_id;
        let rows = watch::rows::<Kept>(
            database,
            "SELECT workspace_id, created_at, payload_json, error_code FROM crm_write_log LIMIT 10000",
        );
        let is_left = |row: &Kept| {
            row.workspace_id == workspace.as_str() && row.created_at < *requested_at && row.payload_json.contains(email)
        };
        if rows.iter().any(is_left) {
            place.wrong("an erased person is in the log of writes", email);
        }
        if rows.iter().any(|row| row.error_code.as_deref() == Some("unreadable_payload")) {
            place.wrong("a write that was erased and replayed ends as if it were damaged", email);
        }
    }
    for database in &place.databases {
        for erasure in watch::rows::<Erasure>(database, "SELECT id, status FROM erasures LIMIT 1000") {
            if erasure.status != "finished" {
                place.wrong("an erasure never ended", &format!("{} is {}", erasure.id, erasure.status));
            }
        }
    }
}

#[derive(Deserialize)]
struct Message {
    workspace_id: String,
    id: String,
    is_redacted: u8,
}

/// Messages and their attachments end with the policy, or with their person; others are left alone.
fn old_is_gone_and_young_is_there(place: &Place) {
    let all: Vec<Message> = place
        .databases
        .iter()
        .flat_map(|database| watch::rows(database, "SELECT workspace_id, id, is_redacted FROM messages LIMIT 1000"))
        .collect();
    let erased = place.household.erased.borrow();
    for tenant in 0..TENANTS {
        let workspace = caller(tenant).workspace_id;
        for person in PEOPLE {
            let is_erased = erased.iter().any(|(of, email, _)| *of == tenant && *email == email_of(tenant, person));
            for age_days in AGES_DAYS {
                let id = format!("m{person}_{age_days}");
                let row = all.iter().find(|row| row.workspace_id == workspace.as_str() && row.id == id);
                let is_over = is_erased || age_days > 365;
                let has_bytes = place.household.bucket.borrow().contains(&object_key(tenant, person, age_days));
                let has_text = row.is_some_and(|row| row.is_redacted == 0);
                // Somebody whose erasure was never answered may be gone all the same.
                let may_be_over = is_over || was_asked_to_go(place, tenant, person);
                let is_whole = has_bytes && has_text;
                if (is_over && (has_bytes || has_text)) || !(may_be_over || is_whole) {
                    let what = format!("{workspace} {id}: text {has_text}, bytes {has_bytes}, over {is_over}");
                    place.wrong("retention is not what the policy says", &what);
                }
            }
        }
    }
}

fn was_asked_to_go(place: &Place, tenant: usize, person: u32) -> bool {
    place.scenario.steps.iter().any(|step| step.act == Act::Erase { tenant, person })
}

#[derive(Deserialize)]
struct Alarm {
    id: String,
    payload_json: String,
    was_delivered: u8,
}

/// Each write that was given up is in an alarm, and what counts as delivered arrived.
fn dead_letters_are_told(place: &Place) {
    let sql = "SELECT id, payload_json, (delivered_at IS NOT NULL) AS was_delivered FROM alarms LIMIT 10000";
    let alarms: Vec<Alarm> = place.databases.iter().flat_map(|database| watch::rows::<Alarm>(database, sql)).collect();
    for id in &*place.household.dead_letters.borrow() {
        if !alarms.iter().any(|alarm| alarm.payload_json.contains(id)) {
            place.wrong("a dead letter that nobody is told of", id);
        }
    }
    for alarm in alarms {
        if alarm.was_delivered == 1 && !place.household.received.borrow().contains(&alarm.id) {
            place.wrong("an alarm counts as delivered and did not arrive", &alarm.id);
        }
    }
}
