//! Current state of a message: edits, reactions, deletion. It is one row beside the log, written only for messages that
//! were changed.

use std::collections::BTreeMap;

use super::ChatTable;
use protocol::{ConversationId, EncodedEvent, Event, UserId, text};
use serde::{Deserialize, Serialize};
use storage::Error;

use super::keys;
use super::row_store::{RowReader, RowWriter};
use super::rows::{EventRow, VersionedRow, corrupt};

/// State of a message; the default is that of an unchanged one.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct MessageStateRow {
    /// Positions of its edits, ascending; the last one holds the current body.
    pub(super) edits: Vec<u64>,
    /// Position of the event that deleted it; edits and reactions are empty then.
    pub(super) deleted: Option<u64>,
    /// Number of users per reaction.
    pub(super) reactions: BTreeMap<String, u64>,
    /// Position of the edit that holds the current mentions; 0 means the message itself.
    pub(super) mentions: u64,
}

/// Reaction of a user to a message.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ReactionRow {
    /// Position of the event that set it.
    pub(super) s: u64,
}

// === impl MessageStateRow, ReactionRow ===

impl VersionedRow for MessageStateRow {}
impl VersionedRow for ReactionRow {}

impl MessageStateRow {
    /// Returns the state of the message at `s`.
    pub(super) fn of(rows: &impl RowReader, conv: &ConversationId, s: u64) -> Result<MessageStateRow, Error> {
        let row = rows.get(ChatTable::Message, &keys::fold(conv, s))?;
        row.map_or_else(
            || Ok(MessageStateRow::default()),
            |row| MessageStateRow::decode(&row),
        )
    }

    /// Returns the spelling under which a reaction equal to `k` was set; `None` if there is none.
    pub(super) fn spelling(&self, k: &str) -> Option<String> {
        if self.reactions.contains_key(k) {
            return Some(k.to_owned());
        }
        // Variants that differ only in the presentation selector count as one reaction.
        let wanted = text::reaction_of(k);
        let mut known = self.reactions.keys();
        known.find(|known| text::reaction_of(known) == wanted).cloned()
    }

    /// Returns the users whom the message mentions, edits included.
    pub(super) fn mentioned(
        &self,
        rows: &impl RowReader,
        conv: &ConversationId,
        message: &EventRow,
    ) -> Result<Vec<UserId>, Error> {
        if self.mentions == 0 {
            return Ok(mentioned(message));
        }
        let edit = rows.get(ChatTable::Message, &keys::message(conv, self.mentions))?;
        let edit = edit.ok_or_else(|| corrupt("an edit is missing"))?;
        Ok(mentioned(&EventRow::decode(&edit)?))
    }

    /// Writes the state of the message at `s`.
    pub(super) fn put(&self, rows: &mut impl RowWriter, conv: &ConversationId, s: u64) {
        rows.put(ChatTable::Message, &keys::fold(conv, s), &self.encode());
    }
}

/// Returns the mentions in the text of one event, a message or an edit.
pub(super) fn mentioned(event: &EventRow) -> Vec<UserId> {
    // A redacted or unreadable event mentions nobody: an error here would stop every replica.
    let event = EncodedEvent::from_tail(&event.tail)
        .ok()
        .and_then(|event| event.event());
    match event {
        Some(Event::Msg(msg)) => msg.mentions,
        Some(Event::Edit(edit)) => edit.mentions.unwrap_or_default(),
        _ => Vec::new(),
    }
}
