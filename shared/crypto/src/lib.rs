//! The one crypto crate: the token vault, key ring, state tokens, PKCE, service tokens, PII hashing, idempotency keys,
//! MACs, and the checks of the host product's JWT.
//!
//! In scope: pure functions over bytes and text; chance comes in through [`random::Random`], time as a value.
//! Out of scope: storage, HTTP, clocks, and RS256/ES256 signatures, which the edge checks with WebCrypto (20 times faster
//! than wasm, and no RSA crate in the bundle).
//!
//! Every hash has its own domain prefix and length-prefixed parts, so that a value made for one purpose is never valid for
//! another, and `ab|c` never meets `a|bc`.

pub mod audit_chain;
pub mod id;
pub mod idempotency;
pub mod jwt;
pub mod keyring;
pub mod mac;
pub mod one_time;
pub mod pii;
pub mod pkce;
pub mod random;
pub mod service_token;
pub mod state;
pub mod vault;
pub mod webhook;

mod aead;
mod digest;
mod json;
mod text;

#[cfg(test)]
mod wycheproof;

pub use idempotency::IdempotencyKey;
pub use keyring::Keyring;
pub use random::{NoRandom, OsRandom, Random, SeededRandom};
pub use vault::{Aad, Column, Sealed};
