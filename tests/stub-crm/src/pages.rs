//! The few pages a person sees: the consent page of both providers, its refusal, and the overview.
//!
//! Plain HTML without scripts, so that any content security policy of a gateway in front of it lets it work.

use crate::http::Answer;
use std::fmt::Write as _;

/// Makes text safe between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
        out
    })
}

/// A whole page.
pub fn page(status: u16, title: &str, body: &str) -> Answer {
    let title = escape(title);
    Answer::html(
        status,
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}\
             button{{font:inherit;padding:.5rem 1.2rem;margin-right:.6rem}}table{{border-collapse:collapse}}td,th{{text-align:left;padding:.2rem 1rem .2rem 0}}\
             small{{color:#555}}</style></head><body><h1>{title}</h1>{body}<p><small>This is Conduit's local stand-in, not the real service.</small></p></body></html>"
        ),
    )
}

/// The question whether an app may connect.
#[derive(Debug)]
pub struct Consent<'a> {
    /// `HubSpot`, `Salesforce`.
    pub provider: &'a str,
    /// Where the decision goes.
    pub action: &'a str,
    /// Label, field name and value of the account.
    pub account: (&'a str, &'a str, &'a str),
    /// What is asked for.
    pub scopes: &'a [String],
    /// Everything of the authorize request, to come back with the decision.
    pub hidden: &'a [(String, String)],
}

/// The consent page, with an Approve and a Deny button.
pub fn consent(ask: &Consent<'_>) -> Answer {
    let (label, name, value) = ask.account;
    let hidden = ask.hidden.iter().filter(|(key, _)| key != name).fold(String::new(), |mut out, (key, value)| {
        let _ = write!(out, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(key), escape(value));
        out
    });
    let scopes = ask.scopes.iter().fold(String::new(), |mut out, scope| {
        let _ = write!(out, "<li>{}</li>", escape(scope));
        out
    });
    let body = format!(
        "<p>The app asks for access to:</p><ul>{scopes}</ul><form method=\"post\" action=\"{}\">{hidden}\
         <p><label>{} <input name=\"{name}\" value=\"{}\" required></label></p>\
         <button name=\"decision\" value=\"approve\">Approve</button><button name=\"decision\" value=\"deny\">Deny</button></form>",
        escape(ask.action),
        escape(label),
        escape(value),
    );
    page(200, &format!("Connect to {}", ask.provider), &body)
}

/// A refusal that is shown and not redirected.
pub fn refusal(provider: &str, reason: &str) -> Answer {
    page(400, &format!("{provider} cannot connect this app"), &format!("<p>{}</p>", escape(reason)))
}
