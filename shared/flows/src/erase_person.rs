//! Erasing one person's data in a workspace, found by the pseudonym of an e-mail address.
//!
//! Attachments, then the messages that lead to them, both by an index; then the workspace's log of writes, page by page,
//! each address compared by its pseudonym: an index of whom a write is about would be one more row written for every write,
//! and a person is erased rarely. It costs two rows read for each write of the workspace. The place in the log is kept, so
//! that a request does what it can, and the nightly purge or the same request again does the rest.
//!
//! A write that waits to be sent is cancelled. One of which nobody knows whether the CRM has it keeps its payload until that is
//! settled, since it is looked for by it; until then the erasure waits. What the CRM holds is the CRM's to erase.

use crate::allowance::Allowance;
use crate::authenticate::Caller;
use crate::remove_attachments::{Objects, remove_attachments};
use crate::{Error, Tenant, World, audit};
use crypto::pii::{PiiMaster, WorkspacePiiKey};
use model::ErasureId;
use serde_json::{Value, json};
use store::db::nth;
use store::erasures::{self, Counted, Erasure, Passed};
use store::writes::Key;
use store::{attachments, messages, redaction};

/// Queries of one request: some 100,000 writes of other people, or 30,000 of this one.
const QUERIES_PER_REQUEST: u32 = 300;
/// A person waits for it.
const SECS_PER_REQUEST: i64 = 20;
/// Rows of one slice.
const ROWS_PER_SLICE: u32 = 500;
/// The longest address there is (RFC 5321, with its angle brackets).
const EMAIL_CHARS_MAX: usize = 320;

/// Erases the person with this address, as far as one request goes; the same request again goes on. The address is neither
/// stored nor logged.
pub async fn erase_person(
    world: &World<'_>,
    caller: &Caller,
    objects: &dyn Objects,
    master: &PiiMaster,
    email: &str,
) -> Result<Value, Error> {
    caller.require_admin()?;
    let key = WorkspacePiiKey::derive(master, &caller.workspace_id);
    let plain = email.len() <= EMAIL_CHARS_MAX
        && email.trim().split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    let hmac = key.email_hmac(email).filter(|_| plain);
    let hmac = hmac.ok_or(Error::Parameter { name: "email", rule: "must be one plain e-mail address" })?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let id = ErasureId::from_body(&crypto::id::mint_body(world.random)?).ok_or(Error::NoRandom)?;
    let event = audit::event(world, &caller.actor, "erasure_requested", id.as_str(), json!({}))?;
    let batch = vec![
        erasures::open(&tenant.scope, &id, &hmac, &caller.actor, world.now),
        event.append_if_changed(&tenant.scope),
        erasures::select_open(&tenant.scope, &hmac),
    ];
    let outcomes = tenant.db.batch(batch).await?;
    let erasure = nth(&outcomes, 2)?.first::<Erasure>()?.ok_or(store::DbError::Shape)?;
    let mut allowance = Allowance::of(world, QUERIES_PER_REQUEST, SECS_PER_REQUEST);
    let (status, erasure) = go_on(world, &tenant, objects, &key, erasure, &caller.actor, &mut allowance).await?;
    Ok(json!({
        "id": erasure.id,
        "status": status,
        "requested_at": erasure.requested_at.iso(),
        "messages_redacted": erasure.messages_redacted,
        "attachments_removed": erasure.attachments_removed,
        "writes_redacted": erasure.writes_redacted,
        "writes_cancelled": erasure.writes_cancelled,
    }))
}

/// Goes on with an erasure: its status, and its counts.
pub(crate) async fn go_on(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    objects: &dyn Objects,
    key: &WorkspacePiiKey,
    erasure: Erasure,
    actor: &str,
    allowance: &mut Allowance<'_>,
) -> Result<(&'static str, Erasure), Error> {
    let Some(messages_left) = erase_messages(world, tenant, objects, &erasure, allowance).await? else {
        return unfinished(tenant, erasure).await;
    };
    let Some(writes_left) = erase_writes(world, tenant, key, &erasure, allowance).await? else {
        return unfinished(tenant, erasure).await;
    };
    if messages_left || writes_left {
        store::db::run(tenant.db, erasures::wait(&tenant.scope, &erasure.id)).await?;
        return Ok(("waiting", counted(tenant, erasure).await?));
    }
    let erasure = counted(tenant, erasure).await?;
    let detail = json!({
        "messages_redacted": erasure.messages_redacted,
        "attachments_removed": erasure.attachments_removed,
        "writes_redacted": erasure.writes_redacted,
        "writes_cancelled": erasure.writes_cancelled,
    });
    let event = audit::event(world, actor, "person_erased", erasure.id.as_str(), detail)?;
    let finish = erasures::finish(&tenant.scope, &erasure, world.now);
    tenant.db.batch(vec![finish, event.append_if_changed(&tenant.scope)]).await?;
    Ok(("finished", erasure))
}

