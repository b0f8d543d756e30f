//! A JSON Web Key Set (RFC 7517) and which of its keys may check a token: pure, without fetching or arithmetic.

use crypto::jwt::Algorithm;
use serde_json::{Value, json};

/// A set of more keys than this is cut: a host product has two or three.
const KEYS_MAX: usize = 32;

/// The public keys of the host product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a document; `None` when it is not a key set.
    pub fn parse(text: &str) -> Option<Self> {
        let Value::Array(mut keys) = serde_json::from_str::<Value>(text).ok()?.get_mut("keys")?.take() else {
            return None;
        };
        keys.truncate(KEYS_MAX);
        Some(Self { keys })
    }

    /// The keys, as WebCrypto imports them, that may check a signature of this algorithm. A `kid` selects exactly; without
    /// one every key of the fitting kind may be tried. A key for another algorithm or use is never chosen.
    pub fn candidates(&self, alg: Algorithm, kid: Option<&str>) -> Vec<Value> {
        self.keys
            .iter()
            .filter(|key| {
                let is = |name: &str, value: &str| text(key, name) == Some(value);
                let absent_or = |name: &str, value: &str| key.get(name).is_none() || is(name, value);
                let fits = match alg {
                    Algorithm::Rs256 => is("kty", "RSA"),
                    Algorithm::Es256 => is("kty", "EC") && is("crv", "P-256"),
                    Algorithm::Hs256 => false,
                };
                fits && absent_or("alg", alg.as_str())
                    && absent_or("use", "sig")
                    && kid.is_none_or(|kid| is("kid", kid))
            })
            .map(|key| public_part(alg, key))
            .collect()
    }
}

fn text<'a>(key: &'a Value, name: &str) -> Option<&'a str> {
    key.get(name).and_then(Value::as_str)
}

/// The numbers only: members such as `key_ops` or `ext` could make the import refuse a good key.
fn public_part(alg: Algorithm, key: &Value) -> Value {
    let of = |name: &str| text(key, name).unwrap_or_default();
    match alg {
        Algorithm::Es256 => json!({"kty": "EC", "crv": "P-256", "x": of("x"), "y": of("y")}),
        _ => json!({"kty": "RSA", "n": of("n"), "e": of("e")}),
    }
}

#[cfg(test)]
mod tests {
    use super::KeySet;
    use crypto::jwt::Algorithm;

    const SET: &str = r#"{"keys":[
        {"kty":"RSA","kid":"r1","alg":"RS256","use":"sig","n":"n1","e":"AQAB","key_ops":["verify"]},
        {"kty":"RSA","kid":"r2","use":"enc","n":"n2","e":"AQAB"},
        {"kty":"RSA","kid":"r3","alg":"RS512","n":"n3","e":"AQAB"},
        {"kty":"RSA","kid":"r4","n":"n4","e":"AQAB"},
        {"kty":"EC","kid":"e1","crv":"P-256","x":"x1","y":"y1"},
        {"kty":"EC","kid":"e2","crv":"P-384","x":"x2","y":"y2"},
        {"kty":"oct","kid":"o1","k":"c2VjcmV0"}]}"#;

    #[test]
    fn only_a_fitting_key_is_a_candidate() {
        let set = KeySet::parse(SET).unwrap();
        for (alg, kid, numbers) in [
            (Algorithm::Rs256, Some("r1"), vec!["n1"]),
            (Algorithm::Rs256, None, vec!["n1", "n4"]),
            (Algorithm::Rs256, Some("r2"), vec![]),
            (Algorithm::Rs256, Some("r3"), vec![]),
            (Algorithm::Rs256, Some("e1"), vec![]),
            (Algorithm::Es256, Some("e1"), vec!["x1"]),
            (Algorithm::Es256, None, vec!["x1"]),
            (Algorithm::Es256, Some("r1"), vec![]),
            (Algorithm::Hs256, Some("o1"), vec![]),
            (Algorithm::Hs256, None, vec![]),
        ] {
            let found = set.candidates(alg, kid);
            let field = if alg == Algorithm::Es256 { "x" } else { "n" };
            let found: Vec<&str> = found.iter().map(|key| key[field].as_str().unwrap()).collect();
            assert_eq!(found, numbers, "{alg:?} {kid:?}");
        }
    }

    #[test]
    fn what_is_not_a_set_is_none() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert_eq!(KeySet::parse(text), None, "{text}");
        }
    }
}
