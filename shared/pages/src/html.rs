//! HTML as a type of its own, and how text becomes it.

use std::fmt;

/// A complete HTML document. Made by the page functions of this crate and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html {
    pub(crate) text: String,
    pub(crate) forms: bool,
}

impl Html {
    /// The document.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has forms, which its policy must allow.
    pub const fn has_forms(&self) -> bool {
        self.forms
    }

    /// The document, as a body to send.
    pub fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text as HTML, fit for element content and for attribute values in double or single quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Text as a sentence: a capital first (of ASCII letters: our errors have no others), a full stop last. Our errors are written to stand inside a longer line.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return String::new() };
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_ascii_uppercase(), characters.as_str())
}

/// The target of a link if it is one a person may follow: http, https or a path of ours. Never `javascript:`, nor `//host`,
/// nor a backslash, which browsers read as a slash.
pub(crate) fn link_target(target: &str) -> Option<String> {
    let absolute = target.starts_with("https://") || target.starts_with("http://");
    let path = target.starts_with('/') && !target.starts_with("//");
    let plain = !target.contains('\\') && !target.chars().any(char::is_control);
    ((absolute || path) && plain).then(|| escape(target))
}

#[cfg(test)]
mod tests {
    use super::{escape, link_target, sentence};

    #[test]
    fn every_character_with_a_meaning_is_escaped() {
        assert_eq!(escape(r#"<b a="1" c='2'>&amp;"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
        assert_eq!(escape("Müller & Söhne 日本"), "Müller &amp; Söhne 日本");
    }

    #[test]
    fn a_sentence_has_a_capital_and_a_stop() {
        for (text, said) in [
            ("this link was used: begin again", "This link was used: begin again."),
            ("HubSpot said no. ", "HubSpot said no."),
            ("really?", "Really?"),
            ("éa", "éa."),
            ("", ""),
        ] {
            assert_eq!(sentence(text), said);
        }
    }

    #[test]
    fn only_links_a_person_may_follow_are_made() {
        for good in ["https://app.example.com/x?a=1", "http://localhost:8787/", "/functions/v1/hubspot-oauth-start"] {
            assert_eq!(link_target(good).as_deref(), Some(good));
        }
        for bad in
            ["javascript:alert(1)", "data:text/html,x", "//elsewhere", "/\\elsewhere", "app", "", " https://x", "/a\nb"]
        {
            assert_eq!(link_target(bad), None, "{bad}");
        }
        assert_eq!(link_target("/a?b=1&c=\"").as_deref(), Some("/a?b=1&amp;c=&quot;"));
    }
}