async fn unfinished(tenant: &Tenant<'_>, erasure: Erasure) -> Result<(&'static str, Erasure), Error> {
    Ok(("running", counted(tenant, erasure).await?))
}

/// The erasure with its counts as they now are.
async fn counted(tenant: &Tenant<'_>, was: Erasure) -> Result<Erasure, Error> {
    let outcome = store::db::run(tenant.db, erasures::select_open(&tenant.scope, &was.person_hmac)).await?;
    Ok(outcome.first()?.unwrap_or(was))
}

/// Whether something could not be removed; `None` when the queries ran out.
async fn erase_messages(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    objects: &dyn Objects,
    erasure: &Erasure,
    allowance: &mut Allowance<'_>,
) -> Result<Option<bool>, Error> {
    let (scope, hmac) = (&tenant.scope, erasure.person_hmac.as_str());
    let mut left = false;
    loop {
        if !allowance.take(3) {
            return Ok(None);
        }
        let rows = attachments::list_of(tenant.db, scope, hmac, ROWS_PER_SLICE).await?;
        if rows.is_empty() {
            break;
        }
        let count = erasures::count(scope, &erasure.id, Counted::Attachments);
        let removed = remove_attachments(world, tenant, objects, &rows, Some(count)).await?;
        // What cannot be removed is listed first again: what is behind it is for another day.
        if removed.failed > 0 {
            left = true;
            break;
        }
    }
    loop {
        if !allowance.take(2) {
            return Ok(None);
        }
        let batch = vec![
            messages::redact_of(scope, hmac, ROWS_PER_SLICE, world.now),
            erasures::count(scope, &erasure.id, Counted::Messages),
        ];
        if nth(&tenant.db.batch(batch).await?, 0)?.changes < u64::from(ROWS_PER_SLICE) {
            return Ok(Some(left));
        }
    }
}

/// Whether a write of the person may still be on its way; `None` when the queries ran out.
async fn erase_writes(
    world: &World<'_>,
    tenant: &Tenant<'_>,
    key: &WorkspacePiiKey,
    erasure: &Erasure,
    allowance: &mut Allowance<'_>,
) -> Result<Option<bool>, Error> {
    let mut left = false;
    let mut place = (erasure.write_created_at, erasure.write_crm.clone(), erasure.write_key.clone());
    loop {
        if !allowance.take(8) {
            return Ok(None);
        }
        let after = (place.0, place.1.as_str(), place.2.as_str());
        let passed =
            erasures::list_writes(tenant.db, &tenant.scope, after, erasure.requested_at, ROWS_PER_SLICE).await?;
        let Some(last) = passed.last() else { return Ok(Some(left)) };
        let keys = of_person(&passed, key, &erasure.person_hmac);
        if keys.is_empty() {
            allowance.give_back(6);
        } else {
            left |= redact(world, tenant, erasure, &keys).await?;
        }
        // A write that must be looked at again holds the stored place, and not this run.
        if !left {
            store::db::run(tenant.db, erasures::pass(&tenant.scope, &erasure.id, last)).await?;
        }
        place = (last.created_at, last.crm.as_str().to_owned(), last.idempotency_key.clone());
    }
}

fn of_person(passed: &[Passed], key: &WorkspacePiiKey, person_hmac: &str) -> Vec<Key> {
    let theirs = passed.iter().filter(|write| {
        let hmac = write.email.as_deref().and_then(|email| key.email_hmac(email));
        hmac.as_deref() == Some(person_hmac)
    });
    theirs.map(|write| Key { crm: write.crm, key: write.idempotency_key.clone() }).collect()
}

/// Redacts and cancels what can be; whether some are left.
async fn redact(world: &World<'_>, tenant: &Tenant<'_>, erasure: &Erasure, keys: &[Key]) -> Result<bool, Error> {
    let scope = &tenant.scope;
    let batch = vec![
        redaction::cancel(scope, keys, world.now),
        erasures::count(scope, &erasure.id, Counted::Cancelled),
        redaction::redact(scope, keys, world.now),
        erasures::count(scope, &erasure.id, Counted::Writes),
        redaction::delete_attempts(scope, keys),
        redaction::select_left(scope, keys),
    ];
    Ok(!nth(&tenant.db.batch(batch).await?, 5)?.rows.is_empty())
}
