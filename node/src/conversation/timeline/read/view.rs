//! One conversation as one member sees it, and its line in the inbox.

use bytes::Bytes;
use protocol::answer::{Conv, Item, Last, Peer};
use protocol::{ConvId, History, Kind, RawEvent, Role, UserId};
use serde::{Deserialize, Serialize};
use storage::Table;

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{ConvRow, EventRow, MemberRow, Row};
use super::messages::{Folded, folded};
use super::{Result, Seat};

/// A conversation as one member sees it: `conv`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConvView {
    /// The conversation.
    pub conv: ConvId,
    /// Its kind.
    pub kind: Kind,
    /// Its title.
    pub title: Option<String>,
    /// The member's role.
    pub role: Role,
    /// The end of the log.
    pub last: Last,
    /// The member's read cursor.
    pub read: u64,
    /// The member's delivered cursor.
    pub delivered: u64,
    /// The number of members.
    pub members: u64,
    /// The first event that the member may see.
    pub floor: u64,
    /// How far back a new member may read.
    pub history: History,
    /// Whether the member wants no alerts.
    pub muted: bool,
    /// Whether the member keeps it on top.
    pub pinned: bool,
    /// The other side of a direct conversation.
    pub peer: Option<PeerView>,
    /// The tails of the events since `have`, if it was asked with one.
    pub events: Option<Vec<Bytes>>,
    /// The events don't start at `have + 1`.
    pub gap: bool,
}

/// The other side of a direct conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PeerView {
    /// The user.
    pub user: UserId,
    /// What has arrived there.
    pub delivered: u64,
    /// What was read there.
    pub read: u64,
}

/// A conversation's line in the inbox of one member.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The conversation.
    pub conv: ConvId,
    /// Its kind.
    pub kind: Kind,
    /// Its title.
    pub title: Option<String>,
    /// The member's role.
    pub role: Role,
    /// The last message; the inbox is sorted by its `ts`.
    pub last: Last,
    /// That message as it is now, if the member may see it and it is there.
    pub message: Option<Folded>,
    /// Messages above the read cursor that are there to be read.
    pub unread: u64,
    /// Unread messages that mention the member, at most 128.
    pub mentions: u64,
    /// The member's read cursor.
    pub read: u64,
    /// The member's delivered cursor.
    pub delivered: u64,
    /// Whether the member wants no alerts.
    pub muted: bool,
    /// Whether the member keeps it on top.
    pub pinned: bool,
    /// The other side of a direct conversation.
    pub peer: Option<PeerView>,
}

/// Returns the conversation's line in the inbox of `user`.
pub fn summary(rows: &impl Rows, conv: &ConvId, user: &UserId) -> Result<Summary> {
    let seat = Seat::of(rows, conv, user)?;
    let s = seat.conv.message_s;
    let shown = s > 0 && s >= seat.me.floor(&seat.conv);
    let message = if shown { folded(rows, conv, s)? } else { None };
    Ok(Summary {
        conv: conv.clone(),
        kind: seat.conv.kind,
        title: seat.conv.title.as_deref().map(str::to_owned),
        role: seat.role,
        last: Last {
            s,
            mn: seat.conv.last_mn,
            ts: seat.conv.message_ts,
        },
        message,
        unread: seat.conv.unread(rows, conv, seat.me.read_mn)?,
        mentions: seat.me.mentioned(&seat.conv),
        read: seat.me.read,
        delivered: seat.me.delivered,
        muted: seat.me.muted,
        pinned: seat.me.pinned,
        peer: peer(rows, conv, user, &seat)?,
    })
}

/// Returns who wrote the unread messages that mention the user, one entry for each.
pub fn mentioning(rows: &impl Rows, conv: &ConvId, user: &UserId) -> Result<Vec<UserId>> {
    let seat = Seat::of(rows, conv, user)?;
    let mut authors = Vec::new();
    for s in seat.me.mentions_there(&seat.conv) {
        if let Some(row) = rows.get(Table::Message, &keys::message(conv, *s))? {
            authors.push(EventRow::decode(&row)?.author);
        }
    }
    Ok(authors)
}

/// Returns the end of the log and the number of members, for the owner itself; `None` if there is no such
/// conversation.
pub fn last(rows: &impl Rows, conv: &ConvId) -> Result<Option<(Last, u64)>> {
    let row = rows.get(Table::Conversation, conv.as_str().as_bytes())?;
    let row = row.map(|row| ConvRow::decode(&row)).transpose()?;
    Ok(row.map(|row| (last_of(&row), row.members)))
}

/// Returns the conversation as its member sees it, without events.
pub(super) fn view(rows: &impl Rows, conv: &ConvId, user: &UserId, seat: &Seat) -> Result<ConvView> {
    Ok(ConvView {
        conv: conv.clone(),
        kind: seat.conv.kind,
        title: seat.conv.title.as_deref().map(str::to_owned),
        role: seat.role,
        last: last_of(&seat.conv),
        read: seat.me.read,
        delivered: seat.me.delivered,
        members: seat.conv.members,
        floor: seat.me.floor(&seat.conv),
        history: seat.conv.history,
        muted: seat.me.muted,
        pinned: seat.me.pinned,
        peer: peer(rows, conv, user, seat)?,
        events: None,
        gap: false,
    })
}

fn last_of(conv: &ConvRow) -> Last {
    Last {
        s: conv.last_s,
        mn: conv.last_mn,
        ts: conv.last_ts,
    }
}

fn peer(rows: &impl Rows, conv: &ConvId, user: &UserId, seat: &Seat) -> Result<Option<PeerView>> {
    let Some(peer) = seat.conv.peer_of(user) else {
        return Ok(None);
    };
    let Some(member) = rows.get(Table::Member, &keys::member(conv, peer))? else {
        return Ok(None);
    };
    let (delivered, read) = seat.me.sees(&MemberRow::decode(&member)?);
    Ok(Some(PeerView {
        user: peer.clone(),
        delivered,
        read,
    }))
}

// === impl ConvView, Summary, PeerView ===

impl ConvView {
    /// Returns the shape on the wire. The error is a stored event that is no JSON.
    pub fn wire(&self) -> std::result::Result<Conv, String> {
        let events = self.events.as_ref();
        let events = events.map(|events| events.iter().map(|tail| RawEvent::from_tail(tail)).collect());
        Ok(Conv {
            c: self.conv.clone(),
            kind: self.kind,
            title: self.title.clone(),
            role: Some(self.role),
            last: self.last,
            read: self.read,
            delivered: self.delivered,
            muted: self.muted,
            pinned: self.pinned,
            history: Some(self.history),
            members: Some(self.members),
            peer: self.peer.as_ref().map(PeerView::wire),
            events: events.transpose()?,
            gap: self.gap,
        })
    }
}

impl Summary {
    /// Returns the shape on the wire. The error is a stored event that is no JSON.
    pub fn wire(&self) -> std::result::Result<Item, String> {
        Ok(Item {
            c: self.conv.clone(),
            kind: self.kind,
            title: self.title.clone(),
            role: Some(self.role),
            last: self.message.as_ref().map(Folded::event).transpose()?,
            unread: self.unread,
            mentions: self.mentions,
            read: self.read,
            delivered: self.delivered,
            muted: self.muted,
            pinned: self.pinned,
            peer: self.peer.as_ref().map(PeerView::wire),
            stale: false,
        })
    }
}

impl PeerView {
    /// Returns the shape on the wire.
    pub fn wire(&self) -> Peer {
        Peer {
            u: self.user.clone(),
            delivered: self.delivered,
            read: self.read,
        }
    }
}
