//! Stages and pipelines of deals: an unknown one is refused here, by the names of those there are (providers reference 1.7,
//! 1.10). HubSpot would refuse it too, but in words that help nobody.
//!
//! The pipelines are a fact of the account: whoever sends may answer from a cache. Before a write is refused by what a cache
//! says, the CRM itself is asked.

use super::{batch, errors, hosts};
use crate::failure::Verdict;
use crate::hostile;
use crate::http::{Answer, Effect, Request};
use crate::json::text;
use crate::lot::{Cached, Call, Entry, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::Value;

/// Administrators change pipelines rarely; one that was added is found at once, since what is unknown is asked afresh.
const TTL_SECS: u32 = 3_600;

/// How far the lot's deals were checked, as it stands in [`crate::lot::Learnt::pipelines`].
const WANTING: &str = "wanting";
const CHECKED: &str = "checked";

/// The call for the pipelines, when the lot has deals that were not checked.
pub(super) fn next_call(lot: &Lot, kind: u8) -> Option<Call> {
    let state = lot.learnt.pipelines.as_str().unwrap_or_default();
    let entries: Vec<usize> = (0..lot.entries.len()).filter(|at| lot.at(&[*at]).any(is_open)).collect();
    if state == CHECKED || entries.is_empty() {
        return None;
    }
    let cached = Cached { name: "pipelines", ttl_secs: TTL_SECS, afresh: state == WANTING };
    Some(Call { request: Request::get(hosts::pipelines()), entries, kind, is_search: false, cached: Some(cached) })
}

/// What a dry run assumes: that every deal's stage and pipeline is there.
pub(super) fn assumed() -> Value {
    text(CHECKED)
}

fn is_open(entry: &Entry) -> bool {
    entry.outcome.is_none() && entry.write.deal.is_some() && !entry.has("deal")
}

/// Checks the lot's deals by the answer. Where HubSpot does not show its pipelines, it checks alone.
pub(super) fn read(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let Some((_, body)) = batch::success(answer).filter(|(_, body)| body.get("results").is_some_and(Value::is_array))
    else {
        return match batch::without_deals(errors::classify(answer, Effect::Reads, now)) {
            WriteOutcome::Rejected(_) => lot.learnt.pipelines = text(CHECKED),
            outcome => lot.fail(&call.entries, &outcome),
        };
    };
    let pipelines: Vec<(&str, Vec<&str>)> = living(hostile::list(&body, "results"))
        .map(|(id, pipeline)| (id, living(hostile::list(pipeline, "stages")).map(|(id, _)| id).collect()))
        .collect();
    let is_last = call.cached.is_none_or(|cached| cached.afresh);
    let mut state = CHECKED;
    for &at in &call.entries {
        let mut refusal = None;
        lot.each(&[at], |entry| refusal = check(entry, &pipelines).err());
        match refusal {
            Some(verdict) if is_last => lot.fail(&[at], &verdict.outcome(None, None, now)),
            Some(_) => state = WANTING,
            None => {}
        }
    }
    lot.learnt.pipelines = text(state);
}

/// Those that are not archived, with their ids.
fn living(items: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    let is_living = |item: &&Value| item.get("archived").and_then(Value::as_bool) != Some(true);
    items.iter().filter(is_living).filter_map(|item| Some((hostile::text(item, "id")?, item)))
}

/// Checks one deal; a pipeline that is not given is the one that has the stage.
fn check(entry: &mut Entry, pipelines: &[(&str, Vec<&str>)]) -> Result<(), Verdict> {
    let Some(deal) = entry.write.deal.as_mut() else { return Ok(()) };
    let refuse = |code: &str, words: &str, valid: &mut dyn Iterator<Item = &str>| {
        let valid = valid.collect::<Vec<_>>().join(", ");
        Err(Verdict::new(ErrorClass::Mapping, code, [words, &valid].concat()))
    };
    let stage = deal.stage.as_str();
    let Some(pipeline) = &deal.pipeline else {
        let Some((id, _)) = pipelines.iter().find(|(_, stages)| stages.contains(&stage)) else {
            let mut all = pipelines.iter().flat_map(|(_, stages)| stages).copied();
            return refuse("unknown_stage", "no pipeline of the portal has this `deal.stage`; there are: ", &mut all);
        };
        deal.pipeline = Some((*id).to_owned());
        return Ok(());
    };
    match pipelines.iter().find(|(id, _)| id == pipeline) {
        None => {
            let mut all = pipelines.iter().map(|(id, _)| *id);
            refuse("unknown_pipeline", "the portal has no such `deal.pipeline`; there are: ", &mut all)
        }
        Some((_, stages)) if !stages.contains(&stage) => {
            refuse("unknown_stage", "the pipeline has no such `deal.stage`; it has: ", &mut stages.iter().copied())
        }
        Some(_) => Ok(()),
    }
}
