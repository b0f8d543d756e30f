//! Salesforce (being built).
use crate::Env;
use crate::http::{Answer, Call};
use crate::ledger::Effect;
use serde::{Deserialize, Serialize};
/// All of Salesforce.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Salesforce {}
impl Salesforce {
    /// Answers one call.
    pub fn handle(&mut self, _: &Call<'_>, _: &mut Env<'_>) -> Answer {
        Answer::empty(501)
    }
    /// Every record, as effects.
    pub fn effects(&self) -> impl Iterator<Item = Effect> {
        std::iter::empty()
    }
    /// Every record of an object.
    pub fn dump(&self, _: &str) -> Option<Vec<serde_json::Value>> {
        None
    }
    /// Forgets everything but the grants.
    pub fn forget_records(&mut self) {}
    /// How many grants live.
    pub fn living_grants(&self) -> usize {
        0
    }
}
