//! Outcome of a command: the owner that proposed it answers the client and fans out from this. The groups are those of
//! [`ShardCommand`](super::ShardCommand).

use bytes::Bytes;
use protocol::response::LastEvent;
use protocol::{ConversationId, EncodedEvent, ErrorCode, Event, MembershipChange, UserId};
use serde::{Deserialize, Serialize};

use super::consent::AdditionVerdict;
use super::erasure::{ErasureId, ErasureStep};
use super::login::{LoginOutcome, TokenFamilyId};
use super::query::LoggedEvent;

/// Version byte of the encoding.
const VERSION: u8 = 1;

/// Outcome of a proposed command. The order of the variants is their number in the encoding.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ShardOutcome {
    Conversation(CommandResult),
    User(UserOutcome),
    Login(LoginOutcome),
    Outbox(OutboxOutcome),
    /// The webhook queue was changed.
    Webhook,
    Retention(RetentionOutcome),
    /// The rules forbid the command; nothing changed. The text is for the client.
    Refused(#[serde(with = "error_number")] ErrorCode, String),
    Erasure(ErasureOutcome),
}

/// Result of a command on a conversation, applied now or before (`dup`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommandResult {
    /// Position of the event; `None` if the command appends none.
    pub seq: Option<u64>,
    /// Message number; `None` if the event is no message.
    pub mn: Option<u64>,
    /// Time of the event in milliseconds since the epoch; 0 for a command without a time of its own.
    pub ts: u64,
    /// True for a repeated command: `seq`, `mn` and `ts` are those of the first application.
    pub dup: bool,
    /// Events to fan out, in order; empty if nothing is new.
    pub events: Vec<EventEnvelope>,
    /// Further action of the owner.
    pub effect: ApplyEffect,
}

/// Outcome of a command on a user's rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum UserOutcome {
    /// The row holds the given or a newer state.
    Recorded,
    /// Conversation bound to the key of a `create`.
    Reserved {
        conversation: ConversationId,
        /// True if the key was bound before.
        dup: bool,
    },
    /// Membership after an update; an older version changes nothing.
    Indexed {
        conversation: ConversationId,
        /// True if the row was written.
        changed: bool,
        member: bool,
    },
    /// A block of `who`, or its end, was recorded.
    Blocked {
        who: UserId,
        /// Start of the block in milliseconds since the epoch; `None` means no block.
        since_ms: Option<u64>,
    },
    Addition(AdditionVerdict),
    /// Profile after a change.
    Profile {
        ver: u64,
        /// False if it had these values already.
        changed: bool,
    },
    /// The access of the user was set.
    AccessChanged {
        /// Logins that ended by it.
        logins: Vec<TokenFamilyId>,
        /// True if the sessions of the user end.
        closes: bool,
    },
    /// The erasure of the user was begun, now or before.
    Erasing {
        id: ErasureId,
        /// Logins that ended by it.
        logins: Vec<TokenFamilyId>,
    },
    /// Rows of an erased user were removed.
    RowsErased {
        /// True if more rows of the user are left.
        more: bool,
        /// Version of the profile if its values were removed.
        profile: Option<u64>,
    },
}

/// Outcome of a command on the effects of one shard on another.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum OutboxOutcome {
    /// Outbox entries or activity watches were removed.
    Removed,
    /// Conversations of users moved in their lists.
    Moved(Vec<MovedMember>),
}

/// Outcome of a removal of old rows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RetentionOutcome {
    /// The conversation was trimmed, or nothing was left to trim.
    Trimmed,
    /// Expired login rows were removed.
    Swept {
        rows: u64,
        /// True if more rows may have expired.
        more: bool,
    },
}

/// Outcome of the erasure of a user in a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ErasureOutcome {
    pub step: ErasureStep,
    /// Events to fan out, in order.
    pub events: Vec<EventEnvelope>,
}

/// Event on its way to the members, with its routing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventEnvelope {
    pub conv: ConversationId,
    /// Position in the log; 0 for an event outside the log (a receipt).
    pub seq: u64,
    /// JSON of the event after `{"n":413,`: the stored bytes, which every receiver gets.
    pub tail: Bytes,
    /// User whose last event this is; `None` for most events.
    pub removes: Option<UserId>,
    /// User who became a member by this event.
    pub adds: Option<UserId>,
    /// Session that does not receive the event; 0 for none.
    pub skip: u64,
    /// Only user who receives the event; `None` means every member.
    pub only: Option<UserId>,
}

