//! What the vault promises, one test per promise.

use super::{Aad, Column, OpenError, key_id_of, needs_reseal, open, seal};
use crate::keyring::Keyring;
use crate::random::{NoRandom, OsRandom, Random, SeededRandom};
use crate::text;
use model::Secret;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const AAD: Aad<'static> = Aad { scope: "ws_acme", connection: "cx_1", column: Column::RefreshToken, generation: 7 };
const TOKEN: &str = "5Aep861Opaque";
/// Made by another implementation (Node's `crypto`) from the same key, nonce and AAD.
const FROZEN: &str = "v1.0922046d.CyL9USt5FodK0wIa.dw3y2DGg1dcJchSrOUXk8BlMPnX__unigk_uv8Y";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn ring(current: u8, previous: &[u8]) -> Keyring {
    let text = |byte: &u8| text::to_standard(&[*byte; 32]);
    let previous = previous.iter().map(text).collect::<Vec<_>>().join(",");
    Keyring::from_base64(&secret(&text(&current)), Some(&secret(&previous))).unwrap()
}

fn sealed() -> String {
    seal(&ring(1, &[]), &OsRandom, &AAD, &secret(TOKEN)).unwrap().into_string()
}

#[test]
fn what_is_sealed_opens_in_the_same_place() {
    for plain in ["", "x", TOKEN, "Grüße \u{0} \u{1F511}", &"t".repeat(10_000)] {
        for column in Column::ALL {
            let aad = Aad { column, ..AAD };
            let sealed = seal(&ring(1, &[]), &OsRandom, &aad, &secret(plain)).unwrap();
            assert_eq!(open(&ring(1, &[]), &aad, sealed.as_str()).unwrap().expose(), plain);
        }
    }
}

#[test]
fn the_format_is_frozen() {
    let made = seal(&ring(1, &[]), &SeededRandom::new(1), &AAD, &secret(TOKEN)).unwrap();
    assert_eq!(made.as_str(), FROZEN);
    assert_eq!(open(&ring(1, &[]), &AAD, FROZEN).unwrap().expose(), TOKEN);
}

#[test]
fn another_place_does_not_open() {
    let sealed = sealed();
    for aad in [
        Aad { scope: "ws_acm", ..AAD },
        Aad { scope: "ws_acmecx_1", connection: "", ..AAD },
        Aad { scope: "ws_acmec", connection: "x_1", ..AAD },
        Aad { connection: "cx_2", ..AAD },
        Aad { column: Column::AccessToken, ..AAD },
        Aad { generation: 6, ..AAD },
        Aad { generation: 8, ..AAD },
    ] {
        assert_eq!(open(&ring(1, &[]), &aad, &sealed).err(), Some(OpenError::Forged), "{aad:?}");
    }
}

#[test]
fn a_change_of_any_character_does_not_open() {
    let sealed = sealed();
    for at in 0..sealed.len() {
        for to in [b'A', b'B', b'.', b'=', b'0', b'-', b'/', b' ', 0] {
            let mut bytes = sealed.clone().into_bytes();
            if bytes[at] == to {
                continue;
            }
            bytes[at] = to;
            assert!(open(&ring(1, &[]), &AAD, &String::from_utf8(bytes).unwrap()).is_err(), "{at} to {to}");
        }
    }
}

#[test]
fn a_flip_of_any_bit_of_nonce_ciphertext_or_tag_is_forged() {
    let sealed = sealed();
    let parts: Vec<&str> = sealed.split('.').collect();
    for (part, bytes) in [(2, text::from_url(parts[2]).unwrap()), (3, text::from_url(parts[3]).unwrap())] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = text::to_url(&flipped);
            let mut parts = parts.clone();
            parts[part] = &flipped;
            assert_eq!(open(&ring(1, &[]), &AAD, &parts.join(".")).err(), Some(OpenError::Forged));
        }
    }
}

#[test]
fn no_truncation_and_no_addition_opens() {
    let sealed = sealed();
    for end in 0..sealed.len() {
        assert!(open(&ring(1, &[]), &AAD, &sealed[..end]).is_err(), "{end}");
        assert!(open(&ring(1, &[]), &AAD, &sealed[end + 1..]).is_err(), "{end}");
    }
    for more in ["A", ".", "=", " ", "\n", ".AAAA"] {
        assert!(open(&ring(1, &[]), &AAD, &format!("{sealed}{more}")).is_err(), "{more}");
        assert!(open(&ring(1, &[]), &AAD, &format!("{more}{sealed}")).is_err(), "{more}");
    }
}

