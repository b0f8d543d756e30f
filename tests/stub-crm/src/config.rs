//! What the stand-in is told at its beginning, and the switches that can be turned while it runs.
//!
//! Not the faults: those hit single calls (`faults.rs`). A switch is a property of the whole place: a policy, a
//! limit, a field that an administrator made or did not make. Every default is the narrowest real behaviour.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// All chance comes from it.
    pub seed: u64,
    /// The app as registered with `HubSpot`.
    pub hubspot: App,
    /// The app as registered with Salesforce.
    pub salesforce: App,
    /// Where the switches stand at first.
    pub switches: Switches,
}

/// An app's registration. What is empty is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// Public.
    pub client_id: String,
    /// Salesforce signs its token responses with it.
    pub client_secret: String,
    /// Exact matches only.
    pub redirect_uris: Vec<String>,
    /// Scopes that every authorize request must name (`HubSpot`).
    pub required_scopes: Vec<String>,
}

/// Whether a refresh replaces the refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// The same token for ever.
    #[default]
    Off,
    /// A new one each time; the old one is refused.
    On,
    /// A new one each time; showing the old one ends the whole connection.
    Strict,
}

/// How `HubSpot` words a dead refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadToken {
    /// `BAD_REFRESH_TOKEN` with `invalid_grant` (documented).
    #[default]
    InvalidGrant,
    /// `BAD_REFRESH_TOKEN` with `invalid_request` (seen live).
    InvalidRequest,
    /// `BAD_HUB` with `access_denied`.
    BadHub,
}

/// What becomes of a property with unique values on tasks and notes. (No source proves that they may have one; one portal is
/// known to refuse it.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueOnActivities {
    /// 400: the object types do not take one.
    #[default]
    Refused,
    /// 403: whoever asks lacks a scope.
    MissingScopes,
    /// Made, but without uniqueness: only reading it back tells.
    MadePlain,
    /// Made.
    Accepted,
}

/// Whether the Salesforce administrator made `Conduit_Key__c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyField {
    /// There is no such field.
    #[default]
    Absent,
    /// External id and unique.
    Unique,
    /// External id only: twins are possible and answer 300.
    NotUnique,
    /// There is one, which the API user may not see: everywhere as if there were none.
    NoAccess,
}

impl KeyField {
    /// Whether the API user can read and write it.
    pub const fn is_visible(self) -> bool {
        matches!(self, Self::Unique | Self::NotUnique)
    }
}

/// What Salesforce's duplicate rules do on Lead and Contact with a known e-mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateRules {
    /// None active.
    #[default]
    Off,
    /// Refused unless the caller sends `allowSave=true`.
    AllowSave,
    /// Refused.
    Block,
}

