//! [`flows::world::Http`] on `fetch`: redirects are not followed, the deadline covers the body too, an answer is read to
//! 4 MB at most.
//!
//! Where `STAND_IN` is bound every request goes there with its URL unchanged: a local run cannot reach a real CRM.
//! `OAUTH_EGRESS_URL`, when set, receives the requests to OAuth endpoints (those with a form body) instead, with the real
//! address in `Conduit-Target-Url`: for CRMs that accept token requests from listed addresses only.

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use flows::world::{Http, Log};
use js_sys::Array;
use model::Secret;
use providers::http::{Answer, Body, NoAnswer, Request, Response};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, Headers, RequestInit, RequestRedirect, WorkerGlobalScope};

use crate::bindings::Bindings;
use crate::configuration::Configuration;
use crate::log::Lines;
use crate::waiting::within;
use crate::{body, js};

/// An answer's body is read to here, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Names the real address to an egress proxy.
const TARGET_HEADER: &str = "Conduit-Target-Url";

/// The way out.
pub struct Fetch {
    bindings: Rc<Bindings>,
    configuration: Rc<Configuration>,
    log: Rc<Lines>,
}

impl Fetch {
    /// The way out of a request.
    pub const fn new(bindings: Rc<Bindings>, configuration: Rc<Configuration>, log: Rc<Lines>) -> Self {
        Self { bindings, configuration, log }
    }

    fn build(&self, request: &Request, signal: Option<&AbortSignal>) -> Result<web_sys::Request, JsValue> {
        let headers = Headers::new()?;
        for (name, value) in &request.headers {
            headers.append(name, value)?;
        }
        if let Some(token) = &request.bearer {
            headers.set("Authorization", &format!("Bearer {}", token.expose()))?;
        }
        let init = RequestInit::new();
        init.set_method(request.method.as_str());
        init.set_redirect(RequestRedirect::Manual);
        init.set_signal(signal);
        match &request.body {
            Body::Empty => {}
            Body::Json(text) => {
                headers.set("Content-Type", "application/json")?;
                init.set_body(&JsValue::from_str(text));
            }
            Body::Form(text) => {
                headers.set("Content-Type", "application/x-www-form-urlencoded")?;
                init.set_body(&JsValue::from_str(text.expose()));
            }
        }
        let proxy = self.configuration.oauth_egress_url.as_ref().filter(|_| matches!(request.body, Body::Form(_)));
        let url = if let Some(proxy) = proxy {
            headers.set(TARGET_HEADER, &request.url)?;
            proxy
        } else {
            &request.url
        };
        init.set_headers(&headers);
        web_sys::Request::new_with_str_and_init(url, &init)
    }

    async fn exchange(&self, request: web_sys::Request) -> Result<Response, JsValue> {
        let promise = match self.bindings.stand_in() {
            Some(stand_in) => stand_in.fetch(&request)?,
            None => js_sys::global().unchecked_into::<WorkerGlobalScope>().fetch_with_request(&request),
        };
        let answer: web_sys::Response = JsFuture::from(promise).await?.unchecked_into();
        let read = body::read(answer.body(), ANSWER_BYTES_MAX).await?;
        Ok(Response { status: answer.status(), headers: pairs(&answer.headers()), body: Secret::new(read.bytes) })
    }

    fn no_answer(&self, thrown: &JsValue) -> NoAnswer {
        let text = js::message(thrown);
        let no_answer = classify(&text);
        let outcome = if no_answer == NoAnswer::NotSent { "not_sent" } else { "lost" };
        self.log.event("provider_unreachable", &[("outcome", outcome), ("reason", &text)]);
        no_answer
    }
}

#[async_trait(?Send)]
impl Http for Fetch {
    async fn send(&self, request: Request) -> Answer {
        // Adapters build nothing else; a token must not leave in the clear if one ever did.
        if !request.url.starts_with("https://") {
            return Err(NoAnswer::NotSent);
        }
        let controller = AbortController::new().ok();
        let signal = controller.as_ref().map(AbortController::signal);
        let built = self.build(&request, signal.as_ref()).map_err(|thrown| {
            // Not logged in the runtime's words: they may repeat the URL.
            let _ = thrown;
            NoAnswer::NotSent
        })?;
        let deadline = Duration::from_millis(u64::from(request.deadline_ms));
        // The runtime has its own copy by now, and a body may be megabytes.
        drop(request);
        match within(deadline, self.exchange(built)).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(thrown)) => Err(self.no_answer(&thrown)),
            None => {
                if let Some(controller) = controller {
                    controller.abort();
                }
                self.log.event("provider_unreachable", &[("outcome", "lost"), ("reason", "deadline")]);
                Err(NoAnswer::Lost)
            }
        }
    }
}

/// Header pairs; `Headers` gives names in lower case.
fn pairs(headers: &Headers) -> Vec<(String, String)> {
    Array::from(headers)
        .iter()
        .filter_map(|pair| {
            let pair: Array = pair.unchecked_into();
            Some((pair.get(0).as_string()?, pair.get(1).as_string()?))
        })
        .collect()
}

/// Only words that prove nothing left make a failure `NotSent`: the rest may have arrived. Workerd words a failed look-up
/// `internal error` and a refused connection `Network connection lost.`, as it does a broken one, so both count as lost.
pub fn classify(text: &str) -> NoAnswer {
    const NEVER_LEFT: [&str; 8] = [
        "Invalid URL",
        "Fetch API cannot load",
        "DNS",
        "getaddrinfo",
        "Connection refused",
        "connection refused",
        "Too many subrequests",
        "not permitted to access",
    ];
    if NEVER_LEFT.iter().any(|word| text.contains(word)) { NoAnswer::NotSent } else { NoAnswer::Lost }
}

#[cfg(test)]
mod tests {
    use super::classify;
    use providers::http::NoAnswer;

    #[test]
    fn only_certainty_is_not_sent() {
        for (text, class) in [
            ("internal error; reference = abc", NoAnswer::Lost),
            ("Network connection lost.", NoAnswer::Lost),
            ("The operation was aborted", NoAnswer::Lost),
            ("connect(): Connection refused", NoAnswer::NotSent),
            ("DNS lookup failed.", NoAnswer::NotSent),
            ("Too many subrequests.", NoAnswer::NotSent),
            ("", NoAnswer::Lost),
        ] {
            assert_eq!(classify(text), class, "{text}");
        }
    }
}
