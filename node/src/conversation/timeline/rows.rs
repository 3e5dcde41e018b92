//! Rows of the machine: one byte of version, then postcard; events by hand, because their tail is served as it stands.
//!
//! Frozen by the golden tests below. A row that can't be read is [`storage::Error::Corrupt`]: the replica stops.

use bytes::Bytes;
use protocol::answer::Last;
use protocol::{ConvId, History, Kind, Role, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dedup::Dedups;
use super::deleted;
use super::door::Rows;
use super::outcome::OutboxId;

/// The version of every row.
const VERSION: u8 = 1;
/// The version of a conversation's row with [`Later`] behind it.
const WITH_LATER: u8 = 2;

/// A conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ConvRow {
    pub(super) kind: Kind,
    pub(super) title: Option<std::sync::Arc<str>>,
    pub(super) creator: UserId,
    /// The other side of a direct conversation; of one with oneself the creator once more.
    pub(super) peer: Option<UserId>,
    pub(super) created_ms: u64,
    pub(super) last_s: u64,
    pub(super) last_mn: u64,
    pub(super) last_ts: u64,
    /// The last message, and its time; 0: there was none.
    pub(super) message_s: u64,
    pub(super) message_ts: u64,
    /// The members' shards are being told of messages: the outbox has a row for it.
    pub(super) watched: bool,
    pub(super) members: u64,
    pub(super) owners: u64,
    pub(super) history: History,
    #[serde(skip)]
    pub(super) later: Later,
}

/// What the first version of a conversation's row didn't hold. A row of version 2 is one of version 1 with this behind
/// it; it is written only where there is something to say.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Later {
    /// Events below this one are gone, by retention. 0: none is.
    pub(super) floor: u64,
    /// The rows of events below this one have been removed; it follows the floor.
    pub(super) swept: u64,
    /// The ordinal of the last message that is gone.
    pub(super) gone_mn: u64,
    /// The last event whose words retention took while it kept its place: the log always has an end.
    pub(super) blanked: u64,
    /// Names under which the hook is told of every message.
    pub(super) hooks: Vec<Box<str>>,
    /// The greatest ordinal of a message that was deleted.
    pub(super) deleted_mn: u64,
}

/// A member, or one who was: the row stays, without a role. One who is to be kept out may have a row without ever having
/// been a member.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct MemberRow {
    pub(super) role: Option<Role>,
    /// The `s` from which the member has been one. Initial members have been from the first event on.
    pub(super) since: u64,
    pub(super) read: u64,
    /// The last message's ordinal at `read`.
    pub(super) read_mn: u64,
    pub(super) delivered: u64,
    /// The unread messages that mention the member, ascending, the newest [`MENTIONS_KEPT`].
    pub(super) mentions: Vec<u64>,
    /// The membership's last change.
    pub(super) version: OutboxId,
    pub(super) dedups: Dedups,
    /// The member's own wish: no alerts.
    pub(super) muted: bool,
    /// The member's own wish: on top.
    pub(super) pinned: bool,
    /// Kept out: banned from a group or channel; in a direct conversation blocked by the other user.
    pub(super) barred: bool,
    /// In a direct conversation with one who blocks the member: how far the other had come by then, delivered and read.
    /// The member sees no more of it.
    pub(super) peer: (u64, u64),
    /// Of one who was a member: the event that ended it, the last that is for this user. 0: is one, or never was.
    pub(super) until: u64,
}

/// Beyond this the count of mentions stands still: nobody reads "128 mentions" as a number.
pub(super) const MENTIONS_KEPT: usize = 128;

/// The first result of a client message id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct DedupRow {
    /// Number of this id among the user's.
    pub(super) k: u64,
    pub(super) ts: u64,
    pub(super) s: u64,
    pub(super) mn: u64,
    /// What a `create` makes.
    pub(super) conv: Option<ConvId>,
}

/// A conversation of a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct IndexRow {
    pub(super) member: bool,
    pub(super) version: OutboxId,
    /// When the membership changed.
    pub(super) at_ms: u64,
    /// The last message that this shard was told of.
    pub(super) last: Last,
    /// The conversation had more members then than are told of every window.
    pub(super) large: bool,
}

