//! Our words to HTML: pure functions that return complete documents for a person in a browser.
//!
//! In scope: what a page says and looks like; escaping; the stylesheet and its hash. Out of scope: status codes and
//! headers (`edge::respond` sends them, with the policy below), sessions, JSON.
//!
//! Every page stands alone: no script, no image, no font, no request to anywhere, one heading, one way out. The policy it
//! is made for: `default-src 'none'; style-src 'sha256-…'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'`,
//! with [`STYLE_SHA256`] as the hash, and [`FORM_ACTION`] in the place of `'none'` for a page with forms.

mod claim;
mod document;
#[cfg(test)]
mod every_page;
mod html;
mod landing;
mod oauth;

pub use claim::{Account, Choice, Decline, Link, Visitor, claim, confirm, connections, declined, refused, sign_in};
pub use html::{Html, escape};
pub use landing::landing;
pub use oauth::{connected, oauth_failed};

/// The stylesheet as it stands between `<style>` and `</style>` of every page.
pub const STYLE: &str = include_str!("style.css");

/// Where forms may lead: to us, and by our redirect to a CRM's consent page (Chromium holds redirects to this, too).
pub const FORM_ACTION: &str = "'self' https://*.hubspot.com https://*.salesforce.com";

/// SHA-256 of [`STYLE`] in base64, as a Content-Security-Policy names it: `style-src 'sha256-…'`. `tests/house` computes
/// it again and says the right one when the stylesheet has changed.
pub const STYLE_SHA256: &str = "jgIQj1BJ6fPJBquGiehjYUT48ucEvZmj8IEE5lqByc8=";
