//! Times as the two providers write them, from epoch milliseconds and back.
//!
//! Not a source of time: the caller brings it. `HubSpot` writes `2026-11-20T09:00:00.000Z`, Salesforce
//! `2026-11-20T09:00:00.000+0000`. The calendar is Howard Hinnant's `days_from_civil`.

const DAY_MS: i64 = 86_400_000;

/// `HubSpot`'s form.
pub fn hubspot(ms: i64) -> String {
    format!("{}Z", stem(ms))
}

/// Salesforce's form.
pub fn salesforce(ms: i64) -> String {
    format!("{}+0000", stem(ms))
}

/// The date alone.
pub fn date(ms: i64) -> String {
    stem(ms).chars().take(10).collect()
}

fn stem(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}", rest % 1000)
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Reads ISO-8601: a date, or a date and time with `Z`, `+0000`, `+00:00` or nothing (UTC) behind it.
pub fn parse(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?.parse::<i64>().ok()
    };
    let dashes = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !dashes || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let midnight = days(year, month, day) * DAY_MS;
    if text.len() == 10 {
        return Some(midnight);
    }
    let colons = text.get(10..11) == Some("T") && text.get(13..14) == Some(":") && text.get(16..17) == Some(":");
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !colons || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ms, zone) = fraction(text.get(19..)?)?;
    Some(midnight + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms - offset_ms(zone)?)
}

fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let digits: String = rest.get(..end)?.chars().chain("000".chars()).take(3).collect();
    Some((digits.parse().ok()?, rest.get(end..)?))
}

fn offset_ms(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 3_600_000 + number % 100 * 60_000))
}

#[cfg(test)]
mod tests {
    use super::{date, hubspot, parse, salesforce};

    #[test]
    fn times_are_written_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_176_000_123, "2026-11-20T12:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!((hubspot(ms), parse(text)), (text.to_owned(), Some(ms)));
            assert_eq!(parse(&salesforce(ms)), Some(ms));
        }
        assert_eq!(date(951_782_400_000), "2000-02-29");
    }

    #[test]
    fn other_forms() {
        for (text, ms) in [
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-01T00:00:01.5Z", Some(1500)),
            ("1970-13-01", None),
            ("tomorrow", None),
            ("1970-01-01T00:00", None),
            ("1970-01-01T00:00:00 ", None),
        ] {
            assert_eq!(parse(text), ms, "{text}");
        }
    }
}
