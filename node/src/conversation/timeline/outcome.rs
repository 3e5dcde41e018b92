//! What became of a command: the owner that proposed it answers the client and fans out from this.

use bytes::Bytes;
use protocol::answer::Last;
use protocol::{Cid, ConvId, ErrorCode, Event, RawEvent, UserId, Why};
use serde::{Deserialize, Serialize};

use super::read::Logged;

/// The version of the encoding.
const VERSION: u8 = 1;

/// What became of a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It was applied, now or (`dup`) the first time.
    Done(Applied),
    /// The rules forbid it; nothing changed. The text is for the client.
    Refused(ErrorCode, String),
    /// It couldn't be read, which only a fault or a newer node causes; nothing changed.
    Bad(String),
}

/// The result of an applied command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// The event's place in the log, 0 if the command makes none.
    pub s: u64,
    /// The message's ordinal, 0 if the event is no message.
    pub mn: u64,
    /// The event's time in milliseconds since the epoch.
    pub ts: u64,
    /// The command had been applied before: `s`, `mn` and `ts` are those of the first time.
    pub dup: bool,
    /// What is to be fanned out, in order; empty if nothing is new.
    pub events: Vec<Published>,
    /// What else the owner acts on.
    pub effect: Effect,
}

/// A durable event on its way to the members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Published {
    /// The conversation.
    pub conv: ConvId,
    /// The place in the log; 0 for an event that isn't in the log (a receipt).
    pub seq: u64,
    /// The event's JSON after `{"n":413,`: the bytes that are stored and that every receiver gets.
    pub tail: Bytes,
    /// The user for whom this is the last event.
    pub removes: Option<UserId>,
    /// The user who became a member by this event.
    pub adds: Option<UserId>,
    /// The session that doesn't want the event, 0 for none.
    pub skip: u64,
    /// The only user whom it concerns; `None`: every member.
    pub only: Option<UserId>,
}

/// What the owner does besides answering and fanning out.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// The user's cursors moved: a `receipt` for the peers and for the user's other devices.
    Cursors {
        /// What has arrived.
        delivered: u64,
        /// What was read.
        read: u64,
        /// Whether `read` moved (own devices want that, not mere deliveries).
        read_moved: bool,
        /// The number of members: large conversations get no receipts. So does the other side of a
        /// direct conversation whom the user blocks: then it is the greatest there is.
        members: u64,
    },
    /// The conversation that a `create` with this `cid` makes.
    Reserved(ConvId),
    /// Whether the user's row changed (an older version changes nothing), and to what.
    Indexed {
        /// The row is new.
        changed: bool,
        /// Whether the user is a member now.
        member: bool,
    },
    /// There is something new in the outbox, although no membership changed.
    Told,
    /// Whom the user's shard knows to be blocked by the user, since when, or no longer.
    Barred {
        /// The other user.
        who: UserId,
        /// Since when, in milliseconds since the epoch; `None`: no longer.
        since_ms: Option<u64>,
    },
    /// A login of the user has ended, or all (`None`): its sessions are over.
    Ended(Option<Cid>),
    /// All logins of the user have ended, these among them.
    EndedAll(Vec<Cid>),
    /// A message in a conversation whose members' shards are to be told of it.
    Watched,
    /// Conversations of users that have moved.
    Moved(Vec<Moved>),
}

/// A conversation of a user in which something was sent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Moved {
    /// The user.
    pub user: UserId,
    /// The conversation.
    pub conv: ConvId,
    /// The last message.
    pub last: Last,
}

/// Names an outbox entry: the log index that made it, and its number within that batch. Later entries are greater, so
/// it is also the version of the membership that the entry tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct OutboxId {
    /// The log index.
    pub index: u64,
    /// The number within the batch.
    pub n: u32,
}

// === impl Published ===

impl Published {
    /// Returns an event as it was published, from its place and its stored tail: for events that a node missed live and
    /// reads from the log. A tail that can't be read adds and removes nobody.
    pub fn replay(conv: ConvId, Logged { s: seq, tail }: Logged) -> Published {
        let mut published = Published {
            conv,
            seq,
            tail,
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        };
        if !published.tail.starts_with(b"\"t\":\"member\"") {
            return published;
        }
        let event = RawEvent::from_tail(&published.tail)
            .ok()
            .and_then(|event| event.event());
        if let Some(Event::Member(member)) = event {
            match (member.role, member.why) {
                (None, Why::Unban) => {}
                (None, _) => published.removes = Some(member.who),
                (Some(_), Why::Role) => {}
                (Some(_), _) => published.adds = Some(member.who),
            }
        }
        published
    }
}

// === impl Outcome, Applied ===

impl Outcome {
    /// Returns the bytes that the machine hands back.
    pub fn encode(&self) -> Bytes {
        let events = match self {
            Outcome::Done(applied) => applied.events.iter().map(|event| event.tail.len() + 96).sum(),
            _ => 0usize,
        };
        let mut bytes = Vec::with_capacity(events + 64);
        bytes.push(VERSION);
        postcard::to_extend(self, bytes)
            .expect("outcomes have only encodable fields")
            .into()
    }

    /// Reads an outcome that [`Outcome::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Outcome, String> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => {
                postcard::from_bytes(rest).map_err(|error| format!("malformed outcome: {error}"))
            }
            _ => Err("outcome of an unknown version".to_owned()),
        }
    }
}

impl Applied {
    /// Returns the result of a command that makes no event.
    pub(super) fn silent(effect: Effect) -> Applied {
        Applied {
            s: 0,
            mn: 0,
            ts: 0,
            dup: false,
            events: Vec::new(),
            effect,
        }
    }
}

impl OutboxId {
    /// Returns the storage key; keys sort as ids do.
    pub(super) fn key(self) -> [u8; 12] {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&self.index.to_be_bytes());
        key[8..].copy_from_slice(&self.n.to_be_bytes());
        key
    }

    /// Returns the id with that key.
    pub(super) fn from_key(key: &[u8]) -> Option<OutboxId> {
        let (index, n) = key.split_first_chunk::<8>()?;
        Some(OutboxId {
            index: u64::from_be_bytes(*index),
            n: u32::from_be_bytes(n.try_into().ok()?),
        })
    }
}
