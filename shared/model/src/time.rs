//! Points in time. Stored and sent as epoch milliseconds (UTC), shown to people and CRMs as ISO-8601.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. A request has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point `secs` seconds later (earlier when negative), saturating.
    #[must_use]
    pub const fn plus_secs(self, secs: i64) -> Self {
        self.plus_ms(secs.saturating_mul(1_000))
    }

    /// The point `ms` milliseconds later, saturating.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// `2026-11-20T09:00:00.000Z`. A value outside of chrono's range (year 262142) reads as the epoch.
    pub fn iso(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// `2026-11-20`, the UTC day.
    pub fn day(self) -> String {
        self.utc().format("%Y-%m-%d").to_string()
    }

    /// Reads `2026-11-20T09:00:00Z` (any offset), Salesforce's `+0000` form, or a bare day, which means midnight UTC.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
            .map(|at| Self(at.timestamp_millis()))
            .ok()
            .or_else(|| {
                let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                Some(Self(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()))
            })
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn iso_text_reads_back() {
        for (text, ms) in [
            ("2026-11-20T09:00:00Z", 1_795_165_200_000),
            ("2026-11-20T09:00:00.000+0000", 1_795_165_200_000),
            ("2026-11-20T10:00:00+01:00", 1_795_165_200_000),
            ("2026-11-20", 1_795_132_800_000),
        ] {
            assert_eq!(Timestamp::parse(text), Some(Timestamp(ms)), "{text}");
        }
        assert_eq!(Timestamp(1_795_165_200_000).iso(), "2026-11-20T09:00:00.000Z");
        assert_eq!(Timestamp(1_795_165_200_000).day(), "2026-11-20");
        assert_eq!(Timestamp::parse("20 November"), None);
    }

    #[test]
    fn out_of_range_does_not_panic() {
        assert_eq!(Timestamp(i64::MAX).iso(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(i64::MAX).plus_secs(1), Timestamp(i64::MAX));
    }
}