/// Somebody banned from a conversation, in the list of bans; [`MemberRow::barred`] is what decides.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct BanRow {
    pub(super) by: UserId,
    pub(super) at_ms: u64,
}

/// Somebody whom a user blocks, or did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct BlockRow {
    pub(super) on: bool,
    pub(super) version: OutboxId,
    pub(super) at_ms: u64,
}

/// When a user was seen last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct SeenRow {
    pub(super) at_ms: u64,
}

/// A change that the user's shard doesn't know yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct OutboxRow {
    pub(super) conv: ConvId,
    pub(super) user: UserId,
    pub(super) news: News,
    pub(super) at_ms: u64,
}

/// Whether messages are told to the hook; one row per shard.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct HooksRow {
    /// Members of the largest conversation whose messages are told for those who are away; 0: no message is told.
    pub(super) members: u64,
    /// Messages that wait to be told.
    pub(super) waiting: u64,
}

/// A message that the hook is to be told of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct IntentRow {
    pub(super) conv: ConvId,
    pub(super) s: u64,
}

/// What a user's shard is told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// The user is no member any more.
    Left,
    /// The user is a member.
    Joined,
    /// The user blocks `who`, or no longer.
    Block { who: UserId, on: bool },
}

/// A row that is versioned postcard.
pub(super) trait Row: Serialize + DeserializeOwned {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        bytes.push(VERSION);
        postcard::to_extend(self, bytes).expect("rows have only encodable fields")
    }

    fn decode(bytes: &[u8]) -> Result<Self, storage::Error> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| corrupt(&error.to_string())),
            _ => Err(corrupt("a row of an unknown version")),
        }
    }
}

/// What sort of event a row of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum EventKind {
    Message = 1,
    Member = 2,
    Meta = 3,
    Edit = 4,
    Delete = 5,
    React = 6,
    /// A message that was deleted: it keeps its place and its ordinal.
    Tombstone = 7,
}

/// An event: `version u8 | kind u8 | mn u64 | author length u8 | author | tail`, where `mn` is the ordinal of the last
/// message up to this event.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct EventRow {
    pub(super) kind: EventKind,
    pub(super) mn: u64,
    pub(super) author: UserId,
    pub(super) tail: Bytes,
}

// === impl Row, ConvRow, IndexRow, MemberRow, EventRow ===

impl Row for ConvRow {
    fn encode(&self) -> Vec<u8> {
        let later = self.later != Later::default();
        let mut bytes = Vec::with_capacity(96);
        bytes.push(if later { WITH_LATER } else { VERSION });
        bytes = postcard::to_extend(self, bytes).expect("rows have only encodable fields");
        if later {
            bytes = postcard::to_extend(&self.later, bytes).expect("rows have only encodable fields");
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, storage::Error> {
        let malformed = |error: postcard::Error| corrupt(&error.to_string());
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(malformed),
            Some((&WITH_LATER, rest)) => {
                let (mut row, rest) = postcard::take_from_bytes::<ConvRow>(rest).map_err(malformed)?;
                row.later = postcard::from_bytes(rest).map_err(malformed)?;
                Ok(row)
            }
            _ => Err(corrupt("a row of an unknown version")),
        }
    }
}

impl Row for MemberRow {}
impl Row for DedupRow {}
impl Row for IndexRow {}
impl Row for OutboxRow {}
impl Row for HooksRow {}
impl Row for IntentRow {}
impl Row for BanRow {}
impl Row for BlockRow {}
impl Row for SeenRow {}
impl Row for Dedups {}

impl ConvRow {
    /// Returns the first event that is still there.
    pub(super) fn floor(&self) -> u64 {
        self.later.floor.max(1)
    }

    /// Returns how many messages above the ordinal `read_mn` there are to read: what is gone or deleted is not counted.
    pub(super) fn unread(
        &self,
        rows: &impl Rows,
        conv: &ConvId,
        read_mn: u64,
    ) -> Result<u64, storage::Error> {
        let above = read_mn.max(self.later.gone_mn);
        let mut unread = self.last_mn.saturating_sub(above);
        if self.later.deleted_mn > above {
            unread = unread.saturating_sub(deleted::above(rows, conv, above, self.last_mn)?);
        }
        Ok(unread)
    }