#[test]
fn each_kind_of_bad_text_has_its_error() {
    let id = ring(1, &[]).current_id().to_owned();
    for (text, expected) in [
        ("", OpenError::Truncated),
        ("v1", OpenError::Truncated),
        ("v1.", OpenError::Truncated),
        ("pat-na1-11111111", OpenError::Truncated),
        ("v2.x", OpenError::UnknownVersion),
        ("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", OpenError::UnknownVersion),
        ("v1.abc.AAAAAAAAAAAAAAAA.AAAA", OpenError::Malformed),
        ("v1.ABCDEF01.AAAAAAAAAAAAAAAA.AAAA", OpenError::Malformed),
        (&format!("v1.{id}.AAAA.AAAA"), OpenError::Malformed),
        (&format!("v1.{id}.AAAAAAAAAAAAAAAA.AAAA"), OpenError::Truncated),
        (&format!("v1.{id}.AAAAAAAAAAAAAAAA.A+//"), OpenError::Malformed),
        (&format!("v1.{id}.AAAAAAAAAAAAAAAA.{}.x", "A".repeat(24)), OpenError::Malformed),
        (&format!("v1.{id}.AAAAAAAAAAAAAAAA.{}", "A".repeat(24)), OpenError::Forged),
    ] {
        assert_eq!(open(&ring(1, &[]), &AAD, text).err(), Some(expected), "{text}");
    }
}

#[test]
fn no_error_shows_the_text() {
    for text in ["secret-token", "secret.token", "v1.secret-t.token.", "secret.a.b.c"] {
        let error = open(&ring(1, &[]), &AAD, text).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("secret"), "{text}");
    }
}

#[test]
fn arbitrary_input_never_panics() {
    let random = SeededRandom::new(3);
    for length in 0..600 {
        let mut bytes = vec![0; length % 97];
        random.fill(&mut bytes).unwrap();
        let garbage = String::from_utf8_lossy(&bytes).into_owned();
        for text in [garbage.clone(), format!("v1.{garbage}"), format!("v1.00000000.AAAAAAAAAAAAAAAA.{garbage}")] {
            assert!(open(&ring(1, &[]), &AAD, &text).is_err());
            assert!(!needs_reseal(&ring(1, &[]), &text));
        }
    }
}

#[test]
fn a_previous_key_opens_and_asks_for_resealing() {
    let sealed = sealed();
    let rotated = ring(2, &[3, 1]);
    assert_eq!(open(&rotated, &AAD, &sealed).unwrap().expose(), TOKEN);
    assert!(needs_reseal(&rotated, &sealed));
    let again = seal(&rotated, &OsRandom, &AAD, &secret(TOKEN)).unwrap();
    assert_eq!(key_id_of(again.as_str()), Some(rotated.current_id()));
    assert!(!needs_reseal(&rotated, again.as_str()));
}

#[test]
fn a_removed_key_is_named() {
    let sealed = sealed();
    let id = key_id_of(&sealed).unwrap().to_owned();
    assert_eq!(id, ring(1, &[]).current_id());
    assert_eq!(open(&ring(2, &[3]), &AAD, &sealed).err(), Some(OpenError::UnknownKey(id)));
    assert!(!needs_reseal(&ring(2, &[3]), &sealed));
}

#[test]
fn a_text_relabelled_with_another_key_is_forged() {
    let both = ring(2, &[1]);
    let sealed = sealed();
    let relabelled = sealed.replace(key_id_of(&sealed).unwrap(), both.current_id());
    assert_eq!(open(&both, &AAD, &relabelled).err(), Some(OpenError::Forged));
}

#[test]
fn two_seals_of_one_value_differ() {
    assert_ne!(sealed(), sealed());
}

#[test]
fn without_chance_nothing_is_sealed() {
    struct Broken;
    impl Random for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), NoRandom> {
            Err(NoRandom)
        }
    }
    assert!(seal(&ring(1, &[]), &Broken, &AAD, &secret(TOKEN)).is_err());
}
