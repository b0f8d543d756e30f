//! The Salesforce hosts a request may go to (providers reference 2.1), and nothing else.
//!
//! Both rules read the plain text, so that no difference between two URL parsers can lead a token elsewhere. Sandboxes have enhanced domains (`acme--uat.sandbox.my.salesforce.com`).

/// The version every REST path names; v68.0 is the newest, v67.0 the one the reference is written for.
pub const SALESFORCE_API_VERSION: &str = "v67.0";

/// Production and Developer Edition; what stands in when no login host is given.
pub const LOGIN: &str = "login.salesforce.com";
/// Sandboxes.
pub const TEST: &str = "test.salesforce.com";

/// The login host, lower-cased, when it is one a person can log in at: the two generic hosts or a My Domain host.
pub fn login_host(text: &str) -> Option<String> {
    let host = text.to_ascii_lowercase();
    (host == LOGIN || host == TEST || is_my_domain(&host)).then_some(host)
}

/// The origin of an instance URL, without a trailing slash, when it is a My Domain one over https.
pub fn instance_url(text: &str) -> Option<String> {
    let origin = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    // What is left after the scheme must be a host and nothing else: no userinfo, port, path, escape or tab passes the labels.
    origin.strip_prefix("https://").is_some_and(is_my_domain).then_some(origin)
}

/// Partitions that a My Domain of a non-production org carries, as `acme-dev-ed.develop.my.salesforce.com`.
const PARTITIONS: [&str; 6] = ["develop", "scratch", "demo", "free", "patch", "trailblaze"];

/// `{mydomain}.my.salesforce.com`, `{mydomain}.{partition}.my.salesforce.com` or
/// `{mydomain}--{sandbox}.sandbox.my.salesforce.com`, in lower case.
fn is_my_domain(host: &str) -> bool {
    let Some(name) = host.strip_suffix(".my.salesforce.com") else { return false };
    // A My Domain name has no double hyphen; this also keeps `xn--` (names that only look like ASCII) out.
    let plain = |name: &str| is_label(name) && !name.contains("--");
    match name.split_once('.') {
        None => plain(name),
        Some((name, "sandbox")) => name.split_once("--").is_some_and(|(domain, sandbox)| {
            is_label(domain) && is_label(sandbox) && domain != "xn" && name.len() <= 63
        }),
        Some((name, partition)) => plain(name) && PARTITIONS.contains(&partition),
    }
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// `https://login.salesforce.com/services/oauth2/{rest}`.
pub(super) fn oauth(login_host: &str, rest: &str) -> String {
    format!("https://{login_host}/services/oauth2/{rest}")
}

/// `/services/data/v67.0/{rest}`: a path as subrequests name it.
pub(super) fn data_path(rest: &str) -> String {
    format!("/services/data/{SALESFORCE_API_VERSION}/{rest}")
}
