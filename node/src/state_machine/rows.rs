//! Rows of the state machine: one version byte, then postcard. Events have an encoding of their own, see
//! [`super::event_row`].
//!
//! The format is frozen by golden tests. A row that cannot be decoded is [`storage::Error::Corrupt`] and stops the
//! replica.

use protocol::response::LastEvent;
use protocol::{ConversationId, ConversationKind, HistoryVisibility, Role, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dedup::Dedups;
use super::deleted;
pub(super) use super::event_row::{EventKind, EventRow};
use super::outcome::OutboxId;
use super::row_store::RowReader;

/// Version byte of every row.
const VERSION: u8 = 1;

/// Row of a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ConvRow {
    pub(super) kind: ConversationKind,
    pub(super) title: Option<std::sync::Arc<str>>,
    pub(super) creator: UserId,
    /// Peer of a direct conversation; the creator itself in one with oneself. `None` for other kinds.
    pub(super) peer: Option<UserId>,
    pub(super) created_ms: u64,
    pub(super) last_s: u64,
    pub(super) last_mn: u64,
    pub(super) last_ts: u64,
    /// Position of the last message; 0 if there was none.
    pub(super) message_s: u64,
    /// Time of the last message in milliseconds since the epoch; 0 if there was none.
    pub(super) message_ts: u64,
    /// True while an activity watch runs; the outbox then has a row for it.
    pub(super) watched: bool,
    pub(super) members: u64,
    pub(super) owners: u64,
    pub(super) history: HistoryVisibility,
    /// First retained position; events below are trimmed. 0 means that nothing was trimmed.
    pub(super) floor: u64,
    /// Rows of events below this position are removed; it follows `floor`.
    pub(super) swept: u64,
    /// Ordinal of the last trimmed message.
    pub(super) gone_mn: u64,
    /// Position of the last event that retention redacted in place, because the log must not become empty.
    pub(super) blanked: u64,
    /// Webhook names, sorted; each receives every message.
    pub(super) hooks: Vec<Box<str>>,
    /// Greatest ordinal of a deleted message.
    pub(super) deleted_mn: u64,
}

/// Row of a present or former member; a former one has no role. A banned or blocked user may have a row without ever
/// having been a member.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct MemberRow {
    pub(super) role: Option<Role>,
    /// First position of the membership; 1 for initial members.
    pub(super) since: u64,
    pub(super) read: u64,
    /// Ordinal of the last message at `read`.
    pub(super) read_mn: u64,
    pub(super) delivered: u64,
    /// Positions of the unread messages that mention the member, ascending, the newest [`MENTIONS_RETAINED`].
    pub(super) mentions: Vec<u64>,
    /// Outbox entry of the last change of the membership.
    pub(super) version: OutboxId,
    pub(super) dedups: Dedups,
    /// Member's own setting: no alerts.
    pub(super) muted: bool,
    /// Member's own setting: pinned at the top of the list.
    pub(super) pinned: bool,
    /// Banned from a group or channel; blocked by the peer in a direct conversation.
    pub(super) banned: bool,
    /// Delivered and read position of the blocking peer at the time of the block, in a direct conversation. The member
    /// sees no later ones.
    pub(super) peer: (u64, u64),
    /// Position of the event that ended the membership, the last one visible to the user. 0 for a present member and
    /// for a user who never was one.
    pub(super) until: u64,
}

/// Maximum number of retained mentions per member; the count of mentions ends there.
pub(super) const MENTIONS_RETAINED: usize = 128;

/// First result of a client message id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct DedupRow {
    /// Ordinal of this id among those of its user.
    pub(super) k: u64,
    pub(super) ts: u64,
    pub(super) s: u64,
    pub(super) mn: u64,
    /// Conversation bound to a `create`; `None` for other commands.
    pub(super) conv: Option<ConversationId>,
}

/// Row of a conversation in the user's shard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct IndexRow {
    pub(super) member: bool,
    pub(super) version: OutboxId,
    /// Time of the last change of the membership, in milliseconds since the epoch.
    pub(super) at_ms: u64,
    /// Last message recorded by an activity note.
    pub(super) last: LastEvent,
    /// True if the conversation had too many members then for a note in every window.
    pub(super) large: bool,
}

/// Entry of the ban list; [`MemberRow`] holds the flag that decides.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct BanRow {
    pub(super) by: UserId,
    pub(super) at_ms: u64,
}

/// Present or former block of another user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct BlockRow {
    pub(super) on: bool,
    pub(super) version: OutboxId,
    pub(super) at_ms: u64,
}

