//! By which mechanism a connection's records are written with at most one effect: probed once, kept on the connection.
//!
//! Read and written by hand as `{"task": {"mechanism": "unique_field", "field": "conduit_key"}, …}`, which is also how the
//! API shows it. Out of scope: what each mechanism is at a CRM (`providers`), and its guarantee (docs/connectors.md).

use serde_json::{Map, Value, json};

/// A kind of record that writes make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// HubSpot contact; Salesforce contact.
    Contact,
    /// Salesforce lead.
    Lead,
    /// A task.
    Task,
    /// HubSpot note.
    Note,
    /// HubSpot deal; Salesforce opportunity.
    Deal,
}

impl RecordKind {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 5] = [Self::Contact, Self::Lead, Self::Task, Self::Note, Self::Deal];

    /// The text form; also our name for such a record among the external ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Lead => "lead",
            Self::Task => "task",
            Self::Note => "note",
            Self::Deal => "deal",
        }
    }
}

/// How a record is made so that a repeat makes no second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The CRM's own upsert by e-mail: a repeat changes nothing more.
    Upsert,
    /// Upsert by a field of ours whose values the CRM keeps unique: HubSpot's unique property, Salesforce's unique External
    /// Id. A repeat changes nothing more.
    UniqueField(String),
    /// The CRM remembers the key of a request and answers a repeat as it did the first (Salesforce's UI API).
    IdempotencyKey,
    /// Nothing of the CRM's: after a doubt our marker is looked for before anything is created.
    LookThenCreate,
}

impl Mechanism {
    /// The text form, without the field.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::UniqueField(_) => "unique_field",
            Self::IdempotencyKey => "idempotency_key",
            Self::LookThenCreate => "look_then_create",
        }
    }

    fn read(value: &Value) -> Self {
        match (value.get("mechanism").and_then(Value::as_str), value.get("field").and_then(Value::as_str)) {
            (Some("upsert"), _) => Self::Upsert,
            (Some("unique_field"), Some(field)) => Self::UniqueField(field.to_owned()),
            (Some("idempotency_key"), _) => Self::IdempotencyKey,
            _ => Self::LookThenCreate,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::UniqueField(field) => json!({"mechanism": self.as_str(), "field": field}),
            _ => json!({"mechanism": self.as_str()}),
        }
    }
}

/// The mechanism of every kind of record. What was not set is [`Mechanism::LookThenCreate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mechanisms(Box<[Mechanism; 5]>);

impl Default for Mechanisms {
    fn default() -> Self {
        Self(Box::new([const { Mechanism::LookThenCreate }; 5]))
    }
}

impl Mechanisms {
    /// That of a kind.
    pub fn of(&self, kind: RecordKind) -> &Mechanism {
        self.0.get(kind as usize).unwrap_or(&Mechanism::LookThenCreate)
    }

    /// Sets that of a kind.
    pub fn set(&mut self, kind: RecordKind, mechanism: Mechanism) {
        if let Some(place) = self.0.get_mut(kind as usize) {
            *place = mechanism;
        }
    }

    /// Reads what [`Self::to_json`] wrote. An unknown word, of a newer version, reads as the safest mechanism.
    pub fn from_json(value: &Value) -> Self {
        let mut mechanisms = Self::default();
        for kind in RecordKind::ALL {
            mechanisms.set(kind, value.get(kind.as_str()).map_or(Mechanism::LookThenCreate, Mechanism::read));
        }
        mechanisms
    }

    /// One member per kind.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        for kind in RecordKind::ALL {
            members.insert(kind.as_str().to_owned(), self.of(kind).to_json());
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::{Mechanism, Mechanisms, RecordKind};
    use serde_json::json;

    #[test]
    fn mechanisms_read_back_and_what_is_not_known_is_the_safest() {
        let mut mechanisms = Mechanisms::default();
        mechanisms.set(RecordKind::Contact, Mechanism::Upsert);
        mechanisms.set(RecordKind::Task, Mechanism::UniqueField("conduit_key".to_owned()));
        mechanisms.set(RecordKind::Lead, Mechanism::IdempotencyKey);
        assert_eq!(Mechanisms::from_json(&mechanisms.to_json()), mechanisms);
        assert_eq!(mechanisms.of(RecordKind::Note), &Mechanism::LookThenCreate);
        for strange in
            [json!(null), json!({"task": {"mechanism": "telepathy"}}), json!({"task": {"mechanism": "unique_field"}})]
        {
            assert_eq!(Mechanisms::from_json(&strange), Mechanisms::default(), "{strange}");
        }
    }
}
