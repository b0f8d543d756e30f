//! What a person sees at the end of connecting a CRM, when the product has no page for it.

use crate::document::{Mood, page, way_out};
use crate::html::{Html, escape, sentence};

/// The CRM was not connected. `sentence` says why and what to do, as `flows::Error` does; `code` is the API's stable code;
/// `retry` is where the person can begin again, if anywhere; `request_id` is what support will ask for.
pub fn oauth_failed(code: &str, sentence_text: &str, crm_title: &str, retry: Option<&str>, request_id: &str) -> Html {
    let heading = format!("{crm_title} was not connected");
    let content = format!(
        "<p>{sentence}</p>\n{way_out}<div class=\"reference\">\n<p>If you ask for help, pass this on:</p>\n\
         <dl>\n<dt>Reason</dt><dd><code>{code}</code></dd>\n<dt>Request</dt><dd><code>{request_id}</code></dd>\n</dl>\n</div>\n",
        sentence = escape(&sentence(sentence_text)),
        way_out = way_out("Begin again", retry, "You can close this window."),
        code = escape(code),
        request_id = escape(request_id),
    );
    page(Mood::Bad, &heading, &heading, &content)
}

/// The CRM is connected, to the account of that name; `back` is where the product wants the person.
pub fn connected(crm_title: &str, account_name: &str, back: Option<&str>) -> Html {
    let heading = format!("{crm_title} is connected");
    // The name is the account's own and may be in any script: `bdi` keeps its direction to itself.
    let content = format!(
        "<p>Your product now works with the {crm} account <strong><bdi>{account}</bdi></strong>.</p>\n{way_out}",
        crm = escape(crm_title),
        account = escape(account_name),
        way_out = way_out("Back to your product", back, "You can close this window."),
    );
    page(Mood::Good, &heading, &heading, &content)
}

#[cfg(test)]
mod tests {
    use super::{connected, oauth_failed};

    const HOSTILE: &str = "<script>alert(\"1\")</script>'&";

    #[test]
    fn every_value_is_escaped() {
        for page in [
            oauth_failed(HOSTILE, HOSTILE, HOSTILE, Some(&format!("https://app.example.com/{HOSTILE}")), HOSTILE),
            connected(HOSTILE, HOSTILE, Some(&format!("/back/{HOSTILE}"))),
        ] {
            let page = page.into_string();
            assert!(!page.contains("<script") && !page.contains("alert(\"") && !page.contains("'&\n"), "{page}");
            assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;"), "{page}");
        }
    }

    #[test]
    fn a_failure_says_what_happened_what_to_do_and_what_to_pass_on() {
        let failed = oauth_failed("state_used", "this link was used: begin again", "HubSpot", Some("/again"), "rq_1");
        for said in
            ["HubSpot was not connected", "This link was used: begin again.", "state_used", "rq_1", "href=\"/again\""]
        {
            assert!(failed.as_str().contains(said), "{said}");
        }
    }

    #[test]
    fn a_success_names_the_account_and_the_way_back() {
        let page = connected("Salesforce", "Acme & Co", Some("https://app.example.com/settings"));
        for said in ["Salesforce is connected", "Acme &amp; Co", "href=\"https://app.example.com/settings\""] {
            assert!(page.as_str().contains(said), "{said}");
        }
    }

    #[test]
    fn without_a_place_to_go_the_page_says_what_to_do() {
        for page in [oauth_failed("a", "b", "HubSpot", None, "c"), connected("HubSpot", "Acme", None)] {
            assert!(page.as_str().contains("You can close this window.") && !page.as_str().contains("<a "));
        }
        assert!(!connected("HubSpot", "Acme", Some("javascript:alert(1)")).as_str().contains("javascript"));
    }
}