/// Last-seen time of a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct LastSeenRow {
    pub(super) at_ms: u64,
}

/// Change that the user's shard has not confirmed yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct OutboxRow {
    pub(super) conv: ConversationId,
    pub(super) user: UserId,
    pub(super) change: OutboxChange,
    pub(super) at_ms: u64,
}

/// Webhook policy of a shard, one row.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct WebhookPolicyRow {
    /// Size of the largest conversation whose messages are queued for absent members; 0 queues none.
    pub(super) members: u64,
    /// Number of queued messages.
    pub(super) waiting: u64,
}

/// Message queued for delivery to the webhooks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct QueuedWebhookRow {
    pub(super) conv: ConversationId,
    pub(super) s: u64,
}

/// Change sent to a user's shard through the outbox.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum OutboxChange {
    /// The membership of the user ended.
    Left,
    /// The user became a member.
    Joined,
    /// The user blocks `who` (`on`) or no longer.
    Block { who: UserId, on: bool },
}

/// Row in versioned postcard encoding.
pub(super) trait VersionedRow: Serialize + DeserializeOwned {
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

// === impl ConvRow, MemberRow, IndexRow ===

impl VersionedRow for ConvRow {}
impl VersionedRow for MemberRow {}
impl VersionedRow for DedupRow {}
impl VersionedRow for IndexRow {}
impl VersionedRow for OutboxRow {}
impl VersionedRow for WebhookPolicyRow {}
impl VersionedRow for QueuedWebhookRow {}
impl VersionedRow for BanRow {}
impl VersionedRow for BlockRow {}
impl VersionedRow for LastSeenRow {}
impl VersionedRow for Dedups {}

impl ConvRow {
    /// Returns the first retained position.
    pub(super) fn floor(&self) -> u64 {
        self.floor.max(1)
    }

    /// Returns the number of messages above the ordinal `read_mn`, without trimmed and deleted ones.
    pub(super) fn unread(
        &self,
        rows: &impl RowReader,
        conv: &ConversationId,
        read_mn: u64,
    ) -> Result<u64, storage::Error> {
        // Trimmed messages count as read, even above the cursor.
        let above = read_mn.max(self.gone_mn);
        let mut unread = self.last_mn.saturating_sub(above);
        // Most conversations have no deleted message above the cursor and skip the scan of the counts.
        if self.deleted_mn > above {
            unread = unread.saturating_sub(deleted::above(rows, conv, above, self.last_mn)?);
        }
        Ok(unread)
    }

    /// Returns the peer of a direct conversation from the side of `user`; `None` for other kinds.
    pub(super) fn peer_of(&self, user: &UserId) -> Option<&UserId> {
        let peer = self.peer.as_ref()?;
        Some(if peer == user { &self.creator } else { peer })
    }
}

impl IndexRow {
    /// Returns the time by which the user's conversations are ordered, in milliseconds since the epoch.
    pub(super) fn order_ms(&self) -> u64 {
        self.at_ms.max(self.last.timestamp_ms)
    }
}

impl MemberRow {
    /// Returns the row of a user who never was a member.
    pub(super) fn non_member() -> MemberRow {
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
            banned: false,
            peer: (0, 0),
            until: 0,
        }
    }

    /// Returns the first position that the member may see.
    pub(super) fn floor(&self, conv: &ConvRow) -> u64 {
        let own = match conv.history {
            HistoryVisibility::Joined => self.since,
            HistoryVisibility::All => 1,
        };
        own.max(conv.floor())
    }

    /// Returns the number of unread messages that mention the member, without trimmed ones.
    pub(super) fn mentioned(&self, conv: &ConvRow) -> u64 {
        self.mentions_there(conv).count() as u64
    }

    /// Returns the positions of the unread messages that mention the member, without trimmed ones.
    pub(super) fn mentions_there<'a>(&'a self, conv: &ConvRow) -> impl Iterator<Item = &'a u64> + use<'a> {
        // The redacted last event keeps its row, so it has to be excluded apart from the trimmed ones.
        let (floor, blanked) = (conv.floor(), conv.blanked);
        self.mentions
            .iter()
            .filter(move |s| **s >= floor && **s != blanked)
    }

    /// Returns the peer's delivered and read position as the member sees them: frozen if the peer blocks the member.
    pub(super) fn sees(&self, other: &MemberRow) -> (u64, u64) {
        match self.banned {
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

/// Returns the error of a row that passed its checksum but cannot be decoded.
pub(super) fn corrupt(what: &str) -> storage::Error {
    storage::Error::Corrupt(format!("chat state: {what}").into())
}
