//! `HubSpot`'s OAuth server: the consent page, token, introspect, revoke, and uninstalling.
//!
//! The rules shared with Salesforce are in `oauth.rs` beside this folder. Versions v1 (token only, for the official
//! client), v3, 2026-03 and 2026-09 behave the same. Errors carry the RFC 6749 pair and the older pair, as documented
//! since January 2026; what a code error says in `error` is the likely value.

use crate::Env;
use crate::config::DeadToken;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Form, Reply, with_query};
use crate::hubspot::{HubSpot, journal};
use crate::oauth::{self, Access, Code, CodeError, Grant, Redemption};
use crate::pages;
use serde_json::{Value, json};

const CODE_LIFE_MS: i64 = 600_000;
const USER: &str = "99";
const DEFAULT_HUB: &str = "4242";
/// What an app that registered no scopes gets from the marketplace.
const INSTALL_SCOPES: &[&str] = &["oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"];
const VERSIONS: &[&str] = &["v1", "v3", "2026-03", "2026-09"];

impl HubSpot {
    /// `/oauth/...`
    pub(super) fn oauth(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
        match (call.method(), call.parts().as_slice()) {
            ("GET" | "POST", ["oauth", "authorize"]) => self.authorize(call, None, env),
            ("GET" | "POST", ["oauth", hub, "authorize"]) => self.authorize(call, Some(hub), env),
            ("POST", ["oauth", version, "token"]) if VERSIONS.contains(version) => self.token(&call.form(), env),
            ("POST", ["oauth", version, "token", "introspect"]) if VERSIONS.contains(version) => {
                self.introspect(&call.form(), env)
            }
            ("POST", ["oauth", version, "token", "revoke"]) if VERSIONS.contains(version) => {
                check_client(&call.form(), env)?;
                self.authority.forget_refresh(call.form().get("token"));
                Ok(Answer::empty(200))
            }
            ("GET", ["oauth", "v1", "access-tokens", token]) => Ok(self.describe_access(token, env)),
            _ => Err(Answer::json(
                404,
                &json!({"status": "error", "message": "Not Found", "correlationId": env.correlation}),
            )),
        }
    }

    fn authorize(&mut self, call: &Call<'_>, hub: Option<&str>, env: &mut Env<'_>) -> Reply {
        let form = if call.method() == "POST" { call.form().pairs().to_vec() } else { call.queries().to_vec() };
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let words = |name: &str| field(name).split_whitespace().map(str::to_owned).collect::<Vec<String>>();
        let refuse = |reason: &str| pages::refusal("HubSpot", reason);
        let (client, redirect) = (field("client_id"), field("redirect_uri"));
        let app = &env.config.hubspot;
        if client.is_empty() || (!app.client_id.is_empty() && app.client_id != client) {
            return Err(refuse("The app's client id is missing or unknown."));
        }
        if !oauth::may_redirect_to(&app.redirect_uris, redirect) {
            return Err(refuse("The redirect URL does not match one of the app's redirect URLs."));
        }
        let mut scopes = words("scope");
        if scopes.is_empty() || app.required_scopes.iter().any(|needed| !scopes.contains(needed)) {
            return Err(refuse("The scopes do not include all that the app requires."));
        }
        if !matches!((field("code_challenge"), field("code_challenge_method")), ("", _) | (_, "S256")) {
            return Err(refuse("The code challenge method must be S256."));
        }
        scopes.extend(words("optional_scope"));
        let asked = field("hub_id");
        let hub = hub.unwrap_or(if asked.is_empty() { DEFAULT_HUB } else { asked });
        if hub.parse::<u64>().is_err() {
            return Err(refuse("There is no such account."));
        }
        let mut back = if field("state").is_empty() { Vec::new() } else { vec![("state", field("state"))] };
        match field("decision") {
            "approve" => {
                let code = env.issue_hubspot_code();
                let kept = Code {
                    account: hub.to_owned(),
                    user: USER.to_owned(),
                    client_id: client.to_owned(),
                    redirect_uri: redirect.to_owned(),
                    scopes,
                    challenge: Some(field("code_challenge")).filter(|c| !c.is_empty()).map(str::to_owned),
                    expires_at: env.now_ms + CODE_LIFE_MS,
                    used: false,
                };
                self.authority.add_code(&code, kept);
                back.insert(0, ("code", &code));
                Ok(Answer::found(&with_query(redirect, &back)))
            }
            "deny" => {
                let denied = [("error", "access_denied"), ("error_description", "The user did not approve the app")];
                Ok(Answer::found(&with_query(redirect, &[&denied[..], &back].concat())))
            }
            _ => Ok(pages::consent(&pages::Consent {
                provider: "HubSpot",
                action: call.path,
                account: ("Account (hub id)", "hub_id", hub),
                scopes: &scopes,
                hidden: &form,
            })),
        }
    }

