//! What a lot needs next at HubSpot: the pipelines where there are deals, contacts, then tasks, notes and deals, after the
//! types of the associations that are made with them, then the associations of those that were made without; where an
//! earlier try is in doubt, first a look.

use super::records::Made;
use super::tie::{self, Partner};
use super::{batch, deals, labels, look, search};
use crate::failure::Verdict;
use crate::http::{Answer, Effect, Request};
use crate::lot::{Call, Entry, Look, Lot};
use model::Timestamp;
use model::write::{ErrorClass, WriteOutcome};

/// A call's kind: its step, and above it which record or list it is about.
const CONTACTS: u8 = 1;
const PIPELINES: u8 = 2;
const MAKE: u8 = 3;
const PATCH: u8 = 4;
const TIE_CONTACT: u8 = 5;
const TIE_DEAL: u8 = 6;
const LIST: u8 = 7;
const COMPARE: u8 = 8;
const SEARCH: u8 = 9;
const LABELS: u8 = 10;
const STEP_BITS: u8 = 4;

const fn kind(step: u8, made: Made) -> u8 {
    step | (made as u8) << STEP_BITS
}

const fn tie_step(partner: Partner) -> u8 {
    match partner {
        Partner::Contact => TIE_CONTACT,
        Partner::Deal => TIE_DEAL,
    }
}

/// The next request, or `None` when every entry has an outcome.
///
/// What can be made is made before others are looked for: a flow that stops after some calls has come further.
pub(super) fn next_call(lot: &mut Lot) -> Option<Call> {
    settle(lot);
    if let Some(call) = deals::next_call(lot, PIPELINES) {
        return Some(call);
    }
    let contacts = lot.next_group(|entry| entry.write.contact.is_some() && !entry.has("contact"));
    if !contacts.is_empty() {
        return Some(call(batch::contacts_request(lot, &contacts), contacts, CONTACTS));
    }
    for made in Made::ALL {
        let ready =
            lot.next_group(|entry| is_ready(entry, made) && !is_known_deal(entry) && !lot.waits_for_deal(entry));
        if !ready.is_empty() {
            if let Some(call) = labels_call(lot, &ready, made) {
                return Some(call);
            }
            let request = batch::make_request(lot, &ready, made)?;
            return Some(call(request, ready, kind(MAKE, made)));
        }
    }
    let known = lot.next_group(|entry| is_ready(entry, Made::Deal) && !lot.waits_for_deal(entry));
    if !known.is_empty() {
        return Some(call(batch::patch_request(lot, &known), known, kind(PATCH, Made::Deal)));
    }
    for made in Made::ALL {
        for partner in Partner::ALL {
            let open = lot.next_group(|entry| tie::is_open(entry, made, partner));
            if !open.is_empty() {
                let request = tie::request(lot, &open, made, partner);
                return Some(call(request, open, kind(tie_step(partner), made)));
            }
        }
    }
    Made::ALL.into_iter().find_map(|made| look_call(lot, made))
}

/// The types of associations are asked for where records are made with them in one call.
fn labels_call(lot: &Lot, ready: &[usize], made: Made) -> Option<Call> {
    let is_made_without = batch::unique_field(lot, made).is_some();
    if is_made_without { None } else { labels::next_call(lot, ready, made, |place| LABELS | place << STEP_BITS) }
}

fn look_call(lot: &Lot, made: Made) -> Option<Call> {
    let listing = lot.next_group(|entry| look::is_listing(entry, made));
    if !listing.is_empty() {
        return Some(call(look::list_request(lot, &listing, made), listing, kind(LIST, made)));
    }
    let comparing = lot.next_group(|entry| look::is_comparing(entry, made));
    if !comparing.is_empty() {
        let (request, entries) = look::compare_request(lot, &comparing, made);
        return Some(call(request, entries, kind(COMPARE, made)));
    }
    let searching = lot.next_group(|entry| look::is_searching(entry, made));
    if searching.is_empty() {
        return None;
    }
    let (request, entries) = search::request(lot, &searching, made);
    Some(Call { is_search: true, ..call(request, entries, kind(SEARCH, made)) })
}

/// Its record can be made: nothing of it is in doubt.
fn is_ready(entry: &Entry, made: Made) -> bool {
    Made::of(entry.write.action) == Some(made) && !entry.has(made.key()) && !entry.is_unproven()
}

/// A deal of which it is known what it is in HubSpot is changed, not made.
const fn is_known_deal(entry: &Entry) -> bool {
    entry.write.deal.is_some() && entry.deal_external_id.is_some()
}

