//! Pages of a list: how many rows one may have, and the refusal of a cursor that is none. What a cursor is, each list says.

use crate::Error;

/// A page has at most this many rows.
const PAGE_MAX: u32 = 100;

/// How many rows the caller asked for, as it came in the query.
pub(crate) fn limit(asked: Option<&str>, otherwise: u32) -> Result<u32, Error> {
    asked
        .map_or(Some(otherwise), |text| text.parse().ok())
        .filter(|limit| (1..=PAGE_MAX).contains(limit))
        .ok_or(Error::Parameter { name: "limit", rule: "must be a number from 1 to 100" })
}

/// A cursor that no page gave out.
pub(crate) const fn not_a_cursor() -> Error {
    Error::Parameter { name: "cursor", rule: "must be the `next_cursor` of the page before" }
}
