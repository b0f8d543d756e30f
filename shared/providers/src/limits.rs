//! The headers by which the CRMs tell how much of a limit is left (providers reference 1.11 and 2.3).
//!
//! In scope: reading them, and which ones are worth handing on. Out of scope: what follows (`model::budget`).

use model::Crm;
use model::budget::{Limit, Told};
use model::write::{ErrorClass, Failure};

/// Whether a header (lower-case name) tells of limits.
pub fn tells(name: &str) -> bool {
    name.starts_with("x-hubspot-ratelimit") || name == "sforce-limit-info" || name == "retry-after"
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim())
}

/// Search answers carry none of them.
pub(crate) fn hubspot(headers: &[(String, String)]) -> Told {
    let number = |name: &str| value(headers, name)?.parse::<u32>().ok();
    let max = number("x-hubspot-ratelimit-max");
    // Daily counts are not sent to OAuth apps; private ones get them.
    let daily_max = number("x-hubspot-ratelimit-daily");
    let daily_left = number("x-hubspot-ratelimit-daily-remaining");
    Told {
        max,
        remaining: number("x-hubspot-ratelimit-remaining").filter(|left| max.is_some_and(|max| *left <= max)),
        window_ms: number("x-hubspot-ratelimit-interval-milliseconds").map(i64::from),
        daily_used: daily_max.zip(daily_left).map(|(max, left)| max.saturating_sub(left)),
        daily_max: daily_max.filter(|max| *max > 0 && daily_left.is_some()),
    }
}

/// `api-usage=18/15000`, perhaps followed by `per-app-api-usage=17/250(appName=x)`: the first is the org's, and ours counts
/// to it; a limit of the app's own is the one that ends first, when it is nearer.
pub(crate) fn salesforce(headers: &[(String, String)]) -> Told {
    let Some(info) = value(headers, "sforce-limit-info") else { return Told::default() };
    let mut told = Told::default();
    for part in info.split([';', ',']) {
        let Some((_, usage)) = part.split_once("api-usage=") else { continue };
        let Some((used, max)) = usage.split_once('/') else { continue };
        let max = max.split('(').next().unwrap_or_default();
        let (Ok(used), Ok(max)) = (used.trim().parse::<u32>(), max.trim().parse::<u32>()) else { continue };
        let left = |used: u32, max: u32| max.saturating_sub(used);
        let nearer = told.daily_used.zip(told.daily_max).is_none_or(|(u, m)| left(used, max) < left(u, m));
        if max > 0 && nearer {
            told.daily_used = Some(used);
            told.daily_max = Some(max);
        }
    }
    told
}

/// Which limit a failure is about, when it concerns more than the one write.
pub fn limit_of(crm: Crm, failure: &Failure) -> Option<Limit> {
    // Triggers and flows wrap a lock in errors of their own.
    if failure.code == "UNABLE_TO_LOCK_ROW" || failure.detail.contains("UNABLE_TO_LOCK_ROW") {
        return Some(Limit::Lock);
    }
    let code = failure.code.as_str();
    // A refused look leaves its write in doubt, and is about the account all the same.
    let of_a_look = failure.class == ErrorClass::UnknownOutcome
        && (matches!(failure.http_status, Some(429 | 477)) || code == "REQUEST_LIMIT_EXCEEDED");
    if failure.class != ErrorClass::RateLimited && !of_a_look {
        return None;
    }
    // A portal that is being moved (477) takes nothing at all.
    let everything = code == "DAILY"
        || failure.http_status == Some(477)
        || code == "REQUEST_LIMIT_EXCEEDED" && !failure.detail.contains("Concurrent");
    Some(match crm {
        _ if everything => Limit::Daily,
        _ if code == "SECONDLY" => Limit::Searches,
        Crm::Hubspot => Limit::Window,
        Crm::Salesforce => Limit::Concurrent,
    })
}