/// One call for all contacts, one for all records of a kind and one for each kind of their associations; where an earlier
/// try is in doubt two more, and a search.
pub(super) fn expected_calls(lot: &Lot) -> u32 {
    let open = || lot.entries.iter().filter(|entry| entry.outcome.is_none());
    let any = |is: &dyn Fn(&Entry) -> bool| u32::from(open().any(is));
    let mut calls = any(&|entry| entry.write.contact.is_some() && !entry.has("contact"));
    calls += any(&|entry| entry.write.deal.is_some());
    for made in Made::ALL {
        let is_of = |entry: &Entry| Made::of(entry.write.action) == Some(made);
        let is_tied_later = batch::unique_field(lot, made).is_some();
        let is_tied = |entry: &Entry| is_of(entry) && (is_tied_later || entry.has(made.key()) || entry.in_doubt);
        calls += any(&|entry| is_of(entry) && !entry.has(made.key()));
        calls += any(&|entry| is_tied(entry) && entry.write.contact.is_some());
        calls += any(&|entry| is_tied(entry) && made != Made::Deal && entry.deal_external_id.is_some());
        calls += 3 * any(&|entry| is_of(entry) && entry.is_unproven());
    }
    calls
}

/// Reads the answer of a call made by [`next_call`].
pub(super) fn read_call(lot: &mut Lot, call: &Call, answer: &Answer, now: Timestamp) {
    let made = made_of(call);
    match step_of(call) {
        CONTACTS => batch::read_contacts(lot, call, answer, now),
        PIPELINES => deals::read(lot, call, answer, now),
        LABELS => labels::read(lot, call.kind >> STEP_BITS, answer),
        TIE_CONTACT => tie::read(lot, call, (made, Partner::Contact), answer, now),
        TIE_DEAL => tie::read(lot, call, (made, Partner::Deal), answer, now),
        LIST => look::read_list(lot, call, answer, now),
        COMPARE => look::read_compare(lot, call, made, answer, now),
        SEARCH => search::read(lot, call, made, answer, now),
        PATCH => batch::read_made(lot, call, made, Effect::Idempotent, answer, now),
        _ => batch::read_made(lot, call, made, Effect::Creates, answer, now),
    }
    settle(lot);
}

const fn step_of(call: &Call) -> u8 {
    call.kind & ((1 << STEP_BITS) - 1)
}

const fn made_of(call: &Call) -> Made {
    match call.kind >> STEP_BITS {
        0 => Made::Task,
        1 => Made::Note,
        _ => Made::Deal,
    }
}

/// The requests as they would be sent if the CRM knew none of it and accepted all of it.
pub(super) fn dry_run(mut lot: Lot) -> Vec<Request> {
    let mut requests = Vec::new();
    labels::assume(&mut lot);
    while let Some(call) = next_call(&mut lot) {
        let step = step_of(&call);
        if step == PIPELINES {
            lot.learnt.pipelines = deals::assumed();
        }
        let is_tied = matches!(call.request.effect, Effect::Creates);
        lot.each(&call.entries, |entry| {
            let mut learn = |key: &str| {
                entry.external_ids.insert(key.to_owned(), format!("@{{{key}}}"));
            };
            match step {
                CONTACTS => learn("contact"),
                MAKE | PATCH => {
                    learn(made_of(&call).key());
                    if is_tied {
                        entry.stage.ties = tie::ALL_TIED;
                    }
                }
                TIE_CONTACT => tie::mark(entry, Partner::Contact),
                TIE_DEAL => tie::mark(entry, Partner::Deal),
                PIPELINES => {}
                _ => entry.stage.look = Look::Over,
            }
        });
        requests.push(call.request);
    }
    requests
}

fn call(request: Request, entries: Vec<usize>, kind: u8) -> Call {
    Call { request, entries, kind, is_search: false, cached: None }
}

/// Gives an outcome to what has nothing left to do, and looks for nothing that cannot be in doubt.
fn settle(lot: &mut Lot) {
    lot.keep_deals_in_order();
    let is_keyed = Made::ALL.map(|made| batch::unique_field(lot, made).is_some());
    for entry in lot.entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
        let made = Made::of(entry.write.action);
        let is_applied = match made {
            None => entry.has("contact"),
            Some(made) => entry.has(made.key()) && tie::is_done(entry, made),
        };
        let part_is_there = match made {
            None => entry.write.contact.is_some(),
            Some(Made::Task) => entry.write.task.is_some(),
            Some(Made::Note) => entry.write.rollup.is_some(),
            Some(Made::Deal) => entry.write.deal.is_some(),
        };
        if is_applied {
            entry.outcome = Some(WriteOutcome::Applied);
        } else if !part_is_there {
            let verdict =
                Verdict::new(ErrorClass::Mapping, "invalid_write", "the write lacks the part its action needs");
            entry.outcome = Some(verdict.outcome(None, None, entry.accepted_at));
        }
        let can_repeat = made.is_none_or(|made| is_keyed.get(made as usize) == Some(&true) && !entry.doubt_is_older);
        if can_repeat || is_known_deal(entry) || made.is_some_and(|made| entry.has(made.key())) {
            // An upsert or a change may be repeated, and what is there need not be looked for.
            entry.stage.look = Look::Over;
        } else {
            look::begin(entry);
        }
    }
}
