//! Saying which deal a thread belongs to, and what that deal is in the CRM: tasks and notes of the thread are then tied to it.
//!
//! `{"links": [{"thread_id", "deal_id"}], "deals": [{"deal_id", "crm", "crm_deal_id"}]}`; a `deal_id` of null takes a link
//! away. All of a request is stored or nothing. A deal that Conduit makes itself need not be told.

use crate::authenticate::Caller;
use crate::{Error, World, audit};
use model::Crm;
use model::curated::REFERENCE_CHARS_MAX;
use serde::Serialize;
use serde_json::{Value, json};
use store::db::nth;
use store::deals::{self, KnownDeal, ThreadLink};

/// At most this many links, and as many deals, in one request.
pub const LINKS_MAX: usize = 500;
/// A CRM's record ids are letters and digits, 18 at most; a little room.
const CRM_ID_CHARS_MAX: usize = 32;

/// What a request changed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Linked {
    /// Threads that have another deal now, or their first.
    pub linked: u64,
    /// Threads that have none any more.
    pub unlinked: u64,
    /// Deals whose place in a CRM is another now, or known at last. One of a CRM that was never connected is left out.
    pub deals: u64,
}

/// Stores links and deals.
pub async fn link_threads(world: &World<'_>, caller: &Caller, body: &Value) -> Result<Linked, Error> {
    caller.require_admin()?;
    let wanted = Wanted::read(body)?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let (scope, now) = (&tenant.scope, world.now);
    let count = |what: &str, n: usize| json!({"what": what, "count": n});
    let event = |name, detail| audit::event(world, &caller.actor, name, caller.workspace_id.as_str(), detail);
    let outcomes = tenant
        .db
        .batch(vec![
            deals::link_threads(scope, &wanted.links, now),
            event("threads_linked", count("links", wanted.links.len()))?.append_if_changed(scope),
            deals::unlink_threads(scope, &wanted.unlinked),
            event("threads_unlinked", count("links", wanted.unlinked.len()))?.append_if_changed(scope),
            deals::learn(scope, &wanted.deals, now),
            event("deals_mapped", count("deals", wanted.deals.len()))?.append_if_changed(scope),
        ])
        .await?;
    let changed = |index| nth(&outcomes, index).map(|outcome| outcome.changes);
    Ok(Linked { linked: changed(0)?, unlinked: changed(2)?, deals: changed(4)? })
}

#[derive(Default)]
struct Wanted {
    links: Vec<ThreadLink>,
    unlinked: Vec<String>,
    deals: Vec<KnownDeal>,
}

impl Wanted {
    fn read(body: &Value) -> Result<Self, Error> {
        let members = body.as_object().ok_or(Error::LinksRefused("send an object"))?;
        if members.is_empty() || members.keys().any(|name| !matches!(name.as_str(), "links" | "deals")) {
            return Err(Error::LinksRefused("send `links`, `deals` or both, and nothing else"));
        }
        let mut wanted = Self::default();
        for link in list(body, "links")? {
            let [thread_id, deal_id] = parts(link, ["thread_id", "deal_id"])?;
            let thread_id = reference(thread_id)?;
            match deal_id {
                Value::Null => wanted.unlinked.push(thread_id),
                deal_id => wanted.links.push(ThreadLink { thread_id, deal_id: reference(deal_id)? }),
            }
        }
        for deal in list(body, "deals")? {
            let [crm, deal_id, crm_deal_id] = parts(deal, ["crm", "deal_id", "crm_deal_id"])?;
            let crm = crm.as_str().and_then(Crm::parse).ok_or(Error::UnknownCrm)?;
            let crm_deal_id = crm_deal_id.as_str().filter(|id| is_record_id(id));
            let crm_deal_id = crm_deal_id.ok_or(Error::LinksRefused("`crm_deal_id` is the CRM's id of the record"))?;
            wanted.deals.push(KnownDeal { crm, deal_id: reference(deal_id)?, crm_deal_id: crm_deal_id.to_owned() });
        }
        Ok(wanted)
    }
}

fn list<'a>(body: &'a Value, name: &str) -> Result<&'a [Value], Error> {
    match body.get(name) {
        None => Ok(&[]),
        Some(Value::Array(items)) if items.len() <= LINKS_MAX => Ok(items),
        Some(_) => Err(Error::LinksRefused("`links` and `deals` are lists of 500 at most")),
    }
}

/// Exactly these members.
fn parts<'a, const N: usize>(item: &'a Value, names: [&str; N]) -> Result<[&'a Value; N], Error> {
    let wrong = Error::LinksRefused("a link is `thread_id` and `deal_id`, a deal `crm`, `deal_id` and `crm_deal_id`");
    let members =
        item.as_object().filter(|members| members.len() == N && names.iter().all(|n| members.contains_key(*n)));
    let members = members.ok_or(wrong)?;
    Ok(names.map(|name| members.get(name).unwrap_or(&Value::Null)))
}

/// An id of the host product, under the rules it has in a write.
fn reference(value: &Value) -> Result<String, Error> {
    let text = value.as_str().map(str::trim).unwrap_or_default();
    let ok = !text.is_empty() && text.chars().count() <= REFERENCE_CHARS_MAX && !text.chars().any(char::is_control);
    if ok { Ok(text.to_owned()) } else { Err(Error::LinksRefused("ids are 1 to 255 characters")) }
}

fn is_record_id(text: &str) -> bool {
    (1..=CRM_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::Wanted;
    use serde_json::json;

    #[test]
    fn only_whole_links_and_deals_are_taken() {
        let wanted = Wanted::read(&json!({
            "links": [{"thread_id": " th_1 ", "deal_id": "d_1"}, {"thread_id": "th_2", "deal_id": null}],
            "deals": [{"crm": "hubspot", "deal_id": "d_1", "crm_deal_id": "77"}],
        }))
        .unwrap();
        assert_eq!(
            (&*wanted.links[0].thread_id, &*wanted.unlinked[0], &*wanted.deals[0].crm_deal_id),
            ("th_1", "th_2", "77")
        );
        for (body, code) in [
            (json!([]), "links_refused"),
            (json!({}), "links_refused"),
            (json!({"link": []}), "links_refused"),
            (json!({"links": {}}), "links_refused"),
            (json!({"links": [{"thread_id": "th_1"}]}), "links_refused"),
            (json!({"links": [{"thread_id": "", "deal_id": "d"}]}), "links_refused"),
            (json!({"links": [{"thread_id": "th_1", "deal_id": 7}]}), "links_refused"),
            (json!({"deals": [{"crm": "pipedrive", "deal_id": "d", "crm_deal_id": "7"}]}), "unknown_crm"),
            (json!({"deals": [{"crm": "hubspot", "deal_id": "d", "crm_deal_id": "7/../8"}]}), "links_refused"),
            (json!({"deals": [{"crm": "hubspot", "deal_id": "d", "crm_deal_id": "7", "x": 1}]}), "links_refused"),
        ] {
            assert_eq!(Wanted::read(&body).err().map(|e| e.code()), Some(code), "{body}");
        }
    }
}
