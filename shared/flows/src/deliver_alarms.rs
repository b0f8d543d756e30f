//! Delivering alarms to the deployment's webhook, each signed by the Standard Webhooks specification and tried again with
//! jitter until it is taken or the tries are used up. At least once: a receiver tells repeats apart by `webhook-id`.
//!
//! In scope: where to, what is signed, what an answer means. Out of scope: raising alarms (`alarm`).

use crate::{Error, World};
use crypto::{random, webhook};
use model::backoff::{WEBHOOKS, next_try_at};
use model::{Secret, Timestamp};
use providers::http::{Answer, Body, Effect, Method, Request};
use serde::Serialize;
use store::alarms::{self, Due};
use store::{Db, WorkspaceScope, db};

/// Per shard and run: with the deadline, far less than the five minutes for which a signature is good.
const PER_RUN_MAX: u32 = 20;

/// A receiver that takes longer is busy.
const DEADLINE_MS: u32 = 10_000;

/// So many failures in a row end the run: the receiver is down, and the others need not be tried.
const FAILURES_MAX: u32 = 3;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Alarms found due.
    pub due: u32,
    /// Taken by the receiver.
    pub delivered: u32,
    /// To be tried again.
    pub postponed: u32,
    /// Tried for the last time.
    pub given_up: u32,
    /// Shards that could not be read.
    pub shards_failed: u32,
}

/// Where alarms go.
struct Receiver<'a> {
    url: &'a str,
    secret: &'a Secret<String>,
}

/// One run. Without a webhook the alarms are only kept, until `purge_retention` deletes them.
pub async fn deliver_alarms(world: &World<'_>) -> Result<Delivered, Error> {
    let receiver = receiver(world)?;
    let mut report = Delivered::default();
    let mut failures = 0;
    for shard in world.shards.names() {
        let Some(db) = world.shards.open(&shard) else { continue };
        let done = match &receiver {
            Some(receiver) => deliver(world, db, receiver, &mut failures, &mut report).await,
            None => db::run(db, alarms::keep_only(world.now)).await.map(|_| ()).map_err(Error::Db),
        };
        if let Err(error) = done {
            // The other shards must not wait for this one.
            world.log.event("shard_failed", &[("shard", &shard), ("code", error.code())]);
            report.shards_failed += 1;
        }
    }
    Ok(report)
}

fn receiver<'a>(world: &World<'a>) -> Result<Option<Receiver<'a>>, Error> {
    let Some(url) = world.settings.webhook_url.as_deref() else { return Ok(None) };
    if !is_public_https(url) {
        return Err(Error::SecretMissing("WEBHOOK_URL"));
    }
    let secret = world.keys.webhook_secret.as_ref().ok_or(Error::SecretMissing("WEBHOOK_SECRET"))?;
    Ok(Some(Receiver { url, secret }))
}

async fn deliver(
    world: &World<'_>,
    db: &dyn Db,
    receiver: &Receiver<'_>,
    failures: &mut u32,
    report: &mut Delivered,
) -> Result<(), Error> {
    if *failures >= FAILURES_MAX {
        return Ok(());
    }
    for due in alarms::list_due(db, world.now, PER_RUN_MAX).await? {
        report.due += 1;
        let answer = world.http.send(request(world, receiver, &due)?).await;
        let error = refusal(&answer);
        let try_at = match &error {
            None => None,
            Some(code) if code == "http_410" => None,
            Some(_) => {
                let chance = random::number(world.random)?;
                next_try_at(WEBHOOKS, due.tries.saturating_add(1), chance, told(&answer, world.now), world.now)
            }
        };
        match (&error, try_at) {
            (None, _) => report.delivered += 1,
            (Some(_), Some(_)) => report.postponed += 1,
            (Some(_), None) => report.given_up += 1,
        }
        if let Some(code) = &error {
            let event = if try_at.is_some() { "webhook_failed" } else { "webhook_given_up" };
            world.log.event(
                event,
                &[("workspace_id", due.workspace_id.as_str()), ("alarm_id", due.id.as_str()), ("code", code)],
            );
        }
        let scope = WorkspaceScope::of(due.workspace_id.clone());
        db::run(db, alarms::tried(&scope, &due.id, error.as_deref(), try_at, world.now)).await?;
        *failures = if error.is_some() { *failures + 1 } else { 0 };
        if *failures >= FAILURES_MAX {
            break;
        }
    }
    Ok(())
}

fn request(world: &World<'_>, receiver: &Receiver<'_>, due: &Due) -> Result<Request, Error> {
    let timestamp = world.now.0.div_euclid(1_000);
    let signature = webhook::sign(receiver.secret, due.id.as_str(), timestamp, &due.payload_json)
        .ok_or(Error::SecretMissing("WEBHOOK_SECRET"))?;
    let body = Body::Json(due.payload_json.clone());
    // The receiver tells repeats apart by the id.
    let mut request = Request::new(Method::Post, receiver.url.to_owned(), body, Effect::Idempotent);
    request.deadline_ms = DEADLINE_MS;
    request.headers = vec![
        ("webhook-id", due.id.as_str().to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ];
    Ok(request)
}

/// Why it was not taken. A redirect is not followed: the signed body goes to the configured address and nowhere else.
fn refusal(answer: &Answer) -> Option<String> {
    match answer {
        Ok(response) if response.is_success() => None,
        Ok(response) => Some(format!("http_{}", response.status)),
        Err(providers::http::NoAnswer::NotSent) => Some("not_sent".to_owned()),
        Err(providers::http::NoAnswer::Lost) => Some("timeout".to_owned()),
    }
}

/// `Retry-After` in seconds, believed up to a day.
fn told(answer: &Answer, now: Timestamp) -> Option<Timestamp> {
    let secs: i64 = answer.as_ref().ok()?.header("retry-after")?.trim().parse().ok()?;
    Some(now.plus_secs(secs.clamp(0, 86_400)))
}

/// `https://`, a host with a name in a public domain and without user or password. Addresses and local names are refused:
/// what is configured here must not reach into the network that Conduit runs in. (The platform refuses private addresses
/// too: `global_fetch_strictly_public`.)
fn is_public_https(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let named = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    host.contains('.')
        && host.split('.').all(named)
        && !last.bytes().all(|b| b.is_ascii_digit())
        // Hexadecimal and octal numbers are addresses as well.
        && !last.starts_with("0x")
        && !["local", "localhost", "internal", "lan", "home", "corp", "intranet"].contains(&last.as_str())
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::is_public_https;

    #[test]
    fn only_a_name_in_a_public_domain_over_https_is_called() {
        for url in ["https://hooks.example.com/conduit", "https://example.com", "https://a-b.example:8443/x?y=1"] {
            assert!(is_public_https(url), "{url}");
        }
        for url in [
            "http://hooks.example.com/",
            "https://localhost/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0x1/",
            "https://10.0.0.8/hook",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[fd00::1]:443/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://user:secret@hooks.example.com/",
            "https://hooks.example.com@10.0.0.8/",
            "https://hooks.example.com:0/",
            "https://hooks.example.com:x/",
            "https:///hooks.example.com",
            "https://hooks..example.com/",
            "https://h\u{e4}ken.example/",
            "ftp://hooks.example.com/",
            "",
        ] {
            assert!(!is_public_https(url), "{url}");
        }
    }
}
