//! The chain that joins a workspace's audit events, and the seal on its end.
//!
//! Every event has a number and a hash over the hash before it, the number and every field. So an event that is changed,
//! removed, moved or slipped in breaks the chain at its place. Who can write to the database could compute the whole chain
//! anew: the end of it carries a MAC under a key that the database does not hold. Out of scope: reading events, and finding
//! the broken link (`flows::verify_audit`).

use crate::keyring::Keyring;
use crate::{digest, mac, text};

/// Of every event's hash.
const LINK_DOMAIN: &str = "conduit.audit.v1";
/// Of the MAC.
const HEAD_DOMAIN: &str = "conduit.audit-head.v1";

/// What stands in for the hash before the first event.
pub const BEFORE_THE_FIRST: &str = "";

/// Every field of an event, as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Whose.
    pub workspace_id: &'a str,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Its id.
    pub id: &'a str,
    /// Who.
    pub actor: &'a str,
    /// What.
    pub event: &'a str,
    /// To what.
    pub subject: &'a str,
    /// JSON, as text.
    pub detail_json: &'a str,
    /// In which request.
    pub request_id: &'a str,
}

/// The hash of the event with this number: 43 characters of base64url (SHA-256), over the length-prefixed domain, the hash
/// before it, the number (8 bytes, big endian), and the fields.
pub fn link(before: &str, seq: u64, fields: &Fields<'_>) -> String {
    let parts = [
        before.as_bytes(),
        &seq.to_be_bytes(),
        fields.workspace_id.as_bytes(),
        &fields.at.to_be_bytes(),
        fields.id.as_bytes(),
        fields.actor.as_bytes(),
        fields.event.as_bytes(),
        fields.subject.as_bytes(),
        fields.detail_json.as_bytes(),
        fields.request_id.as_bytes(),
    ];
    text::to_url(&digest::of_parts(LINK_DOMAIN, &parts))
}

/// The end of a workspace's chain.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Whose.
    pub workspace_id: &'a str,
    /// The last event's number.
    pub seq: u64,
    /// The last event's hash.
    pub hash: &'a str,
}

/// Why a head is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It was sealed under a key that is not configured.
    #[error("the end of the chain is sealed under a key that is not configured")]
    UnknownKey,
    /// The MAC is not that of number and hash.
    #[error("the end of the chain was not written by the sealer")]
    Forged,
}

/// The MAC of a head under the current key: `v1.<key id>.<tag>`.
pub fn seal(keys: &Keyring, head: &Head<'_>) -> String {
    let key = keys.current();
    format!("v1.{}.{}", key.id(), text::to_url(&tag(key.bytes(), head)))
}

/// Whether a MAC is that of the head, under whichever of the keys it names.
pub fn check(keys: &Keyring, head: &Head<'_>, sealed: &str) -> Result<(), HeadError> {
    let (id, given) = sealed.strip_prefix("v1.").and_then(|rest| rest.split_once('.')).ok_or(HeadError::Forged)?;
    let key = keys.find(id).ok_or(HeadError::UnknownKey)?;
    let given = text::from_url(given).ok_or(HeadError::Forged)?;
    if mac::same_bytes(&tag(key.bytes(), head), &given) { Ok(()) } else { Err(HeadError::Forged) }
}

fn tag(key: &[u8], head: &Head<'_>) -> [u8; digest::SIZE] {
    let parts = [head.workspace_id.as_bytes(), &head.seq.to_be_bytes(), head.hash.as_bytes()];
    mac::hmac_sha256(key, &digest::frame(HEAD_DOMAIN, &parts))
}

#[cfg(test)]
mod tests {
    use super::{BEFORE_THE_FIRST, Fields, Head, HeadError, check, link, seal};
    use crate::Keyring;
    use model::Secret;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const EVENT: Fields<'_> = Fields {
        workspace_id: "ws_acme",
        at: 1_795_165_200_123,
        id: "ev_1",
        actor: "us_ada",
        event: "connection_connected",
        subject: "cx_1",
        detail_json: "{\"crm\":\"hubspot\"}",
        request_id: "req_1",
    };

    fn ring(current: &str, previous: Option<&str>) -> Keyring {
        let key = |letter: &str| Secret::new(format!("{}=", letter.repeat(43)));
        Keyring::from_base64(&key(current), previous.map(key).as_ref()).ok().unwrap()
    }

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(link(BEFORE_THE_FIRST, 1, &EVENT), "lalUqN4WLcm2s3CgwWHGFEaGRRq46YnVZ80cD0n3Z0s");
    }

    #[test]
    fn every_field_the_number_the_one_before_and_every_border_count() {
        let changed = [
            link(BEFORE_THE_FIRST, 1, &EVENT),
            link("x", 1, &EVENT),
            link(BEFORE_THE_FIRST, 2, &EVENT),
            link(BEFORE_THE_FIRST, 1, &Fields { workspace_id: "ws_acm", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { at: EVENT.at + 1, ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { id: "ev_2", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { actor: "us_eve", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { event: "connection_disconnected", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { subject: "cx_2", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { detail_json: "{}", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { request_id: "req_2", ..EVENT }),
            link(BEFORE_THE_FIRST, 1, &Fields { actor: "us_adac", event: "onnection_connected", ..EVENT }),
        ];
        let distinct: std::collections::BTreeSet<_> = changed.iter().collect();
        assert_eq!(distinct.len(), changed.len());
    }

    #[test]
    fn a_head_is_believed_under_its_own_key_only() {
        let head = Head { workspace_id: "ws_acme", seq: 7, hash: "hash" };
        let sealed = seal(&ring("E", None), &head);
        assert_eq!(check(&ring("E", None), &head, &sealed), Ok(()));
        assert_eq!(check(&ring("I", Some("E")), &head, &sealed), Ok(()), "a previous key still proves");
        assert_eq!(check(&ring("I", None), &head, &sealed), Err(HeadError::UnknownKey));
        for forged in
            [Head { workspace_id: "ws_other", ..head }, Head { seq: 6, ..head }, Head { hash: "hasi", ..head }]
        {
            assert_eq!(check(&ring("E", None), &forged, &sealed), Err(HeadError::Forged));
        }
        let other = seal(&ring("I", None), &head);
        let (own, swapped) = (sealed.rsplit_once('.').unwrap(), other.rsplit_once('.').unwrap());
        for text in [String::new(), "v1".to_owned(), "v2.x.y".to_owned(), format!("{}.{}", own.0, swapped.1)] {
            assert_eq!(check(&ring("E", None), &head, &text), Err(HeadError::Forged), "{text}");
        }
    }
}
