//! [`flows::gate::Gate`] as seen from outside the Durable Object, and the messages between both sides.
//!
//! A gate's name is `ws_acme:hubspot`. Each call is one `POST` of [`Message`] as JSON, whose path (`/admit`, `/report`,
//! `/forget`) is for the platform's own request log; an admit is answered with [`Verdict`]. The access token crosses in
//! that answer and nowhere else: a Durable Object is reached through its binding only.

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use flows::gate::{Admission, Ask, Gate, GateRefusal, Report};
use flows::world::Log;
use model::connection::{ConnectionFacts, ConnectionKey};
use model::{Secret, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::bindings::Bindings;
use crate::js;
use crate::log::Lines;
use crate::waiting::within;

/// A gate that has to refresh first calls a token endpoint with a deadline of 45 s, and saves what it answered.
const DEADLINE: Duration = Duration::from_secs(75);

/// What a caller sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which connection: also tells the object who it is.
    pub connection: ConnectionKey,
    /// The request it belongs to, for logs and audit.
    pub request_id: String,
    /// What is asked.
    pub call: Call,
}

/// The three calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// [`Gate::admit`].
    Admit(Ask),
    /// [`Gate::report`].
    Report(Report),
    /// [`Gate::forget`].
    Forget,
}

impl Call {
    const fn path(&self) -> &'static str {
        match self {
            Self::Admit(_) => "https://gate/admit",
            Self::Report(_) => "https://gate/report",
            Self::Forget => "https://gate/forget",
        }
    }
}

/// What an admit is answered with. No `Debug`: it holds the token. Written by serde in the gate, read by hand by everybody else.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Come in.
    Admitted {
        /// In plain, between two of our own Workers.
        access_token: String,
        /// Which token it is.
        token_generation: u64,
        /// What adapters must know.
        facts: ConnectionFacts,
        /// A report is wanted.
        permit: Option<u64>,
    },
    /// [`GateRefusal::NotConnected`].
    NotConnected,
    /// [`GateRefusal::Reconnect`].
    Reconnect,
    /// [`GateRefusal::Wait`].
    Wait {
        /// When to come.
        until: Timestamp,
    },
    /// [`GateRefusal::Unavailable`].
    Unavailable,
}

impl Verdict {
    /// For the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Admitted { .. } => "admitted",
            Self::NotConnected => "not_connected",
            Self::Reconnect => "reconnect",
            Self::Wait { .. } => "wait",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<Result<Admission, GateRefusal>> for Verdict {
    fn from(decided: Result<Admission, GateRefusal>) -> Self {
        match decided {
            Ok(admission) => Self::Admitted {
                access_token: admission.access_token.expose().clone(),
                token_generation: admission.token_generation,
                facts: admission.facts,
                permit: admission.permit,
            },
            Err(GateRefusal::NotConnected) => Self::NotConnected,
            Err(GateRefusal::Reconnect) => Self::Reconnect,
            Err(GateRefusal::Wait(until)) => Self::Wait { until },
            Err(GateRefusal::Unavailable) => Self::Unavailable,
        }
    }
}

impl Verdict {
    /// What the gate decided; an answer that cannot be read is no permission.
    fn read(text: &str) -> Result<Admission, GateRefusal> {
        let verdict: Value = serde_json::from_str(text).map_err(|_| GateRefusal::Unavailable)?;
        if let Some(admitted) = verdict.get("admitted") {
            return admission(admitted).ok_or(GateRefusal::Unavailable);
        }
        Err(match (verdict.as_str(), verdict.pointer("/wait/until").and_then(Value::as_i64)) {
            (_, Some(until)) => GateRefusal::Wait(Timestamp(until)),
            (Some("not_connected"), _) => GateRefusal::NotConnected,
            (Some("reconnect"), _) => GateRefusal::Reconnect,
            _ => GateRefusal::Unavailable,
        })
    }
}

fn admission(admitted: &Value) -> Option<Admission> {
    Some(Admission {
        access_token: Secret::new(admitted.get("access_token")?.as_str()?.to_owned()),
        token_generation: admitted.get("token_generation")?.as_u64()?,
        facts: ConnectionFacts::from_json(admitted.get("facts")?)?,
        permit: admitted.get("permit")?.as_u64(),
    })
}

/// The object's name. A workspace id cannot hold a colon, so no two connections share one.
pub fn name(connection: &ConnectionKey) -> String {
    format!("{}:{}", connection.workspace_id, connection.crm)
}

/// The gates, from outside.
pub struct Gates {
    bindings: Rc<Bindings>,
    log: Rc<Lines>,
}

impl Gates {
    /// The gates of a request.
    pub const fn new(bindings: Rc<Bindings>, log: Rc<Lines>) -> Self {
        Self { bindings, log }
    }

