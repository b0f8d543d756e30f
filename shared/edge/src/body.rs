//! Reads a body no further than a limit, chunk by chunk: a caller's `Content-Length` is a claim, not a fact.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

use crate::js;

/// So much of what is over the limit is read and forgotten, in bytes: a caller who is still sending when the connection
/// closes sees a broken pipe instead of the refusal.
const DRAINED_MAX: usize = 8 * 1024 * 1024;

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// At most the limit.
    pub bytes: Vec<u8>,
    /// There was more.
    pub cut: bool,
}

/// Reads up to `max` bytes. No stream is an empty body. `Err`: the connection broke.
pub async fn read(stream: Option<ReadableStream>, max: usize) -> Result<Read, JsValue> {
    let mut read = Read { bytes: Vec::new(), cut: false };
    let Some(stream) = stream else { return Ok(read) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut drained = 0_usize;
    loop {
        let step = JsFuture::from(reader.read()).await?;
        let Some(chunk) = js::property(&step, "value") else { return Ok(read) };
        let chunk = Uint8Array::new(&chunk).to_vec();
        let room = max.saturating_sub(read.bytes.len());
        read.bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            read.cut = true;
            drained = drained.saturating_add(chunk.len());
        }
        if drained > DRAINED_MAX {
            // Nobody waits for the rest; a failing cancel changes nothing.
            let _ = reader.cancel();
            return Ok(read);
        }
    }
}
