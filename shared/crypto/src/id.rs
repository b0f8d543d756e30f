//! Bodies of new ids: 128 random bits as 26 characters of Crockford's base32 in lower case.
//!
//! Out of scope: the prefixes (`model::id`), and a write's id, which is derived from its idempotency key.

use crate::random::{NoRandom, Random, array};

/// Crockford's alphabet: no `i`, `l`, `o`, `u`, so that an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 26 characters hold 130 bits: the first one carries three, so it is `0` to `7`.
const CHARS: u32 = 26;

/// A new body, for `ConnectionId::from_body` and its siblings. Not a secret: an id names a thing, it opens nothing.
pub fn mint_body(random: &dyn Random) -> Result<String, NoRandom> {
    let bits = u128::from_be_bytes(array(random)?);
    Ok((0..CHARS)
        .rev()
        .filter_map(|place| ALPHABET.get(((bits >> (5 * place)) & 31) as usize))
        .map(|&byte| char::from(byte))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::mint_body;
    use crate::random::{NoRandom, OsRandom, Random, SeededRandom};
    use model::ConnectionId;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    struct Always(u8);

    impl Random for Always {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn all_128_bits_are_kept() {
        assert_eq!(mint_body(&Always(0)).unwrap(), "0".repeat(26));
        assert_eq!(mint_body(&Always(0xff)).unwrap(), format!("7{}", "z".repeat(25)));
        assert_eq!(mint_body(&SeededRandom::new(1)).unwrap(), mint_body(&SeededRandom::new(1)).unwrap());
    }

    #[test]
    fn a_body_makes_an_id() {
        let body = mint_body(&OsRandom).unwrap();
        assert_eq!(body.len(), 26);
        assert!(ConnectionId::from_body(&body).is_some());
        assert_ne!(body, mint_body(&OsRandom).unwrap());
    }
}
