//! HubSpot's two hosts and the dated paths used here (providers reference 1.1).

/// The dated release every path names; each is supported for about 18 months. 2026-03 is the one documented concretely
/// for everything used here; 2026-09 has the same shapes.
pub const HUBSPOT_API_VERSION: &str = "2026-03";

/// Every API call goes here, also for EU portals.
pub const API: &str = "https://api.hubapi.com";

/// The consent page; it sends people of EU portals on to their own host.
pub const AUTHORIZE: &str = "https://app.hubspot.com/oauth/authorize";

/// `https://api.hubapi.com/crm/objects/2026-03/{rest}`.
pub(super) fn objects(rest: &str) -> String {
    format!("{API}/crm/objects/{HUBSPOT_API_VERSION}/{rest}")
}

/// `https://api.hubapi.com/crm/associations/2026-03/{rest}`: the batches of associations.
pub(super) fn associations(rest: &str) -> String {
    format!("{API}/crm/associations/{HUBSPOT_API_VERSION}/{rest}")
}

/// `https://api.hubapi.com/crm/properties/2026-03/{rest}`.
pub(super) fn properties(rest: &str) -> String {
    format!("{API}/crm/properties/{HUBSPOT_API_VERSION}/{rest}")
}

/// The pipelines of deals, with their stages.
pub(super) fn pipelines() -> String {
    format!("{API}/crm/pipelines/{HUBSPOT_API_VERSION}/deals")
}

/// `https://api.hubapi.com/oauth/2026-03/{rest}`.
pub(super) fn oauth(rest: &str) -> String {
    format!("{API}/oauth/{HUBSPOT_API_VERSION}/{rest}")
}

/// Removes the app from the portal whose token is sent.
pub(super) fn uninstall() -> String {
    format!("{API}/appinstalls/{HUBSPOT_API_VERSION}/external-install")
}

/// The portal's own description: the cheapest authenticated call.
pub(super) fn account_info() -> String {
    format!("{API}/account-info/{HUBSPOT_API_VERSION}/details")
}

/// Where HubSpot's marketplace may ask a browser to be sent back to: its own app, on the generic host or a hublet's
/// (`https://app-eu1.hubspot.com/…`). Compared as text, so that no parser's reading matters.
pub fn return_url(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = rest.get(..end)?;
    let plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '#' | '^' | '`' | '{' | '|' | '}');
    let hublet = || host.strip_prefix("app-").and_then(|host| host.strip_suffix(".hubspot.com"));
    let own = host == "app.hubspot.com"
        || hublet().is_some_and(|name| {
            (2..=8).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    (own && text.len() <= 2_048 && text.chars().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::return_url;

    #[test]
    fn only_hubspots_own_app_is_returned_to() {
        for good in [
            "https://app.hubspot.com",
            "https://app.hubspot.com/integrations-settings/4242/installed?x=%2F",
            "https://app-eu1.hubspot.com/marketplace/4242/finish",
            "https://app-na2.hubspot.com?x=1",
        ] {
            assert_eq!(return_url(good), Some(good));
        }
        for bad in [
            "http://app.hubspot.com/",
            "https://app.hubspot.com.evil.example/",
            "https://app.hubspot.com@evil.example/",
            "https://evil.example@app.hubspot.com/",
            "https://app.hubspot.com:8443/",
            "https://evil.example/?https://app.hubspot.com/",
            "https://app-.hubspot.com/",
            "https://app-eu1.evil.hubspot.com/",
            "https://app-eu1.hubspot.com.evil.example/",
            "https://xapp.hubspot.com/",
            "https://APP.hubspot.com/",
            "https://app.hubspot.com\\@evil.example/",
            "https://app.hubspot.com#@evil.example",
            "https://app.hubspot.com/\r\nSet-Cookie: x=1",
            "https://app.hubspot.com/ x",
            "//app.hubspot.com/",
            "javascript:alert(1)//app.hubspot.com",
            "https:app.hubspot.com",
            "",
        ] {
            assert_eq!(return_url(bad), None, "{bad}");
        }
        assert_eq!(return_url(&format!("https://app.hubspot.com/{}", "a".repeat(2_048))), None);
    }
}
