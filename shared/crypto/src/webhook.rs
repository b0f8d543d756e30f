//! Signing outgoing webhooks by the Standard Webhooks specification (standardwebhooks.com, version 1, symmetric):
//! `v1,` and the base64 of HMAC-SHA-256 over `<id>.<timestamp>.<body>`, under the bytes of a secret written `whsec_<base64>`.

use crate::{mac, text};
use model::Secret;

/// A secret has 24 to 64 bytes, says the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The value of `webhook-signature`; none when the secret is not one. `timestamp_secs` is Unix time in seconds, as in
/// `webhook-timestamp`; the body is signed as it is sent.
pub fn sign(secret: &Secret<String>, id: &str, timestamp_secs: i64, body: &str) -> Option<String> {
    let key = text::from_standard(secret.expose().strip_prefix("whsec_")?)?;
    if !SECRET_BYTES.contains(&key.len()) {
        return None;
    }
    let message = format!("{id}.{timestamp_secs}.{body}");
    Some(format!("v1,{}", mac::hmac_sha256_base64(&key, message.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::sign;
    use model::Secret;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_specifications_example_is_signed_alike() {
        // From the reference libraries' test suites.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signature = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for text in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, really not"]
        {
            assert_eq!(sign(&Secret::new(text.to_owned()), "msg_1", 1, "{}"), None, "{text}");
        }
    }
}
