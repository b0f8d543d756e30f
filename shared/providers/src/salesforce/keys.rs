//! Our External Id field: where the org has it, the values it takes, and what an answer says of it.
//!
//! A task and an opportunity have the id of the write that made them. A lead has the address of its person, so that no two
//! writes, whenever they run, can make two leads for one person: the org refuses the second (providers reference 2.12).

use crate::lot::{Entry, Lot};
use model::mechanisms::{Mechanism, RecordKind};

/// The field's name as an administrator makes it; one from a package has a prefix.
pub(super) const KEY_FIELD: &str = "Conduit_Key__c";
/// The field holds as many characters.
const KEY_CHARS_MAX: usize = 255;

/// The field by which records of this kind are upserted.
pub(super) fn field(lot: &Lot, kind: RecordKind) -> Option<&str> {
    match lot.connection.mechanism(kind) {
        Mechanism::UniqueField(field) => Some(field),
        _ => None,
    }
}

/// Whether people may be looked for and made in the same call as what is written for them.
pub(super) fn is_one_call(lot: &Lot) -> bool {
    *lot.connection.mechanism(RecordKind::Contact) == Mechanism::Upsert
}

/// From now on, in this try, people are asked for in a call of their own.
pub(super) fn use_two_calls(lot: &mut Lot) {
    if let Some(mechanisms) = &mut lot.connection.mechanisms {
        mechanisms.set(RecordKind::Contact, Mechanism::LookThenCreate);
    }
}

/// A write's own key.
pub(super) fn of_write(entry: &Entry) -> &str {
    entry.id.as_str()
}

/// A person's key: the org's id before the address, which is how one composite can make a lead only when nobody was found.
/// An address too long for that stands alone.
pub(super) fn of_person(lot: &Lot, email: &str) -> String {
    let key = format!("{}{}", prefix(&lot.connection.external_account_id), email);
    if key.len() <= KEY_CHARS_MAX { key } else { email.to_owned() }
}

/// Whether the person's key has the org's id before it.
pub(super) fn has_prefix(lot: &Lot, email: &str) -> bool {
    of_person(lot, email).len() > email.len()
}

fn prefix(org: &str) -> String {
    format!("{org}-")
}
