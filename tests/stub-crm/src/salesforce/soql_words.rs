//! SOQL's pieces: names, strings with their escapes, signs; and the drawing that shows where one is wrong.
//!
//! Not its grammar: `soql.rs`. Source: Salesforce's SOQL reference on quoted strings.

use crate::salesforce::errors::{Outcome, Refusal};

/// `\%` and `\_` inside a string: themselves, and no wildcards.
pub const PERCENT: char = '\u{E000}';
/// See [`PERCENT`].
pub const UNDERSCORE: char = '\u{E001}';

/// A piece of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A name, keyword, number or date.
    Word(String),
    /// A quoted string's value.
    Text(String),
    /// A sign.
    Sign(&'static str),
}

const SIGNS: &[&str] = &["!=", "<>", "<=", ">=", "<", ">", "=", "(", ")", ","];

/// The pieces with their places.
pub fn tokens(text: &str) -> Outcome<Vec<(Token, usize)>> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(out) };
        if first == '\'' {
            let (value, length) =
                string(rest).ok_or_else(|| malformed(text, at, "line 1, no viable alternative at character ''"))?;
            out.push((Token::Text(value), at));
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            out.push((Token::Sign(sign), at));
            rest = rest.get(sign.len()..).unwrap_or_default();
            continue;
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_.:+-".contains(c))).unwrap_or(rest.len());
        if end == 0 {
            return Err(malformed(text, at, &format!("unexpected token: '{first}'")));
        }
        out.push((Token::Word(rest.get(..end).unwrap_or_default().to_owned()), at));
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// A quoted string's value and its length in the text.
fn string(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => return Some((value, at + 1)),
            '\\' => value.push(match letters.next()?.1 {
                'n' | 'N' => '\n',
                'r' | 'R' => '\r',
                't' | 'T' => '\t',
                'b' | 'B' => '\u{8}',
                'f' | 'F' => '\u{c}',
                '%' => PERCENT,
                '_' => UNDERSCORE,
                'u' => {
                    let digits: String = letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                plain @ ('\\' | '\'' | '"') => plain,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
    None
}

/// The error as Salesforce draws it: the query, a caret, the place, the reason.
pub fn drawn(text: &str, at: usize, reason: &str) -> String {
    let from = text.get(..at).map_or(0, |before| before.char_indices().rev().nth(19).map_or(0, |(at, _)| at));
    let line: String = text.get(from..).unwrap_or_default().chars().take(60).collect();
    let caret = " ".repeat(text.get(from..at).map_or(0, |before| before.chars().count()));
    format!("\n{line}\n{caret}^\nERROR at Row:1:Column:{}\n{reason}", at + 1)
}

/// 400 `MALFORMED_QUERY`.
pub fn malformed(text: &str, at: usize, reason: &str) -> Refusal {
    Refusal::new("MALFORMED_QUERY", drawn(text, at, reason))
}
