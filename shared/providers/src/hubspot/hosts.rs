//! HubSpot's two hosts and the dated paths used here (providers reference 1.1).

use crate::oauth::AppCredentials;

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

/// `https://api.hubapi.com/crm/associations/2026-03/{rest}`: associations in batches, and their types.
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

/// `https://api.hubapi.com/webhooks-journal/{part}/2026-03{rest}`: `journal` or `subscriptions`.
pub(super) fn journal(part: &str, rest: &str) -> String {
    format!("{API}/webhooks-journal/{part}/{HUBSPOT_API_VERSION}{rest}")
}

/// Whether a state of ours may be put on such an address: not where it would be handed to another app. HubSpot's consent page is
/// on the same host, and brings a state to the `redirect_uri` that is named beside it.
pub fn may_carry_state(return_url: &str, app: &AppCredentials) -> bool {
    let (_, query) = return_url.split_once('?').unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).all(|(name, value)| match &*name.to_ascii_lowercase() {
        "client_id" => value == app.client_id,
        "redirect_uri" => value == app.redirect_uri,
        "state" => false,
        _ => true,
    })
}

/// Where the journal's files may be: HubSpot's own hosts, and Amazon's S3, as a bucket's path or as its host, with a region or
/// without. Which of them a deployment of HubSpot's uses is not confirmed. Compared as text, as [`return_url`] is; no port, no
/// user info, no other service of Amazon's.
pub fn journal_file(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = rest.get(..end)?;
    let named = |name: &str| {
        (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let labels: Vec<&str> = host.split('.').collect();
    let own = match labels.as_slice() {
        [.., "s3", region, "amazonaws", "com"] => named(region),
        [.., "s3", "amazonaws", "com"] | [_, "hubspot" | "hubapi", "com"] => true,
        _ => false,
    };
    let plain = text
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '#' | '^' | '`' | '{' | '|' | '}'));
    (own && labels.iter().all(|label| named(label)) && text.len() <= 4_096 && plain).then_some(text)
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
    use super::{journal_file, may_carry_state, return_url};
    use crate::oauth::AppCredentials;
    use model::Secret;

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

    #[test]
    fn a_journals_file_is_fetched_from_hubspots_hosts_and_s3_only() {
        for good in [
            "https://s3.amazonaws.com/bucket/path/file.json?X-Amz-Signature=a%2Fb",
            "https://s3.us-east-1.amazonaws.com/bucket/file.json",
            "https://hubspot-journal.s3.amazonaws.com/file.json",
            "https://hubspot-journal.s3.eu-central-1.amazonaws.com/file.json",
            "https://api.hubapi.com/files/1",
            "https://journal.hubspot.com/1",
        ] {
            assert_eq!(journal_file(good), Some(good));
        }
        for bad in [
            "http://s3.amazonaws.com/bucket",
            "https://s3.amazonaws.com.evil.example/",
            "https://s3.amazonaws.com@evil.example/",
            "https://evil.example@s3.amazonaws.com/",
            "https://s3.amazonaws.com:8443/",
            "https://s3.amazonaws.com\\@evil.example/",
            "https://ec2.amazonaws.com/",
            "https://x.execute-api.us-east-1.amazonaws.com/",
            "https://s3.evil.example/",
            "https://evil-s3.amazonaws.com/",
            "https://amazonaws.com/",
            "https://.s3.amazonaws.com/",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost/",
            "https://hubapi.com/",
            "https://api.hubapi.com.evil.example/",
            "https://a.b.hubapi.com/",
            "https://S3.amazonaws.com/",
            "//s3.amazonaws.com/",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(journal_file(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_state_is_not_put_where_another_app_would_get_it() {
        let app = AppCredentials {
            client_id: "ours".to_owned(),
            client_secret: Secret::new(String::new()),
            scopes: Vec::new(),
            optional_scopes: Vec::new(),
            redirect_uri: "https://conduit.example/cb".to_owned(),
        };
        for (query, may) in [
            ("", true),
            ("?hub_id=1&x=client_id", true),
            ("?client_id=ours&redirect_uri=https%3A%2F%2Fconduit.example%2Fcb", true),
            ("?client_id=theirs", false),
            ("?client_id=ours&client_id=theirs", false),
            ("?redirect_uri=https%3A%2F%2Fevil.example%2F", false),
            ("?%72edirect_uri=https://evil.example/", false),
            ("?CLIENT_ID=theirs", false),
            ("?state=planted", false),
        ] {
            assert_eq!(
                may_carry_state(&format!("https://app.hubspot.com/oauth/authorize{query}"), &app),
                may,
                "{query}"
            );
        }
    }
}
