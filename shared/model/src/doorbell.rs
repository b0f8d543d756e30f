//! The queue message: which writes may be due. The write log is the truth; a lost or repeated doorbell loses and repeats nothing.

use crate::WriteId;
use crate::connection::ConnectionKey;
use serde::Serialize;
use serde_json::Value;

/// At most this many write ids travel in one message, so that it stays far under the queue's 128 KB.
pub const WRITES_PER_DOORBELL_MAX: usize = 100;

/// "Look at these writes of this connection." Ids only: no payload, no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doorbell {
    /// Whose writes.
    pub connection: ConnectionKey,
    /// Which writes, at most [`WRITES_PER_DOORBELL_MAX`].
    pub writes: Vec<WriteId>,
    /// The id of the request that rang, for tracing across Workers.
    pub request_id: String,
}

impl Doorbell {
    /// Reads what serde writes, by hand as [`ConnectionKey::from_json`].
    pub fn from_json(value: &Value) -> Option<Self> {
        let ids = value.get("writes")?.as_array()?;
        let mut writes = Vec::with_capacity(ids.len());
        for id in ids {
            writes.push(WriteId::parse(id.as_str()?)?);
        }
        Some(Self {
            connection: ConnectionKey::from_json(value.get("connection")?)?,
            writes,
            request_id: value.get("request_id")?.as_str()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Doorbell;
    use crate::connection::ConnectionKey;
    use crate::{Crm, WorkspaceId, WriteId};
    use serde_json::json;

    #[test]
    fn a_doorbell_reads_back_and_anything_else_does_not() {
        let bell = Doorbell {
            connection: ConnectionKey {
                workspace_id: WorkspaceId::parse("ws_acme").unwrap(),
                shard: "DB".into(),
                crm: Crm::Salesforce,
            },
            writes: vec![WriteId::parse("wr_s1").unwrap(), WriteId::parse("wr_s2").unwrap()],
            request_id: "r1".into(),
        };
        let written = json!(bell);
        assert_eq!(Doorbell::from_json(&written), Some(bell));
        for (pointer, wrong) in [
            ("/connection/workspace_id", json!("acme")),
            ("/connection/crm", json!("pipedrive")),
            ("/connection/shard", json!(7)),
            ("/writes", json!("wr_s1")),
            ("/writes/0", json!("s1")),
            ("/request_id", json!(null)),
        ] {
            let mut altered = written.clone();
            *altered.pointer_mut(pointer).unwrap() = wrong;
            assert_eq!(Doorbell::from_json(&altered), None, "{pointer}");
        }
    }
}