/// Action of the owner besides the response and the fan-out.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum ApplyEffect {
    #[default]
    None,
    /// The user's cursors moved: a `receipt` goes to the peers and to the user's other devices.
    Cursors {
        delivered: u64,
        read: u64,
        /// True if `read` moved; deliveries alone are not sent to the user's own devices.
        read_moved: bool,
        /// Number of members; large conversations get no receipts. `u64::MAX` if the user blocks the peer of a direct
        /// conversation, which suppresses the receipt.
        members: u64,
    },
    /// The outbox has a new entry, although no membership changed.
    OutboxAppended,
    /// An activity watch started: the members' shards need an activity note.
    Watched,
}

/// Conversation of a user with a new last message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MovedMember {
    pub user: UserId,
    pub conv: ConversationId,
    pub last: LastEvent,
}

/// Id of an outbox entry: log index and number within that batch. Later entries are greater, so the id is also the
/// version of the change in the entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct OutboxId {
    pub index: u64,
    pub n: u32,
}

// === impl EventEnvelope ===

impl EventEnvelope {
    /// Rebuilds a published event from its position and stored tail, for a node that missed it live. An unreadable tail
    /// adds and removes nobody.
    pub fn replay(conv: ConversationId, LoggedEvent { s: seq, tail }: LoggedEvent) -> EventEnvelope {
        let mut published = EventEnvelope {
            conv,
            seq,
            tail,
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        };
        // Only `member` events carry routing; the prefix test spares parsing all others.
        if !published.tail.starts_with(b"\"t\":\"member\"") {
            return published;
        }
        let event = EncodedEvent::from_tail(&published.tail)
            .ok()
            .and_then(|event| event.event());
        if let Some(Event::Member(member)) = event {
            match (member.role, member.change) {
                // An unban has no role either, but ends no membership.
                (None, MembershipChange::Unban) => {}
                (None, _) => published.removes = Some(member.member),
                (Some(_), MembershipChange::Role) => {}
                (Some(_), _) => published.adds = Some(member.member),
            }
        }
        published
    }
}

// === impl ShardOutcome, CommandResult ===

impl ShardOutcome {
    /// Returns the bytes that the state machine returns to the proposer.
    pub fn encode(&self) -> Bytes {
        let events = match self {
            ShardOutcome::Conversation(applied) => {
                applied.events.iter().map(|event| event.tail.len() + 96).sum()
            }
            ShardOutcome::Erasure(erased) => erased.events.iter().map(|event| event.tail.len() + 96).sum(),
            _ => 0usize,
        };
        // The tails dominate the size; the sum avoids copies while the buffer grows.
        let mut bytes = Vec::with_capacity(events + 64);
        bytes.push(VERSION);
        postcard::to_extend(self, bytes)
            .expect("outcomes have only encodable fields")
            .into()
    }

    /// Decodes the bytes of [`ShardOutcome::encode`].
    pub fn decode(bytes: &[u8]) -> Result<ShardOutcome, String> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => {
                postcard::from_bytes(rest).map_err(|error| format!("malformed outcome: {error}"))
            }
            _ => Err("outcome of an unknown version".to_owned()),
        }
    }
}

impl CommandResult {
    /// Returns the result of a command that appends no event.
    pub(super) fn silent(effect: ApplyEffect) -> CommandResult {
        CommandResult {
            seq: None,
            mn: None,
            ts: 0,
            dup: false,
            events: Vec::new(),
            effect,
        }
    }
}

impl OutboxId {
    /// Returns the storage key; keys sort like ids.
    pub(super) fn key(self) -> [u8; 12] {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&self.index.to_be_bytes());
        key[8..].copy_from_slice(&self.n.to_be_bytes());
        key
    }

    /// Returns the id of a storage key; `None` for a malformed one.
    pub(super) fn from_key(key: &[u8]) -> Option<OutboxId> {
        let (index, n) = key.split_first_chunk::<8>()?;
        Some(OutboxId {
            index: u64::from_be_bytes(*index),
            n: u32::from_be_bytes(n.try_into().ok()?),
        })
    }
}

/// Encoding of an error code by its frozen number, on disk and between nodes.
pub(crate) mod error_number {
    use protocol::ErrorCode;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(code.number())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
        let number = u8::deserialize(deserializer)?;
        // A code of a newer node is a refusal all the same.
        Ok(ErrorCode::from_number(number).unwrap_or(ErrorCode::Internal))
    }
}
