//! The frame every page stands in.

use crate::STYLE;
use crate::html::{Html, escape, link_target};

/// How it went, shown by a mark and its colour; the heading says it in words.
#[derive(Clone, Copy)]
pub enum Mood {
    /// It works.
    Good,
    /// It does not.
    Bad,
    /// It is for the person to decide.
    Open,
}

impl Mood {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Open => "open",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Good => "<path d=\"M7 12.5l3.5 3.5 6.5-7.5\"/>",
            Self::Bad => "<path d=\"M12 6.75v6.5m0 3.5v.01\"/>",
            Self::Open => "<path d=\"M7 12h9m-3.5-4l4 4-4 4\"/>",
        }
    }
}

/// A page: `title` and `heading` are text, `content` is HTML whose values are escaped.
pub fn page(mood: Mood, title: &str, heading: &str, content: &str) -> Html {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title} · Conduit</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main class=\"{class}\">\n\
         <svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" stroke-linecap=\"round\" \
         stroke-linejoin=\"round\" aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" r=\"10.5\"/>{mark}</svg>\n\
         <h1>{heading}</h1>\n{content}</main>\n</body>\n</html>\n",
        title = escape(title),
        class = mood.class(),
        mark = mood.mark(),
        heading = escape(heading),
    );
    Html { text, forms: false }
}

/// A page with forms.
pub fn page_with_forms(mood: Mood, title: &str, heading: &str, content: &str) -> Html {
    Html { forms: true, ..page(mood, title, heading, content) }
}

/// The one way out of a page: a link where there is one to follow, and what to do instead where there is none.
pub fn way_out(label: &str, target: Option<&str>, otherwise: &str) -> String {
    match target.and_then(link_target) {
        Some(target) => {
            format!("<p class=\"way-out\"><a class=\"button\" href=\"{target}\">{}</a></p>\n", escape(label))
        }
        None => format!("<p class=\"way-out\">{}</p>\n", escape(otherwise)),
    }
}
