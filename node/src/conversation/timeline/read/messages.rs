//! Messages as they are now: the log folded, for clients that keep no events.
//!
//! Between two messages there may be any number of other events (a channel that a hundred thousand users join). Each row
//! knows the ordinal of the last message up to it, so a long run of others is leapt over by bisection.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::message::{Message, Messages};
use protocol::{ConvId, Event, RawEvent, UserId};
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::fold::FoldRow;
use super::super::keys;
use super::super::rows::{EventKind, EventRow};
use super::log::{Page, WINDOW_BYTES};
use super::{Result, Seat};

/// How many rows are read in one step.
const SCAN_PAGE: u64 = 32;

/// A page of messages.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MessagesPage {
    /// The messages, ascending.
    pub items: Vec<Folded>,
    /// Whether there are more in the direction asked for.
    pub more: bool,
    /// The messages don't begin right behind the place asked for, or there is no such place in the log.
    pub gap: bool,
}

/// A message, and what has become of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Folded {
    /// The tail of the message.
    pub tail: Bytes,
    /// The tail of its last edit.
    pub edit: Option<Bytes>,
    /// The users whom it mentions.
    pub mentions: Vec<UserId>,
    /// How many users have set which reaction.
    pub reactions: BTreeMap<String, u64>,
}

/// A walk over the messages `from..=to`.
struct Walk<'a, R> {
    rows: &'a R,
    conv: &'a ConvId,
    from: u64,
    to: u64,
    order: Order,
}

/// Returns a page of at most `limit` messages.
pub fn messages(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    page: Page,
    limit: usize,
) -> Result<MessagesPage> {
    let seat = Seat::of(rows, conv, user)?;
    let (first, last) = (seat.me.floor(&seat.conv), seat.conv.last_s);
    let (from, to, order) = page.span(first, last);
    let mut walk = Walk {
        rows,
        conv,
        from,
        to,
        order,
    };
    let mut items = Vec::new();
    let (mut bytes, mut more) = (0, false);
    'pages: while let Some(found) = walk.next()? {
        for (s, row) in found {
            if items.len() == limit || bytes > WINDOW_BYTES {
                more = true;
                break 'pages;
            }
            let message = fold(rows, conv, s, row)?;
            bytes += message.tail.len() + message.edit.as_ref().map_or(0, Bytes::len);
            items.push(message);
        }
    }
    if order == Order::Descending {
        items.reverse();
    }
    let gap = page.has_gap(first, last);
    Ok(MessagesPage { items, more, gap })
}

/// Returns the message at `s` as it is now; `None` if there is none.
pub(super) fn folded(rows: &impl Rows, conv: &ConvId, s: u64) -> Result<Option<Folded>> {
    let row = rows.get(Table::Message, &keys::message(conv, s))?;
    let row = row.map(|row| EventRow::decode(&row)).transpose()?;
    row.map(|row| fold(rows, conv, s, row)).transpose()
}

fn fold(rows: &impl Rows, conv: &ConvId, s: u64, row: EventRow) -> Result<Folded> {
    let fold = FoldRow::of(rows, conv, s)?;
    let edit = match fold.edits.last() {
        Some(edit) => rows.get(Table::Message, &keys::message(conv, *edit))?,
        None => None,
    };
    let edit = edit.map(|edit| EventRow::decode(&edit)).transpose()?;
    let mentions = fold.mentioned(rows, conv, &row)?;
    Ok(Folded {
        tail: row.tail,
        mentions,
        edit: edit.map(|edit| edit.tail),
        reactions: fold.reactions,
    })
}

// === impl Walk ===

impl<R: Rows> Walk<'_, R> {
    /// Returns the next messages in the order of the walk; `None` at its end.
    fn next(&mut self) -> Result<Option<Vec<(u64, EventRow)>>> {
        while self.from <= self.to {
            let (start, end) = (
                keys::message(self.conv, self.from),
                keys::message(self.conv, self.to.saturating_add(1)),
            );
            let found = self
                .rows
                .scan(Table::Message, &start..&end, self.order, SCAN_PAGE as usize)?;
            let (mut messages, mut mn) = (Vec::new(), None);
            for (i, (_, row)) in found.iter().enumerate() {
                let row = EventRow::decode(row)?;
                let s = match self.order {
                    Order::Ascending => self.from + i as u64,
                    Order::Descending => self.to - i as u64,
                };
                mn = Some(row.mn);
                if matches!(row.kind, EventKind::Message | EventKind::Tombstone) {
                    messages.push((s, row));
                }
            }
            let read = found.len() as u64;
            match self.order {
                Order::Ascending => self.from += read,
                Order::Descending => self.to = self.to.saturating_sub(read),
            }
            let Some(mn) = mn.filter(|_| read == SCAN_PAGE) else {
                self.to = 0;
                return Ok(Some(messages).filter(|messages| !messages.is_empty()));
            };
            if !messages.is_empty() {
                return Ok(Some(messages));
            }
            match self.order {
                // What is below and has this ordinal is the message itself, or comes after it.
                Order::Descending => self.to = self.reaching(mn)?,
                Order::Ascending => self.from = self.reaching(mn + 1)?,
            }
        }
        Ok(None)
    }

    /// Returns the first place of the walk's span up to which there have been `mn` messages; the one beyond the span if
    /// there are fewer.
    fn reaching(&self, mn: u64) -> Result<u64> {
        let (mut low, mut high) = (self.from, self.to + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.rows.get(Table::Message, &keys::message(self.conv, middle))?;
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

// === impl MessagesPage, Folded ===

impl MessagesPage {
    /// Returns the shape on the wire. The error is a stored event that is no JSON.
    pub fn wire(&self, conv: &ConvId) -> std::result::Result<Messages, String> {
        let items = self
            .items
            .iter()
            .map(Folded::wire)
            .collect::<std::result::Result<_, _>>()?;
        Ok(Messages {
            c: conv.clone(),
            items,
            more: self.more,
            gap: self.gap,
        })
    }
}

impl Folded {
    /// Returns the message as an event, with the body that it has now. The error is a stored event that is no JSON.
    pub(super) fn event(&self) -> std::result::Result<RawEvent, String> {
        let raw = RawEvent::from_tail(&self.tail)?;
        let Some(edit) = &self.edit else {
            return Ok(raw);
        };
        let (Some(Event::Msg(msg)), Some(Event::Edit(edit))) =
            (raw.event(), RawEvent::from_tail(edit)?.event())
        else {
            return Err("a message or its edit is none".to_owned());
        };
        let mentions = self.mentions.clone();
        let now = Event::Msg(protocol::event::Msg {
            b: edit.b,
            mentions,
            ..msg
        });
        RawEvent::from_tail(now.tail().as_bytes())
    }

    fn wire(&self) -> std::result::Result<Message, String> {
        let Some(Event::Msg(msg)) = RawEvent::from_tail(&self.tail)?.event() else {
            return Err("a message is none".to_owned());
        };
        let mut message = Message::from(msg);
        message.reactions = self.reactions.clone();
        message.mentions = self.mentions.clone();
        if let Some(edit) = &self.edit {
            let Some(Event::Edit(edit)) = RawEvent::from_tail(edit)?.event() else {
                return Err("an edit is none".to_owned());
            };
            (message.b, message.edited_ts) = (edit.b, Some(edit.ts));
        }
        Ok(message)
    }
}
