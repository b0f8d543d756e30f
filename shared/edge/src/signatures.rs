//! [`flows::world::Signatures`] with WebCrypto and the host product's JWKS: RS256 and ES256, twenty times faster than in
//! wasm, and no RSA or EC crate in the bundle.
//!
//! The key set is kept in the isolate and in KV for an hour. A token whose key is not in it fetches the set again, at
//! most once a minute, so that a new key works at once and a forged `kid` costs nothing.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use crypto::jwt::{Algorithm, JwksCheck, Unverified};
use flows::world::{KeysUnavailable, Log, Signatures};
use js_sys::{Array, JSON, Object, Reflect, Uint8Array};
use model::Timestamp;
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CryptoKey, RequestInit, RequestRedirect, SubtleCrypto, WorkerGlobalScope};

use crate::bindings::Bindings;
use crate::configuration::Configuration;
use crate::jwks::KeySet;
use crate::log::Lines;
use crate::waiting::within;
use crate::{body, cache, js};

const CACHE_KEY: &str = "jwks:v1";
const FRESH_SECS: u32 = 3_600;
const REFETCH_SECS: i64 = 60;
const DEADLINE: Duration = Duration::from_secs(5);
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// The key set of this isolate: plain data, so that it may outlive a request.
#[derive(Clone)]
struct Kept {
    keys: Rc<KeySet>,
    read_at: Timestamp,
    fetched_at: Timestamp,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Checks signatures.
pub struct Jwks {
    bindings: Rc<Bindings>,
    configuration: Rc<Configuration>,
    log: Rc<Lines>,
}

impl Jwks {
    /// The checker of a request.
    pub const fn new(bindings: Rc<Bindings>, configuration: Rc<Configuration>, log: Rc<Lines>) -> Self {
        Self { bindings, configuration, log }
    }

    /// The isolate's set, else KV's, else the host product's.
    async fn keys(&self, now: Timestamp) -> Result<Kept, KeysUnavailable> {
        let kept = KEPT.with_borrow(Clone::clone);
        if let Some(kept) = kept.filter(|kept| kept.read_at.plus_secs(FRESH_SECS.into()) > now) {
            return Ok(kept);
        }
        if let Some(keys) = self.cached().await {
            // When it was fetched is not known: an unknown `kid` may ask again at once, then once a minute.
            return Ok(keep(keys, now, Timestamp::default()));
        }
        self.fetch(now).await
    }

    async fn cached(&self) -> Option<KeySet> {
        KeySet::parse(&cache::read(&self.bindings, CACHE_KEY).await?)
    }

    async fn fetch(&self, now: Timestamp) -> Result<Kept, KeysUnavailable> {
        let url = self.configuration.jwks_url.as_deref().ok_or(KeysUnavailable)?;
        let failed = |reason: &str| {
            self.log.event("jwks_failed", &[("reason", reason)]);
            KeysUnavailable
        };
        let text = match within(DEADLINE, self.document(url)).await {
            Some(Ok(text)) => text,
            Some(Err(thrown)) => return Err(failed(&js::message(&thrown))),
            None => return Err(failed("deadline")),
        };
        let keys = KeySet::parse(&text).ok_or_else(|| failed("not a key set"))?;
        cache::write(&self.bindings, CACHE_KEY, &text, FRESH_SECS).await;
        Ok(keep(keys, now, now))
    }

    async fn document(&self, url: &str) -> Result<String, JsValue> {
        let init = RequestInit::new();
        init.set_redirect(RequestRedirect::Manual);
        let request = web_sys::Request::new_with_str_and_init(url, &init)?;
        let answer = JsFuture::from(global().fetch_with_request(&request)).await?;
        let answer: web_sys::Response = answer.unchecked_into();
        if !answer.ok() {
            return Err(JsValue::from_str(&format!("the JWKS URL answered {}", answer.status())));
        }
        let read = body::read(answer.body(), DOCUMENT_BYTES_MAX).await?;
        String::from_utf8(read.bytes).map_err(|_| JsValue::from_str("the JWKS is not UTF-8"))
    }

    async fn any_verifies(&self, keys: &[Value], check: &JwksCheck<'_>) -> bool {
        for key in keys {
            match verifies(key, check).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(thrown) => self.log.event("jwk_refused", &[("reason", &js::message(&thrown))]),
            }
        }
        false
    }
}

#[async_trait(?Send)]
impl Signatures for Jwks {
    async fn verify(&self, token: &Unverified) -> Result<bool, KeysUnavailable> {
        let Ok(check) = token.for_jwks() else { return Ok(false) };
        let now = js::now();
        let kept = self.keys(now).await?;
        let mut candidates = kept.keys.candidates(check.alg, check.kid);
        if candidates.is_empty() && kept.fetched_at.plus_secs(REFETCH_SECS) <= now {
            candidates = if let Ok(fetched) = self.fetch(now).await {
                fetched.keys.candidates(check.alg, check.kid)
            } else {
                // The old set is still good for the tokens it knows; this one waits its minute.
                keep_as_is(kept, now);
                return Err(KeysUnavailable);
            };
        }
        Ok(self.any_verifies(&candidates, &check).await)
    }
}

fn keep(keys: KeySet, read_at: Timestamp, fetched_at: Timestamp) -> Kept {
    let kept = Kept { keys: Rc::new(keys), read_at, fetched_at };
    KEPT.set(Some(kept.clone()));
    kept
}

fn keep_as_is(kept: Kept, tried_at: Timestamp) {
    KEPT.set(Some(Kept { fetched_at: tried_at, ..kept }));
}

async fn verifies(key: &Value, check: &JwksCheck<'_>) -> Result<bool, JsValue> {
    let algorithm = Object::new();
    let set = |name: &str, value: &str| Reflect::set(&algorithm, &JsValue::from_str(name), &JsValue::from_str(value));
    if check.alg == Algorithm::Es256 {
        set("name", "ECDSA")?;
        set("namedCurve", "P-256")?;
    } else {
        set("name", "RSASSA-PKCS1-v1_5")?;
    }
    // Read by the import for RSA and by the check for ECDSA.
    set("hash", "SHA-256")?;
    let subtle: SubtleCrypto = global().crypto()?.subtle();
    let usages = Array::of1(&JsValue::from_str("verify"));
    let jwk: Object = JSON::parse(&model::json::text(key))?.unchecked_into();
    let key: CryptoKey =
        JsFuture::from(subtle.import_key_with_object("jwk", &jwk, &algorithm, false, &usages)?).await?.unchecked_into();
    let signature = Uint8Array::from(check.signature);
    let signed = Uint8Array::from(check.signing_input);
    let verdict =
        subtle.verify_with_object_and_buffer_source_and_buffer_source(&algorithm, &key, &signature, &signed)?;
    Ok(JsFuture::from(verdict).await?.as_bool() == Some(true))
}

fn global() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}
