//! Who may operate this deployment: whoever holds `OPERATOR_TOKEN`.

use flows::Error;
use worker::Env;

use crate::{Request, js};

/// The secret's name.
const OPERATOR_TOKEN: &str = "OPERATOR_TOKEN";

/// A shorter one can be guessed.
const TOKEN_CHARS_MIN: usize = 24;

/// Refuses everybody else, in a time that tells nothing of the token.
pub fn require(env: &Env, request: &Request) -> Result<(), Error> {
    let token = js::text(env.as_ref(), OPERATOR_TOKEN).filter(|token| token.len() >= TOKEN_CHARS_MIN);
    let token = token.ok_or(Error::SecretMissing(OPERATOR_TOKEN))?;
    let given = request.bearer().ok_or(Error::OperatorRequired)?;
    if crypto::mac::is_same(token.as_bytes(), given.as_bytes()) { Ok(()) } else { Err(Error::OperatorRequired) }
}
