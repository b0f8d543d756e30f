//! Variables and secrets to [`Keys`] and [`Settings`], read once per isolate and kept: they are plain data, and a Worker's
//! environment does not change under it. What is present but wrong refuses to start; what is absent is `None`, and the
//! deed that needs it says so.

use std::cell::OnceCell;
use std::rc::Rc;

use crypto::Keyring;
use crypto::pii::PiiMaster;
use flows::{Error, Keys, Settings};
use model::{Crm, Secret};
use providers::oauth::AppCredentials;
use worker::Env;

use crate::{Uses, bindings, js};

/// Everything a deployment configures.
pub struct Configuration {
    /// The secrets.
    pub keys: Keys,
    /// What flows read.
    pub settings: Settings,
    /// Where the host product publishes its signing keys (`JWKS_URL`).
    pub jwks_url: Option<String>,
    /// A proxy for token endpoints (`OAUTH_EGRESS_URL`): see `http`.
    pub oauth_egress_url: Option<String>,
    /// Answers tell their round trips to D1 (`EXPOSE_COUNTS`).
    pub expose_counts: bool,
    /// The databases bound.
    pub databases: Vec<String>,
}

thread_local! {
    static READ: OnceCell<Rc<Configuration>> = const { OnceCell::new() };
}

/// The configuration of this isolate. A refusal is not kept: it is found again, and said again, in every request.
pub fn of(env: &Env, uses: &Uses) -> Result<Rc<Configuration>, Error> {
    if let Some(read) = READ.with(|cell| cell.get().cloned()) {
        return Ok(read);
    }
    let mut configuration = read(&|name| js::text(env.as_ref(), name), uses)?;
    configuration.databases = bindings::database_names(env);
    let configuration = Rc::new(configuration);
    READ.with(|cell| {
        let _ = cell.set(Rc::clone(&configuration));
    });
    Ok(configuration)
}

/// Reads variables and secrets by name; blank ones count as absent.
pub fn read(text: Text<'_>, uses: &Uses) -> Result<Configuration, Error> {
    let keys = Keys {
        tokens: (uses.tokens)(text)?,
        states: (uses.states)(text)?,
        jwt_secret: jwt_secret(text)?,
        webhook_secret: text("WEBHOOK_SECRET").map(Secret::new),
    };
    let public_origin = text("PUBLIC_ORIGIN").map(|origin| origin.trim().trim_end_matches('/').to_owned());
    let jwks_url = text("JWKS_URL");
    let settings = Settings {
        return_to_origins: list(text("RETURN_TO_ORIGINS").as_deref(), ','),
        // Only this text switches it off: a typo leaves the CRM alone.
        dry_run: text("DRY_RUN").as_deref() != Some("false"),
        hubspot: app(Crm::Hubspot, public_origin.as_deref(), text)?,
        salesforce: app(Crm::Salesforce, public_origin.as_deref(), text)?,
        jwt_issuer: text("JWT_ISSUER"),
        jwt_audience: text("JWT_AUDIENCE"),
        jwks: jwks_url.is_some(),
        sign_in_url: text("SIGN_IN_URL"),
        webhook_url: text("WEBHOOK_URL"),
        stand_in_origin: text("STAND_IN_ORIGIN"),
        public_origin: public_origin.unwrap_or_default(),
    };
    let oauth_egress_url = text("OAUTH_EGRESS_URL");
    let expose_counts = text("EXPOSE_COUNTS").as_deref() == Some("true");
    Ok(Configuration { keys, settings, jwks_url, oauth_egress_url, expose_counts, databases: Vec::new() })
}

