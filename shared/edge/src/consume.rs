//! The way in for queue consumers: messages to doorbells, grouped by connection, each group settled by itself.
//!
//! A batch may hold many messages of one connection; they are one piece of work, so their writes are joined, in lots of
//! at most [`WRITES_PER_DOORBELL_MAX`]. A few lots go on together, the connections in turn, so that a slow CRM holds up
//! nobody else and memory stays bounded; the write log keeps the order where there is one. A message that cannot be read is logged and dropped: the log is the truth, and the
//! reconciler rings again.
//!
//! ```ignore
//! #[event(queue)]
//! async fn queue(batch: edge::Batch, env: Env, _ctx: Context) -> Result<(), Infallible> {
//!     edge::consume("hubspot-write-processor", batch, env, async |world, doorbell| {
//!         flows::process_writes(world, &HubSpot, &doorbell).await?;
//!         Ok(Heard::Done)
//!     })
//!     .await
//! }
//! ```

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use flows::world::Log;
use flows::{Error, World};
use js_sys::JSON;
use model::WriteId;
use model::connection::ConnectionKey;
use model::doorbell::{Doorbell, WRITES_PER_DOORBELL_MAX};
use serde_json::Value;
use worker::{Env, MessageExt, QueueRetryOptionsBuilder, RawMessage};

use crate::log::Lines;
use crate::{Ports, Uses, entry, js, log, waiting};

/// A failed group's messages come back after this; the queue gives up after `max_retries` and the reconciler takes over.
pub(crate) const RETRY_SECS: u32 = 10;

/// What the runtime hands to a consumer.
pub type Batch = worker::MessageBatch<()>;

/// What became of a doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Answered: the messages are acknowledged.
    Done,
    /// The messages come back after so many seconds.
    AgainAfterSecs(u32),
}

/// So many lots are worked at together, of one connection or of several. A Worker has six connections at once, of which a lot
/// uses one at a time; and 128 MB, of which a lot of a hundred of the largest writes takes 10 to 15.
const LOTS_AT_ONCE: usize = 3;

/// No further lot is begun this long after the batch came: an invocation has 15 minutes, and a lot may take ten.
const BEGIN_WITHIN_SECS: i64 = 240;

/// Takes one batch of the doorbell queue.
pub async fn consume<F>(worker: &'static str, batch: Batch, env: Env, deed: F) -> Result<(), Infallible>
where
    F: AsyncFn(&World<'_>, Doorbell) -> Result<Heard, Error>,
{
    log::on_panic(worker);
    let mut groups = group(worker, &batch);
    let lots = RefCell::new(in_turn(&mut groups));
    let groups: Vec<_> =
        groups.into_iter().map(|group| (Cell::new(Heard::Done), Cell::new(group.lots), group)).collect();
    let until = js::now().plus_secs(BEGIN_WITHIN_SECS);
    let hands = (0..LOTS_AT_ONCE).map(|_| -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            loop {
                let Some((of, doorbell)) = lots.borrow_mut().pop_front() else { break };
                let Some((heard, left, group)) = groups.get(of) else { continue };
                let lot = if js::now() > until {
                    Heard::AgainAfterSecs(RETRY_SECS)
                } else {
                    hear(worker, &env, &group.request_id, doorbell, &deed).await
                };
                heard.set(heard.get().max(lot));
                left.set(left.get().saturating_sub(1));
                if left.get() == 0 {
                    group.messages.iter().for_each(|message| settle(message, heard.get()));
                }
            }
        })
    });
    waiting::all(hands.collect()).await;
    Ok(())
}

/// The messages of one connection.
struct Group {
    doorbells: Vec<Doorbell>,
    /// How many doorbells there were.
    lots: usize,
    request_id: String,
    messages: Vec<RawMessage>,
}

/// Every group's lots, each group's first before any group's second: a connection with many does not make the others wait.
fn in_turn(groups: &mut [Group]) -> VecDeque<(usize, Doorbell)> {
    let mut lots = VecDeque::new();
    let mut rest: Vec<_> = groups.iter_mut().map(|group| std::mem::take(&mut group.doorbells).into_iter()).collect();
    loop {
        let before = lots.len();
        lots.extend(rest.iter_mut().enumerate().filter_map(|(of, doorbells)| Some((of, doorbells.next()?))));
        if lots.len() == before {
            return lots;
        }
    }
}

