//! What has become of a message: its edits, its reactions, its end. One row beside the log, for those messages only to
//! which something has happened.

use std::collections::BTreeMap;

use protocol::ConvId;
use serde::{Deserialize, Serialize};
use storage::{Error, Table};

use super::door::{Rows, RowsMut};
use super::keys;
use super::rows::Row;

/// What has become of a message; the default is nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct FoldRow {
    /// The places of its edits, ascending: the last has the current body.
    pub(super) edits: Vec<u64>,
    /// The event that deleted it. Of edits and reactions nothing is left then.
    pub(super) deleted: Option<u64>,
    /// How many users have set which reaction.
    pub(super) reactions: BTreeMap<String, u64>,
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

    /// Writes what has become of the message at `s`.
    pub(super) fn put(&self, rows: &mut impl RowsMut, conv: &ConvId, s: u64) {
        rows.put(Table::Message, &keys::fold(conv, s), &self.encode());
    }
}