/// A variable or secret by its name.
pub type Text<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Reads a keyring, where the Worker has one.
pub type ReadKeyring = fn(Text<'_>) -> Result<Option<Keyring>, Error>;

/// The keys that open tokens.
pub fn token_keys(text: Text<'_>) -> Result<Option<Keyring>, Error> {
    keyring(text, "TOKEN_ENC_KEY_B64", Some("TOKEN_ENC_KEY_PREVIOUS_B64"))
}

/// The keys that open what a flow in progress keeps.
pub fn state_keys(text: Text<'_>) -> Result<Option<Keyring>, Error> {
    keyring(text, "STATE_MAC_KEY_B64", None)
}

/// The keys that seal the ends of audit chains: for the Workers that write or check them.
pub fn audit_keys(env: &Env) -> Result<Keyring, Error> {
    let text = |name: &str| js::text(env.as_ref(), name);
    keyring(&text, AUDIT_KEY, Some("AUDIT_MAC_KEY_PREVIOUS_B64"))?.ok_or(Error::SecretMissing(AUDIT_KEY))
}

/// The master key of the pseudonyms: for the Workers that find a person by one.
pub fn pii_master(env: &Env) -> Result<PiiMaster, Error> {
    let refused = || Error::SecretMissing(PII_KEY);
    let text = js::text(env.as_ref(), PII_KEY).ok_or_else(refused)?;
    PiiMaster::from_base64(&Secret::new(text)).map_err(|_| refused())
}

const PII_KEY: &str = "PII_HASH_KEY_B64";
const AUDIT_KEY: &str = "AUDIT_MAC_KEY_B64";

fn keyring(text: Text<'_>, current: &'static str, previous: Option<&'static str>) -> Result<Option<Keyring>, Error> {
    let Some(key) = text(current) else { return Ok(None) };
    let older = previous.and_then(text).map(Secret::new);
    Keyring::from_base64(&Secret::new(key), older.as_ref()).map(Some).map_err(|error| {
        use crypto::keyring::{KeyError, Slot};
        let slot = match error {
            KeyError::Missing(slot)
            | KeyError::NotBase64(slot)
            | KeyError::AllZero(slot)
            | KeyError::Repeated(slot)
            | KeyError::WrongLength { slot, .. } => slot,
        };
        Error::SecretMissing(match (slot, previous) {
            (Slot::Previous(_), Some(name)) => name,
            _ => current,
        })
    })
}

fn jwt_secret(text: Text<'_>) -> Result<Option<Secret<String>>, Error> {
    match text("JWT_HS256_SECRET") {
        Some(secret) if secret.len() < crypto::jwt::SECRET_BYTES_MIN => Err(Error::SecretMissing("JWT_HS256_SECRET")),
        secret => Ok(secret.map(Secret::new)),
    }
}

/// The app is set up where its client id is given; a Worker that never speaks to the token endpoint has no secret.
fn app(crm: Crm, public_origin: Option<&str>, text: Text<'_>) -> Result<Option<AppCredentials>, Error> {
    let prefix = match crm {
        Crm::Hubspot => "HUBSPOT",
        Crm::Salesforce => "SALESFORCE",
    };
    let own = |name: &str| text(&format!("{prefix}_{name}"));
    let Some(client_id) = own("CLIENT_ID") else { return Ok(None) };
    let origin = public_origin.ok_or(Error::SecretMissing("PUBLIC_ORIGIN"))?;
    Ok(Some(AppCredentials {
        client_id,
        client_secret: Secret::new(own("CLIENT_SECRET").unwrap_or_default()),
        scopes: list(own("SCOPES").as_deref(), ' '),
        optional_scopes: list(own("OPTIONAL_SCOPES").as_deref(), ' '),
        redirect_uri: format!("{origin}/functions/v1/{crm}-oauth-callback"),
    }))
}

fn list(text: Option<&str>, separator: char) -> Vec<String> {
    let parts = text.unwrap_or_default().split(separator).map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.trim_end_matches('/').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Configuration, read};
    use crate::Uses;
    use flows::Error;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const OTHER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn with(pairs: &[(&str, &str)]) -> Result<Configuration, Error> {
        let uses = Uses::NONE.tokens().states();
        read(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()), &uses)
    }

    #[test]
    fn a_key_that_is_not_named_is_not_read() {
        let it = read(&|name| (name == "TOKEN_ENC_KEY_B64").then(|| "not a key".to_owned()), &Uses::NONE).unwrap();
        assert!(it.keys.tokens.is_none());
    }

    #[test]
    fn nothing_set_is_nothing_held_and_dry() {
        let it = with(&[]).unwrap();
        assert!(it.keys.tokens.is_none() && it.keys.states.is_none() && it.keys.jwt_secret.is_none());
        assert!(it.settings.hubspot.is_none() && it.settings.salesforce.is_none());
        assert!(it.settings.dry_run && !it.settings.jwks && !it.expose_counts);
    }

    #[test]
    fn only_the_exact_word_ends_the_dry_run() {
        for (text, dry) in
            [("false", false), ("False", true), ("0", true), ("no", true), (" false", true), ("true", true)]
        {
            assert_eq!(with(&[("DRY_RUN", text)]).unwrap().settings.dry_run, dry, "{text}");
        }
    }

    #[test]
    fn a_wrong_key_is_named_and_refused() {
        for (pairs, name) in [
            (vec![("TOKEN_ENC_KEY_B64", "short")], "TOKEN_ENC_KEY_B64"),
            (vec![("TOKEN_ENC_KEY_B64", KEY), ("TOKEN_ENC_KEY_PREVIOUS_B64", "x")], "TOKEN_ENC_KEY_PREVIOUS_B64"),
            (vec![("TOKEN_ENC_KEY_B64", KEY), ("TOKEN_ENC_KEY_PREVIOUS_B64", KEY)], "TOKEN_ENC_KEY_PREVIOUS_B64"),
            (vec![("STATE_MAC_KEY_B64", "AAAA")], "STATE_MAC_KEY_B64"),
            (vec![("JWT_HS256_SECRET", "too short")], "JWT_HS256_SECRET"),
            (vec![("HUBSPOT_CLIENT_ID", "id")], "PUBLIC_ORIGIN"),
        ] {
            assert_eq!(with(&pairs).err(), Some(Error::SecretMissing(name)));
        }
        let good = [("TOKEN_ENC_KEY_B64", KEY), ("TOKEN_ENC_KEY_PREVIOUS_B64", OTHER), ("STATE_MAC_KEY_B64", OTHER)];
        let it = with(&good).unwrap();
        assert!(it.keys.tokens.is_some() && it.keys.states.is_some());
    }

    #[test]
    fn an_app_has_its_callback_and_scopes() {
        let it = with(&[
            ("PUBLIC_ORIGIN", "https://conduit.example/"),
            ("RETURN_TO_ORIGINS", "https://a.example, https://b.example/,"),
            ("SALESFORCE_CLIENT_ID", "id"),
            ("SALESFORCE_SCOPES", "api  refresh_token"),
        ])
        .unwrap();
        let app = it.settings.salesforce.unwrap();
        assert_eq!(app.redirect_uri, "https://conduit.example/functions/v1/salesforce-oauth-callback");
        assert_eq!(app.scopes, ["api", "refresh_token"]);
        assert!(app.client_secret.expose().is_empty());
        assert_eq!(it.settings.return_to_origins, ["https://a.example", "https://b.example"]);
    }
}
