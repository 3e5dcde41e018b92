//! Messages in their current state, for clients that store no events.
//!
//! Any number of other events may separate two messages (a channel that a hundred thousand users join). Each row holds
//! the ordinal of the last message up to it, so bisection skips a long run of other events.

use std::collections::BTreeMap;

use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::rest::{MessagePage, MessageState};
use protocol::{ConversationId, EncodedEvent, Event, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::log::{HistoryRange, WINDOW_BYTES};
use super::{MemberQuery, QueryContext, Result};
use crate::state_machine::keys;
use crate::state_machine::message_state::MessageStateRow;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{EventKind, EventRow};

/// Number of rows per scan.
const SCAN_PAGE: u64 = 32;

/// Query by a member for a page of messages in their current state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MessagesQuery {
    pub conv: ConversationId,
    pub user: UserId,
    pub page: HistoryRange,
    /// Maximum number of messages.
    pub limit: u32,
}

/// Page of messages in their current state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MessagesPage {
    pub items: Vec<MessageView>,
    /// True if more messages exist in the requested direction.
    pub more: bool,
    /// True if the messages do not continue the requested position, or the log has no such position.
    pub gap: bool,
}

/// Message with its last edit, mentions and reactions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MessageView {
    pub tail: Bytes,
    /// Tail of its last edit; `None` if it was never edited.
    pub edit: Option<Bytes>,
    /// Users mentioned now, edits included.
    pub mentions: Vec<UserId>,
    /// Number of users per reaction.
    pub reactions: BTreeMap<String, u64>,
}

/// Scan over the messages `from..=to`.
struct MessageScan<'a, R> {
    rows: &'a R,
    conv: &'a ConversationId,
    from: u64,
    to: u64,
    order: ScanOrder,
}

// === impl MessagesQuery ===

impl MemberQuery for MessagesQuery {
    type Page = MessagesPage;

    fn conv(&self) -> &ConversationId {
        &self.conv
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn read_as(&self, rows: &impl RowReader, reader: &QueryContext) -> Result<MessagesPage> {
        let (first, last) = (reader.me.floor(&reader.conv), reader.conv.last_s);
        let (from, to, order) = self.page.span(first, last);
        let mut walk = MessageScan {
            rows,
            conv: &self.conv,
            from,
            to,
            order,
        };
        let limit = self.limit as usize;
        let mut items = Vec::new();
        let (mut bytes, mut more) = (0, false);
        'pages: while let Some(found) = walk.next()? {
            for (s, row) in found {
                // Checked before the push: the page ends after the message that exceeds the size, so it is never empty.
                if items.len() == limit || bytes > WINDOW_BYTES {
                    more = true;
                    break 'pages;
                }
                let message = fold(rows, &self.conv, s, row)?;
                bytes += message.tail.len() + message.edit.as_ref().map_or(0, Bytes::len);
                items.push(message);
            }
        }
        if order == ScanOrder::Descending {
            items.reverse();
        }
        let gap = self.page.has_gap(first, last);
        Ok(MessagesPage { items, more, gap })
    }
}

/// Returns the current state of the message at `s`; `None` without an event there.
pub(super) fn folded(rows: &impl RowReader, conv: &ConversationId, s: u64) -> Result<Option<MessageView>> {
    let row = rows.get(ChatTable::Message, &keys::message(conv, s))?;
    let row = row.map(|row| EventRow::decode(&row)).transpose()?;
    row.map(|row| fold(rows, conv, s, row)).transpose()
}

fn fold(rows: &impl RowReader, conv: &ConversationId, s: u64, row: EventRow) -> Result<MessageView> {
    let fold = MessageStateRow::of(rows, conv, s)?;
    let edit = match fold.edits.last() {
        Some(edit) => rows.get(ChatTable::Message, &keys::message(conv, *edit))?,
        None => None,
    };
    let edit = edit.map(|edit| EventRow::decode(&edit)).transpose()?;
    let mentions = fold.mentioned(rows, conv, &row)?;
    Ok(MessageView {
        tail: row.tail,
        mentions,
        edit: edit.map(|edit| edit.tail),
        reactions: fold.reactions,
    })
}

// === impl MessageScan ===

