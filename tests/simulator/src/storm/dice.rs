//! Chance of the storm: `SplitMix64` (Steele, Lea, Flood 2014), fast and repeatable. Nothing is kept secret with it.

use crypto::random::{NoRandom, Random};
use std::cell::Cell;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// The stream of a seed; `stream` keeps several of one seed apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        let dice = Self(Cell::new(seed.wrapping_mul(GOLDEN) ^ stream.rotate_left(32)));
        dice.bits();
        dice
    }

    /// 64 bits.
    pub fn bits(&self) -> u64 {
        let state = self.0.get().wrapping_add(GOLDEN);
        self.0.set(state);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Below `end`; 0 when `end` is 0.
    pub fn below(&self, end: usize) -> usize {
        if end == 0 { 0 } else { usize::try_from(self.bits() % end as u64).unwrap_or(0) }
    }

    /// From `low` to `high`, both possible.
    pub fn between(&self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).unwrap_or(0) + 1;
        low + i64::try_from(self.bits() % span).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    pub fn percent(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        items.get(self.below(items.len())).unwrap_or_else(|| unreachable!("nothing to pick from"))
    }
}

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.bits().to_be_bytes();
            chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}
