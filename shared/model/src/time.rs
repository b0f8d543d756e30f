//! Points in time. Stored and sent as epoch milliseconds (UTC), shown to people and CRMs as ISO-8601.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
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
        let t = self.utc();
        let mut text = self.day();
        // Digit by digit: every answer has a few of these, and a formatter takes longer than all the rest of them.
        for (mark, number, digits) in
            [('T', t.hour(), 2), (':', t.minute(), 2), (':', t.second(), 2), ('.', t.nanosecond() / 1_000_000, 3)]
        {
            text.push(mark);
            put_digits(&mut text, number, digits);
        }
        text.push('Z');
        text
    }

    /// `2026-11-20`, the UTC day.
    pub fn day(self) -> String {
        let t = self.utc();
        let mut text = String::with_capacity(24);
        if t.year() < 0 {
            text.push('-');
        }
        put_digits(&mut text, t.year().unsigned_abs(), 4);
        for number in [t.month(), t.day()] {
            text.push('-');
            put_digits(&mut text, number, 2);
        }
        text
    }

    /// Reads `2026-11-20T09:00:00Z` (RFC 3339, any offset), Salesforce's `+0000` form, or a bare day, which means midnight UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let day = NaiveDate::from_ymd_opt(
            i32::try_from(digits(&mut rest, 4)?).ok()?,
            after(&mut rest, "-", 2)?,
            after(&mut rest, "-", 2)?,
        )?;
        if rest.is_empty() {
            return Some(Self(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()));
        }
        if !rest.starts_with(['T', 't', ' ']) {
            return None;
        }
        rest = rest.get(1..)?;
        let (hour, minute, second) = (digits(&mut rest, 2)?, after(&mut rest, ":", 2)?, after(&mut rest, ":", 2)?);
        let ms = fraction_ms(&mut rest)?;
        // RFC 3339 allows a leap second; it reads as the one before.
        let local = day.and_hms_milli_opt(hour, minute, second.min(59), ms).filter(|_| second <= 60)?;
        Some(Self(in_utc(local, rest)?.and_utc().timestamp_millis()))
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

// chrono's own formatting and parsing cost 13 KB gzip in every function that shows a time; the calendar is chrono's.

/// Writes a number with so many digits at least.
fn put_digits(text: &mut String, number: u32, least: u32) {
    let mut place = 10_u32.pow(least - 1);
    while number / place >= 10 {
        place *= 10;
    }
    while place > 0 {
        text.extend(char::from_digit(number / place % 10, 10));
        place /= 10;
    }
}

/// Takes `count` digits off the front.
fn digits(rest: &mut &str, count: usize) -> Option<u32> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    if head.bytes().all(|b| b.is_ascii_digit()) { head.parse().ok() } else { None }
}

/// Takes a separator and `count` digits off the front.
fn after(rest: &mut &str, separator: &str, count: usize) -> Option<u32> {
    *rest = rest.strip_prefix(separator)?;
    digits(rest, count)
}

/// Takes `.123456` off the front, cut to milliseconds; nothing is zero.
fn fraction_ms(rest: &mut &str) -> Option<u32> {
    let Some(tail) = rest.strip_prefix('.') else { return Some(0) };
    let length = tail.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    let shown = digits.get(..length.min(3))?;
    let scale = [1_000, 100, 10, 1].get(shown.len())?;
    if shown.is_empty() { None } else { Some(shown.parse::<u32>().ok()? * scale) }
}

/// Applies `Z`, `+01:00` or `+0100`.
fn in_utc(local: NaiveDateTime, zone: &str) -> Option<NaiveDateTime> {
    if matches!(zone, "Z" | "z") {
        return Some(local);
    }
    let (sign, mut rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let hours = digits(&mut rest, 2)?;
    let minutes = digits(&mut rest.strip_prefix(':').unwrap_or(rest), 2)?;
    let tail = if rest.starts_with(':') { 3 } else { 2 };
    if hours > 23 || minutes > 59 || rest.len() != tail {
        return None;
    }
    local.checked_sub_signed(TimeDelta::try_minutes(sign * i64::from(hours * 60 + minutes))?)
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
        assert_eq!(Timestamp(1_795_165_200_000 + 3_723_045).iso(), "2026-11-20T10:02:03.045Z");
        assert_eq!(Timestamp(0).iso(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(253_402_300_800_000).iso(), "10000-01-01T00:00:00.000Z");
        for text in [
            "20 November",
            "",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-11-20T",
            "2026-11-20T09:00",
            "2026-11-20T24:00:00Z",
            "2026-11-20T09:60:00Z",
            "2026-11-20T09:00:00",
            "2026-11-20T09:00:00.Z",
            "2026-11-20T09:00:00+1",
            "2026-11-20x",
            "2026-11-20T09:00:00Zx",
            "2026-11-20T09:00:00+25:00",
            "2026-11-20T09:00:00+01:000",
            "+026-11-20",
            "2026-11-2\u{e9}",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_accepted_form_is_chronos_reading_of_it() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999Z",
            "2000-02-29T12:34:56.789123Z",
            "2026-11-20t09:00:00z",
            "2026-11-20T09:00:00.5-08:30",
            "2026-11-20 09:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59+00:00",
        ] {
            let chronos = chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
            assert_eq!(Timestamp::parse(text), Some(Timestamp(chronos)), "{text}");
            let iso = chrono::DateTime::from_timestamp_millis(chronos).unwrap();
            assert_eq!(Timestamp(chronos).iso(), iso.to_rfc3339_opts(chrono::SecondsFormat::Millis, true), "{text}");
        }
    }

    #[test]
    fn out_of_range_does_not_panic() {
        assert_eq!(Timestamp(i64::MAX).iso(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(i64::MAX).plus_secs(1), Timestamp(i64::MAX));
    }
}
