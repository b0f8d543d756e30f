//! Faults that hit single calls: a status instead of the work or after it, a lost request, a lost answer, a delay, a torn
//! body.
//!
//! Not the providers' own refusals: those come from their rules. A fault is given as JSON to `POST /stand-in/faults`:
//! `{"match":{"provider":"hubspot","path":"/crm/objects","method":"POST","skip":1,"count":2},"status":504,"after":true}`.

use crate::http::{Answer, Call, Fate, Request};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Which calls a fault hits. What is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// `hubspot` or `salesforce`.
    pub provider: Option<String>,
    /// A prefix of the path.
    pub path: Option<String>,
    /// A part anywhere in the path.
    pub path_contains: Option<String>,
    /// A part anywhere in the body.
    pub body_contains: Option<String>,
    /// Upper case.
    pub method: Option<String>,
    /// So many matching calls pass first.
    pub skip: u32,
    /// So many are hit; without it, all.
    pub count: Option<u32>,
}

/// Which way a message gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// On the way there: nothing happened.
    Request,
    /// On the way back: it happened.
    Answer,
}

/// The body of a faulty answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// As the provider words that status.
    #[default]
    Json,
    /// What an edge in between would say.
    Html,
    /// None.
    Empty,
}

/// One fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Which calls.
    #[serde(rename = "match")]
    pub on: Match,
    /// Answer with this status.
    pub status: Option<u16>,
    /// Salesforce error code in the body.
    pub code: Option<String>,
    /// With this body.
    pub body: BodyKind,
    /// And this `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Do the work first, then answer with the status.
    pub after: bool,
    /// Lose the message.
    pub lose: Option<Lost>,
    /// Do the work so much later, when the caller has long heard nothing: a request that went on running.
    pub commit_after_ms: Option<i64>,
    /// Answer late.
    pub delay_ms: u64,
    /// Tear the answer's body in the middle.
    pub truncate: bool,
}

/// A request whose work is still to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Epoch milliseconds on the stand-in's clock.
    pub due_at: i64,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Late {
    /// This request, to be done then.
    pub fn new(request: &Request, due_at: i64) -> Self {
        let Request { method, url, headers, body } = request.clone();
        Self { due_at, method, url, headers, body }
    }

    /// As it came.
    pub fn request(self) -> Request {
        Request { method: self.method, url: self.url, headers: self.headers, body: self.body }
    }
}

/// Takes the fault that hits this call, if one does, and counts it. The first matching one wins.
pub fn take(faults: &mut Vec<Fault>, provider: &str, call: &Call<'_>) -> Option<Fault> {
    let at = faults.iter().position(|fault| fault.on.fits(provider, call))?;
    let fault = faults.get_mut(at)?;
    if fault.on.skip > 0 {
        fault.on.skip -= 1;
        return None;
    }
    let hit = fault.clone();
    match &mut fault.on.count {
        Some(left) if *left > 1 => *left -= 1,
        Some(_) => {
            faults.remove(at);
        }
        None => {}
    }
    Some(hit)
}

impl Match {
    fn fits(&self, provider: &str, call: &Call<'_>) -> bool {
        let fits = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        fits(&self.provider, &|name| name == provider)
            && fits(&self.path, &|prefix| call.path.starts_with(prefix))
            && fits(&self.path_contains, &|part| call.path.contains(part))
            && fits(&self.body_contains, &|part| String::from_utf8_lossy(call.body()).contains(part))
            && fits(&self.method, &|method| method == call.method())
    }
}

impl Fault {
    /// What the caller gets when the work is not to be done at all.
    pub fn before(&self, provider: &str) -> Option<Answer> {
        let answer = match (self.lose, self.status) {
            (Some(Lost::Request), _) => Answer { fate: Fate::LoseRequest, ..Answer::default() },
            _ if self.commit_after_ms.is_some() => Answer { fate: Fate::LoseAnswer, ..Answer::default() },
            (_, Some(status)) if !self.after => self.answer(provider, status),
            _ => return None,
        };
        Some(Answer { delay_ms: self.delay_ms, ..answer })
    }

