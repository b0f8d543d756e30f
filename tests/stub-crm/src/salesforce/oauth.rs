//! Salesforce's OAuth server: authorize, token, revoke, introspect, userinfo and the identity document.
//!
//! The rules shared with `HubSpot` are in `oauth.rs` beside this folder. There is no `expires_in`; the signature is
//! HMAC-SHA256 over the identity URL and `issued_at`. Sources: Salesforce's OAuth guide, jsforce and restforce fixtures.

use crate::Env;
use crate::config::Rotation;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Form, Reply, with_query};
use crate::oauth::{self, Access, Code, CodeError, Redemption};
use crate::pages;
use crate::salesforce::{Salesforce, id};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

const CODE_LIFE_MS: i64 = 900_000;
const DEFAULT_SCOPES: &[&str] = &["refresh_token", "api", "id"];

/// The organisation of that number; 1 unless another is asked for.
pub fn org_id(number: u64) -> String {
    id::make("00D", number)
}

/// The number of an organisation.
pub fn org_number(org: &str) -> u64 {
    org.get(5..15).and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

/// The API user of an organisation.
pub fn user_id(org: &str) -> String {
    id::make("005", org_number(org))
}

impl Salesforce {
    /// `/services/oauth2/...`
    pub(super) fn oauth(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
        match (call.method(), call.parts().as_slice()) {
            ("GET" | "POST", [_, _, "authorize"]) => self.authorize(call, env),
            ("POST", [_, _, "token"]) => self.token(call, env),
            ("POST" | "GET", [_, _, "revoke"]) => self.revoke(call),
            ("POST", [_, _, "introspect"]) => self.introspect(call, env),
            ("GET" | "POST", [_, _, "userinfo"]) => self.userinfo(call, env),
            _ => Err(Answer::html(404, "<html><body>URL No Longer Exists</body></html>".to_owned())),
        }
    }

    fn authorize(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
        let form = if call.method() == "POST" { call.form().pairs().to_vec() } else { call.queries().to_vec() };
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let refuse = |reason: &str| pages::refusal("Salesforce", reason);
        let (client, redirect) = (field("client_id"), field("redirect_uri"));
        let app = &env.config.salesforce;
        if client.is_empty() || (!app.client_id.is_empty() && app.client_id != client) {
            return Err(refuse("invalid_client_id: client identifier invalid"));
        }
        if !oauth::may_redirect_to(&app.redirect_uris, redirect) {
            return Err(refuse("redirect_uri_mismatch: redirect_uri must match configuration"));
        }
        let mut back = if field("state").is_empty() { Vec::new() } else { vec![("state", field("state"))] };
        let send_back = |error: &str, text: &str, back: &[(&str, &str)]| {
            Ok(Answer::found(&with_query(redirect, &[&[("error", error), ("error_description", text)], back].concat())))
        };
        if field("response_type") != "code" {
            return send_back("unsupported_response_type", "response type not supported", &back);
        }
        if env.switches.salesforce_require_pkce && field("code_challenge").is_empty() {
            return send_back("invalid_request", "missing required code challenge", &back);
        }
        let mut scopes: Vec<String> = field("scope").split_whitespace().map(str::to_owned).collect();
        if scopes.is_empty() {
            scopes = DEFAULT_SCOPES.iter().map(|scope| (*scope).to_owned()).collect();
        }
        let number = Some(field("org")).filter(|text| !text.is_empty()).unwrap_or("1");
        match field("decision") {
            "approve" => {
                let number: u64 = number.parse().map_err(|_| refuse("There is no such organisation."))?;
                let letters = env.random.letters(60);
                let code = env.issue(format!("aPrx{letters}=="));
                let account = org_id(number);
                let kept = Code {
                    user: user_id(&account),
                    account,
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
            "deny" => send_back("access_denied", "end-user denied authorization", &back),
            _ => Ok(pages::consent(&pages::Consent {
                provider: "Salesforce",
                action: call.path,
                account: ("Organisation (number)", "org", number),
                scopes: &scopes,
                hidden: &form,
            })),
        }
    }

    fn token(&mut self, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
        let form = call.form();
        let needs_secret = form.get("grant_type") == "authorization_code";
        check_client(call, &form, needs_secret, env)?;
        let client = credentials(call, &form).0;
        match form.get("grant_type") {
            "authorization_code" => {
                let shown = Redemption {
                    code: form.get("code"),
                    client_id: &client,
                    redirect_uri: form.get("redirect_uri"),
                    verifier: form.get("code_verifier"),
                };
                let grant = self.authority.redeem(shown, env.now_ms).map_err(|error| match error {
                    CodeError::Bad => refuse("invalid_grant", "expired authorization code"),
                    CodeError::RedirectUri => refuse("redirect_uri_mismatch", "redirect_uri must match configuration"),
                    CodeError::Verifier => refuse("invalid_grant", "invalid code verifier"),
                })?;
                let scopes = self.authority.grant(grant).map(|grant| grant.scopes.clone()).unwrap_or_default();
                let offline =
                    scopes.iter().any(|scope| matches!(scope.as_str(), "refresh_token" | "offline_access" | "full"));
                let refresh = offline.then(|| {
                    let letters = env.random.letters(70);
                    env.issue(format!("5Aep861{letters}"))
                });
                if let Some(refresh) = &refresh {
                    self.authority.add_refresh(refresh, grant);
                }
                self.tokens(grant, refresh.as_deref(), call, env)
            }
            "refresh_token" => self.refresh(form.get("refresh_token"), &client, call, env),
            _ => Err(refuse("unsupported_grant_type", "grant type not supported")),
        }
    }

    fn refresh(&mut self, shown: &str, client: &str, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
        let policy = env.switches.salesforce_rotation;
        let Some(grant) = self.authority.refreshable(shown, client) else {
            self.authority.punish_reuse(shown, policy);
            return Err(refuse("invalid_grant", "expired access/refresh token"));
        };
        if policy == Rotation::Off {
            return self.tokens(grant, None, call, env);
        }
        let letters = env.random.letters(70);
        let fresh = env.issue(format!("5Aep861{letters}"));
        let fresh = self.authority.rotate(shown, fresh, policy);
        self.tokens(grant, Some(&fresh), call, env)
    }

    fn tokens(&mut self, number: u64, refresh: Option<&str>, call: &Call<'_>, env: &mut Env<'_>) -> Reply {
        let grant =
            self.authority.grant(number).ok_or_else(|| refuse("invalid_grant", "expired access/refresh token"))?;
        let (org, user) = (grant.account.clone(), grant.user.clone());
        let scope = grant.scopes.join(" ");
        let letters = env.random.letters(84);
        let token = env.issue(format!("{}!AQ{letters}", org.get(..15).unwrap_or_default()));
        let life_ms = env.switches.salesforce_session_secs * 1000;
        self.authority
            .add_access(&token, Access { grant: number, issued_at: env.now_ms, expires_at: env.now_ms + life_ms });
        let identity = format!("{}/id/{org}/{user}", login_origin(call));
        let issued_at = env.now_ms.to_string();
        let mut body = json!({"access_token": token, "signature": sign(&env.config.salesforce.client_secret, &identity, &issued_at),
            "scope": scope, "instance_url": instance_url(call, &org), "id": identity, "token_type": "Bearer", "issued_at": issued_at});
        if let Some(refresh) = refresh {
            body.put("refresh_token", json!(refresh));
        }
        Ok(Answer::json(200, &body))
    }

    fn revoke(&mut self, call: &Call<'_>) -> Reply {
        let form = call.form();
        let token =
            if form.get("token").is_empty() { call.query("token").unwrap_or_default() } else { form.get("token") };
        if let Some((grant, _)) = self.authority.grant_of_refresh(token) {
            self.authority.end(grant);
            return Ok(Answer::empty(200));
        }
        if self.authority.forget_access(token) {
            return Ok(Answer::empty(200));
        }
        Err(refuse("unsupported_token_type", "this token type is not supported"))
    }

    fn introspect(&self, call: &Call<'_>, env: &Env<'_>) -> Reply {
        let form = call.form();
        check_client(call, &form, true, env)?;
        let token = form.get("token");
        let common = |grant: &oauth::Grant| {
            json!({"active": true, "scope": grant.scopes.join(" "), "client_id": grant.client_id, "username": username(&grant.account),
                "sub": format!("{}/id/{}/{}", login_origin(call), grant.account, grant.user)})
        };
        if let Some((access, grant)) = self.authority.access(token).filter(|(access, _)| access.expires_at > env.now_ms)
        {
            let mut body = common(grant);
            body.put("token_type", json!("access_token"));
            body.put("exp", json!(access.expires_at / 1000));
            body.put("iat", json!(access.issued_at / 1000));
            body.put("nbf", json!(access.issued_at / 1000 - 5));
            return Ok(Answer::json(200, &body));
        }
        let refresh = self.authority.grant_of_refresh(token).map(|(_, grant)| {
            let mut body = common(grant);
            body.put("token_type", json!("refresh_token"));
            body
        });
        Ok(Answer::json(200, &refresh.unwrap_or_else(|| json!({"active": false}))))
    }

    /// `/services/oauth2/userinfo`
    fn userinfo(&self, call: &Call<'_>, env: &Env<'_>) -> Reply {
        let token = call
            .bearer()
            .or_else(|| call.query("oauth_token"))
            .ok_or_else(|| Answer::text(403, "Missing_OAuth_Token"))?;
        let found = self.authority.access(token).filter(|(access, _)| access.expires_at > env.now_ms);
        let (_, grant) = found.ok_or_else(|| Answer::text(403, "Bad_OAuth_Token"))?;
        let instance = instance_url(call, &grant.account);
        Ok(Answer::json(
            200,
            &json!({"sub": format!("{}/id/{}/{}", login_origin(call), grant.account, grant.user), "user_id": grant.user,
                "organization_id": grant.account, "preferred_username": username(&grant.account), "nickname": "api", "name": "API User",
                "email": username(&grant.account), "email_verified": true, "active": true, "user_type": "STANDARD", "zoneinfo": "GMT",
                "urls": {"rest": format!("{instance}/services/data/v{{version}}/"), "custom_domain": instance}}),
        ))
    }

    /// `/id/{org}/{user}`
    pub(super) fn identity(&self, call: &Call<'_>, env: &Env<'_>) -> Reply {
        let mut body = self.userinfo(call, env)?.value();
        body.put("id", body.field("sub").clone());
        body.put("username", body.field("preferred_username").clone());
        body.put("display_name", body.field("name").clone());
        body.put("asserted_user", json!(true));
        Ok(Answer::json(200, &body))
    }
}

fn username(org: &str) -> String {
    format!("api@acme-{}.example", org_number(org))
}

/// The host that identity URLs name.
fn login_origin(call: &Call<'_>) -> String {
    let sandbox = call.origin == "https://test.salesforce.com" || call.is_real_host(".sandbox.my.salesforce.com");
    match (call.is_real_host(".salesforce.com"), sandbox) {
        (false, _) => call.origin.to_owned(),
        (true, false) => "https://login.salesforce.com".to_owned(),
        (true, true) => "https://test.salesforce.com".to_owned(),
    }
}

/// Where the organisation's API is.
fn instance_url(call: &Call<'_>, org: &str) -> String {
    let generic = call.is_real_host(".salesforce.com") && !call.is_real_host(".my.salesforce.com");
    match (generic, org_number(org)) {
        (false, _) => call.origin.to_owned(),
        (true, 1) => "https://acme.my.salesforce.com".to_owned(),
        (true, number) => format!("https://acme-{number}.my.salesforce.com"),
    }
}

fn sign(secret: &str, identity: &str, issued_at: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(identity.as_bytes());
    mac.update(issued_at.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Client id and secret from the form, or from HTTP Basic.
fn credentials(call: &Call<'_>, form: &Form) -> (String, String) {
    let basic = || {
        let text = STANDARD.decode(call.header("authorization")?.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(text).ok()?;
        text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
    };
    if form.get("client_id").is_empty() {
        return basic().unwrap_or_default();
    }
    (form.get("client_id").to_owned(), form.get("client_secret").to_owned())
}

fn check_client(call: &Call<'_>, form: &Form, needs_secret: bool, env: &Env<'_>) -> Result<(), Answer> {
    let app = &env.config.salesforce;
    let (id, secret) = credentials(call, form);
    if id.is_empty() || (!app.client_id.is_empty() && app.client_id != id) {
        return Err(refuse("invalid_client_id", "client identifier invalid"));
    }
    let wrong = !app.client_secret.is_empty() && app.client_secret != secret;
    if wrong && (needs_secret || !secret.is_empty()) {
        return Err(refuse("invalid_client", "invalid client credentials"));
    }
    Ok(())
}

fn refuse(error: &str, description: &str) -> Answer {
    Answer::json(400, &json!({"error": error, "error_description": description}))
}

/// The document jsforce and others read at `/services/data/vNN.0`.
pub fn resources(base: &str, identity: &str) -> Value {
    let names = ["sobjects", "query", "queryAll", "composite", "limits", "search", "tooling", "jobs", "recent"];
    let mut body: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!(format!("{base}/{name}")))).collect();
    body.insert("identity".to_owned(), json!(identity));
    Value::Object(body)
}
