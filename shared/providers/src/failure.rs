//! What both adapters need to make a [`Failure`] and its [`WriteOutcome`]: classes by HTTP status, the provider's words
//! without e-mail addresses, waits.
//!
//! Out of scope: a provider's own codes (`hubspot::errors`, `salesforce::errors`).

use crate::http::{Effect, NoAnswer, Response};
use model::Timestamp;
use model::write::{ErrorClass, Failure, WriteOutcome};

/// A failure's detail is cut to this many characters.
pub const DETAIL_CHARS_MAX: usize = 300;
/// No `Retry-After` is believed beyond this: HubSpot's longest (477, moving a portal) is about a day.
const RETRY_AFTER_SECS_MAX: i64 = 48 * 3_600;

/// What a failing answer comes to, before it is told to anybody.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) class: ErrorClass,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) wait_secs: Option<i64>,
    /// The token itself was refused, or lacks a scope: a new one or a new consent helps, another content does not.
    pub(crate) token_refused: bool,
}

impl Verdict {
    pub(crate) fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), wait_secs: None, token_refused: false }
    }

    #[must_use]
    pub(crate) fn wait(self, secs: i64) -> Self {
        Self { wait_secs: Some(secs), ..self }
    }

    /// The outcome of the write, with what the answer's envelope says.
    pub(crate) fn outcome(
        self,
        http_status: Option<u16>,
        correlation_id: Option<String>,
        now: Timestamp,
    ) -> WriteOutcome {
        let failure = Failure {
            class: self.class,
            code: self.code,
            detail: detail(&self.message),
            http_status,
            correlation_id,
            not_before: self.wait_secs.map(|secs| now.plus_secs(secs)),
        };
        match self.class {
            ErrorClass::Transient | ErrorClass::RateLimited => WriteOutcome::RetryAfter(failure),
            ErrorClass::Auth if self.token_refused => WriteOutcome::Unauthorized(failure),
            // The token is good; the user behind it may not do this. Neither a refresh nor a repeat changes that.
            ErrorClass::Auth | ErrorClass::Mapping | ErrorClass::Conflict => WriteOutcome::Rejected(failure),
            ErrorClass::UnknownOutcome => WriteOutcome::Unknown(failure),
        }
    }
}

/// The failure inside an outcome.
pub fn of(outcome: WriteOutcome) -> Option<Failure> {
    match outcome {
        WriteOutcome::Applied => None,
        WriteOutcome::Rejected(failure)
        | WriteOutcome::RetryAfter(failure)
        | WriteOutcome::Unauthorized(failure)
        | WriteOutcome::Unknown(failure) => Some(failure),
    }
}

/// Transient, unless the request created something and may have done so.
pub(crate) const fn perhaps(effect: Effect) -> ErrorClass {
    match effect {
        Effect::Creates => ErrorClass::UnknownOutcome,
        Effect::Reads | Effect::Idempotent => ErrorClass::Transient,
    }
}

/// No answer came.
pub(crate) fn no_answer(lack: NoAnswer, effect: Effect) -> WriteOutcome {
    let (class, code) = match lack {
        NoAnswer::NotSent => (ErrorClass::Transient, "not_sent"),
        NoAnswer::Lost => (perhaps(effect), "timeout"),
    };
    Verdict::new(class, code, lack.to_string()).outcome(None, None, Timestamp(0))
}

/// A 2xx whose body is cut off or not what it should be.
pub(crate) fn unreadable(response: &Response, effect: Effect) -> WriteOutcome {
    Verdict::new(perhaps(effect), "unreadable_answer", "the CRM answered with success, but its answer cannot be read")
        .outcome(Some(response.status), None, Timestamp(0))
}

/// By status alone, where the body says nothing: RFC 9110, and Cloudflare's 52x, which HubSpot and many orgs stand behind.
pub(crate) fn by_status(status: u16, has_json: bool, effect: Effect) -> Verdict {
    let class = match status {
        408 | 500..=599 => perhaps(effect),
        401 => ErrorClass::Auth,
        403 if has_json => ErrorClass::Auth,
        409 | 412 => ErrorClass::Conflict,
        429 => ErrorClass::RateLimited,
        // A redirect or an edge's HTML refusal: nothing was done, and it usually passes.
        300..=399 | 403 => ErrorClass::Transient,
        _ => ErrorClass::Mapping,
    };
    let verdict =
        Verdict::new(class, format!("http_{status}"), format!("the CRM answered {status} without a readable error"));
    Verdict { token_refused: status == 401, ..verdict }
}

/// `Retry-After` in seconds (RFC 9110 10.2.3); its date form is not used by either CRM.
pub(crate) fn retry_after_secs(response: &Response) -> Option<i64> {
    let secs: i64 = response.header("retry-after")?.trim().parse().ok()?;
    (0..=RETRY_AFTER_SECS_MAX).contains(&secs).then_some(secs)
}

/// The provider's words for people: on one line, without e-mail addresses, cut.
pub(crate) fn detail(message: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || "@.!#$%&*+-/=?^_`{|}~".contains(c);
    let mut out = String::new();
    let mut word = String::new();
    // Cut before looking closer: a message may be megabytes. The word the cut falls into is left out: it may be half of
    // an address. A space at the end brings out the last word of a message that was not cut.
    for c in message.chars().chain(std::iter::once(' ')).take(DETAIL_CHARS_MAX * 8) {
        if is_part(c) {
            word.push(c);
            continue;
        }
        out.push_str(if is_address(&word) { "[e-mail]" } else { &word });
        word.clear();
        out.push(if c.is_control() { ' ' } else { c });
    }
    out.trim().chars().take(DETAIL_CHARS_MAX).collect()
}

/// Something around an `@`, also where it is percent-encoded as in a URL.
fn is_address(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    ["@", "%40"].iter().any(|at| lower.split_once(at).is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::{DETAIL_CHARS_MAX, detail};

    #[test]
    fn addresses_are_masked_wherever_they_stand() {
        for (message, expected) in [
            ("Email address ada@example.com is invalid", "Email address [e-mail] is invalid"),
            ("{\"email\":\"Ada.L+x@sub.example.co.uk\"}", "{\"email\":\"[e-mail]\"}"),
            ("GET /contacts/ada%40example.com?x=1", "GET [e-mail]"),
            ("a@b, c@d;(e@f)", "[e-mail], [e-mail];([e-mail])"),
            ("jürgen@exämple.de", "[e-mail]"),
            ("line one\nline two\u{0}", "line one line two"),
            ("price @ 5", "price @ 5"),
            ("", ""),
        ] {
            assert_eq!(detail(message), expected);
        }
    }

    #[test]
    fn a_huge_message_is_cut_and_never_in_the_middle_of_an_address() {
        assert_eq!(detail(&"x ".repeat(1_000_000)).chars().count(), DETAIL_CHARS_MAX);
        let long = format!("{}ada@example.com", "y ".repeat(145));
        assert!(!detail(&long).contains("ada"), "{}", detail(&long));
    }
}
