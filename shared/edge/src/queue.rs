//! [`flows::world::Queue`] on Cloudflare Queues: doorbells and health checks as JSON messages, in as few `sendBatch` calls as
//! its limits allow.

use std::rc::Rc;

use async_trait::async_trait;
use flows::world::{Log, Queue, QueueUnavailable};
use js_sys::{Array, JSON, Object, Reflect};
use model::Crm;
use model::doorbell::Doorbell;
use model::health::CheckRound;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use crate::bindings::{Bindings, CHECKS_QUEUE, HUBSPOT_WRITES_QUEUE, SALESFORCE_WRITES_QUEUE};
use crate::js;
use crate::log::Lines;

/// `sendBatch` takes 100 messages.
const MESSAGES_MAX: usize = 100;
/// And 256 KB, our share of which leaves room for the platform's own 100 bytes a message.
const BYTES_MAX: usize = 200_000;
/// A message may wait 24 hours in a queue; half of that is the port's promise.
const DELAY_SECS_MAX: u32 = 12 * 3_600;

/// The doorbells: each CRM's processor has a queue of its own.
pub struct WritesQueue(Sender);

/// Health checks.
pub struct ChecksQueue(Sender);

impl WritesQueue {
    /// The doorbell of a request.
    pub const fn new(bindings: Rc<Bindings>, log: Rc<Lines>) -> Self {
        Self(Sender { bindings, log })
    }
}

impl ChecksQueue {
    /// The health checks of a run.
    pub const fn new(bindings: Rc<Bindings>, log: Rc<Lines>) -> Self {
        Self(Sender { bindings, log })
    }
}

/// Sends to the queues that are bound.
struct Sender {
    bindings: Rc<Bindings>,
    log: Rc<Lines>,
}

impl Sender {
    /// Messages with their delays in seconds.
    async fn send(&self, queue: &str, messages: Vec<(String, u32)>) -> Result<(), QueueUnavailable> {
        for chunk in chunks(messages) {
            self.send_chunk(queue, &chunk).await.map_err(|thrown| {
                self.log.event("queue_failed", &[("reason", &js::message(&thrown))]);
                QueueUnavailable
            })?;
        }
        Ok(())
    }

    async fn send_chunk(&self, queue: &str, texts: &[(String, u32)]) -> Result<(), JsValue> {
        let queue = self.bindings.queue(queue).ok_or_else(|| JsValue::from_str("the queue is not bound"))?;
        let messages = Array::new();
        for (text, delay_secs) in texts {
            let message = Object::new();
            Reflect::set(&message, &JsValue::from_str("body"), &JSON::parse(text)?)?;
            Reflect::set(&message, &JsValue::from_str("contentType"), &JsValue::from_str("json"))?;
            let delay = JsValue::from_f64(f64::from((*delay_secs).min(DELAY_SECS_MAX)));
            Reflect::set(&message, &JsValue::from_str("delaySeconds"), &delay)?;
            messages.push(&message);
        }
        JsFuture::from(queue.send_batch(messages, JsValue::UNDEFINED)?).await.map(|_| ())
    }
}

#[async_trait(?Send)]
impl Queue for WritesQueue {
    async fn ring(&self, doorbells: Vec<Doorbell>, delay_secs: u32) -> Result<(), QueueUnavailable> {
        let message = |bell: &Doorbell| Some((serde_json::to_string(bell).ok()?, delay_secs));
        for (crm, queue) in [(Crm::Hubspot, HUBSPOT_WRITES_QUEUE), (Crm::Salesforce, SALESFORCE_WRITES_QUEUE)] {
            let of_crm = doorbells.iter().filter(|bell| bell.connection.crm == crm);
            self.0.send(queue, of_crm.filter_map(message).collect()).await?;
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Queue for ChecksQueue {
    async fn ring(&self, _: Vec<Doorbell>, _: u32) -> Result<(), QueueUnavailable> {
        Err(QueueUnavailable)
    }

    async fn check(&self, rounds: Vec<(CheckRound, u32)>) -> Result<(), QueueUnavailable> {
        let message = |(round, delay): &(CheckRound, u32)| Some((serde_json::to_string(round).ok()?, *delay));
        self.0.send(CHECKS_QUEUE, rounds.iter().filter_map(message).collect()).await
    }
}

/// Messages in order, in chunks within both limits.
fn chunks(messages: Vec<(String, u32)>) -> Vec<Vec<(String, u32)>> {
    let mut chunks: Vec<Vec<(String, u32)>> = Vec::new();
    let mut bytes = 0_usize;
    for message in messages {
        let length = message.0.len();
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MESSAGES_MAX && bytes + length <= BYTES_MAX => {
                bytes += length;
                chunk.push(message);
            }
            _ => {
                bytes = length;
                chunks.push(vec![message]);
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, MESSAGES_MAX, chunks};

    #[test]
    fn no_chunk_is_over_a_limit_and_none_is_lost() {
        let small = chunks((0..250).map(|n| (n.to_string(), n)).collect());
        assert_eq!(small.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
        let large = chunks((0..30).map(|n| ("x".repeat(50_000), n)).collect());
        assert!(large.iter().all(|chunk| chunk.len() <= MESSAGES_MAX));
        assert!(large.iter().all(|chunk| chunk.iter().map(|(text, _)| text.len()).sum::<usize>() <= BYTES_MAX));
        assert_eq!(large.iter().map(Vec::len).sum::<usize>(), 30);
        assert!(chunks(Vec::new()).is_empty());
    }
}
