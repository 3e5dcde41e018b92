//! Conversation as seen by one member, and its entry in the member's list.

use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::response::{ConversationListItem, ConversationSnapshot, DirectPeer, LastEvent, UserCards};
use protocol::{ConversationId, ConversationKind, CustomData, EncodedEvent, HistoryVisibility, Role, UserId};
use serde::{Deserialize, Serialize};

use super::messages::{MessageView, folded};
use super::{MemberScatterQuery, QueryContext, Result};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{ConvRow, EventRow, MemberRow, VersionedRow};
use crate::state_machine::{custom_data, keys};

/// Conversation as seen by one member, the protocol's `conv`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MemberConversation {
    pub conv: ConversationId,
    pub kind: ConversationKind,
    pub title: Option<String>,
    pub role: Role,
    /// Last position of the log.
    pub last: LastEvent,
    /// Number of messages above the read cursor, as in [`Summary`].
    pub unread: u64,
    /// Number of unread messages that mention the member, as in [`Summary`].
    pub mentions: u64,
    pub read: u64,
    pub delivered: u64,
    pub members: u64,
    /// First event that the member may see.
    pub floor: u64,
    /// Visibility of earlier events to new members.
    pub history: HistoryVisibility,
    pub muted: bool,
    pub pinned: bool,
    /// Peer of a direct conversation; `None` otherwise.
    pub peer: Option<PeerView>,
    /// Tails of the events since `have`; `None` if the request named none.
    pub events: Option<Vec<Bytes>>,
    /// True if the events do not start at `have + 1`.
    pub gap: bool,
    /// Custom data of the conversation; `None` without data.
    pub data: Option<Box<str>>,
}

/// Peer of a direct conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PeerView {
    pub user: UserId,
    /// Delivered position, frozen if the peer blocks the member.
    pub delivered: u64,
    /// Read position, frozen if the peer blocks the member.
    pub read: u64,
}

/// Query of a member for the rows of the conversation list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SummariesQuery {
    pub user: UserId,
    pub convs: Vec<ConversationId>,
    /// Required `kind` of the custom data; `None` for conversations of any kind.
    pub data_kind: Option<Box<str>>,
}

/// Query of a member for the authors of the unread messages with a mention, one entry per message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MentioningQuery {
    pub user: UserId,
    pub convs: Vec<ConversationId>,
}

/// Entry of a conversation in the list of one member.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub conv: ConversationId,
    pub kind: ConversationKind,
    pub title: Option<String>,
    pub role: Role,
    /// Last message; the list is sorted by its `ts`.
    pub last: LastEvent,
    /// That message in its current state; `None` if the member may not see it or it was trimmed.
    pub message: Option<MessageView>,
    /// Number of messages above the read cursor, without deleted and trimmed ones.
    pub unread: u64,
    /// Number of unread messages that mention the member, at most 128.
    pub mentions: u64,
    pub read: u64,
    pub delivered: u64,
    pub muted: bool,
    pub pinned: bool,
    /// Peer of a direct conversation; `None` otherwise.
    pub peer: Option<PeerView>,
}

// === impl SummariesQuery, MentioningQuery ===

impl MemberScatterQuery for SummariesQuery {
    type Item = ConversationId;
    /// `None` for a conversation whose custom data is of another kind.
    type Page = Option<Summary>;

    fn user(&self) -> &UserId {
        &self.user
    }

    fn items(&self) -> &[ConversationId] {
        &self.convs
    }

    fn conv(conv: &ConversationId) -> &ConversationId {
        conv
    }

    fn part(&self, convs: Vec<ConversationId>) -> SummariesQuery {
        let (user, data_kind) = (self.user.clone(), self.data_kind.clone());
        SummariesQuery {
            user,
            convs,
            data_kind,
        }
    }

    fn read_item(
        &self,
        rows: &impl RowReader,
        conv: &ConversationId,
        reader: &QueryContext,
    ) -> Result<Option<Summary>> {
        if let Some(kind) = &self.data_kind {
            let data = custom_data::read(rows, &keys::conversation_data(conv))?;
            if !custom_data::is_of_kind(data.as_deref(), kind) {
                return Ok(None);
            }
        }
        let s = reader.conv.message_s;
        // A message before the membership must not appear in the list, even as the last one.
        let visible = s > 0 && s >= reader.me.floor(&reader.conv);
        let message = if visible { folded(rows, conv, s)? } else { None };
        Ok(Some(Summary {
            conv: conv.clone(),
            kind: reader.conv.kind,
            title: reader.conv.title.as_deref().map(str::to_owned),
            role: reader.role,
            last: LastEvent {
                seq: s,
                message_number: reader.conv.last_mn,
                timestamp_ms: reader.conv.message_ts,
            },
            message,
            unread: reader.conv.unread(rows, conv, reader.me.read_mn)?,
            mentions: reader.me.mentioned(&reader.conv),
            read: reader.me.read,
            delivered: reader.me.delivered,
            muted: reader.me.muted,
            pinned: reader.me.pinned,
            peer: peer(rows, conv, &self.user, reader)?,
        }))
    }
}

