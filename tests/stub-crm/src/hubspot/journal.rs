//! `HubSpot`'s webhooks journal, as far as an app's own life goes: subscriptions, entries, and the files they point to.
//!
//! An entry per event, kept for three days; the file is behind a signed address at Amazon's S3, which refuses a request that
//! brings a token besides. Read with an app token (client credentials), which is no account's.

use crate::Env;
use crate::clock;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Form, Reply};
use crate::hubspot::errors;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const KEPT_MS: i64 = 3 * 86_400_000;
const TOKEN_LIFE_SECS: i64 = 1_800;
const BUCKET: &str = "hubspot-journal";
/// Event types, and what the events call them.
const EVENTS: [(&str, &str); 2] = [(INSTALLED, "APP_INSTALL"), (UNINSTALLED, "APP_UNINSTALL")];

/// The app was installed.
pub(super) const INSTALLED: &str = "4-1909196";
/// The app was removed.
pub(super) const UNINSTALLED: &str = "4-1916193";

/// The journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Journal {
    /// App tokens: scopes and end.
    tokens: BTreeMap<String, (String, i64)>,
    /// Event types, by the subscription's id.
    subscriptions: BTreeMap<u64, String>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    offset: String,
    signature: String,
    portal: String,
    event_type: String,
    at_ms: i64,
}

impl Journal {
    /// The grant `client_credentials`.
    pub(super) fn token(&mut self, form: &Form, env: &mut Env<'_>) -> Answer {
        let letters = env.random.letters(80);
        let token = env.issue(format!("A{letters}"));
        let ends_at = env.now_ms + TOKEN_LIFE_SECS * 1_000;
        self.tokens.insert(token.clone(), (form.get("scope").to_owned(), ends_at));
        Answer::json(200, &json!({"token_type": "bearer", "access_token": token, "expires_in": TOKEN_LIFE_SECS}))
    }

    /// Something happened to the app in an account. Without a subscription nobody is told.
    pub(super) fn note(&mut self, event_type: &str, portal: &str, env: &mut Env<'_>) {
        if !self.subscriptions.values().any(|subscribed| subscribed == event_type) {
            return;
        }
        let letters = env.random.letters(40);
        let entry = Entry {
            offset: env.random.uuid_of_time(env.now_ms),
            signature: env.issue(letters),
            portal: portal.to_owned(),
            event_type: event_type.to_owned(),
            at_ms: env.now_ms,
        };
        self.entries.push(entry);
    }

    /// `/webhooks-journal/...`
    pub(super) fn handle(&mut self, call: &Call<'_>, parts: &[&str], env: &mut Env<'_>) -> Reply {
        self.entries.retain(|entry| entry.at_ms + KEPT_MS > env.now_ms);
        match (call.method(), parts) {
            ("GET", ["subscriptions", _]) => {
                self.may(call, "developer.webhooks_journal.subscriptions.read", env)?;
                let all: Vec<Value> = self.subscriptions.iter().map(|(id, event)| subscription(*id, event)).collect();
                Ok(Answer::json(200, &json!({"results": all})))
            }
            ("POST", ["subscriptions", _]) => {
                self.may(call, "developer.webhooks_journal.subscriptions.write", env)?;
                self.subscribe(call, env)
            }
            ("GET", ["journal", _, rest @ ..]) => {
                self.may(call, "developer.webhooks_journal.read", env)?;
                self.entry(rest, env)
            }
            _ => Err(errors::no_such_path(env)),
        }
    }

    fn may(&self, call: &Call<'_>, scope: &str, env: &Env<'_>) -> Result<(), Answer> {
        let unknown = || errors::error(env, 401, "INVALID_AUTHENTICATION", "The access token is invalid or expired");
        let (scopes, ends_at) = call.bearer().and_then(|token| self.tokens.get(token)).ok_or_else(unknown)?;
        if *ends_at <= env.now_ms {
            return Err(unknown());
        }
        if scopes.split_whitespace().any(|granted| granted == scope) {
            Ok(())
        } else {
            Err(errors::missing_scopes(env, &[scope]))
        }
    }

    fn subscribe(&mut self, call: &Call<'_>, env: &Env<'_>) -> Reply {
        let body = call.json().unwrap_or_default();
        let event = body.field("eventTypeId").as_str().unwrap_or_default();
        let known = EVENTS.iter().any(|(known, _)| *known == event);
        if body.field("subscriptionType").as_str() != Some("APP_LIFECYCLE_EVENT") || !known {
            return Err(errors::error(env, 400, "VALIDATION_ERROR", "The subscription is not valid"));
        }
        if self.subscriptions.values().any(|subscribed| subscribed == event) {
            return Err(errors::error(env, 409, "CONFLICT", "The subscription exists already"));
        }
        let id = 60_001_000 + self.subscriptions.len() as u64;
        self.subscriptions.insert(id, event.to_owned());
        Ok(Answer::json(201, &subscription(id, event)))
    }

    fn entry(&self, rest: &[&str], env: &Env<'_>) -> Reply {
        let nothing = || Ok(Answer::empty(if env.switches.hubspot_journal_404 { 404 } else { 204 }));
        let found = match rest {
            ["earliest"] => self.entries.first(),
            ["latest"] => self.entries.last(),
            ["offset", offset, "next"] => {
                let at = self.entries.iter().position(|entry| entry.offset == *offset);
                let Some(at) = at else { return Err(errors::not_found(env)) };
                self.entries.get(at + 1)
            }
            _ => return Err(errors::no_such_path(env)),
        };
        let Some(entry) = found else { return nothing() };
        let url = format!(
            "https://s3.amazonaws.com/{BUCKET}/{}.json?X-Amz-Expires=3600&X-Amz-Signature={}",
            entry.offset, entry.signature
        );
        let expires_at = clock::hubspot(env.now_ms + 3_600_000);
        Ok(Answer::json(200, &json!({"url": url, "expiresAt": expires_at, "currentOffset": entry.offset})))
    }

    /// `https://s3.amazonaws.com/hubspot-journal/{offset}.json`
    pub(super) fn file(&self, call: &Call<'_>) -> Reply {
        if call.header("authorization").is_some() {
            return Err(Answer::text(400, "Only one auth mechanism allowed"));
        }
        let name = call.parts().get(1).and_then(|name| name.strip_suffix(".json"));
        let signed = |entry: &&Entry| {
            Some(entry.offset.as_str()) == name && call.query("X-Amz-Signature") == Some(entry.signature.as_str())
        };
        let entry = self.entries.iter().find(signed).ok_or_else(|| Answer::text(403, "Request has expired"))?;
        let action = EVENTS.iter().find(|(known, _)| *known == entry.event_type).map(|(_, action)| *action);
        let event = json!({"type": "app_lifecycle_event", "action": action, "eventTypeId": entry.event_type,
            "portalId": entry.portal.parse::<u64>().unwrap_or_default(), "occurredAt": clock::hubspot(entry.at_ms)});
        Ok(Answer::json(
            200,
            &json!({"offset": entry.offset, "publishedAt": clock::hubspot(entry.at_ms), "journalEvents": [event]}),
        ))
    }
}

fn subscription(id: u64, event: &str) -> Value {
    json!({"id": id, "appId": 777, "subscriptionType": "APP_LIFECYCLE_EVENT", "eventTypeId": event,
        "createdAt": clock::hubspot(0), "updatedAt": clock::hubspot(0)})
}
