//! The way to a CRM and back, and everything that can go wrong on it.

use super::desk::Desk;
use super::fault::{Fault, Kind, Site};
use super::place::Place;
use super::planted;
use super::upkeep;
use crate::ports::carried;
use async_trait::async_trait;
use flows::world::Http;
use model::refresh::UNANSWERED_SECS;
use model::{Crm, Secret};
use providers::http::{Answer, Body, Effect, NoAnswer, Request, Response};
use std::rc::Rc;
use stub_crm::{BodyKind, Fate};

/// Two seconds of latency less than the gate waits.
const TOKEN_LATE_MS_MAX: i64 = (UNANSWERED_SECS - 2) * 1_000;

#[async_trait(?Send)]
impl Http for Desk {
    async fn send(&self, mut request: Request) -> Answer {
        planted::bend_request(self, &mut request);
        self.watch_request(&request);
        let answer = self.exchange(&request).await;
        match planted::bend_answer(self, &request, answer) {
            planted::Bent::Answer(answer) => answer,
            planted::Bent::Again => self.exchange(&request).await,
        }
    }
}

impl Desk {
    /// What may not leave at all.
    fn watch_request(&self, request: &Request) {
        self.place.must_not_tell_a_token("a URL", &request.url);
        let changes = request.effect != Effect::Reads && matches!(request.body, Body::Json(_) | Body::Empty);
        if let Body::Form(form) = &request.body
            && let Some(code) = form.expose().split('&').find_map(|pair| pair.strip_prefix("code="))
            && !self.place.book.borrow_mut().codes.insert(code.to_owned())
        {
            self.place.wrong("3 an authorization code is sent again", &request.url);
        }
        if self.is_dry && self.gate.is_none() && changes && is_of_writes(self.what.get()) {
            self.place.wrong("7 a request left in dry run", &request.url);
        }
        self.place.tell(|| {
            let body = match &request.body {
                Body::Json(text) => text.chars().take(300).collect(),
                _ => String::new(),
            };
            format!("{} -> {} {} {body}", self.id, request.method.as_str(), request.url)
        });
    }

    async fn exchange(&self, request: &Request) -> Answer {
        let fault = self.place.fault(Site::Http);
        self.travel(10, 80).await;
        let deadline_ms = i64::from(request.deadline_ms);
        let Some(fault) = fault else {
            let answer = carry(&self.place, request, self.limited(request));
            self.travel(10, 200).await;
            return self.told(Ok(answer));
        };
        self.met(fault);
        match fault.kind {
            Kind::NotSent => Err(NoAnswer::NotSent),
            Kind::RequestLost => self.lost(deadline_ms).await,
            Kind::AnswerLost | Kind::AnswerLate => {
                carry(&self.place, request, None);
                self.lost(deadline_ms).await
            }
            Kind::EffectLate => {
                let (place, request) = (Rc::clone(&self.place), request.clone());
                // A token endpoint is done, or never, by the time at which the gate asks what became of it.
                let most_ms = if matches!(request.body, Body::Form(_)) { TOKEN_LATE_MS_MAX } else { i64::MAX };
                let late_ms = (deadline_ms + 20 * fault.extent_ms).min(most_ms);
                let arriving = Rc::clone(&self.place);
                self.place.time.spawn(0, async move {
                    arriving.time.sleep(late_ms).await;
                    place.tell(|| "   a late request arrives".to_owned());
                    carry(&place, &request, None);
                });
                self.lost(deadline_ms).await
            }
            Kind::CrashBeforeCall => self.crash().await,
            Kind::CrashAfterCall => {
                carry(&self.place, request, None);
                self.crash().await
            }
            _ => {
                let answer = carry(&self.place, request, Some(worded(request, fault)));
                self.travel(10, 200).await;
                self.told(Ok(answer))
            }
        }
    }

    /// The account's limit is used up for a while: by whom does not matter.
    fn limited(&self, request: &Request) -> Option<stub_crm::Fault> {
        let crm = if is_salesforce(request) { Crm::Salesforce } else { Crm::Hubspot };
        let until_ms = *self.place.limits.borrow().get(&(self.tenant?, crm))?;
        let left_ms = until_ms - self.place.time.now_ms();
        if left_ms <= 0 || request.bearer.is_none() {
            return None;
        }
        let retry_after = u32::try_from(left_ms.div_euclid(1_000) + 1).ok();
        let status = Some(if crm == Crm::Salesforce { 403 } else { 429 });
        Some(stub_crm::Fault { status, retry_after, ..stub_crm::Fault::default() })
    }