/// The switches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// No rate limit at all: the headers tell one that nobody reaches.
    pub hubspot_unlimited: bool,
    /// Requests of one account in ten seconds.
    pub hubspot_ten_secondly_max: usize,
    /// Searches of one account in a second.
    pub hubspot_secondly_search_max: usize,
    /// What another app of the same customer uses up of the ten-secondly limit.
    pub hubspot_other_consumer: usize,
    /// Refresh-token rotation.
    pub hubspot_rotation: Rotation,
    /// The words for a dead refresh token.
    pub hubspot_dead_token: DeadToken,
    /// Age at which an access token dies.
    pub hubspot_token_life_secs: i64,
    /// How far the search index is behind the store.
    pub hubspot_search_lag_ms: i64,
    /// Whether tasks and notes take properties with unique values.
    pub hubspot_unique_on_activities: UniqueOnActivities,
    /// How far lists of associations are behind the store.
    pub hubspot_association_lag_ms: i64,
    /// So many batch reads of records from now on leave out their last record, without a word.
    pub hubspot_incomplete_reads: u32,
    /// Whether batch results come in another order than the inputs.
    pub hubspot_shuffle: bool,
    /// Whether data calls check the token's scopes.
    pub hubspot_check_scopes: bool,
    /// Whether the journal says 404, and not 204, when nothing is newer.
    pub hubspot_journal_404: bool,
    /// Refresh-token rotation.
    pub salesforce_rotation: Rotation,
    /// Idle time after which a session dies.
    pub salesforce_session_secs: i64,
    /// The external id field on Task, Lead and Opportunity.
    pub salesforce_key_field: KeyField,
    /// Exceptions from it: `Task` for every organisation, `2/Task` for organisation 2 alone.
    pub salesforce_key_fields: BTreeMap<String, KeyField>,
    /// So many upserts of a new key from now on come second: another request with the key makes the record just before.
    pub salesforce_key_races: u32,
    /// A composite's references to numbers are refused, as in `OFFSET @{q.totalSize}`.
    pub salesforce_refuses_number_references: bool,
    /// A composite's references into a collection's results are refused, as in `@{leads[0].id}`.
    pub salesforce_refuses_list_references: bool,
    /// The duplicate rules.
    pub salesforce_duplicate_rules: DuplicateRules,
    /// So many writes from now on meet a locked row.
    pub salesforce_locked_rows: u32,
    /// The daily limit is used up.
    pub salesforce_limit_exceeded: bool,
    /// The daily limit.
    pub salesforce_daily_max: u64,
    /// Whether authorize insists on PKCE.
    pub salesforce_require_pkce: bool,
    /// Rows in one page of a query.
    pub salesforce_query_page: usize,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            hubspot_unlimited: false,
            hubspot_ten_secondly_max: 110,
            hubspot_secondly_search_max: 5,
            hubspot_other_consumer: 0,
            hubspot_rotation: Rotation::Off,
            hubspot_dead_token: DeadToken::InvalidGrant,
            hubspot_token_life_secs: 1800,
            hubspot_search_lag_ms: 10_000,
            hubspot_unique_on_activities: UniqueOnActivities::Refused,
            hubspot_association_lag_ms: 0,
            hubspot_incomplete_reads: 0,
            hubspot_shuffle: true,
            hubspot_check_scopes: true,
            hubspot_journal_404: false,
            salesforce_rotation: Rotation::Off,
            salesforce_session_secs: 7200,
            salesforce_key_field: KeyField::Absent,
            salesforce_key_fields: BTreeMap::new(),
            salesforce_key_races: 0,
            salesforce_refuses_number_references: false,
            salesforce_refuses_list_references: false,
            salesforce_duplicate_rules: DuplicateRules::Off,
            salesforce_locked_rows: 0,
            salesforce_limit_exceeded: false,
            salesforce_daily_max: 15_000,
            salesforce_require_pkce: false,
            salesforce_query_page: 2000,
        }
    }
}

impl Switches {
    /// Where the external id field of an organisation's object stands.
    pub fn key_field(&self, org: &str, object: &str) -> KeyField {
        let own = self.salesforce_key_fields.get(&format!("{org}/{object}"));
        own.or_else(|| self.salesforce_key_fields.get(object)).copied().unwrap_or(self.salesforce_key_field)
    }

    /// Turns the switches named in a JSON object and leaves the others. Says what is wrong with one it does not know.
    pub fn turn(&mut self, changes: &Value) -> Result<(), String> {
        let mut all = serde_json::to_value(&*self).map_err(|error| error.to_string())?;
        let (Some(known), Some(changes)) = (all.as_object_mut(), changes.as_object()) else {
            return Err("switches must be an object".to_owned());
        };
        known.extend(changes.clone());
        *self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Rotation, Switches};
    use serde_json::json;

    #[test]
    fn a_switch_is_turned_and_a_typo_is_refused() {
        let mut switches = Switches::default();
        switches.turn(&json!({"hubspot_rotation": "strict", "hubspot_search_lag_ms": 0})).unwrap();
        assert_eq!((switches.hubspot_rotation, switches.hubspot_search_lag_ms), (Rotation::Strict, 0));
        assert_eq!(switches.hubspot_ten_secondly_max, 110);
        assert!(switches.turn(&json!({"hubspot_rotatoin": "on"})).is_err());
        assert!(switches.turn(&json!(1)).is_err());
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }
}
