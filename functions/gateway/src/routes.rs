//! Which path belongs to whom. The list is explicit: what is not on it does not exist, whatever is deployed.

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the function with this service binding.
    Function(&'static str),
    /// The welcome page.
    Welcome,
    /// The description of the API.
    OpenApi,
    /// Liveness: the gateway runs. Says nothing of databases or CRMs.
    Health,
    /// Under `/functions/v1/`, and nobody's.
    Unknown,
    /// Anywhere else: the stand-in CRM's where it is bound.
    Elsewhere,
}

/// A function's name, and its service binding in wrangler.toml.
const FUNCTIONS: [(&str, &str); 15] = [
    ("hubspot-oauth-start", "HUBSPOT_OAUTH_START"),
    ("hubspot-oauth-callback", "HUBSPOT_OAUTH_CALLBACK"),
    ("salesforce-oauth-start", "SALESFORCE_OAUTH_START"),
    ("salesforce-oauth-callback", "SALESFORCE_OAUTH_CALLBACK"),
    ("claim-install", "CLAIM_INSTALL"),
    ("connect-sessions", "CONNECT_SESSIONS"),
    ("crm-connections", "CRM_CONNECTIONS"),
    ("crm-disconnect", "CRM_DISCONNECT"),
    ("crm-writes", "CRM_WRITES"),
    ("retention-policy", "RETENTION_POLICY"),
    ("audit-events", "AUDIT_EVENTS"),
    ("thread-links", "THREAD_LINKS"),
    ("jobs", "JOBS"),
    ("health", "HEALTH"),
    ("metrics", "METRICS"),
];

/// Pages that people see in their address bar, and the function that shows each.
const PAGES: [(&str, &str); 2] = [("/claim-install", "CLAIM_INSTALL"), ("/connect", "CONNECT_SESSIONS")];

/// Where a path leads; `/functions/v1/{name}` and everything below it are the function's.
pub fn route(path: &str) -> Route {
    let Some(below) = path.strip_prefix("/functions/v1/") else {
        let page = PAGES.iter().find(|(known, _)| *known == path).map(|(_, binding)| Route::Function(binding));
        return page.unwrap_or(if path == "/" { Route::Welcome } else { Route::Elsewhere });
    };
    match below {
        "health" => return Route::Health,
        "openapi.json" => return Route::OpenApi,
        _ => {}
    }
    let name = below.split('/').next().unwrap_or_default();
    FUNCTIONS.iter().find(|(known, _)| *known == name).map_or(Route::Unknown, |(_, binding)| Route::Function(binding))
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, Route, route};

    #[test]
    fn every_path_has_one_owner() {
        for (path, owner) in [
            ("/", Route::Welcome),
            ("/functions/v1/health", Route::Health),
            ("/functions/v1/health/", Route::Function("HEALTH")),
            ("/functions/v1/health/ready", Route::Function("HEALTH")),
            ("/functions/v1/metrics", Route::Function("METRICS")),
            ("/functions/v1/openapi.json", Route::OpenApi),
            ("/functions/v1/crm-writes", Route::Function("CRM_WRITES")),
            ("/functions/v1/crm-writes/wr_hAbc", Route::Function("CRM_WRITES")),
            ("/functions/v1/crm-writes/replay", Route::Function("CRM_WRITES")),
            ("/functions/v1/crm-writes/wr_hAbc/replay", Route::Function("CRM_WRITES")),
            ("/functions/v1/jobs/purge-installs/run", Route::Function("JOBS")),
            ("/functions/v1/purge-installs", Route::Unknown),
            ("/functions/v1/crm-writes2", Route::Unknown),
            ("/functions/v1/CRM-WRITES", Route::Unknown),
            ("/functions/v1/connection-gate", Route::Unknown),
            ("/functions/v1/hubspot-write-processor", Route::Unknown),
            ("/functions/v1/", Route::Unknown),
            ("/functions/v1", Route::Elsewhere),
            ("/claim-install", Route::Function("CLAIM_INSTALL")),
            ("/claim-install/", Route::Elsewhere),
            ("/functions/v1/claim-install", Route::Function("CLAIM_INSTALL")),
            ("/connect", Route::Function("CONNECT_SESSIONS")),
            ("/oauth/authorize", Route::Elsewhere),
            ("//functions/v1/crm-writes", Route::Elsewhere),
            ("/functions/v1/..%2fcrm-writes", Route::Unknown),
        ] {
            assert_eq!(route(path), owner, "{path}");
        }
    }

    #[test]
    fn every_function_is_bound_and_every_binding_is_listed() {
        let config = include_str!("../../../wrangler.toml");
        for (name, binding) in FUNCTIONS {
            assert!(config.contains(&format!("binding = \"{binding}\"\nservice = \"{name}\"")), "{name}");
        }
        assert_eq!(config.matches("[[services]]").count(), FUNCTIONS.len());
    }
}
