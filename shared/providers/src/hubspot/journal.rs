//! HubSpot's webhooks journal (providers reference 1.13): how an app learns that it was installed or removed. It is pulled.
//!
//! An app token (client credentials) reads it. An entry is a pointer to a file, which is fetched without the token from where
//! HubSpot keeps it. What the documentation leaves open is read both ways: the file's events may name what happened by
//! `action` or by `eventTypeId`, times may be text or numbers, and 404 after an offset may mean that nothing is newer or that
//! the offset is too old (`latest` tells).

use super::{hosts, oauth};
use crate::http::{Answer, Body, Effect, Method, Request};
use crate::oauth::{AppCredentials, TokenRefusal};
use crate::{encode, hostile};
use model::{Secret, Timestamp};
use serde_json::{Value, json};

/// What the journal's calls need.
const SCOPES: &str = "developer.webhooks_journal.read developer.webhooks_journal.subscriptions.read \
                      developer.webhooks_journal.subscriptions.write";

/// An offset is a UUID; anything up to this length of the characters of one is taken.
const OFFSET_CHARS_MAX: usize = 128;

/// What happened to the app in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// It was installed.
    Installed,
    /// It was removed.
    Uninstalled,
}

impl Lifecycle {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Uninstalled, Self::Installed];

    /// The event's type in subscriptions.
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Installed => "4-1909196",
            Self::Uninstalled => "4-1916193",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Installed => "APP_INSTALL",
            Self::Uninstalled => "APP_UNINSTALL",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The hub id.
    pub portal: String,
    /// What happened.
    pub what: Lifecycle,
    /// When, where it is told.
    pub at: Option<Timestamp>,
}

/// An entry: where its file is, and how it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For the next question.
    pub offset: String,
    /// The file's address holds a signature: it is not for logs.
    pub url: Secret<String>,
}

/// What comes after an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Entry(Entry),
    /// Nothing yet.
    Nothing,
    /// 404: nothing yet, or the offset is too old.
    NotFound,
    /// No answer, or not one that can be used.
    Unreadable,
}

/// The app's own token.
pub fn app_token_request(app: &AppCredentials) -> Request {
    let form = encode::form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &app.client_id),
        ("client_secret", app.client_secret.expose()),
        ("scope", SCOPES),
    ]);
    Request::new(Method::Post, hosts::oauth("token"), form, Effect::Idempotent)
}

/// Reads it. There is no refresh token and no account.
pub fn read_app_token(answer: &Answer) -> Result<Secret<String>, TokenRefusal> {
    oauth::read_token(answer).map(|token| token.access_token)
}

/// The subscriptions there are.
pub fn subscriptions_request() -> Request {
    Request::get(hosts::journal("subscriptions", ""))
}

/// The events of the app's life that are subscribed to. `None`: the answer does not tell.
pub fn read_subscriptions(answer: &Answer) -> Option<Vec<Lifecycle>> {
    let body = answer.as_ref().ok().filter(|response| response.is_success())?.json()?;
    let results = body.get("results")?.as_array()?;
    let has = |wanted: &Lifecycle| {
        results.iter().any(|subscription| {
            let gone = subscription.get("deletedAt").is_some_and(|at| !at.is_null());
            !gone && hostile::text(subscription, "eventTypeId") == Some(wanted.event_type())
        })
    };
    Some(Lifecycle::ALL.into_iter().filter(has).collect())
}

/// Subscribes.
pub fn subscribe_request(to: Lifecycle) -> Request {
    let body = json!({"subscriptionType": "APP_LIFECYCLE_EVENT", "eventTypeId": to.event_type(), "properties": []});
    Request::new(
        Method::Post,
        hosts::journal("subscriptions", ""),
        Body::Json(model::json::text(&body)),
        Effect::Idempotent,
    )
}

/// Whether the subscription is in place: made, or there before (409).
pub fn is_subscribed(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(|response| response.is_success() || response.status == 409)
}

/// The entry after an offset; the earliest one without. Entries are kept for about three days.
pub fn next_request(after: Option<&str>) -> Request {
    Request::get(match after {
        Some(offset) => hosts::journal("journal", &format!("/offset/{}/next", encode::component(offset))),
        None => hosts::journal("journal", "/earliest"),
    })
}

/// The newest entry.
pub fn latest_request() -> Request {
    Request::get(hosts::journal("journal", "/latest"))
}

/// Reads one of the three.
pub fn read_next(answer: &Answer) -> Next {
    let Ok(response) = answer else { return Next::Unreadable };
    match response.status {
        404 => return Next::NotFound,
        200..=299 if response.body.expose().is_empty() => return Next::Nothing,
        200..=299 => {}
        _ => return Next::Unreadable,
    }
    let body = response.json().unwrap_or_default();
    let offset = body.get("currentOffset").and_then(offset);
    let url = hostile::text(&body, "url").and_then(hosts::journal_file);
    match (offset, url) {
        (Some(offset), Some(url)) => Next::Entry(Entry { offset, url: Secret::new(url.to_owned()) }),
        _ => Next::Unreadable,
    }
}

