//! The marketplaces' pages: where a person finds the app and installs it before having an account with it.
//!
//! `HubSpot`'s both shapes (since October 2026): without partner sign-in our install URL gets `code` and `returnUrl` and no
//! state; with partner sign-in it gets `step=authorize` and `returnUrl`, sends the browser back there with a state, and then
//! gets `step=finalize` with code, state and `returnUrl`. Salesforce's listing opens our start URL. Not their looks.
//! Under the stand-in's control, as everything is: the account is a field of the page.

use crate::StubCrm;
use crate::http::{Answer, Call, Reply, with_query};
use crate::pages::{escape, page, refusal};

const HUBSPOT_APP: &str = "https://app.hubspot.com/marketplace/hubspot";

impl StubCrm {
    /// `/marketplace/...`
    pub(crate) fn marketplace(&mut self, call: &Call<'_>) -> Answer {
        self.listing(call).unwrap_or_else(|refusal| refusal)
    }

    fn listing(&mut self, call: &Call<'_>) -> Reply {
        let field = |name: &str| match call.method() {
            "POST" => call.form().get(name).to_owned(),
            _ => call.query(name).unwrap_or_default().to_owned(),
        };
        let callback = self.callback(call);
        match (call.method(), call.parts().as_slice()) {
            ("GET", ["marketplace", "hubspot"]) => Ok(hubspot_listing(&callback)),
            ("GET", ["marketplace", "salesforce"]) => Ok(salesforce_listing(&callback)),
            ("POST", ["marketplace", "hubspot", "install"]) => {
                let hub = hub(&field("hub_id"))?;
                let code = self.marketplace_code(call, &hub, &callback);
                let done = format!("{HUBSPOT_APP}/finish?hub_id={hub}");
                Ok(Answer::found(&with_query(&callback, &[("code", &code), ("returnUrl", &done)])))
            }
            ("POST", ["marketplace", "hubspot", "install-with-sign-in"]) => {
                let consent = format!("{HUBSPOT_APP}/consent?hub_id={}", hub(&field("hub_id"))?);
                Ok(Answer::found(&with_query(&callback, &[("step", "authorize"), ("returnUrl", &consent)])))
            }
            ("GET", ["marketplace", "hubspot", "consent"]) => Ok(consent(&hub(&field("hub_id"))?, &field("state"))),
            ("POST", ["marketplace", "hubspot", "consent"]) => {
                let (hub, state) = (hub(&field("hub_id"))?, field("state"));
                let code = self.marketplace_code(call, &hub, &callback);
                let done = format!("{HUBSPOT_APP}/finish?hub_id={hub}");
                let back = [("step", "finalize"), ("code", &*code), ("state", &state), ("returnUrl", &done)];
                Ok(Answer::found(&with_query(&callback, &back)))
            }
            ("GET", ["marketplace", "hubspot", "finish"]) => Ok(finish(&hub(&field("hub_id"))?, &callback)),
            _ => Err(Answer::text(404, "The marketplace has nothing at this path.")),
        }
    }

    /// The app's install URL: its first registered redirect URI, which is also where codes go.
    fn callback(&self, call: &Call<'_>) -> String {
        let crm = if call.parts().get(1) == Some(&"salesforce") { "salesforce" } else { "hubspot" };
        let app = if crm == "salesforce" { &self.config.salesforce } else { &self.config.hubspot };
        let registered = app.redirect_uris.first().cloned();
        registered.unwrap_or_else(|| format!("{}/functions/v1/{crm}-oauth-callback", call.origin))
    }

    fn marketplace_code(&mut self, call: &Call<'_>, hub: &str, callback: &str) -> String {
        let (hubspot, _, mut env) = self.parts(call.now_ms);
        hubspot.install_code(hub, callback, &mut env)
    }
}

fn hub(text: &str) -> Result<String, Answer> {
    let number = text.parse::<u64>().ok().filter(|number| *number > 0);
    number.map(|number| number.to_string()).ok_or_else(|| refusal("HubSpot", "There is no such account."))
}

fn start_of(callback: &str) -> String {
    callback.replace("-oauth-callback", "-oauth-start")
}

fn hubspot_listing(callback: &str) -> Answer {
    let account = "<p><label>Install into account (hub id) <input name=\"hub_id\" value=\"4242\" required></label></p>";
    page(
        200,
        "Conduit · HubSpot Marketplace",
        &format!(
            "<p>Writes the outcomes of your conversations into HubSpot.</p>\
             <form method=\"post\" action=\"/marketplace/hubspot/install\">{account}<button>Install app</button></form>\
             <form method=\"post\" action=\"/marketplace/hubspot/install-with-sign-in\">{account}\
             <button>Install app, with sign-in</button></form>\
             <p><a href=\"{}\">Install from the app's own site</a></p>",
            escape(&start_of(callback))
        ),
    )
}

fn salesforce_listing(callback: &str) -> Answer {
    page(
        200,
        "Conduit · AppExchange",
        &format!(
            "<p>Writes the outcomes of your conversations into Salesforce.</p><p><a href=\"{}\">Get it now</a></p>",
            escape(&start_of(callback))
        ),
    )
}

fn consent(hub: &str, state: &str) -> Answer {
    page(
        200,
        "Connect to HubSpot",
        &format!(
            "<p>Conduit asks for access to account {hub}.</p><form method=\"post\" action=\"/marketplace/hubspot/consent\">\
             <input type=\"hidden\" name=\"hub_id\" value=\"{hub}\"><input type=\"hidden\" name=\"state\" value=\"{}\">\
             <button>Approve</button></form>",
            escape(state)
        ),
    )
}

fn finish(hub: &str, callback: &str) -> Answer {
    let origin = callback.split("/functions/").next().unwrap_or_default();
    page(
        200,
        "Conduit is installed",
        &format!(
            "<p>The app is installed in account {hub}. Go on in the app to finish its set-up.</p>\
             <p><a href=\"{}/claim-install\">Open Conduit</a></p>",
            escape(origin)
        ),
    )
}