    async fn call(&self, connection: &ConnectionKey, call: Call) -> Option<String> {
        let path = call.path();
        let message = Message { connection: connection.clone(), request_id: self.log.request_id().to_owned(), call };
        let body = serde_json::to_string(&message).ok()?;
        let reason = match within(DEADLINE, self.post(connection, path, &body)).await {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(thrown)) => js::message(&thrown),
            None => "deadline".to_owned(),
        };
        self.log.event("gate_unreachable", &[("crm", connection.crm.as_str()), ("reason", &reason)]);
        None
    }

    async fn post(&self, connection: &ConnectionKey, path: &str, body: &str) -> Result<String, JsValue> {
        let gates = self.bindings.gates().ok_or_else(|| JsValue::from_str("the gates are not bound"))?;
        let init = web_sys::RequestInit::new();
        init.set_method("POST");
        init.set_body(&JsValue::from_str(body));
        let request = web_sys::Request::new_with_str_and_init(path, &init)?;
        let answer = JsFuture::from(gates.get_by_name(&name(connection))?.fetch_with_request(&request)?).await?;
        let answer: web_sys::Response = answer.unchecked_into();
        if !answer.ok() {
            return Err(JsValue::from_str(&format!("the gate answered {}", answer.status())));
        }
        Ok(JsFuture::from(answer.text()?).await?.as_string().unwrap_or_default())
    }
}

#[async_trait(?Send)]
impl Gate for Gates {
    async fn admit(&self, connection: &ConnectionKey, ask: Ask) -> Result<Admission, GateRefusal> {
        let answer = self.call(connection, Call::Admit(ask)).await.ok_or(GateRefusal::Unavailable)?;
        Verdict::read(&answer)
    }

    async fn report(&self, connection: &ConnectionKey, report: Report) {
        self.call(connection, Call::Report(report)).await;
    }

    async fn forget(&self, connection: &ConnectionKey) {
        self.call(connection, Call::Forget).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, Message, Verdict, name};
    use flows::gate::{Admission, Ask, GateRefusal, Purpose};
    use model::connection::{ConnectionFacts, ConnectionKey};
    use model::{ConnectionId, Crm, Secret, Timestamp, WorkspaceId};

    fn connection() -> ConnectionKey {
        ConnectionKey { workspace_id: WorkspaceId::parse("ws_acme").unwrap(), shard: "DB".into(), crm: Crm::Hubspot }
    }

    #[test]
    fn the_message_is_frozen() {
        let ask = Ask { calls: 2, searches: 0, purpose: Purpose::Writes, refused_generation: Some(3) };
        let message = Message { connection: connection(), request_id: "r1".into(), call: Call::Admit(ask) };
        let text = r#"{"connection":{"workspace_id":"ws_acme","shard":"DB","crm":"hubspot"},"request_id":"r1","call":{"admit":{"calls":2,"searches":0,"purpose":"writes","refused_generation":3}}}"#;
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
        assert_eq!(serde_json::from_str::<Message>(text).unwrap(), message);
        assert_eq!(name(&connection()), "ws_acme:hubspot");
    }

    #[test]
    fn every_verdict_comes_back_as_it_was() {
        for refusal in [
            GateRefusal::NotConnected,
            GateRefusal::Reconnect,
            GateRefusal::Wait(Timestamp(7)),
            GateRefusal::Unavailable,
        ] {
            let text = serde_json::to_string(&Verdict::from(Err(refusal.clone()))).unwrap();
            let back: Result<Admission, GateRefusal> = Verdict::read(&text);
            assert_eq!(back.err(), Some(refusal));
        }
        for unreadable in ["", "[]", r#"{"admitted":{}}"#, r#"{"admitted":{"access_token":"t"}}"#, r#""elsewhere""#] {
            assert_eq!(Verdict::read(unreadable).err(), Some(GateRefusal::Unavailable), "{unreadable}");
        }
        let facts = ConnectionFacts {
            id: ConnectionId::parse("cx_1").unwrap(),
            external_account_id: "4242".into(),
            instance_url: None,
            mechanisms: None,
        };
        let admission = Admission {
            access_token: Secret::new("t".into()),
            token_generation: 4,
            facts: facts.clone(),
            permit: Some(9),
        };
        let text = serde_json::to_string(&Verdict::from(Ok(admission))).unwrap();
        let back: Result<Admission, GateRefusal> = Verdict::read(&text);
        let back = back.unwrap();
        assert_eq!((back.access_token.expose().as_str(), back.token_generation, back.facts), ("t", 4, facts));
        assert_eq!(back.permit, Some(9));
    }
}
