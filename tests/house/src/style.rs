//! The pages' stylesheet is inline, and the Content-Security-Policy lets it in by its hash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

#[test]
fn the_policy_names_the_stylesheet_there_is() {
    let hash = STANDARD.encode(Sha256::digest(pages::STYLE));
    assert_eq!(pages::STYLE_SHA256, hash, "put the right one into shared/pages");
}