    fn token(&mut self, form: &Form, env: &mut Env<'_>) -> Reply {
        check_client(form, env)?;
        match form.get("grant_type") {
            "authorization_code" => {
                let shown = Redemption {
                    code: form.get("code"),
                    client_id: form.get("client_id"),
                    redirect_uri: form.get("redirect_uri"),
                    verifier: form.get("code_verifier"),
                };
                let grant = self.authority.redeem(shown, env.now_ms).map_err(|error| match error {
                    CodeError::Bad => refuse("BAD_AUTH_CODE", "invalid_grant", "missing or unknown auth code"),
                    CodeError::RedirectUri => {
                        refuse("BAD_REDIRECT_URI", "invalid_grant", "missing or invalid redirect uri")
                    }
                    CodeError::Verifier => {
                        refuse("BAD_CODE_VERIFIER", "invalid_grant", "code verifier does not match the challenge")
                    }
                })?;
                let refresh = env.random.uuid();
                let refresh = env.issue(format!("na1-{refresh}"));
                self.authority.add_refresh(&refresh, grant);
                let hub = self.authority.grant(grant).map(|grant| grant.account.clone()).unwrap_or_default();
                self.journal.note(journal::INSTALLED, &hub, env);
                Ok(self.tokens(grant, &refresh, env))
            }
            "client_credentials" => Ok(self.journal.token(form, env)),
            "refresh_token" => self.refresh(form, env),
            _ => Err(refuse("BAD_GRANT_TYPE", "unsupported_grant_type", "missing or unknown grant type")),
        }
    }

    fn refresh(&mut self, form: &Form, env: &mut Env<'_>) -> Reply {
        let (shown, policy) = (form.get("refresh_token"), env.switches.hubspot_rotation);
        let Some(grant) = self.authority.refreshable(shown, form.get("client_id")) else {
            self.authority.punish_reuse(shown, policy);
            return Err(dead_token(env));
        };
        let fresh = format!("na1-{}", env.random.uuid());
        let token = self.authority.rotate(shown, fresh, policy);
        if token != shown {
            env.issue(token.clone());
        }
        Ok(self.tokens(grant, &token, env))
    }

    fn tokens(&mut self, grant: u64, refresh: &str, env: &mut Env<'_>) -> Answer {
        let life = env.switches.hubspot_token_life_secs;
        let letters = env.random.letters(120);
        let token = env.issue(format!("C{letters}"));
        let access = Access { grant, issued_at: env.now_ms, expires_at: env.now_ms + life * 1000 };
        self.authority.add_access(&token, access);
        let Some(grant) = self.authority.grant(grant) else { return dead_token(env) };
        Answer::json(
            200,
            &json!({"token_type": "bearer", "access_token": token, "refresh_token": refresh, "expires_in": life,
                "hub_id": number(&grant.account), "user_id": number(&grant.user), "scopes": grant.scopes, "token_use": "access_token"}),
        )
    }