    /// What becomes of the answer when the work was done.
    pub fn after(&self, provider: &str, done: Answer) -> Answer {
        let mut answer = self.status.map_or(done, |status| self.answer(provider, status));
        if self.truncate {
            answer.body.truncate(answer.body.len() / 2);
        }
        if self.lose == Some(Lost::Answer) {
            answer.fate = Fate::LoseAnswer;
        }
        Answer { delay_ms: self.delay_ms, ..answer }
    }

    fn answer(&self, provider: &str, status: u16) -> Answer {
        let answer = match self.body {
            BodyKind::Empty => Answer::empty(status),
            BodyKind::Html => Answer::html(
                status,
                format!("<html><head><title>{status}</title></head><body>Error {status}</body></html>"),
            ),
            BodyKind::Json if provider == "salesforce" => {
                let code = self.code.as_deref().unwrap_or(salesforce_code(status));
                Answer::json(status, &json!([{"message": salesforce_message(code), "errorCode": code}]))
            }
            BodyKind::Json => Answer::json(status, &hubspot_body(status)),
        };
        match self.retry_after {
            Some(secs) => answer.with("retry-after", &secs.to_string()),
            None => answer,
        }
    }
}

fn salesforce_code(status: u16) -> &'static str {
    match status {
        401 => "INVALID_SESSION_ID",
        403 => "REQUEST_LIMIT_EXCEEDED",
        404 => "NOT_FOUND",
        503 => "SERVER_UNAVAILABLE",
        400 => "UNABLE_TO_LOCK_ROW",
        _ => "UNKNOWN_EXCEPTION",
    }
}

fn salesforce_message(code: &str) -> &'static str {
    match code {
        "INVALID_SESSION_ID" => "Session expired or invalid",
        "REQUEST_LIMIT_EXCEEDED" => "TotalRequests Limit exceeded.",
        "NOT_FOUND" => "The requested resource does not exist",
        "UNABLE_TO_LOCK_ROW" => "unable to obtain exclusive access to this record",
        _ => "An unexpected error occurred",
    }
}

fn hubspot_body(status: u16) -> serde_json::Value {
    let (message, category) = match status {
        401 => ("Authentication credentials not found.", "INVALID_AUTHENTICATION"),
        403 => ("One or more of the following scopes are required.", "MISSING_SCOPES"),
        423 => ("The requested resource is locked.", "LOCKED"),
        429 => ("You have reached your ten_secondly_rolling limit.", "RATE_LIMITS"),
        477 => ("The account is being moved.", "MIGRATION_IN_PROGRESS"),
        _ => ("internal error", "INTERNAL_ERROR"),
    };
    let mut body =
        json!({"status": "error", "message": message, "correlationId": "c0ffee00-0000-4000-8000-00000000000f"});
    if let Some(fields) = body.as_object_mut() {
        if status == 429 {
            fields.insert("errorType".into(), json!("RATE_LIMIT"));
            fields.insert("policyName".into(), json!("TEN_SECONDLY_ROLLING"));
        } else {
            fields.insert("category".into(), json!(category));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::{Fault, take};
    use crate::http::{Call, Request};
    use serde_json::json;

    fn fault(value: serde_json::Value) -> Fault {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_fault_skips_counts_and_ends() {
        let mut faults =
            vec![fault(json!({"match": {"path": "/crm", "method": "POST", "skip": 1, "count": 2}, "status": 503}))];
        let request =
            Request { method: "POST".into(), url: "https://api.hubapi.com/crm/x".into(), ..Request::default() };
        let call = Call::new(&request, 0);
        let hits: Vec<bool> = (0..5).map(|_| take(&mut faults, "hubspot", &call).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.is_empty());
    }

    #[test]
    fn each_part_of_a_match_counts() {
        let request = Request {
            method: "POST".into(),
            url: "https://api.hubapi.com/crm/x".into(),
            body: b"ada".to_vec(),
            ..Request::default()
        };
        for (on, hit) in [
            (json!({}), true),
            (json!({"provider": "salesforce"}), false),
            (json!({"path": "/oauth"}), false),
            (json!({"path_contains": "/x"}), true),
            (json!({"body_contains": "ada"}), true),
            (json!({"body_contains": "bob"}), false),
            (json!({"method": "GET"}), false),
        ] {
            let mut faults = vec![fault(json!({"match": on, "lose": "answer"}))];
            assert_eq!(take(&mut faults, "hubspot", &Call::new(&request, 0)).is_some(), hit, "{on}");
        }
    }
}
