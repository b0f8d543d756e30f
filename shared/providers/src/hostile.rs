//! Reading provider JSON, all of which is treated as hostile: every field may be absent, of another type, or huge.

use serde_json::Value;

/// Longest record id taken: Salesforce has 18 characters, HubSpot about 13 digits.
const ID_CHARS_MAX: usize = 32;
/// A text field.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// A list field; absent or of another type is empty.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A record id, sent as text or as a number. Letters and digits only, so that it can stand in a URL as it is.
pub(crate) fn id(value: Option<&Value>) -> Option<String> {
    let id = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64()?.to_string(),
        _ => return None,
    };
    let ok = (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    ok.then_some(id)
}

/// A token that can stand in a header: visible ASCII, not empty. Any length (both CRMs ask not to assume one).
pub(crate) fn token(value: &Value, key: &str) -> Option<String> {
    text(value, key).filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic())).map(str::to_owned)
}

/// A provider's code for people and tables: its first 64 characters, and only those a code has.
pub(crate) fn code(text: &str) -> String {
    let is_code = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.chars().filter(is_code).take(64).collect()
}

/// Granted scopes (RFC 6749 3.3: visible ASCII), at most 200 of 128 characters.
pub(crate) fn scopes<'a>(scopes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let ok = |scope: &&str| (1..=128).contains(&scope.len()) && scope.bytes().all(|b| b.is_ascii_graphic());
    scopes.filter(ok).take(200).map(str::to_owned).collect()
}

/// What is kept of a result as a write's `response_json`: ids, whether it is new, its state and times. Never its fields, which
/// are the person's data and stay in the CRM.
pub(crate) fn kept(result: &Value) -> Value {
    const KEPT: [&str; 11] = [
        "id",
        "Id",
        "new",
        "created",
        "success",
        "archived",
        "createdAt",
        "updatedAt",
        "CreatedDate",
        "LastModifiedDate",
        "objectWriteTraceId",
    ];
    let short = |value: &Value| match value {
        Value::String(text) => text.len() <= 64 && !text.contains('@'),
        Value::Bool(_) | Value::Number(_) => true,
        _ => false,
    };
    let mut kept = serde_json::Map::new();
    for key in KEPT {
        if let Some(value) = result.get(key).filter(|value| short(value)) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::{code, id, kept, token};
    use serde_json::json;

    #[test]
    fn only_plain_ids_pass() {
        for (value, expected) in [
            (json!("1500000000001"), Some("1500000000001")),
            (json!(29_013_756_946_u64), Some("29013756946")),
            (json!("00QXX0000000001AAA"), Some("00QXX0000000001AAA")),
            (json!(""), None),
            (json!("1/../2"), None),
            (json!("1?x"), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(null), None),
            (json!(["1"]), None),
            (json!("1".repeat(33)), None),
        ] {
            assert_eq!(id(Some(&value)).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_token_cannot_break_a_header() {
        assert!(token(&json!({"t": "a".repeat(10_000)}), "t").is_some());
        for bad in ["", "a b", "a\r\nX: 1", "tökén"] {
            assert_eq!(token(&json!({"t": bad}), "t"), None, "{bad:?}");
        }
    }

    #[test]
    fn codes_are_cut() {
        assert_eq!(code("BAD_AUTH <script>"), "BAD_AUTHscript");
        assert_eq!(code(&"A".repeat(100)).len(), 64);
    }

    #[test]
    fn nothing_of_a_person_is_kept_of_a_result() {
        let result = json!({"id": "7", "new": true, "createdAt": "2026-11-20T09:00:00Z", "Email": "ada@example.com",
            "properties": {"email": "ada@example.com", "hs_task_body": "Ada asked"}, "updatedAt": "ada@example.com",
            "objectWriteTraceId": "y".repeat(40_000)});
        assert_eq!(kept(&result), json!({"id": "7", "new": true, "createdAt": "2026-11-20T09:00:00Z"}));
        assert_eq!(kept(&json!(null)), json!({}));
    }
}
