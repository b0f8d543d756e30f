//! The stand-in as a Worker: every request goes to one Durable Object, which holds all state in memory.
//!
//! Not on the way of a request: storage. A snapshot is of everything, and is written by an alarm when nothing has changed for
//! a moment, so a burst of writes costs one and is not slowed by it; a burst without an end is stored once a minute. What
//! was written since before a crash may be gone; a stand-in may do that.

use crate::{Answer, Config, Fate, Request as Asked, StubCrm};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use worker::js_sys::{Error as JsError, Object, Reflect, Uint8Array};
use worker::wasm_bindgen::{JsValue, prelude::Closure};
use worker::web_sys::ReadableStream;
use worker::{
    Context, Delay, DurableObject, Env, Request, Response, ResponseBody, ResponseBuilder, Result, State,
    durable_object, event,
};

/// A storage value may have 2 MB.
const CHUNK_BYTES: usize = 1_500_000;
/// A change is stored when no other has come for this long.
const SETTLE: Duration = Duration::from_millis(500);
/// A change is stored after this long, whatever comes.
const KEPT_WAITING_MS_MAX: i64 = 60_000;
const COUNT: &str = "chunks";

/// Forwards to the one object.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> Result<Response> {
    env.durable_object("STAND_IN")?.id_from_name("stand-in")?.get_stub()?.fetch_with_request(request).await
}

/// The one instance.
#[durable_object]
pub struct StubCrmObject {
    state: State,
    config: Config,
    crm: RefCell<Option<StubCrm>>,
    /// The first and the last change that are not stored, in epoch milliseconds.
    unstored: Cell<Option<(i64, i64)>>,
}

impl DurableObject for StubCrmObject {
    fn new(state: State, env: Env) -> Self {
        let config = configuration(&env);
        Self { state, config, crm: RefCell::default(), unstored: Cell::default() }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        self.wake().await?;
        let asked = Asked {
            method: request.method().to_string(),
            url: request.inner().url(),
            headers: request.headers().entries().collect(),
            body: request.bytes().await?,
        };
        let now_ms = now_ms();
        let answer = self.crm.borrow_mut().as_mut().map(|crm| crm.handle(&asked, now_ms)).unwrap_or_default();
        let unstored = self.unstored.get();
        self.unstored.set(Some((unstored.map_or(now_ms, |(first, _)| first), now_ms)));
        if unstored.is_none() {
            self.state.storage().set_alarm(SETTLE).await?;
        }
        if answer.delay_ms > 0 {
            Delay::from(Duration::from_millis(answer.delay_ms)).await;
        }
        carry(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        self.wake().await?;
        let now_ms = now_ms();
        if let Some((first, last)) = self.unstored.get()
            && now_ms - last < i64::try_from(SETTLE.as_millis()).unwrap_or_default()
            && now_ms - first < KEPT_WAITING_MS_MAX
        {
            self.state.storage().set_alarm(SETTLE).await?;
            return Response::empty();
        }
        self.unstored.set(None);
        let snapshot = self.crm.borrow().as_ref().and_then(|crm| serde_json::to_vec(crm).ok()).unwrap_or_default();
        let values = Object::new();
        let mut chunks: u32 = 0;
        for chunk in snapshot.chunks(CHUNK_BYTES) {
            Reflect::set(&values, &key(chunks).into(), &Uint8Array::from(chunk))?;
            chunks += 1;
        }
        Reflect::set(&values, &COUNT.into(), &chunks.into())?;
        self.state.storage().put_multiple_raw(values).await?;
        Response::empty()
    }
}

impl StubCrmObject {
    /// Reads the snapshot, once. A snapshot of another build that does not fit is a new beginning.
    async fn wake(&self) -> Result<()> {
        if self.crm.borrow().is_some() {
            return Ok(());
        }
        let stored = self.state.storage().list().await?;
        let mut snapshot = Vec::new();
        // An earlier, longer snapshot may have left chunks behind the last one.
        let count = stored.get(&COUNT.into()).as_f64().unwrap_or_default();
        for number in (0_u32..).take_while(|number| f64::from(*number) < count) {
            snapshot.extend(Uint8Array::new(&stored.get(&key(number).into())).to_vec());
        }
        let mut crm: StubCrm = serde_json::from_slice(&snapshot).unwrap_or_else(|_| StubCrm::new(self.config.clone()));
        crm.register(self.config.clone());
        self.crm.borrow_mut().get_or_insert(crm);
        Ok(())
    }
}

/// The variable `STAND_IN_CONFIG`, and over it the apps' registrations, which are secrets of their own.
fn configuration(env: &Env) -> Config {
    let text = |name: &str| env.var(name).map(|value| value.to_string()).ok().filter(|value| !value.is_empty());
    let mut config: Config =
        text("STAND_IN_CONFIG").and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    for (app, id, secret) in [
        (&mut config.hubspot, "HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET"),
        (&mut config.salesforce, "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"),
    ] {
        app.client_id = text(id).unwrap_or_default();
        app.client_secret = text(secret).unwrap_or_default();
    }
    config
}

fn now_ms() -> i64 {
    i64::try_from(worker::Date::now().as_millis()).unwrap_or_default()
}

fn key(number: u32) -> String {
    format!("chunk/{number:04}")
}

/// An answer as a response; a lost one as a response whose body breaks off.
fn carry(answer: Answer) -> Result<Response> {
    let mut builder = ResponseBuilder::new().with_status(answer.status.max(200));
    for (name, value) in &answer.headers {
        builder = builder.with_header(name, value)?;
    }
    if answer.fate == Fate::Deliver {
        return Ok(if answer.body.is_empty() {
            builder.empty()
        } else {
            builder.body(ResponseBody::Body(answer.body))
        });
    }
    let source = Object::new();
    let broken = Closure::once_into_js(|| -> std::result::Result<(), JsValue> {
        Err(JsError::new("the connection was lost").into())
    });
    Reflect::set(&source, &"pull".into(), &broken)?;
    let stream = ReadableStream::new_with_underlying_source(&source)?;
    Ok(ResponseBuilder::new().with_status(200).body(ResponseBody::Stream(stream)))
}