    fn introspect(&self, form: &Form, env: &Env<'_>) -> Reply {
        check_client(form, env)?;
        let token = form.get("token");
        if let Some((access, grant)) = self.authority.access(token).filter(|(access, _)| access.expires_at > env.now_ms)
        {
            let mut body = describe(grant, token, "access_token");
            body.put("expires_in", json!((access.expires_at - env.now_ms) / 1000));
            body.put("is_private_distribution", json!(false));
            body.put("signed_access_token", json!({"expiresAt": access.expires_at, "hubId": number(&grant.account), "userId": number(&grant.user),
                "appId": 777, "hublet": "na1", "isUserLevel": false, "isPrivateDistribution": false, "isServiceAccount": false}));
            return Ok(Answer::json(200, &body));
        }
        let refresh = self.authority.grant_of_refresh(token).map(|(_, grant)| describe(grant, token, "refresh_token"));
        Ok(Answer::json(200, &refresh.unwrap_or_else(|| json!({"active": false}))))
    }

    fn describe_access(&self, token: &str, env: &Env<'_>) -> Answer {
        match self.authority.access(token).filter(|(access, _)| access.expires_at > env.now_ms) {
            Some((access, grant)) => Answer::json(
                200,
                &json!({"token": token, "user": "ops@tenant.example", "hub_domain": "tenant.example", "scopes": grant.scopes,
                    "hub_id": number(&grant.account), "app_id": 777, "expires_in": (access.expires_at - env.now_ms) / 1000,
                    "user_id": number(&grant.user), "token_type": "access"}),
            ),
            None => Answer::json(
                404,
                &json!({"status": "error", "message": "token not found", "correlationId": env.correlation}),
            ),
        }
    }
}

impl HubSpot {
    /// A code of the marketplace's own flow: no authorize request, so no challenge; every scope the app requires.
    pub(crate) fn install_code(&mut self, hub: &str, redirect_uri: &str, env: &mut Env<'_>) -> String {
        let code = env.issue_hubspot_code();
        let app = &env.config.hubspot;
        let scopes = if app.required_scopes.is_empty() {
            INSTALL_SCOPES.iter().map(|&scope| scope.to_owned()).collect()
        } else {
            app.required_scopes.clone()
        };
        let kept = Code {
            account: hub.to_owned(),
            user: USER.to_owned(),
            client_id: app.client_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            scopes,
            challenge: None,
            expires_at: env.now_ms + CODE_LIFE_MS,
            used: false,
        };
        self.authority.add_code(&code, kept);
        code
    }
}

impl Env<'_> {
    fn issue_hubspot_code(&mut self) -> String {
        let code = self.random.uuid();
        self.issue(format!("na1-{code}"))
    }
}

fn number(text: &str) -> Value {
    json!(text.parse::<u64>().unwrap_or_default())
}

fn describe(grant: &Grant, token: &str, token_use: &str) -> Value {
    json!({"active": true, "token": token, "token_use": token_use, "token_type": "Bearer", "hub_id": number(&grant.account),
        "user_id": number(&grant.user), "user": "ops@tenant.example", "hub_domain": format!("tenant-{}.example", grant.account),
        "app_id": 777, "client_id": grant.client_id, "scopes": grant.scopes})
}

fn check_client(form: &Form, env: &Env<'_>) -> Result<(), Answer> {
    let app = &env.config.hubspot;
    let (id, secret) = (form.get("client_id"), form.get("client_secret"));
    if id.is_empty() || (!app.client_id.is_empty() && app.client_id != id) {
        return Err(refuse("BAD_CLIENT_ID", "invalid_client", "missing or unknown client id"));
    }
    if secret.is_empty() || (!app.client_secret.is_empty() && app.client_secret != secret) {
        return Err(refuse("BAD_CLIENT_SECRET", "invalid_client", "missing or invalid client secret"));
    }
    Ok(())
}

fn dead_token(env: &Env<'_>) -> Answer {
    let message = "refresh token is invalid, expired or revoked";
    match env.switches.hubspot_dead_token {
        DeadToken::InvalidGrant => refuse("BAD_REFRESH_TOKEN", "invalid_grant", message),
        DeadToken::InvalidRequest => refuse("BAD_REFRESH_TOKEN", "invalid_request", "missing or unknown refresh token"),
        DeadToken::BadHub => refuse("BAD_HUB", "access_denied", "missing or unknown hub id"),
    }
}

fn refuse(status: &str, error: &str, message: &str) -> Answer {
    Answer::json(400, &json!({"error": error, "error_description": message, "status": status, "message": message}))
}