#[cfg(test)]
mod tests {
    use super::{hubspot, limit_of, salesforce};
    use model::Crm;
    use model::budget::{Limit, Told};
    use model::write::{ErrorClass, Failure};

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn hubspots_headers_are_read_and_nonsense_is_not_known() {
        let told = hubspot(&headers(&[
            ("x-hubspot-ratelimit-max", "110"),
            ("x-hubspot-ratelimit-remaining", "54"),
            ("x-hubspot-ratelimit-interval-milliseconds", "10000"),
        ]));
        let expected =
            Told { max: Some(110), remaining: Some(54), window_ms: Some(10_000), daily_used: None, daily_max: None };
        assert_eq!(told, expected);
        assert!(told.is_tight());
        let daily = hubspot(&headers(&[
            ("x-hubspot-ratelimit-daily", "250000"),
            ("x-hubspot-ratelimit-daily-remaining", "249000"),
        ]));
        assert_eq!((daily.daily_used, daily.daily_max), (Some(1_000), Some(250_000)));
        for bad in ["", "-1", "many", "99999999999"] {
            assert_eq!(hubspot(&headers(&[("x-hubspot-ratelimit-max", bad)])), Told::default(), "{bad}");
        }
        let more_than_all = [("x-hubspot-ratelimit-max", "110"), ("x-hubspot-ratelimit-remaining", "111")];
        assert_eq!(hubspot(&headers(&more_than_all)).remaining, None);
    }

    #[test]
    fn every_refusal_for_a_limit_is_told_apart() {
        use ErrorClass::{Mapping, RateLimited, Transient, UnknownOutcome};
        for (crm, class, code, detail, status, expected) in [
            (Crm::Hubspot, RateLimited, "TEN_SECONDLY_ROLLING", "", 429, Some(Limit::Window)),
            (Crm::Hubspot, RateLimited, "SECONDLY", "", 429, Some(Limit::Searches)),
            (Crm::Hubspot, RateLimited, "DAILY", "", 429, Some(Limit::Daily)),
            (Crm::Hubspot, RateLimited, "http_429", "", 429, Some(Limit::Window)),
            (Crm::Hubspot, RateLimited, "http_477", "", 477, Some(Limit::Daily)),
            (Crm::Hubspot, Transient, "http_423", "", 423, None),
            (
                Crm::Salesforce,
                RateLimited,
                "REQUEST_LIMIT_EXCEEDED",
                "TotalRequests Limit exceeded.",
                403,
                Some(Limit::Daily),
            ),
            (
                Crm::Salesforce,
                RateLimited,
                "REQUEST_LIMIT_EXCEEDED",
                "ConcurrentPerOrgLongTxn Limit exceeded.",
                403,
                Some(Limit::Concurrent),
            ),
            (Crm::Salesforce, RateLimited, "http_429", "", 429, Some(Limit::Concurrent)),
            (Crm::Salesforce, Transient, "UNABLE_TO_LOCK_ROW", "", 400, Some(Limit::Lock)),
            (
                Crm::Salesforce,
                Transient,
                "CANNOT_EXECUTE_FLOW_TRIGGER",
                "UNABLE_TO_LOCK_ROW: x",
                400,
                Some(Limit::Lock),
            ),
            (Crm::Salesforce, Transient, "ENTITY_IS_LOCKED", "", 400, None),
            (Crm::Salesforce, Mapping, "INVALID_FIELD", "", 400, None),
            (Crm::Hubspot, UnknownOutcome, "SECONDLY", "", 429, Some(Limit::Searches)),
            (Crm::Hubspot, UnknownOutcome, "http_504", "", 504, None),
            (Crm::Salesforce, UnknownOutcome, "REQUEST_LIMIT_EXCEEDED", "TotalRequests", 403, Some(Limit::Daily)),
        ] {
            let failure = Failure {
                class,
                code: code.to_owned(),
                detail: detail.to_owned(),
                http_status: Some(status),
                correlation_id: None,
                not_before: None,
            };
            assert_eq!(limit_of(crm, &failure), expected, "{code} {detail}");
        }
    }

    #[test]
    fn salesforces_usage_is_the_limit_that_ends_first() {
        for (info, used, max) in [
            ("api-usage=18/15000", Some(18), Some(15_000)),
            ("api-usage=18/15000; per-app-api-usage=17/250(appName=x)", Some(17), Some(250)),
            ("api-usage=14999/15000;per-app-api-usage=17/250(appName=x)", Some(14_999), Some(15_000)),
            ("api-usage=18", None, None),
            ("api-usage=x/y", None, None),
            ("", None, None),
        ] {
            let told = salesforce(&headers(&[("sforce-limit-info", info)]));
            assert_eq!((told.daily_used, told.daily_max), (used, max), "{info}");
        }
        assert_eq!(salesforce(&[]), Told::default());
    }
}