impl<R: RowReader> MessageScan<'_, R> {
    /// Returns the next messages in scan order; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<(u64, EventRow)>>> {
        while self.from <= self.to {
            let (start, end) = (
                keys::message(self.conv, self.from),
                keys::message(self.conv, self.to.saturating_add(1)),
            );
            let found = self
                .rows
                .scan(ChatTable::Message, &start..&end, self.order, SCAN_PAGE as usize)?;
            let (mut messages, mut mn) = (Vec::new(), None);
            for (i, (_, row)) in found.iter().enumerate() {
                let row = EventRow::decode(row)?;
                // Positions are contiguous, so they follow from the index without decoding the keys.
                let s = match self.order {
                    ScanOrder::Ascending => self.from + i as u64,
                    ScanOrder::Descending => self.to - i as u64,
                };
                mn = Some(row.mn);
                if matches!(row.kind, EventKind::Message | EventKind::Tombstone) {
                    messages.push((s, row));
                }
            }
            let read = found.len() as u64;
            match self.order {
                ScanOrder::Ascending => self.from += read,
                ScanOrder::Descending => self.to = self.to.saturating_sub(read),
            }
            // A short scan reached the end of the span.
            let Some(mn) = mn.filter(|_| read == SCAN_PAGE) else {
                self.to = 0;
                return Ok(Some(messages).filter(|messages| !messages.is_empty()));
            };
            if !messages.is_empty() {
                return Ok(Some(messages));
            }
            match self.order {
                // The first event with this ordinal in the span is the message itself, or follows it.
                ScanOrder::Descending => self.to = self.reaching(mn)?,
                ScanOrder::Ascending => self.from = self.reaching(mn + 1)?,
            }
        }
        Ok(None)
    }

    /// Returns the first position of the span whose ordinal reaches `mn`; the one behind the span if none does.
    fn reaching(&self, mn: u64) -> Result<u64> {
        let (mut low, mut high) = (self.from, self.to + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self
                .rows
                .get(ChatTable::Message, &keys::message(self.conv, middle))?;
            let reached = row.map(|row| EventRow::decode(&row)).transpose()?;
            if reached.is_none_or(|row| row.mn >= mn) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

// === impl MessagesPage, MessageView ===

impl MessagesPage {
    /// Returns the protocol's form of the page. The error is a stored event that is no JSON.
    pub fn page(&self, conv: &ConversationId) -> std::result::Result<MessagePage, String> {
        let items = self
            .items
            .iter()
            .map(MessageView::wire)
            .collect::<std::result::Result<_, _>>()?;
        Ok(MessagePage {
            conversation: conv.clone(),
            items,
            more: self.more,
            gap: self.gap,
        })
    }
}

impl MessageView {
    /// Returns the message as an event with its current body. The error is a stored event that is no JSON.
    pub(super) fn event(&self) -> std::result::Result<EncodedEvent, String> {
        let raw = EncodedEvent::from_tail(&self.tail)?;
        let Some(edit) = &self.edit else {
            return Ok(raw);
        };
        let (Some(Event::Msg(msg)), Some(Event::Edit(edit))) =
            (raw.event(), EncodedEvent::from_tail(edit)?.event())
        else {
            return Err("a stored row is not a message or its edit".to_owned());
        };
        // Body and mentions are those of the last edit; position, author and time stay those of the message.
        let mentions = self.mentions.clone();
        let now = Event::Msg(protocol::event::MessageEvent {
            body: edit.body,
            mentions,
            ..msg
        });
        EncodedEvent::from_tail(now.tail().as_bytes())
    }

    fn wire(&self) -> std::result::Result<MessageState, String> {
        let Some(Event::Msg(msg)) = EncodedEvent::from_tail(&self.tail)?.event() else {
            return Err("a stored row is not a message".to_owned());
        };
        let mut message = MessageState::from(msg);
        message.reactions = self.reactions.clone();
        message.mentions = self.mentions.clone();
        if let Some(edit) = &self.edit {
            let Some(Event::Edit(edit)) = EncodedEvent::from_tail(edit)?.event() else {
                return Err("a stored row is not an edit".to_owned());
            };
            (message.body, message.edited_timestamp_ms) = (edit.body, Some(edit.timestamp_ms));
        }
        Ok(message)
    }
}
