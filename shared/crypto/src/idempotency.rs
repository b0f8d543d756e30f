//! Idempotency keys and request fingerprints: what makes a repeated request the same write.
//!
//! The key is derived, never drawn: the same outcome of the same source event has the same key wherever and whenever it is
//! computed. Out of scope: storing keys (`store`), and judging that two payloads under one key differ (`flows`).

use crate::{digest, text};
use model::{Crm, WorkspaceId};
use std::fmt;

const DOMAIN: &str = "conduit.idempotency.v1";

/// The identity of one logical write: 43 characters of base64url (SHA-256), the body of its `WriteId`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    text: String,
    digest: [u8; digest::SIZE],
}

impl IdempotencyKey {
    fn new(digest: [u8; digest::SIZE]) -> Self {
        Self { text: text::to_url(&digest), digest }
    }

    /// Reads the 43 characters back, from a row or from `WriteId::parts`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self::new(text::from_url(text)?.try_into().ok()?))
    }

    /// The 43 characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({})", self.text)
    }
}

/// The key of a write: SHA-256 over the version prefix and the length-prefixed parts.
///
/// `object_type` and `object_id` are the host product's object, `action` what is done for it in the CRM,
/// `source_event_id` the event that asked for it.
pub fn key(
    workspace: &WorkspaceId,
    crm: Crm,
    object_type: &str,
    object_id: &str,
    action: &str,
    source_event_id: &str,
) -> IdempotencyKey {
    let parts = [workspace.as_str(), crm.as_str(), object_type, object_id, action, source_event_id];
    IdempotencyKey::new(digest::of_parts(DOMAIN, &parts.map(str::as_bytes)))
}

/// The record a write is about, as 22 characters: writes of one target keep their order. Not a secret, and no use to another
/// workspace: `kind` and `id` are hashed with the workspace.
pub fn target(workspace: &WorkspaceId, kind: &str, id: &str) -> String {
    let parts = [workspace.as_str(), kind, id].map(str::as_bytes);
    text::to_url(&digest::of_parts("conduit.target.v1", &parts)).chars().take(22).collect()
}

/// The key in the shape of a version 4 UUID (RFC 9562 section 5.4), for APIs that accept nothing else. 122 of the key's
/// 256 bits remain: still no two writes alike, but the key cannot be had back.
pub fn as_uuid_v4_shape(key: &IdempotencyKey) -> String {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0b10 << 62;
    const KEPT: u128 = !((0xf << 76) | (0b11 << 62));
    let bits = key.digest.iter().take(16).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let bits = (bits & KEPT) | VERSION | VARIANT;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xffff,
        (bits >> 48) & 0xffff,
        bits & 0xffff_ffff_ffff
    )
}

/// The fingerprint of a request: SHA-256 of its canonical JSON as 43 characters of base64url. The caller makes the bytes
/// canonical by serialising the decoded value, not by passing on what came in.
pub fn fingerprint(canonical: &[u8]) -> String {
    text::to_url(&digest::sha256(canonical))
}

#[cfg(test)]
mod tests {
    use super::{IdempotencyKey, as_uuid_v4_shape, fingerprint, key};
    use model::{Crm, WorkspaceId, WriteId};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn workspace(text: &str) -> WorkspaceId {
        WorkspaceId::parse(text).unwrap()
    }

    fn made() -> IdempotencyKey {
        key(&workspace("ws_acme"), Crm::Hubspot, "thread", "th_1", "create_task", "evt_1")
    }

    #[test]
    fn the_vectors_are_frozen() {
        assert_eq!(made().as_str(), "ja14tn6WEltF9mDxGfqcr8pjLiBP4eUrVEU1ea3O7vw");
        assert_eq!(as_uuid_v4_shape(&made()), "8dad78b6-7e96-425b-85f6-60f119fa9caf");
        assert_eq!(fingerprint(b"{}"), "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o");
    }

    #[test]
    fn every_part_and_every_border_counts() {
        let acme = workspace("ws_acme");
        let keys = [
            made(),
            key(&workspace("ws_acm"), Crm::Hubspot, "thread", "th_1", "create_task", "evt_1"),
            key(&acme, Crm::Salesforce, "thread", "th_1", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "message", "th_1", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "thread", "th_2", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "thread", "th_1", "create_note", "evt_1"),
            key(&acme, Crm::Hubspot, "thread", "th_1", "create_task", "evt_2"),
            key(&acme, Crm::Hubspot, "threadt", "h_1", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "ab|c", "", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "a", "bc", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "ab", "c", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "a|b", "c", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "a", "b|c", "create_task", "evt_1"),
            key(&acme, Crm::Hubspot, "th_1", "thread", "create_task", "evt_1"),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(made(), made());
    }

    #[test]
    fn a_key_is_the_body_of_its_write_id_and_reads_back() {
        let id = WriteId::of(Crm::Hubspot, made().as_str()).unwrap();
        let (_, text) = id.parts().unwrap();
        assert_eq!(IdempotencyKey::parse(text), Some(made()));
        for text in ["", "abc", &"A".repeat(44), &"*".repeat(43), &"_".repeat(43)] {
            assert_eq!(IdempotencyKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_uuid_has_version_and_variant_whatever_the_digest() {
        for byte in [0x00, 0xff, 0x5a] {
            let uuid = as_uuid_v4_shape(&IdempotencyKey::new([byte; 32]));
            assert_eq!(uuid.len(), 36);
            assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert_eq!(uuid.as_bytes()[14], b'4');
            assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
        }
        assert_eq!(as_uuid_v4_shape(&IdempotencyKey::new([0; 32])), "00000000-0000-4000-8000-000000000000");
        assert_eq!(as_uuid_v4_shape(&IdempotencyKey::new([0xff; 32])), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
