//! Chance with a memory: every id, token and shuffle comes from a seed and a counter kept in the state, so that a replay is exact.
//!
//! Not fit for secrets, and not meant to be: the stand-in's tokens guard nothing. The generator is `SplitMix64`
//! (Steele, Lea, Flood 2014).

use serde::{Deserialize, Serialize};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A seeded generator that knows how often it was asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    /// The generator's beginning for a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        let mut word = self.seed.wrapping_add(self.drawn.wrapping_mul(GOLDEN));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        if end == 0 { 0 } else { usize::try_from(self.bits() % end).unwrap_or(0) }
    }

    /// `length` letters and digits.
    pub fn letters(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(ALPHABET.get(self.below(ALPHABET.len())).copied().unwrap_or(b'A'))).collect()
    }

    /// A UUID in the version 4 shape.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// A UUID that begins with its time, as version 7 does: a stand-in that starts anew repeats its chance, but not this.
    pub fn uuid_of_time(&mut self, now_ms: i64) -> String {
        let uuid = self.uuid();
        let (_, rest) = uuid.split_at(13);
        format!("{:08x}-{:04x}{rest}", now_ms >> 16, now_ms & 0xffff)
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        assert_eq!(one.uuid(), two.uuid());
        assert_eq!(one.letters(40), two.letters(40));
        assert_ne!(one.letters(40), Random::new(8).letters(40));
        let id = one.uuid();
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "{id}");
    }
}
