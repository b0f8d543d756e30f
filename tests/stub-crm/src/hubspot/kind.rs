//! The object types the stand-in has, and the association types between them.
//!
//! Ids are from `HubSpot`'s object-type and association-type tables.

use serde::{Deserialize, Serialize};

/// An object type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `0-1`
    Contacts,
    /// `0-2`
    Companies,
    /// `0-3`
    Deals,
    /// `0-5`
    Tickets,
    /// `0-27`
    Tasks,
    /// `0-46`
    Notes,
}

/// All of them.
pub const KINDS: [Kind; 6] = [Kind::Contacts, Kind::Companies, Kind::Deals, Kind::Tickets, Kind::Tasks, Kind::Notes];

impl Kind {
    /// From a plural or singular name or a type id.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        KINDS.into_iter().find(|kind| text == kind.plural() || text == kind.singular() || text == kind.type_id())
    }

    /// `contacts`
    pub fn plural(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Companies => "companies",
            Self::Deals => "deals",
            Self::Tickets => "tickets",
            Self::Tasks => "tasks",
            Self::Notes => "notes",
        }
    }

    /// `contact`
    pub fn singular(self) -> &'static str {
        match self {
            Self::Contacts => "contact",
            Self::Companies => "company",
            Self::Deals => "deal",
            Self::Tickets => "ticket",
            Self::Tasks => "task",
            Self::Notes => "note",
        }
    }

    /// `0-1`
    pub fn type_id(self) -> &'static str {
        match self {
            Self::Contacts => "0-1",
            Self::Companies => "0-2",
            Self::Deals => "0-3",
            Self::Tickets => "0-5",
            Self::Tasks => "0-27",
            Self::Notes => "0-46",
        }
    }

    /// Whether it is a thing on the timeline.
    pub fn is_activity(self) -> bool {
        matches!(self, Self::Tasks | Self::Notes)
    }

    /// The property with the time of creation.
    pub fn created_property(self) -> &'static str {
        if self.is_activity() { "hs_createdate" } else { "createdate" }
    }

    /// The property with the time of the last change.
    pub fn modified_property(self) -> &'static str {
        if self == Self::Contacts { "lastmodifieddate" } else { "hs_lastmodifieddate" }
    }

    /// What a read returns unasked.
    pub fn default_properties(self) -> &'static [&'static str] {
        match self {
            Self::Contacts => &["email", "firstname", "lastname"],
            Self::Companies => &["domain", "name"],
            Self::Deals => &["amount", "closedate", "dealname", "dealstage", "pipeline"],
            Self::Tickets => {
                &["content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_priority", "subject"]
            }
            Self::Tasks | Self::Notes => &[],
        }
    }

    /// What free text search looks at.
    pub fn searched_properties(self) -> &'static [&'static str] {
        match self {
            Self::Contacts => &["email", "firstname", "lastname", "phone", "company"],
            Self::Companies => &["name", "domain", "phone", "website"],
            Self::Deals => &["dealname", "description"],
            Self::Tickets => &["subject", "content"],
            Self::Tasks => &["hs_task_subject", "hs_task_body"],
            Self::Notes => &["hs_note_body"],
        }
    }

    /// The scopes of which one must be granted. Tasks and notes go with contacts.
    pub fn scope(self, write: bool) -> &'static str {
        match (self, write) {
            (Self::Companies, false) => "crm.objects.companies.read",
            (Self::Companies, true) => "crm.objects.companies.write",
            (Self::Deals, false) => "crm.objects.deals.read",
            (Self::Deals, true) => "crm.objects.deals.write",
            (Self::Tickets, _) => "tickets",
            (_, false) => "crm.objects.contacts.read",
            (_, true) => "crm.objects.contacts.write",
        }
    }
}

/// From, to, unlabelled type id, primary type id. Both directions are listed.
const ASSOCIATIONS: &[(Kind, Kind, u32, Option<u32>)] = &[
    (Kind::Tasks, Kind::Contacts, 204, None),
    (Kind::Contacts, Kind::Tasks, 203, None),
    (Kind::Tasks, Kind::Companies, 192, None),
    (Kind::Companies, Kind::Tasks, 191, None),
    (Kind::Tasks, Kind::Deals, 216, None),
    (Kind::Deals, Kind::Tasks, 215, None),
    (Kind::Tasks, Kind::Tickets, 230, None),
    (Kind::Tickets, Kind::Tasks, 229, None),
    (Kind::Notes, Kind::Contacts, 202, None),
    (Kind::Contacts, Kind::Notes, 201, None),
    (Kind::Notes, Kind::Companies, 190, None),
    (Kind::Companies, Kind::Notes, 189, None),
    (Kind::Notes, Kind::Deals, 214, None),
    (Kind::Deals, Kind::Notes, 213, None),
    (Kind::Notes, Kind::Tickets, 228, None),
    (Kind::Tickets, Kind::Notes, 227, None),
    (Kind::Deals, Kind::Contacts, 3, None),
    (Kind::Contacts, Kind::Deals, 4, None),
    (Kind::Deals, Kind::Companies, 341, Some(5)),
    (Kind::Companies, Kind::Deals, 342, Some(6)),
    (Kind::Contacts, Kind::Companies, 279, Some(1)),
    (Kind::Companies, Kind::Contacts, 280, Some(2)),
];

/// The unlabelled and the primary type id from one kind to another.
pub fn association_types(from: Kind, to: Kind) -> Option<(u32, Option<u32>)> {
    ASSOCIATIONS.iter().find(|row| row.0 == from && row.1 == to).map(|row| (row.2, row.3))
}

/// Where a `HubSpot`-defined type id leads from a kind, and the id of the way back.
pub fn association_target(from: Kind, type_id: u32) -> Option<(Kind, u32)> {
    let (_, to, unlabelled, _) =
        *ASSOCIATIONS.iter().find(|row| row.0 == from && (row.2 == type_id || row.3 == Some(type_id)))?;
    let (back, back_primary) = association_types(to, from)?;
    Some((to, if type_id == unlabelled { back } else { back_primary? }))
}

#[cfg(test)]
mod tests {
    use super::{ASSOCIATIONS, Kind, association_target};

    #[test]
    fn every_association_has_a_way_back() {
        for (from, to, unlabelled, primary) in ASSOCIATIONS {
            for id in [Some(*unlabelled), *primary].into_iter().flatten() {
                let (there, back) = association_target(*from, id).unwrap();
                assert_eq!((there, association_target(there, back)), (*to, Some((*from, id))));
            }
        }
    }

    #[test]
    fn types_have_three_names() {
        for (text, kind) in [
            ("contacts", Some(Kind::Contacts)),
            ("Task", Some(Kind::Tasks)),
            ("0-46", Some(Kind::Notes)),
            ("butterflies", None),
        ] {
            assert_eq!(Kind::parse(text), kind);
        }
    }
}
