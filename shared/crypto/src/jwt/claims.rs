//! The claims of a token whose signature is good (RFC 7519 section 4.1), and the user they name.
//!
//! Out of scope: what the user may do; membership and role are read from the database, never from a claim.

use super::JwtError;
use crate::{digest, text};
use model::{Timestamp, UserId};
use serde_json::{Map, Value};

/// How far the host product's clock may be off, in seconds; added to `exp`, `nbf` and `iat` alike.
pub const LEEWAY_SECS: i64 = 60;

/// Times beyond the year 9999 are nonsense, in seconds since the epoch.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Marks a user id that holds a hash. A subject of this very form is hashed too, so that nobody can choose a subject that
/// reads as another's hash.
const HASHED: &str = "h_";
const HASH_CHARS: usize = 43;

/// Claims. Opaque: they come out of a verified token, and only [`check_claims`] reads them.
pub struct Claims(Map<String, Value>);

/// What the deployment demands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The exact `iss`; `None` accepts any, also none.
    pub issuer: Option<&'a str>,
    /// What `aud` must be or contain; `None` accepts any, also none.
    pub audience: Option<&'a str>,
}

/// Who is calling, and until when that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The `sub`, as a user id; see [`user_id_of`].
    pub subject: UserId,
    /// The `exp`, without the leeway.
    pub expires_at: Timestamp,
}

impl Claims {
    pub(super) const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A `NumericDate`: seconds since the epoch, perhaps with a fraction, which is dropped.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, JwtError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let secs = value.as_i64().or_else(|| value.as_f64().and_then(whole)).ok_or(JwtError::Malformed)?;
        if (-SECONDS_MAX..=SECONDS_MAX).contains(&secs) {
            Ok(Some(Timestamp(0).plus_secs(secs)))
        } else {
            Err(JwtError::Malformed)
        }
    }

    fn is_for(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::String(only)) => only == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
            _ => false,
        }
    }
}

/// Checks a verified token's claims and names the caller. `exp` and `sub` are required; `nbf` and `iat` are honoured when
/// present.
pub fn check_claims(claims: &Claims, expected: &Expected<'_>, now: Timestamp) -> Result<Identity, JwtError> {
    let expires_at = claims.time("exp")?.ok_or(JwtError::Malformed)?;
    let not_before = claims.time("nbf")?;
    let issued_at = claims.time("iat")?;
    if now >= expires_at.plus_secs(LEEWAY_SECS) {
        return Err(JwtError::Expired);
    }
    if not_before.max(issued_at).is_some_and(|from| now.plus_secs(LEEWAY_SECS) < from) {
        return Err(JwtError::NotYet);
    }
    if expected.issuer.is_some_and(|issuer| claims.text("iss") != Some(issuer)) {
        return Err(JwtError::Issuer);
    }
    if expected.audience.is_some_and(|audience| !claims.is_for(audience)) {
        return Err(JwtError::Audience);
    }
    let subject = claims.text("sub").and_then(user_id_of).ok_or(JwtError::Subject)?;
    Ok(Identity { subject, expires_at })
}

/// The user id of a subject; `None` when it is empty. Whoever writes members into the database uses this too.
///
/// - A subject that is a user id already (`us_…`) is taken as it is.
/// - One of the id alphabet (`[A-Za-z0-9_-]`, up to 64) gets the prefix: UUIDs, numbers, ULIDs.
/// - Any other (`auth0|123`, an e-mail address, a long one) becomes `us_h_` and its SHA-256 in base64url.
///
/// Different subjects give different users, but for `x` and `us_x`: a host product whose users can choose their own
/// subject must not let them begin with `us_`.
pub fn user_id_of(subject: &str) -> Option<UserId> {
    if subject.is_empty() {
        return None;
    }
    let body = subject.strip_prefix(UserId::PREFIX).unwrap_or(subject);
    let looks_hashed = body.strip_prefix(HASHED).is_some_and(|rest| rest.len() == HASH_CHARS);
    let readable = if looks_hashed { None } else { UserId::parse(subject).or_else(|| UserId::from_body(subject)) };
    readable.or_else(|| {
        let hash = digest::of_parts("conduit.jwt-subject.v1", &[subject.as_bytes()]);
        UserId::from_body(&format!("{HASHED}{}", text::to_url(&hash)))
    })
}

/// The whole seconds of a plausible number.
fn whole(secs: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "bounded: far below 2^53, and the fraction is meant to go")]
    (secs.abs() < 1e15).then_some(secs.trunc() as i64)
}