    async fn lost(&self, deadline_ms: i64) -> Answer {
        self.place.time.sleep(deadline_ms).await;
        self.told(Err(NoAnswer::Lost))
    }

    fn told(&self, answer: Answer) -> Answer {
        self.place.tell(|| match &answer {
            Ok(response) => {
                let body = String::from_utf8_lossy(response.body.expose()).chars().take(300).collect::<String>();
                format!("{} <- {} {body}", self.id, response.status)
            }
            Err(lack) => format!("{} <- {lack:?}", self.id),
        });
        answer
    }
}

fn is_of_writes(what: &str) -> bool {
    !matches!(what, "connect" | "install" | "claim" | "decline" | "disconnect" | "purge" | "health" | "alarms")
}

fn is_salesforce(request: &Request) -> bool {
    request.url.contains("salesforce") || request.url.contains("/services/")
}

/// A status instead of the work or after it, in the words of the CRM that is asked.
fn worded(request: &Request, fault: Fault) -> stub_crm::Fault {
    let is_token_endpoint = matches!(request.body, Body::Form(_));
    let is_salesforce = is_salesforce(request);
    let plain = |status: u16| stub_crm::Fault { status: Some(status), ..stub_crm::Fault::default() };
    let after = |status: u16| stub_crm::Fault { after: true, ..plain(status) };
    let secs = u32::try_from(1 + fault.extent_ms / 40).unwrap_or(1);
    match fault.kind {
        Kind::RateLimited if is_salesforce => stub_crm::Fault { retry_after: Some(secs), ..plain(403) },
        Kind::RateLimited => stub_crm::Fault { retry_after: Some(secs), ..plain(429) },
        Kind::Locked | Kind::Moving | Kind::Unauthorized if is_token_endpoint => plain(503),
        Kind::Locked if is_salesforce => plain(400),
        Kind::Locked => plain(423),
        Kind::Moving if is_salesforce => plain(503),
        Kind::Moving => stub_crm::Fault { retry_after: Some(secs), ..plain(477) },
        Kind::Unauthorized => plain(401),
        Kind::ServerError => plain(500),
        Kind::GatewayTimeout => plain(504),
        Kind::HtmlBefore => stub_crm::Fault { body: BodyKind::Html, ..plain(503) },
        Kind::ServerErrorAfter => after(500),
        Kind::GatewayTimeoutAfter => after(504),
        Kind::HtmlAfter => stub_crm::Fault { body: BodyKind::Html, ..after(502) },
        Kind::TornBody => stub_crm::Fault { truncate: true, ..stub_crm::Fault::default() },
        _ => plain(503),
    }
}

/// The request arrives now, whoever still waits for the answer.
fn carry(place: &Place, request: &Request, fault: Option<stub_crm::Fault>) -> Response {
    if request.url == upkeep::WEBHOOK_URL {
        return upkeep::receive(place, request, fault.as_ref());
    }
    let raw = carried(request);
    let is_poison = matches!(&request.body, Body::Json(text) if text.contains("poison job"));
    let changes = request.effect != Effect::Reads;
    let poison = || stub_crm::Fault {
        status: Some(400),
        code: Some("FIELD_INTEGRITY_EXCEPTION".to_owned()),
        ..stub_crm::Fault::default()
    };
    let fault = fault.or_else(|| (is_poison && changes).then(poison));
    let mut crm = place.crm.borrow_mut();
    if let Some(mut fault) = fault {
        fault.on.count = Some(1);
        crm.add_fault(fault);
    }
    let done = crm.handle(&raw, place.time.now_ms());
    drop(crm);
    if let Body::Form(form) = &request.body {
        watch_refresh(place, request, form.expose(), &done);
    }
    debug_assert_eq!(done.fate, Fate::Deliver);
    Response { status: done.status, headers: done.headers, body: Secret::new(done.body) }
}

/// A rotated refresh token is spent once.
fn watch_refresh(place: &Place, request: &Request, form: &str, done: &stub_crm::Answer) {
    if request.url.ends_with("/introspect") || request.url.ends_with("/revoke") {
        return;
    }
    let Some(shown) = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")) else { return };
    let mut book = place.book.borrow_mut();
    if book.spent.contains(shown) {
        drop(book);
        place.wrong("5 a rotated refresh token is shown again", &request.url);
        return;
    }
    let fresh = done.value().get("refresh_token").and_then(|token| token.as_str().map(str::to_owned));
    if fresh.is_some_and(|fresh| fresh != shown) {
        book.spent.insert(shown.to_owned());
    }
}