    /// Returns the other side of a direct conversation, as `user` sees it.
    pub(super) fn peer_of(&self, user: &UserId) -> Option<&UserId> {
        let peer = self.peer.as_ref()?;
        Some(if peer == user { &self.creator } else { peer })
    }
}

impl IndexRow {
    /// Returns the time by which the conversation stands among the user's.
    pub(super) fn order_ms(&self) -> u64 {
        self.at_ms.max(self.last.ts)
    }
}

impl MemberRow {
    /// Returns the row of one who has never been a member.
    pub(super) fn stranger() -> MemberRow {
        MemberRow {
            role: None,
            since: 0,
            read: 0,
            read_mn: 0,
            delivered: 0,
            mentions: Vec::new(),
            version: OutboxId { index: 0, n: 0 },
            dedups: Dedups::default(),
            muted: false,
            pinned: false,
            barred: false,
            peer: (0, 0),
            until: 0,
        }
    }

    /// Returns the first event that the member may see.
    pub(super) fn floor(&self, conv: &ConvRow) -> u64 {
        let own = match conv.history {
            History::Joined => self.since,
            History::All => 1,
        };
        own.max(conv.floor())
    }

    /// Returns the number of unread messages that mention the member; those that are gone are not counted.
    pub(super) fn mentioned(&self, conv: &ConvRow) -> u64 {
        self.mentions_there(conv).count() as u64
    }

    /// Returns the unread messages that mention the member and are not gone.
    pub(super) fn mentions_there<'a>(&'a self, conv: &ConvRow) -> impl Iterator<Item = &'a u64> + use<'a> {
        let (floor, blanked) = (conv.floor(), conv.later.blanked);
        self.mentions
            .iter()
            .filter(move |s| **s >= floor && **s != blanked)
    }

    /// Returns the cursors of the other side of a direct conversation as the member sees them: one who is blocked sees them
    /// stand still.
    pub(super) fn sees(&self, other: &MemberRow) -> (u64, u64) {
        match self.barred {
            true => self.peer,
            false => (other.delivered, other.read),
        }
    }

    /// Moves the read cursor to `s`, an event with message ordinal `mn`, and the delivered cursor at least as far.
    pub(super) fn read_to(&mut self, s: u64, mn: u64) {
        self.read = s;
        self.read_mn = mn;
        self.delivered = self.delivered.max(s);
        self.mentions.retain(|mention| *mention > s);
    }
}

impl EventRow {
    const HEAD: usize = 11;

    /// Returns the row's bytes.
    pub(super) fn encode(kind: EventKind, mn: u64, author: &UserId, tail: &str) -> Vec<u8> {
        let author = author.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(Self::HEAD + author.len() + tail.len());
        bytes.extend_from_slice(&[VERSION, kind as u8]);
        bytes.extend_from_slice(&mn.to_be_bytes());
        // Ids are at most 64 bytes.
        bytes.push(author.len() as u8);
        bytes.extend_from_slice(author);
        bytes.extend_from_slice(tail.as_bytes());
        bytes
    }

    /// Reads a row; the tail shares the row's memory.
    pub(super) fn decode(row: &Bytes) -> Result<EventRow, storage::Error> {
        let fields = |row: &Bytes| {
            let (head, rest) = row.split_first_chunk::<{ Self::HEAD }>()?;
            let kind = match (head[0], head[1]) {
                (VERSION, 1) => EventKind::Message,
                (VERSION, 2) => EventKind::Member,
                (VERSION, 3) => EventKind::Meta,
                (VERSION, 4) => EventKind::Edit,
                (VERSION, 5) => EventKind::Delete,
                (VERSION, 6) => EventKind::React,
                (VERSION, 7) => EventKind::Tombstone,
                _ => return None,
            };
            let author = std::str::from_utf8(rest.get(..usize::from(head[10]))?).ok()?;
            Some(EventRow {
                kind,
                mn: u64::from_be_bytes(head[2..10].try_into().ok()?),
                author: UserId::parse(author).ok()?,
                tail: row.slice(Self::HEAD + author.len()..),
            })
        };
        fields(row).ok_or_else(|| corrupt("a malformed event"))
    }
}

/// Returns the error of a row that passed its checksum and still can't be read.
pub(super) fn corrupt(what: &str) -> storage::Error {
    storage::Error::Corrupt(format!("chat state: {what}").into())
}
