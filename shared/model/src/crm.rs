//! The CRMs Conduit speaks to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A CRM. The text form is what URLs, the database and the API use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crm {
    /// HubSpot; an account is a portal, its id the hub id.
    Hubspot,
    /// Salesforce; an account is an org, its id the 18-character org id.
    Salesforce,
}

impl Crm {
    /// Every CRM, in a fixed order.
    pub const ALL: [Self; 2] = [Self::Hubspot, Self::Salesforce];

    /// `hubspot` or `salesforce`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hubspot => "hubspot",
            Self::Salesforce => "salesforce",
        }
    }

    /// The name a person knows it by.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Hubspot => "HubSpot",
            Self::Salesforce => "Salesforce",
        }
    }

    /// Reads the text form; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|crm| crm.as_str() == text)
    }
}

impl fmt::Display for Crm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
