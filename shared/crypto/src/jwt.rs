//! The host product's JWT (RFC 7519, RFC 7515 compact form, RFC 8725): everything but I/O and public-key arithmetic.
//!
//! In scope: the form, the algorithm, HS256, and the claims. Out of scope: RS256 and ES256 arithmetic and fetching the JWKS;
//! the edge does both with what [`JwksCheck`] hands it, and reports the verdict.
//!
//! The order cannot be got wrong, because the types allow no other: [`parse`] gives an [`Unverified`], whose claims come
//! out only with a good signature, and [`check_claims`] makes the [`Identity`]. The algorithm is the configuration's choice,
//! never the token's: a deployment with a secret accepts HS256 only, one with a JWKS never does (a JWKS is public, and an
//! HMAC under public bytes is anybody's).

mod claims;

pub use claims::{Claims, Expected, Identity, LEEWAY_SECS, check_claims, user_id_of};

use crate::{json, mac, text};
use model::Secret;
use serde_json::Value;

/// A longer token is refused unread, in bytes.
pub const LENGTH_MAX: usize = 8 * 1024;

/// A shorter secret is refused: RFC 7518 section 3.2 wants as many bits as the hash has.
pub const SECRET_BYTES_MIN: usize = 32;

/// A `kid` is compared with those of the JWKS and nothing else; none is this long, in bytes.
const KID_LENGTH_MAX: usize = 256;

/// Header members with which a token would bring its own key, or demand an extension that is not implemented.
const FORBIDDEN_HEADERS: [&str; 5] = ["crit", "jwk", "jku", "x5u", "x5c"];

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not a JWT of the accepted form: parts, size, base64url, JSON, repeated names, a missing or odd `exp`.
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// The header holds a member that must not be obeyed.
    #[error("the token's header holds `{0}`")]
    ForbiddenHeader(&'static str),
    /// `none`, an algorithm that is not accepted at all, or one that does not belong to the configured kind of key.
    #[error("the token's algorithm is not the configured one")]
    Algorithm,
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// The configured HS256 secret is too short to be safe: the deployment's fault, not the caller's.
    #[error("the configured JWT secret has fewer than {SECRET_BYTES_MIN} bytes")]
    WeakSecret,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iss` is not the expected one.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` does not hold the expected one.
    #[error("the token is for another audience")]
    Audience,
    /// `sub` is missing, empty or not text.
    #[error("the token names no subject")]
    Subject,
}

/// The accepted algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-256 under a shared secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256; the signature is `r` and `s`, 64 bytes.
    Es256,
}

/// What kind of key the deployment has configured. It decides which algorithms a token may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A shared secret: HS256 only.
    Secret,
    /// A JWKS URL: RS256 and ES256 only.
    Jwks,
}

impl Algorithm {
    /// The name in the header; also the `alg` of a JWK that may verify it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The only kind of key this algorithm may be checked with.
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::Hs256 => KeyKind::Secret,
            Self::Rs256 | Self::Es256 => KeyKind::Jwks,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Hs256, Self::Rs256, Self::Es256].into_iter().find(|alg| alg.as_str() == text)
    }
}

/// A token of good form that nobody vouches for yet. No `Debug`: with its signature it is a password.
pub struct Unverified {
    alg: Algorithm,
    kid: Option<String>,
    signing_input: String,
    signature: Vec<u8>,
    claims: Claims,
}

/// Reads a compact JWT. Nothing in it is believed yet.
pub fn parse(token: &str) -> Result<Unverified, JwtError> {
    if token.len() > LENGTH_MAX {
        return Err(JwtError::Malformed);
    }
    let (signing_input, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = signing_input.split_once('.').ok_or(JwtError::Malformed)?;
    let object = |part| text::from_url(part).and_then(|bytes| json::strict_object(&bytes)).ok_or(JwtError::Malformed);
    let header = object(header)?;
    if let Some(name) = FORBIDDEN_HEADERS.into_iter().find(|name| header.contains_key(*name)) {
        return Err(JwtError::ForbiddenHeader(name));
    }
    let alg = header.get("alg").and_then(Value::as_str).ok_or(JwtError::Malformed)?;
    let alg = Algorithm::parse(alg).ok_or(JwtError::Algorithm)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= KID_LENGTH_MAX => Some(kid.clone()),
        Some(_) => return Err(JwtError::Malformed),
    };
    Ok(Unverified {
        alg,
        kid,
        signing_input: signing_input.to_owned(),
        signature: text::from_url(signature).ok_or(JwtError::Malformed)?,
        claims: Claims::new(object(claims)?),
    })
}

impl Unverified {
    /// The algorithm the header names: a claim, to be compared with the configuration.
    pub const fn alg(&self) -> Algorithm {
        self.alg
    }

    /// The key the header names: it may select from the configured keys, and nothing else.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What the edge needs to check the signature against a JWKS; refused for HS256.
    pub fn for_jwks(&self) -> Result<JwksCheck<'_>, JwtError> {
        self.require(KeyKind::Jwks)?;
        if self.alg == Algorithm::Es256 && self.signature.len() != 64 {
            return Err(JwtError::Signature);
        }
        Ok(JwksCheck {
            alg: self.alg,
            kid: self.kid(),
            signing_input: self.signing_input.as_bytes(),
            signature: &self.signature,
            claims: &self.claims,
        })
    }

    fn require(&self, kind: KeyKind) -> Result<(), JwtError> {
        if self.alg.key_kind() == kind { Ok(()) } else { Err(JwtError::Algorithm) }
    }
}

/// The claims, if the token is HS256 and signed with this secret (its UTF-8 bytes). Compared in constant time.
pub fn verify_hs256<'a>(secret: &Secret<String>, token: &'a Unverified) -> Result<&'a Claims, JwtError> {
    token.require(KeyKind::Secret)?;
    if secret.expose().len() < SECRET_BYTES_MIN {
        return Err(JwtError::WeakSecret);
    }
    let expected = mac::hmac_sha256(secret.expose().as_bytes(), token.signing_input.as_bytes());
    if mac::same_bytes(&expected, &token.signature) { Ok(&token.claims) } else { Err(JwtError::Signature) }
}

/// An RS256 or ES256 signature for the edge to check with WebCrypto.
pub struct JwksCheck<'a> {
    /// RS256 or ES256; the JWK's `kty` must fit it (`RSA`, `EC` with `crv` `P-256`), and its `alg`, if it has one, be equal.
    pub alg: Algorithm,
    /// Which key of the JWKS; without one, every key of the fitting type may be tried.
    pub kid: Option<&'a str>,
    /// The signed bytes.
    pub signing_input: &'a [u8],
    /// The signature; for ES256 `r` and `s`, 64 bytes, as WebCrypto takes it.
    pub signature: &'a [u8],
    claims: &'a Claims,
}

/// What the edge's signature check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A configured key verifies it.
    Good,
    /// No configured key does.
    Bad,
}

impl<'a> JwksCheck<'a> {
    /// The claims, if the verdict is good.
    pub fn conclude(self, verdict: Verdict) -> Result<&'a Claims, JwtError> {
        match verdict {
            Verdict::Good => Ok(self.claims),
            Verdict::Bad => Err(JwtError::Signature),
        }
    }
}

#[cfg(test)]
mod tests;
