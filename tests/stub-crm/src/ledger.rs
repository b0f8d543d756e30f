//! The ledger: how many calls of which kind arrived, and what they brought about.
//!
//! Not a log: calls are counted by pattern, and effects are read from the records themselves, each of which is one
//! creation (a deleted record stays as a deleted one).

use crate::http::Call;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// By `hubspot POST /crm/objects/2026-03/contacts/{id}`.
    pub calls: BTreeMap<String, u64>,
    /// By `hubspot 201`.
    pub statuses: BTreeMap<String, u64>,
}

/// One record that came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// `hubspot` or `salesforce`.
    pub provider: &'static str,
    /// Hub id or organisation id.
    pub account: String,
    /// `contacts`, `Task`.
    pub object: String,
    /// The record's id.
    pub id: String,
    /// What a person would call it.
    pub label: String,
    /// The end of its long text, where callers leave marks.
    pub text_end: String,
    /// The fields by which a caller can find its own writes again.
    pub keys: BTreeMap<String, String>,
    /// How often it was written, the creation included.
    pub writes: u32,
    /// Deleted since.
    pub archived: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
}

impl Ledger {
    /// Counts a call that arrived.
    pub fn count(&mut self, provider: &str, call: &Call<'_>, status: u16) {
        *self.calls.entry(format!("{provider} {} {}", call.method(), pattern(call))).or_default() += 1;
        *self.statuses.entry(format!("{provider} {status}")).or_default() += 1;
    }
}

/// The last 200 characters.
pub fn end_of(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(200);
    text.chars().skip(skipped).collect()
}

fn pattern(call: &Call<'_>) -> String {
    let mut out = String::new();
    let mut key_follows = false;
    for part in &call.segments {
        out.push('/');
        out.push_str(if key_follows {
            "{key}"
        } else if is_id(part) {
            "{id}"
        } else {
            part
        });
        key_follows = part.ends_with("__c");
    }
    out
}

fn is_id(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let numeric = !part.is_empty() && digits == part.len();
    let salesforce = plain && matches!(part.len(), 15 | 18) && digits >= 4;
    numeric || salesforce || part.contains('@') || part.contains("://") || (part.contains('-') && part.len() > 24)
}

#[cfg(test)]
mod tests {
    use super::pattern;
    use crate::http::{Call, Request};

    #[test]
    fn calls_are_counted_by_pattern() {
        for (url, expected) in [
            ("https://a/crm/objects/2026-03/contacts/123", "/crm/objects/2026-03/contacts/{id}"),
            ("https://a/crm/v3/objects/contacts/a%40b.example", "/crm/v3/objects/contacts/{id}"),
            (
                "https://a/crm/v4/objects/tasks/1/associations/default/contacts/2",
                "/crm/v4/objects/tasks/{id}/associations/default/contacts/{id}",
            ),
            (
                "https://a/services/data/v67.0/sobjects/Task/Conduit_Key__c/abc",
                "/services/data/v67.0/sobjects/Task/Conduit_Key__c/{key}",
            ),
            (
                "https://a/services/data/v67.0/sobjects/Task/00TXX0000000001AAA",
                "/services/data/v67.0/sobjects/Task/{id}",
            ),
        ] {
            let request = Request { url: url.into(), ..Request::default() };
            assert_eq!(pattern(&Call::new(&request, 0)), expected);
        }
    }
}
