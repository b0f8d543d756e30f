//! Reads a body no further than a limit, chunk by chunk: a caller's `Content-Length` is a claim, not a fact.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamGetReaderOptions, ReadableStreamReaderMode};

use crate::js;

/// So much of what is over the limit is read and forgotten, in bytes: a caller who is still sending when the connection
/// closes sees a broken pipe instead of the refusal.
const DRAINED_MAX: usize = 8 * 1024 * 1024;

/// So much is read at once: bodies come in pieces of 4 KB, each of which would be a wait of its own.
const PIECE_BYTES: u32 = 64 * 1024;

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// At most the limit.
    pub bytes: Vec<u8>,
    /// There was more.
    pub cut: bool,
}

#[wasm_bindgen]
extern "C" {
    /// A BYOB reader with the platform's own method: fewer bytes than were asked for come only at the end.
    type Reader;
    #[wasm_bindgen(method, catch, js_name = readAtLeast)]
    fn read_at_least(this: &Reader, bytes: u32, into: &Uint8Array) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method)]
    fn cancel(this: &Reader) -> Promise;
}

/// Reads up to `max` bytes. No stream is an empty body. `Err`: the connection broke.
pub async fn read(stream: Option<ReadableStream>, max: usize) -> Result<Read, JsValue> {
    let mut read = Read { bytes: Vec::new(), cut: false };
    let Some(stream) = stream else { return Ok(read) };
    let options = ReadableStreamGetReaderOptions::new();
    options.set_mode(ReadableStreamReaderMode::Byob);
    let reader: Reader = stream.get_reader_with_options(&options).unchecked_into();
    let mut drained = 0_usize;
    let mut piece = Uint8Array::new_with_length(PIECE_BYTES);
    loop {
        let step = JsFuture::from(reader.read_at_least(PIECE_BYTES, &piece)?).await?;
        let Some(value) = js::property(&step, "value") else { return Ok(read) };
        let filled: Uint8Array = value.unchecked_into();
        let length = filled.length();
        let room = max.saturating_sub(read.bytes.len());
        let taken = filled.subarray(0, u32::try_from(room).unwrap_or(length).min(length));
        let from = read.bytes.len();
        read.bytes.resize(from + taken.length() as usize, 0);
        if let Some(space) = read.bytes.get_mut(from..) {
            taken.copy_to(space);
        }
        if length > taken.length() {
            read.cut = true;
            drained = drained.saturating_add(length as usize);
        }
        if length < PIECE_BYTES {
            return Ok(read);
        }
        if drained > DRAINED_MAX {
            // Nobody waits for the rest; a failing cancel changes nothing.
            let _ = reader.cancel();
            return Ok(read);
        }
        // The old one is detached: its memory is in the new one.
        piece = Uint8Array::new(&filled.buffer());
    }
}