impl MemberScatterQuery for MentioningQuery {
    type Item = ConversationId;
    type Page = Vec<UserId>;

    fn user(&self) -> &UserId {
        &self.user
    }

    fn items(&self) -> &[ConversationId] {
        &self.convs
    }

    fn conv(conv: &ConversationId) -> &ConversationId {
        conv
    }

    fn part(&self, convs: Vec<ConversationId>) -> MentioningQuery {
        let user = self.user.clone();
        MentioningQuery { user, convs }
    }

    fn read_item(
        &self,
        rows: &impl RowReader,
        conv: &ConversationId,
        reader: &QueryContext,
    ) -> Result<Vec<UserId>> {
        let mut authors = Vec::new();
        for s in reader.me.mentions_there(&reader.conv) {
            if let Some(row) = rows.get(ChatTable::Message, &keys::message(conv, *s))? {
                authors.push(EventRow::decode(&row)?.author);
            }
        }
        Ok(authors)
    }
}

/// Returns the last position and the number of members without a permission check, for the shard owner itself; `None`
/// if the conversation does not exist.
pub fn last(rows: &impl RowReader, conv: &ConversationId) -> Result<Option<(LastEvent, u64)>> {
    let row = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
    let row = row.map(|row| ConvRow::decode(&row)).transpose()?;
    Ok(row.map(|row| (last_of(&row), row.members)))
}

/// Returns the conversation as its member sees it, without events.
pub(super) fn view(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    context: &QueryContext,
) -> Result<MemberConversation> {
    Ok(MemberConversation {
        conv: conv.clone(),
        kind: context.conv.kind,
        title: context.conv.title.as_deref().map(str::to_owned),
        role: context.role,
        last: last_of(&context.conv),
        unread: context.conv.unread(rows, conv, context.me.read_mn)?,
        mentions: context.me.mentioned(&context.conv),
        read: context.me.read,
        delivered: context.me.delivered,
        members: context.conv.members,
        floor: context.me.floor(&context.conv),
        history: context.conv.history,
        muted: context.me.muted,
        pinned: context.me.pinned,
        peer: peer(rows, conv, user, context)?,
        events: None,
        gap: false,
        data: custom_data::read(rows, &keys::conversation_data(conv))?,
    })
}

fn last_of(conv: &ConvRow) -> LastEvent {
    LastEvent {
        seq: conv.last_s,
        message_number: conv.last_mn,
        timestamp_ms: conv.last_ts,
    }
}

fn peer(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    context: &QueryContext,
) -> Result<Option<PeerView>> {
    let Some(peer) = context.conv.peer_of(user) else {
        return Ok(None);
    };
    let Some(member) = rows.get(ChatTable::Member, &keys::member(conv, peer))? else {
        return Ok(None);
    };
    let (delivered, read) = context.me.sees(&MemberRow::decode(&member)?);
    Ok(Some(PeerView {
        user: peer.clone(),
        delivered,
        read,
    }))
}

// === impl MemberConversation, Summary, PeerView ===

impl MemberConversation {
    /// Returns the protocol's form. The error is a stored event that is no JSON.
    pub fn page(&self) -> std::result::Result<ConversationSnapshot, String> {
        let events = self.events.as_ref();
        let events = events.map(|events| events.iter().map(|tail| EncodedEvent::from_tail(tail)).collect());
        Ok(ConversationSnapshot {
            conversation: self.conv.clone(),
            kind: self.kind,
            title: self.title.clone(),
            role: Some(self.role),
            last: self.last,
            unread: self.unread,
            mentions: self.mentions,
            read: self.read,
            delivered: self.delivered,
            muted: self.muted,
            pinned: self.pinned,
            history: Some(self.history),
            members: Some(self.members),
            peer: self.peer.as_ref().map(PeerView::page),
            events: events.transpose()?,
            gap: self.gap,
            data: self.data.as_deref().map(CustomData::new).transpose()?,
            users: UserCards::new(),
        })
    }
}

impl Summary {
    /// Returns the protocol's form. The error is a stored event that is no JSON.
    pub fn page(&self) -> std::result::Result<ConversationListItem, String> {
        Ok(ConversationListItem {
            conversation: self.conv.clone(),
            kind: self.kind,
            title: self.title.clone(),
            role: Some(self.role),
            last: self.message.as_ref().map(MessageView::event).transpose()?,
            unread: self.unread,
            mentions: self.mentions,
            read: self.read,
            delivered: self.delivered,
            muted: self.muted,
            pinned: self.pinned,
            peer: self.peer.as_ref().map(PeerView::page),
            stale: false,
        })
    }
}

impl PeerView {
    /// Returns the protocol's form of the peer.
    pub fn page(&self) -> DirectPeer {
        DirectPeer {
            user: self.user.clone(),
            delivered: self.delivered,
            read: self.read,
        }
    }
}
