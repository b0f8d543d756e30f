//! The queue message: which writes may be due. The write log is the truth; a lost or repeated doorbell loses and repeats nothing.

use crate::WriteId;
use crate::connection::ConnectionKey;
use serde::{Deserialize, Serialize};

/// At most this many write ids travel in one message, so that it stays far under the queue's 128 KB.
pub const WRITES_PER_DOORBELL_MAX: usize = 100;

/// "Look at these writes of this connection." Ids only: no payload, no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doorbell {
    /// Whose writes.
    pub connection: ConnectionKey,
    /// Which writes, at most [`WRITES_PER_DOORBELL_MAX`].
    pub writes: Vec<WriteId>,
    /// The id of the request that rang, for tracing across Workers.
    pub request_id: String,
}
