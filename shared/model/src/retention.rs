//! How long what is kept: a workspace's policy, its defaults and limits, how what a person sends becomes one, and what is due
//! under it.
//!
//! In scope: pure decisions. Out of scope: finding and removing what is due (`flows::purge_retention`).

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const DAY_MS: i64 = 86_400_000;

/// The longest a policy can name, in days: ten years. Longer is for ever, which is `null`.
pub const DAYS_MAX: u32 = 3_650;

/// Days after which something is removed, counted from when it came; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Subjects and bodies of messages.
    pub message_days: Option<u32>,
    /// Attachments: their bytes, then the reference. Never later than the message's body.
    pub attachment_days: Option<u32>,
    /// Payloads and answers of writes that are over, and the tale of their attempts.
    pub write_days: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { message_days: Some(365), attachment_days: Some(90), write_days: Some(180) }
    }
}

/// A field of a policy: its name, the fewest days it takes, and where it stands.
struct Field {
    name: &'static str,
    days_min: u32,
    of: fn(&mut Policy) -> &mut Option<u32>,
}

/// A payload stays a week at least: until then a dead letter can be replayed, and support can be asked.
const FIELDS: [Field; 3] = [
    Field { name: "message_days", days_min: 1, of: |policy| &mut policy.message_days },
    Field { name: "attachment_days", days_min: 1, of: |policy| &mut policy.attachment_days },
    Field { name: "write_days", days_min: 7, of: |policy| &mut policy.write_days },
];

/// Why a policy is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an object.
    #[error("a policy is a JSON object such as `{{\"message_days\": 365}}`")]
    Shape,
    /// A field that a policy does not have: a typing mistake must not become a default.
    #[error("a policy has `message_days`, `attachment_days` and `write_days`, and no other field")]
    UnknownField,
    /// Neither a whole number nor null.
    #[error("`{0}` must be a whole number of days, or null for ever")]
    NotDays(&'static str),
    /// Too few or too many.
    #[error("`{field}` must be {min} to {DAYS_MAX} days, or null for ever")]
    OutOfRange {
        /// Which.
        field: &'static str,
        /// The fewest.
        min: u32,
    },
}

impl Policy {
    /// Reads a whole policy. A field that is absent has its default, `null` is never, `"30"` is 30. Attachments go no later
    /// than their messages: a later day is drawn in.
    pub fn from_json(value: &Value) -> Result<Self, Refusal> {
        let given = value.as_object().ok_or(Refusal::Shape)?;
        if given.keys().any(|name| FIELDS.iter().all(|field| field.name != name)) {
            return Err(Refusal::UnknownField);
        }
        let mut policy = Self::default();
        for field in &FIELDS {
            if let Some(value) = given.get(field.name) {
                *(field.of)(&mut policy) = days(value, field)?;
            }
        }
        if let Some(message_days) = policy.message_days {
            policy.attachment_days = Some(policy.attachment_days.map_or(message_days, |days| days.min(message_days)));
        }
        Ok(policy)
    }

    /// What has reached its end at `now`.
    pub fn cutoffs(&self, now: Timestamp) -> Cutoffs {
        let today = now.0.div_euclid(DAY_MS);
        let before = |days: Option<u32>| {
            days.map_or(Timestamp(0), |days| Timestamp((today - i64::from(days)).saturating_mul(DAY_MS)))
        };
        Cutoffs {
            messages: before(self.message_days),
            attachments: before(self.attachment_days),
            writes: before(self.write_days),
        }
    }
}

/// What came before these is due. They move at midnight UTC, so that every run of a day has the same work, and a run that is
/// repeated finds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Of messages, by when they were received.
    pub messages: Timestamp,
    /// Of attachments, by when they were received.
    pub attachments: Timestamp,
    /// Of writes, by when they were planned.
    pub writes: Timestamp,
}

fn days(value: &Value, field: &Field) -> Result<Option<u32>, Refusal> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.ok_or(Refusal::NotDays(field.name))?;
    let days = u32::try_from(number).ok().filter(|days| (field.days_min..=DAYS_MAX).contains(days));
    days.map(Some).ok_or(Refusal::OutOfRange { field: field.name, min: field.days_min })
}

