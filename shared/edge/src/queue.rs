//! [`flows::world::Queue`] on Cloudflare Queues: doorbells as JSON messages, in as few `sendBatch` calls as its limits allow.

use std::rc::Rc;

use async_trait::async_trait;
use flows::world::{Log, Queue, QueueUnavailable};
use js_sys::{Array, JSON, Object, Reflect};
use model::doorbell::Doorbell;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use crate::bindings::Bindings;
use crate::js;
use crate::log::Lines;

/// `sendBatch` takes 100 messages.
const MESSAGES_MAX: usize = 100;
/// And 256 KB, our share of which leaves room for the platform's own 100 bytes a message.
const BYTES_MAX: usize = 200_000;
/// A message may wait 24 hours in a queue; half of that is the port's promise.
const DELAY_SECS_MAX: u32 = 12 * 3_600;

/// The doorbell.
pub struct WritesQueue {
    bindings: Rc<Bindings>,
    log: Rc<Lines>,
}

impl WritesQueue {
    /// The doorbell of a request.
    pub const fn new(bindings: Rc<Bindings>, log: Rc<Lines>) -> Self {
        Self { bindings, log }
    }

    async fn send(&self, texts: &[String], delay_secs: u32) -> Result<(), JsValue> {
        let queue = self.bindings.writes_queue().ok_or_else(|| JsValue::from_str("the queue is not bound"))?;
        let messages = Array::new();
        for text in texts {
            let message = Object::new();
            Reflect::set(&message, &JsValue::from_str("body"), &JSON::parse(text)?)?;
            Reflect::set(&message, &JsValue::from_str("contentType"), &JsValue::from_str("json"))?;
            let delay = JsValue::from_f64(f64::from(delay_secs.min(DELAY_SECS_MAX)));
            Reflect::set(&message, &JsValue::from_str("delaySeconds"), &delay)?;
            messages.push(&message);
        }
        JsFuture::from(queue.send_batch(messages, JsValue::UNDEFINED)?).await.map(|_| ())
    }
}

#[async_trait(?Send)]
impl Queue for WritesQueue {
    async fn ring(&self, doorbells: Vec<Doorbell>, delay_secs: u32) -> Result<(), QueueUnavailable> {
        for chunk in chunks(doorbells.iter().filter_map(|bell| serde_json::to_string(bell).ok())) {
            self.send(&chunk, delay_secs).await.map_err(|thrown| {
                self.log.event("queue_failed", &[("reason", &js::message(&thrown))]);
                QueueUnavailable
            })?;
        }
        Ok(())
    }
}

/// Messages in order, in chunks within both limits.
fn chunks(texts: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    let mut chunks: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0_usize;
    for text in texts {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MESSAGES_MAX && bytes + text.len() <= BYTES_MAX => {
                bytes += text.len();
                chunk.push(text);
            }
            _ => {
                bytes = text.len();
                chunks.push(vec![text]);
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
        let small = chunks((0..250).map(|n| n.to_string()));
        assert_eq!(small.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
        let large = chunks((0..30).map(|_| "x".repeat(50_000)));
        assert!(large.iter().all(|chunk| chunk.len() <= MESSAGES_MAX));
        assert!(large.iter().all(|chunk| chunk.iter().map(String::len).sum::<usize>() <= BYTES_MAX));
        assert_eq!(large.iter().map(Vec::len).sum::<usize>(), 30);
        assert!(chunks(std::iter::empty()).is_empty());
    }
}