async fn hear<F>(worker: &'static str, env: &Env, request_id: &str, doorbell: Doorbell, deed: &F) -> Heard
where
    F: AsyncFn(&World<'_>, Doorbell) -> Result<Heard, Error>,
{
    let lines = Rc::new(Lines::new(worker, request_id.to_owned()));
    let crm = doorbell.connection.crm.as_str();
    let workspace_id = doorbell.connection.workspace_id.clone();
    let heard = match Ports::open(env, &lines, Uses::NONE.http().gate().queue().cache().meter()) {
        Ok(ports) => deed(&ports.world(), doorbell).await,
        Err(error) => Err(error),
    };
    heard.unwrap_or_else(|error| {
        entry::refused(&lines, &error, &[("crm", crm), ("workspace_id", workspace_id.as_str())]);
        Heard::AgainAfterSecs(RETRY_SECS)
    })
}

/// The messages by connection; what cannot be read is acknowledged and logged.
fn group(worker: &'static str, batch: &Batch) -> Vec<Group> {
    let mut joined = Vec::new();
    let mut messages: Vec<Vec<RawMessage>> = Vec::new();
    for message in batch.raw_iter() {
        let Some(doorbell) = body(&message).and_then(|body| Doorbell::from_json(&body)) else {
            Lines::new(worker, entry::random_id()).event("message_unreadable", &[]);
            settle(&message, Heard::Done);
            continue;
        };
        let request_id = doorbell.request_id.clone();
        let at = Joined::add(&mut joined, doorbell);
        if let Some(into) = joined.get(at).filter(|joined| joined.request_id != request_id) {
            // The lot goes on under the first one's id.
            Lines::new(worker, request_id).event("doorbell_joined", &[("into", &into.request_id)]);
        }
        match messages.get_mut(at) {
            Some(of_connection) => of_connection.push(message),
            None => messages.push(vec![message]),
        }
    }
    let groups = joined.into_iter().zip(messages).map(|(joined, messages)| {
        let request_id = joined.request_id.clone();
        let doorbells = joined.doorbells();
        Group { lots: doorbells.len(), doorbells, request_id, messages }
    });
    groups.collect()
}

/// What the doorbells of one connection name, each write once.
struct Joined {
    connection: ConnectionKey,
    request_id: String,
    writes: BTreeSet<WriteId>,
}

impl Joined {
    /// Joins a doorbell to those of its connection, of which a batch has a hundred at most; answers their place.
    fn add(all: &mut Vec<Self>, doorbell: Doorbell) -> usize {
        let Doorbell { connection, writes, request_id } = doorbell;
        let at = all.iter().position(|joined| joined.connection == connection).unwrap_or(all.len());
        if at == all.len() {
            all.push(Self { connection, request_id, writes: BTreeSet::new() });
        }
        if let Some(joined) = all.get_mut(at) {
            joined.writes.extend(writes);
        }
        at
    }

    /// As few doorbells as possible.
    fn doorbells(self) -> Vec<Doorbell> {
        let writes: Vec<WriteId> = self.writes.into_iter().collect();
        let lot = |lot: &[WriteId]| Doorbell {
            connection: self.connection.clone(),
            writes: lot.to_vec(),
            request_id: self.request_id.clone(),
        };
        writes.chunks(WRITES_PER_DOORBELL_MAX).map(lot).collect()
    }
}

/// A body that is JSON text, or a value that JSON can write.
pub(crate) fn body(message: &RawMessage) -> Option<Value> {
    let body = message.body();
    let text = body.as_string().or_else(|| JSON::stringify(&body).ok().map(String::from))?;
    serde_json::from_str(&text).ok()
}

pub(crate) fn settle(message: &RawMessage, heard: Heard) {
    match heard {
        Heard::Done => message.ack(),
        Heard::AgainAfterSecs(secs) => {
            message.retry_with_options(&QueueRetryOptionsBuilder::new().with_delay_seconds(secs).build());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Joined;
    use model::connection::ConnectionKey;
    use model::doorbell::Doorbell;
    use model::{Crm, WorkspaceId, WriteId};

    fn join(doorbells: Vec<Doorbell>) -> Vec<Doorbell> {
        let mut joined = Vec::new();
        for doorbell in doorbells {
            Joined::add(&mut joined, doorbell);
        }
        joined.into_iter().flat_map(Joined::doorbells).collect()
    }

    fn bell(workspace: &str, writes: impl IntoIterator<Item = u32>) -> Doorbell {
        let workspace_id = WorkspaceId::parse(workspace).unwrap();
        Doorbell {
            connection: ConnectionKey { workspace_id, shard: "DB".into(), crm: Crm::Hubspot },
            writes: writes.into_iter().map(|n| WriteId::parse(&format!("wr_h{n:03}")).unwrap()).collect(),
            request_id: "r1".into(),
        }
    }

    #[test]
    fn doorbells_of_one_connection_are_joined_and_each_write_named_once() {
        let joined = join(vec![bell("ws_a", [1, 2]), bell("ws_b", [1]), bell("ws_a", [2, 3])]);
        assert_eq!(joined, vec![bell("ws_a", [1, 2, 3]), bell("ws_b", [1])]);
    }

    #[test]
    fn a_lot_is_never_larger_than_a_doorbell() {
        let joined = join(vec![bell("ws_a", 0..100), bell("ws_a", 50..250)]);
        assert_eq!(joined.iter().map(|bell| bell.writes.len()).collect::<Vec<_>>(), [100, 100, 50]);
        assert!(join(Vec::new()).is_empty());
    }
}
