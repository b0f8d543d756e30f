//! Reads Rust source just far enough for the rules: which bytes are code, which literals it has, which part is tests.
//! Not a parser: a lexer for comments, strings and characters, and brace counting.

/// A source file taken apart.
pub struct Source {
    /// The text with comments and the insides of literals blanked, lines kept.
    pub code: String,
    /// String literals: the line they begin on (from 1), the offset in the text, and what is between the quotes, raw.
    pub literals: Vec<Literal>,
}

pub struct Literal {
    pub line: usize,
    pub offset: usize,
    pub text: String,
}

impl Source {
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut code = bytes.to_vec();
        let mut literals = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (length, literal) = if rest.starts_with(b"//") {
                (rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()), None)
            } else if rest.starts_with(b"/*") {
                (block_comment(rest), None)
            } else if let Some(string) = Opening::of(rest, at.checked_sub(1).map(|i| bytes[i])) {
                let inside = string.inside(&rest[string.length..]);
                let end = (string.length + inside.len() + 1 + string.hashes).min(rest.len());
                (end, Some(inside))
            } else if let Some(length) = character(rest) {
                (length, None)
            } else {
                at += 1;
                continue;
            };
            if let Some(inside) = literal {
                let line = text[..at].matches('\n').count() + 1;
                literals.push(Literal { line, offset: at, text: String::from_utf8_lossy(inside).into_owned() });
            }
            for byte in &mut code[at..at + length] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            at += length.max(1);
        }
        Self { code: String::from_utf8(code).expect("blanking whole tokens keeps UTF-8"), literals }
    }

    /// The byte ranges of items under `#[cfg(test)]` (or any `cfg` that asks for `test`).
    pub fn test_ranges(&self) -> Vec<std::ops::Range<usize>> {
        if self.code.contains("#![cfg(test)]") {
            return std::iter::once(0..self.code.len()).collect();
        }
        let mut ranges = Vec::new();
        let mut from = 0;
        while let Some(found) = self.code[from..].find("#[cfg(") {
            let start = from + found;
            let Some(close) = self.code[start..].find(")]") else { break };
            let condition = &self.code[start + "#[cfg(".len()..start + close];
            let end = start + close + 2;
            from = end;
            if asks_for_test(condition) {
                let item_end = item_end(&self.code, end);
                ranges.push(start..item_end);
                from = item_end;
            }
        }
        ranges
    }

    /// Modules that stand in files of their own and are tests: `#[cfg(test)] mod tests;`.
    pub fn test_modules(&self) -> Vec<String> {
        let items = self.test_ranges().into_iter().map(|range| &self.code[range]);
        items
            .filter_map(|item| {
                item.trim_end().strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name.trim().to_owned())
            })
            .collect()
    }
}

fn asks_for_test(condition: &str) -> bool {
    let words: Vec<&str> = condition.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    words.contains(&"test") && !words.contains(&"not")
}

/// The end of the item that begins at or after `from`: its closing brace, or its semicolon if that comes first.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[from..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return from + offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// How a string begins: `"`, `b"`, `r#"` and so on.
struct Opening {
    /// Up to and with the quote.
    length: usize,
    raw: bool,
    hashes: usize,
}

impl Opening {
    /// If a string begins here. `before` tells `r"` from a word that ends in r.
    fn of(rest: &[u8], before: Option<u8>) -> Option<Self> {
        let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let prefix = if in_word { 0 } else { rest.iter().take_while(|b| b"brc".contains(b)).count() };
        let raw = rest[..prefix].contains(&b'r');
        let hashes = if raw { rest[prefix..].iter().take_while(|&&b| b == b'#').count() } else { 0 };
        let length = prefix + hashes + 1;
        (prefix <= 2 && rest.get(length - 1) == Some(&b'"')).then_some(Self { length, raw, hashes })
    }

    /// What stands before the closing quote.
    fn inside<'a>(&self, rest: &'a [u8]) -> &'a [u8] {
        let closing = [b"\"".to_vec(), vec![b'#'; self.hashes]].concat();
        let mut at = 0;
        while at < rest.len() && !rest[at..].starts_with(&closing) {
            at += if !self.raw && rest[at] == b'\\' { 2 } else { 1 };
        }
        &rest[..at.min(rest.len())]
    }
}

/// The length of a character literal, if one begins here; a lifetime is none.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'\'') {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|&b| b == b'\'').map(|end| end + 4);
    }
    let width = match rest.get(1)? {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

#[cfg(test)]
mod examples {
    use super::Source;

    fn literals(text: &str) -> Vec<String> {
        Source::of(text).literals.into_iter().map(|literal| literal.text).collect()
    }

    #[test]
    fn strings_of_every_kind_are_found_and_comments_and_characters_are_not() {
        for (text, found) in [
            (r#"let a = "one";"#, vec!["one"]),
            (r#"let a = "a \" b"; let b = "two";"#, vec![r#"a \" b"#, "two"]),
            (r##"r#"raw "quoted" text"#"##, vec![r#"raw "quoted" text"#]),
            (r#"(b"bytes", br"raw\", c"c")"#, vec!["bytes", "raw\\", "c"]),
            ("// \"no\"\n/* \"no\" /* \"no\" */ */ \"yes\"", vec!["yes"]),
            (r#"('"', '\'', '\u{22}', 'é', "yes")"#, vec!["yes"]),
            (r#"fn f<'a>(x: &'a str) -> &'a str { "yes" }"#, vec!["yes"]),
            (r#"var"text""#, vec!["text"]),
        ] {
            assert_eq!(literals(text), found, "{text}");
        }
    }

    #[test]
    fn a_literal_knows_its_line() {
        assert_eq!(Source::of("\n\nlet a = \"x\";").literals[0].line, 3);
    }

    #[test]
    fn code_keeps_its_lines_and_loses_its_comments() {
        let source = Source::of("a; // dbg!\nb(\"dbg!\");");
        assert_eq!(source.code.lines().count(), 2);
        assert!(!source.code.contains("dbg!") && source.code.contains("b("));
    }

    #[test]
    fn test_items_are_found_with_all_their_braces() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { let c = '{'; } }\nfn d() {}";
        let source = Source::of(text);
        let ranges = source.test_ranges();
        assert_eq!(ranges.len(), 1);
        assert!(text[ranges[0].clone()].ends_with("} }") && text[..ranges[0].start].contains("fn a"));
        assert!(text[ranges[0].end..].contains("fn d"));
    }

    #[test]
    fn code_for_outside_of_tests_is_no_test() {
        assert!(Source::of("#[cfg(not(test))]\nfn a() {}").test_ranges().is_empty());
        assert!(Source::of("#[cfg(target_arch = \"wasm32\")]\nfn a() {}").test_ranges().is_empty());
        assert_eq!(Source::of("#[cfg(all(test, unix))]\nfn a() {}").test_ranges().len(), 1);
    }

    #[test]
    fn test_modules_in_their_own_files_are_named() {
        let source = Source::of("#[cfg(test)]\nmod tests;\nmod code;\n#[cfg(test)]\npub mod other;");
        assert_eq!(source.test_modules(), ["tests", "other"]);
    }
}
