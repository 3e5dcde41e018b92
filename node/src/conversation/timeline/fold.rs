//! What has become of a message: its edits, its reactions, its end. One row beside the log, for those messages only to
//! which something has happened.

use std::collections::BTreeMap;

use protocol::{ConvId, Event, RawEvent, UserId, text};
use serde::{Deserialize, Serialize};
use storage::{Error, Table};

use super::door::{Rows, RowsMut};
use super::keys;
use super::rows::{EventRow, Row, corrupt};

/// What has become of a message; the default is nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct FoldRow {
    /// The places of its edits, ascending: the last has the current body.
    pub(super) edits: Vec<u64>,
    /// The event that deleted it. Of edits and reactions nothing is left then.
    pub(super) deleted: Option<u64>,
    /// How many users have set which reaction.
    pub(super) reactions: BTreeMap<String, u64>,
    /// The edit that says whom the message mentions from then on; 0: the message itself does.
    pub(super) mentions: u64,
}

/// A user's reaction to a message.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ReactionRow {
    /// The event that set it.
    pub(super) s: u64,
}

// === impl FoldRow, ReactionRow ===

impl Row for FoldRow {}
impl Row for ReactionRow {}

impl FoldRow {
    /// Returns what has become of the message at `s`.
    pub(super) fn of(rows: &impl Rows, conv: &ConvId, s: u64) -> Result<FoldRow, Error> {
        let row = rows.get(Table::Message, &keys::fold(conv, s))?;
        row.map_or_else(|| Ok(FoldRow::default()), |row| FoldRow::decode(&row))
    }

    /// Returns how a reaction is spelled that is set to the message already.
    pub(super) fn spelling(&self, k: &str) -> Option<String> {
        if self.reactions.contains_key(k) {
            return Some(k.to_owned());
        }
        let wanted = text::reaction_of(k);
        let mut known = self.reactions.keys();
        known.find(|known| text::reaction_of(known) == wanted).cloned()
    }

    /// Returns the users whom the message mentions now.
    pub(super) fn mentioned(
        &self,
        rows: &impl Rows,
        conv: &ConvId,
        message: &EventRow,
    ) -> Result<Vec<UserId>, Error> {
        if self.mentions == 0 {
            return Ok(mentioned(message));
        }
        let edit = rows.get(Table::Message, &keys::message(conv, self.mentions))?;
        let edit = edit.ok_or_else(|| corrupt("an edit is gone"))?;
        Ok(mentioned(&EventRow::decode(&edit)?))
    }

    /// Writes what has become of the message at `s`.
    pub(super) fn put(&self, rows: &mut impl RowsMut, conv: &ConvId, s: u64) {
        rows.put(Table::Message, &keys::fold(conv, s), &self.encode());
    }
}

/// Returns the users whom a message, or an edit of one, says to mention.
pub(super) fn mentioned(event: &EventRow) -> Vec<UserId> {
    let event = RawEvent::from_tail(&event.tail)
        .ok()
        .and_then(|event| event.event());
    match event {
        Some(Event::Msg(msg)) => msg.mentions,
        Some(Event::Edit(edit)) => edit.mentions.unwrap_or_default(),
        _ => Vec::new(),
    }
}