fn offset(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64()?.to_string(),
        _ => return None,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ((1..=OFFSET_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

/// The file of an entry: without a token, which is nobody's there.
pub fn file_request(entry: &Entry) -> Request {
    Request::get(entry.url.expose().clone())
}

/// The events of the app's life in a file; others are left out. `None`: it cannot be read.
pub fn read_file(answer: &Answer) -> Option<Vec<Event>> {
    let body = answer.as_ref().ok().filter(|response| response.is_success())?.json()?;
    let published_at = body.get("publishedAt").and_then(time);
    let events = body.get("journalEvents").unwrap_or(&body).as_array()?;
    Some(events.iter().filter_map(|event| read_event(event, published_at)).collect())
}

fn read_event(event: &Value, published_at: Option<Timestamp>) -> Option<Event> {
    let is = |name: &str, word: &str| hostile::text(event, name).is_some_and(|text| text.eq_ignore_ascii_case(word));
    let what =
        Lifecycle::ALL.into_iter().find(|what| is("eventTypeId", what.event_type()) || is("action", what.action()))?;
    let at = event.get("occurredAt").and_then(time).or(published_at);
    Some(Event { portal: hostile::id(event.get("portalId"))?, what, at })
}

/// ISO 8601, or epoch milliseconds.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => number.as_i64().filter(|ms| *ms > 0).map(Timestamp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Lifecycle, Next, read_file, read_next, read_subscriptions};
    use crate::http::{Answer, Response};
    use model::{Secret, Timestamp};
    use serde_json::{Value, json};

    #[allow(clippy::unnecessary_wraps, reason = "what the readers take")]
    fn answer(status: u16, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { model::json::text(body).into_bytes() };
        Ok(Response { status, headers: Vec::new(), body: Secret::new(body) })
    }

    #[test]
    fn an_entry_is_read_only_with_an_offset_for_a_path_and_a_file_at_hubspots() {
        let url = "https://s3.amazonaws.com/bucket/file.json?X-Amz-Signature=x";
        for (status, body, expected) in [
            (200, json!({"url": url, "expiresAt": "x", "currentOffset": "550e8400-e29b"}), Some("550e8400-e29b")),
            (200, json!({"url": url, "currentOffset": 77}), Some("77")),
            (200, json!({"url": url, "currentOffset": "../x"}), None),
            (200, json!({"url": url, "currentOffset": ""}), None),
            (200, json!({"url": "https://evil.example/", "currentOffset": "1"}), None),
            (200, json!({"currentOffset": "1"}), None),
            (500, json!({"url": url, "currentOffset": "1"}), None),
        ] {
            let seen = read_next(&answer(status, &body));
            match expected {
                Some(offset) => assert!(matches!(&seen, Next::Entry(entry) if entry.offset == offset), "{body}"),
                None => assert_eq!(seen, Next::Unreadable, "{body}"),
            }
        }
        assert_eq!(read_next(&answer(204, &Value::Null)), Next::Nothing);
        assert_eq!(read_next(&answer(200, &Value::Null)), Next::Nothing);
        assert_eq!(read_next(&answer(404, &Value::Null)), Next::NotFound);
    }

    #[test]
    fn events_are_read_in_every_shape_that_is_told_of_and_others_are_left_out() {
        let event = |portal: &str, what, at| Event { portal: portal.to_owned(), what, at };
        let body = json!({"offset": "o", "publishedAt": "2026-11-20T10:00:00Z", "journalEvents": [
            {"type": "app_lifecycle_event", "action": "APP_UNINSTALL", "portalId": 42, "occurredAt": "2026-11-20T09:00:00Z"},
            {"type": "APP_LIFECYCLE_EVENT", "eventTypeId": "4-1916193", "portalId": "43", "occurredAt": 1_795_165_200_000_i64},
            {"action": "app_install", "portalId": 44},
            {"action": "UPDATE", "objectTypeId": "0-1", "portalId": 45},
            {"action": "APP_UNINSTALL", "portalId": "../46"},
            {"action": "APP_UNINSTALL"},
            "nonsense",
        ]});
        let at = Some(Timestamp(1_795_165_200_000));
        let published = Some(Timestamp(1_795_168_800_000));
        assert_eq!(
            read_file(&answer(200, &body)),
            Some(vec![
                event("42", Lifecycle::Uninstalled, at),
                event("43", Lifecycle::Uninstalled, at),
                event("44", Lifecycle::Installed, published),
            ])
        );
        assert_eq!(read_file(&answer(200, &json!([]))), Some(Vec::new()));
        for (status, body) in [(200, json!({})), (200, json!("x")), (403, json!({"journalEvents": []}))] {
            assert_eq!(read_file(&answer(status, &body)), None);
        }
    }

    #[test]
    fn a_deleted_or_foreign_subscription_is_none() {
        let body = json!({"results": [
            {"id": 1, "subscriptionType": "APP_LIFECYCLE_EVENT", "eventTypeId": "4-1909196"},
            {"id": 2, "subscriptionType": "APP_LIFECYCLE_EVENT", "eventTypeId": "4-1916193", "deletedAt": "2026-01-01T00:00:00Z"},
            {"id": 3, "subscriptionType": "OBJECT", "objectTypeId": "0-1"},
        ]});
        assert_eq!(read_subscriptions(&answer(200, &body)), Some(vec![Lifecycle::Installed]));
        assert_eq!(read_subscriptions(&answer(200, &json!({"results": []}))), Some(Vec::new()));
        for (status, body) in [(200, json!({})), (403, json!({"results": []}))] {
            assert_eq!(read_subscriptions(&answer(status, &body)), None);
        }
    }
}
