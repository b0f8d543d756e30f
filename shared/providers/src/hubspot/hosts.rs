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
