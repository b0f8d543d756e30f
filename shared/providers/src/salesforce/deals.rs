//! The stages an org's opportunities can be in, so that a wrong one is told with the right ones, before anything is sent.
//!
//! Asked for once and cached, since an administrator changes them rarely. Where the user may not read them, Salesforce's own
//! refusal has to do.

use super::plan::needs_deal;
use super::{composite, errors, hosts};
use crate::failure::Verdict;
use crate::hostile;
use crate::http::{Answer, Effect, Request, Response};
use crate::lot::{Cached, Call, Entry, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};
use serde_json::{Value, json};

/// How long the stages are believed.
const STAGES_TTL_SECS: u32 = 3_600;

/// What is known of a write's stage.
enum Stage {
    /// As the org spells it.
    Known(String),
    /// The stages have to be asked for: from the org itself when what was cached does not have it.
    Ask { afresh: bool },
    /// It is not one of these.
    Wrong(String),
}

fn stage(lot: &Lot, entry: &Entry) -> Stage {
    let wanted = entry.write.deal.as_ref().map_or("", |deal| deal.stage.as_str());
    let learnt = &lot.learnt.pipelines;
    if learnt.is_null() {
        return Stage::Ask { afresh: false };
    }
    let rows = hostile::list(learnt, "stages");
    let name =
        |row: &Value| hostile::text(row, "ApiName").or_else(|| hostile::text(row, "MasterLabel")).map(str::to_owned);
    let is_it = |row: &&Value| ["ApiName", "MasterLabel"].iter().any(|key| hostile::text(row, key) == Some(wanted));
    if rows.is_empty() {
        return Stage::Known(wanted.to_owned());
    }
    match rows.iter().find(is_it).and_then(name) {
        Some(name) => Stage::Known(name),
        None if learnt.get("afresh").is_none() => Stage::Ask { afresh: true },
        None => Stage::Wrong(rows.iter().filter_map(name).collect::<Vec<_>>().join(", ")),
    }
}

/// The stage as the org spells it.
pub(super) fn stage_name(lot: &Lot, entry: &Entry) -> Option<String> {
    match stage(lot, entry) {
        Stage::Known(name) => Some(name),
        Stage::Ask { .. } | Stage::Wrong(_) => None,
    }
}

/// The question for the stages, when a write has to know them.
pub(super) fn next_call(lot: &Lot, instance: &str, kind: u8) -> Option<Call> {
    let open = lot.entries.iter().enumerate().filter(|(_, entry)| entry.outcome.is_none() && needs_deal(entry));
    let asking = open.filter_map(|(at, entry)| match stage(lot, entry) {
        Stage::Ask { afresh } => Some((at, afresh)),
        _ => None,
    });
    let asking: Vec<(usize, bool)> = asking.collect();
    let afresh = asking.first()?.1;
    let soql = "SELECT ApiName, MasterLabel FROM OpportunityStage WHERE IsActive = true ORDER BY SortOrder";
    let request = Request::get(format!("{instance}{}", hosts::data_path(&composite::query_path(soql))));
    let cached = Some(Cached { name: "stages", ttl_secs: STAGES_TTL_SECS, afresh });
    Some(Call { request, entries: asking.into_iter().map(|(at, _)| at).collect(), kind, is_search: false, cached })
}

/// Reads the stages. Who may not see them can have none checked.
pub(super) fn read(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let body = answer.as_ref().ok().filter(|response| response.is_success()).and_then(Response::json);
    let rows = body.as_ref().and_then(composite::rows);
    let mut learnt = match rows {
        Some((rows, _)) => json!({ "stages": rows }),
        None => match errors::classify(answer, Effect::Reads, now) {
            WriteOutcome::Rejected(_) => json!({}),
            outcome => return lot.fail(&call.entries, &outcome),
        },
    };
    if call.cached.is_some_and(|cached| cached.afresh)
        && let Some(learnt) = learnt.as_object_mut()
    {
        learnt.insert("afresh".to_owned(), json!(true));
    }
    lot.learnt.pipelines = learnt;
}

/// For dry runs, which ask nothing.
pub(super) fn assume(lot: &mut Lot) {
    lot.learnt.pipelines = json!({});
}

/// Why a write's opportunity cannot be: it has no deal in it, or its stage is not one of the org's.
pub(super) fn refusal(lot: &Lot, entry: &Entry) -> Option<Verdict> {
    if !needs_deal(entry) || entry.write.deal.is_none() {
        return None;
    }
    match stage(lot, entry) {
        Stage::Wrong(names) => {
            let words = format!("`deal.stage` is none of the org's stages, which are: {names}");
            Some(Verdict::new(ErrorClass::Mapping, "unknown_stage", words))
        }
        Stage::Known(_) | Stage::Ask { .. } => None,
    }
}