/// What stands in the place of a payload that is gone.
pub const REDACTED_PAYLOAD: &str = "{\"redacted\":true}";

#[cfg(test)]
mod tests {
    use super::{Cutoffs, Policy, Refusal};
    use crate::Timestamp;
    use serde_json::json;

    const fn policy(message_days: Option<u32>, attachment_days: Option<u32>, write_days: Option<u32>) -> Policy {
        Policy { message_days, attachment_days, write_days }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_said_is_normalised() {
        for (given, expected) in [
            (json!({}), policy(Some(365), Some(90), Some(180))),
            (json!({"message_days": 30}), policy(Some(30), Some(30), Some(180))),
            (json!({"message_days": 30, "attachment_days": 7}), policy(Some(30), Some(7), Some(180))),
            (json!({"message_days": 30, "attachment_days": 60}), policy(Some(30), Some(30), Some(180))),
            (json!({"message_days": 30, "attachment_days": null}), policy(Some(30), Some(30), Some(180))),
            (json!({"message_days": null, "attachment_days": null, "write_days": null}), policy(None, None, None)),
            (json!({"message_days": null}), policy(None, Some(90), Some(180))),
            (json!({"message_days": " 400 ", "write_days": "7"}), policy(Some(400), Some(90), Some(7))),
            (json!({"message_days": 3650, "attachment_days": 1}), policy(Some(3650), Some(1), Some(180))),
        ] {
            assert_eq!(Policy::from_json(&given), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_is_not_a_policy_is_refused_by_name() {
        for (given, expected) in [
            (json!([]), Refusal::Shape),
            (json!("30"), Refusal::Shape),
            (json!({"messages_days": 30}), Refusal::UnknownField),
            (json!({"message_days": 30, "Write_days": 30}), Refusal::UnknownField),
            (json!({"message_days": 1.5}), Refusal::NotDays("message_days")),
            (json!({"message_days": true}), Refusal::NotDays("message_days")),
            (json!({"message_days": "soon"}), Refusal::NotDays("message_days")),
            (json!({"message_days": ""}), Refusal::NotDays("message_days")),
            (json!({"attachment_days": [30]}), Refusal::NotDays("attachment_days")),
            (json!({"message_days": 0}), Refusal::OutOfRange { field: "message_days", min: 1 }),
            (json!({"message_days": -1}), Refusal::OutOfRange { field: "message_days", min: 1 }),
            (json!({"message_days": 3651}), Refusal::OutOfRange { field: "message_days", min: 1 }),
            (json!({"write_days": 6}), Refusal::OutOfRange { field: "write_days", min: 7 }),
            (json!({"write_days": "99999999999"}), Refusal::OutOfRange { field: "write_days", min: 7 }),
        ] {
            assert_eq!(Policy::from_json(&given), Err(expected), "{given}");
        }
    }

    #[test]
    fn what_is_due_moves_at_midnight_and_what_is_kept_for_ever_is_never_due() {
        let midnight = |day: &str| Timestamp::parse(day).unwrap();
        for (now, days, before) in [
            ("2026-11-20T00:00:00Z", Some(1), "2026-11-19"),
            ("2026-11-20T23:59:59.999Z", Some(1), "2026-11-19"),
            ("2026-11-21T00:00:00Z", Some(1), "2026-11-20"),
            ("2026-11-20T09:00:00Z", Some(365), "2025-11-20"),
        ] {
            let cutoffs = policy(days, days, days).cutoffs(Timestamp::parse(now).unwrap());
            let before = midnight(before);
            assert_eq!(cutoffs, Cutoffs { messages: before, attachments: before, writes: before }, "{now}");
        }
        let never = policy(None, None, None).cutoffs(Timestamp::parse("2026-11-20").unwrap());
        assert_eq!(never.messages, Timestamp(0), "nothing came before 1970");
        assert_eq!((never.attachments, never.writes), (never.messages, never.messages));
    }
}
