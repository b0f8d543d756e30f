//! Which kinds of record the portal lets have a unique property of ours (providers reference 1.10, 1.14).
//!
//! Read it; where it is not there, make it, in the group of a property that is there, and read it back: only the answer to a
//! read tells that its values are unique. Whoever may not make properties, or a portal that takes no unique one on tasks or
//! notes, is answered by a refusal, and that kind is looked for instead.

use super::records::Made;
use super::{batch, errors, hosts};
use crate::hostile;
use crate::http::{Answer, Effect, Request};
use crate::json::{self, object, text};
use crate::probe::Probe;
use model::Timestamp;
use model::mechanisms::{Mechanism, RecordKind};
use model::write::WriteOutcome;
use serde_json::Value;

/// The property's name. What it holds: `records::write_key`.
pub const WRITE_KEY: &str = "conduit_write_key";

/// Phases of a kind; `Probe::step` is four times the kind's place, and the phase.
const READ: u8 = 0;
const NEIGHBOUR: u8 = 1;
const CREATE: u8 = 2;
const READ_BACK: u8 = 3;
const PHASES: u8 = 4;

/// The next request, or `None` at the end.
pub(super) fn next(probe: &mut Probe) -> Option<Request> {
    // Contacts are upserted by e-mail in every portal.
    probe.found.set(RecordKind::Contact, Mechanism::Upsert);
    let made = kind_of(probe)?;
    let url = |name: &str| hosts::properties(&[made.path(), name].concat());
    Some(match probe.step % PHASES {
        READ | READ_BACK => Request::get(url("/conduit_write_key")),
        NEIGHBOUR => Request::get(url(&["/", made.neighbour()].concat())),
        _ => {
            let body = object(&mut [
                ("name", text(WRITE_KEY)),
                ("label", text("Conduit write key")),
                ("groupName", text(&probe.note)),
                ("type", text("string")),
                ("fieldType", text("text")),
                ("hasUniqueValue", Value::Bool(true)),
                ("formField", Value::Bool(false)),
                ("description", text("Set by Conduit, so that a repeated write makes no second record.")),
            ]);
            // A property that is there already is not made again.
            json::post(url(""), &body, Effect::Idempotent)
        }
    })
}

fn kind_of(probe: &Probe) -> Option<Made> {
    Made::ALL.get(usize::from(probe.step / PHASES)).copied().filter(|_| !probe.inconclusive)
}

/// Reads the answer of the request of [`next`].
pub(super) fn read(probe: &mut Probe, answer: &Answer) {
    let Some(made) = kind_of(probe) else { return };
    let phase = probe.step % PHASES;
    let next_kind = probe.step - phase + PHASES;
    let status = answer.as_ref().map_or(0, |response| response.status);
    let body = batch::success(answer).map(|(_, body)| body);
    probe.step = match (phase, body) {
        (READ | READ_BACK, Some(body)) => {
            if body.get("hasUniqueValue").and_then(Value::as_bool) == Some(true) {
                probe.found.set(made.record_kind(), Mechanism::UniqueField(WRITE_KEY.to_owned()));
            }
            next_kind
        }
        (NEIGHBOUR, Some(body)) => match hostile::text(&body, "groupName") {
            Some(group) => {
                group.clone_into(&mut probe.note);
                probe.step + 1
            }
            None => next_kind,
        },
        (READ, None) if status == 404 => probe.step + 1,
        // 409: somebody made it meanwhile.
        (CREATE, made) if made.is_some() || status == 409 => probe.step + 1,
        _ => {
            probe.inconclusive = !is_refusal(answer, status);
            next_kind
        }
    };
}

/// A refusal is an answer to the question; what passes by itself, and a token that was refused, is none.
fn is_refusal(answer: &Answer, status: u16) -> bool {
    match errors::classify(answer, Effect::Reads, Timestamp(0)) {
        WriteOutcome::Rejected(_) => true,
        WriteOutcome::Unauthorized(_) => status == 403,
        _ => false,
    }
}
