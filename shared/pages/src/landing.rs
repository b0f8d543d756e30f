//! What `/` shows to whoever opens it in a browser.

use crate::document::{Mood, page, way_out};
use crate::html::{Html, escape};

/// The front page: what this is, for which CRMs, and where a developer reads on (`api_description`, a path of ours).
pub fn landing(crm_titles: &[&str], api_description: &str) -> Html {
    let crms = match crm_titles {
        [] => "their CRM".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    };
    let content = format!(
        "<p>Conduit connects a product’s customers to {crms}: it keeps their sign-ins safe and writes outcomes into the \
         CRM exactly once.</p>\n<p>Customers connect from inside the product. There is nothing to sign in to here.</p>\n{}",
        way_out("Read the API description", Some(api_description), "The API is described in the documentation."),
        crms = escape(&crms),
    );
    page(Mood::Good, "Running", "Conduit is running", &content)
}

#[cfg(test)]
mod tests {
    use super::landing;

    #[test]
    fn it_names_the_crms_and_the_description() {
        let page = landing(&["HubSpot", "Salesforce"], "/functions/v1/openapi.json");
        assert!(page.as_str().contains("HubSpot and Salesforce"));
        assert!(page.as_str().contains("href=\"/functions/v1/openapi.json\""));
        assert!(landing(&["A", "B", "<C>"], "/x").as_str().contains("A, B and &lt;C&gt;"));
    }
}
