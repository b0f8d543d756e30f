//! Reads a body no further than a limit, chunk by chunk: a caller's `Content-Length` is a claim, not a fact.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

use crate::js;

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// At most the limit.
    pub bytes: Vec<u8>,
    /// There was more.
    pub cut: bool,
}

/// Reads up to `max` bytes; the rest is cancelled. No stream is an empty body. `Err`: the connection broke.
pub async fn read(stream: Option<ReadableStream>, max: usize) -> Result<Read, JsValue> {
    let Some(stream) = stream else { return Ok(Read { bytes: Vec::new(), cut: false }) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    loop {
        let step = JsFuture::from(reader.read()).await?;
        let Some(chunk) = js::property(&step, "value") else { return Ok(Read { bytes, cut: false }) };
        let chunk = Uint8Array::new(&chunk).to_vec();
        let room = max.saturating_sub(bytes.len());
        bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            // Nobody waits for the rest; a failing cancel changes nothing.
            let _ = reader.cancel();
            return Ok(Read { bytes, cut: true });
        }
    }
}
