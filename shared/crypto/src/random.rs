//! Chance: the port, the system's generator, and a repeatable one for tests.
//!
//! Out of scope: deciding anything by chance (`model::backoff` takes a number).

use crate::digest;
use std::cell::Cell;

/// A source of bytes that nobody can guess.
pub trait Random {
    /// Fills all of `bytes`, or none that may be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom>;
}

/// The system gave no random bytes. In a Worker this happens in global scope, where `crypto.getRandomValues` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator is not available")]
pub struct NoRandom;

/// The system's generator: `getrandom(2)` natively, `crypto.getRandomValues` in a Worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        getrandom::fill(bytes).map_err(|_| NoRandom)
    }
}

/// `N` random bytes.
pub fn array<const N: usize>(random: &dyn Random) -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

/// A number, uniform over `u32`: the `chance` of `model::backoff`.
pub fn number(random: &dyn Random) -> Result<u32, NoRandom> {
    array(random).map(u32::from_be_bytes)
}

/// The same bytes for the same seed: block `n` is SHA-256 of the seed and `n`, and every call begins a new block.
///
/// **Never for production**: whoever knows the seed knows every byte. For tests, the simulator and frozen vectors.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    blocks: Cell<u64>,
}

impl SeededRandom {
    /// A source that repeats itself for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed, blocks: Cell::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        for chunk in bytes.chunks_mut(digest::SIZE) {
            let n = self.blocks.get();
            self.blocks.set(n.wrapping_add(1));
            let block = digest::of_parts("conduit.seeded-random.v1", &[&self.seed.to_be_bytes(), &n.to_be_bytes()]);
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{OsRandom, Random, SeededRandom, array, number};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_seed_repeats_itself_and_no_other() {
        let take = |seed| {
            let random = SeededRandom::new(seed);
            let mut long = [0; 80];
            random.fill(&mut long).unwrap();
            (long, array::<16>(&random).unwrap(), number(&random).unwrap())
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn the_system_answers_and_does_not_repeat_itself() {
        assert_ne!(array::<32>(&OsRandom).unwrap(), array::<32>(&OsRandom).unwrap());
    }
}
