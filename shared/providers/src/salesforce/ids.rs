//! Salesforce record ids: 15 case-sensitive characters, or 18 with a suffix that tells the case of the others.

/// The id in its 18-character form; `None` when it is not an id.
///
/// An 18-character id is taken as it is: its suffix says nothing that is not in the first 15.
pub fn to_18(id: &str) -> Option<String> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    match id.len() {
        18 => Some(id.to_owned()),
        15 => Some(format!("{id}{}", suffix(id))),
        _ => None,
    }
}

/// One character per five: bit n is set when the n-th of them is an upper-case letter; 0 to 31 as `A`…`Z`, `0`…`5`.
fn suffix(id: &str) -> String {
    id.as_bytes()
        .chunks(5)
        .map(|five| {
            let bits = five.iter().enumerate().filter(|(_, b)| b.is_ascii_uppercase()).map(|(n, _)| 1_u8 << n);
            let sum = bits.fold(0, |sum, bit| sum | bit);
            char::from(if sum < 26 { b'A' + sum } else { b'0' + (sum - 26) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::to_18;

    #[test]
    fn the_suffix_tells_the_case() {
        for (id, expected) in [
            // Real pairs, from public fixtures.
            ("003ak00000luKU1", Some("003ak00000luKU1AAM")),
            ("001ak00000OQTie", Some("001ak00000OQTieAAH")),
            ("00Qak00000696HF", Some("00Qak00000696HFEAY")),
            ("003ak00000luKU1AAM", Some("003ak00000luKU1AAM")),
            ("00DXX0000000001AAA", Some("00DXX0000000001AAA")),
            ("00DXX000000000", None),
            ("00DXX00000000001", None),
            ("00DXX000000000/", None),
            ("", None),
        ] {
            assert_eq!(to_18(id).as_deref(), expected, "{id}");
        }
    }
}
