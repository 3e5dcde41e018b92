//! Counts of deleted messages by ordinal, which make the `unread` count exact at a cost that does not depend on their
//! number.
//!
//! A tree of counts beside the log: the lowest level has a row per deleted message. Each level above has a row per
//! [`FAN`] places of the level below, with their number of deleted messages. The number above an ordinal is the sum,
//! per level, of the places right of it within its group: fewer than [`FAN`] rows on each of a few levels. The first
//! place of a level is right of no other, so it has no row, and the tree has as many levels as the log needs.

use super::ChatTable;
use protocol::ConversationId;
use storage::{Error, ScanOrder};

use super::keys;
use super::row_store::{RowReader, RowWriter};
use super::rows::corrupt;

/// Number of places that one place of the next level covers.
const FAN: u64 = 64;
/// Number of levels for `u64::MAX` messages.
const LEVELS: u8 = 11;

/// Counts the message with the ordinal `mn` as deleted. Calling it twice for a message would count it twice.
pub(super) fn add(rows: &mut impl RowWriter, conv: &ConversationId, mn: u64) -> Result<(), Error> {
    let mut slot = mn;
    for level in 0..LEVELS {
        // Place 0 is never read by `above`, and neither is any place above it.
        if slot == 0 {
            break;
        }
        let key = keys::deleted(conv, level, slot);
        let count = rows
            .get(ChatTable::Message, &key)?
            .map_or(Ok(0), |row| count(&row))?;
        rows.put(ChatTable::Message, &key, &(count + 1).to_be_bytes());
        slot /= FAN;
    }
    Ok(())
}

/// Returns the number of deleted messages with an ordinal above `mn`. `last` is the greatest ordinal of the log.
pub(super) fn above(rows: &impl RowReader, conv: &ConversationId, mn: u64, last: u64) -> Result<u64, Error> {
    let (mut slot, mut end, mut level, mut all) = (mn, last, 0, 0);
    while slot < end {
        // Neighbours right of the place within its group; the group itself is counted one level up.
        let group = slot / FAN;
        let (start, neighbours) = (slot + 1, (group + 1).saturating_mul(FAN));
        let (start, neighbours) = (
            keys::deleted(conv, level, start),
            keys::deleted(conv, level, neighbours),
        );
        for (_, row) in rows.scan(
            ChatTable::Message,
            &start..&neighbours,
            ScanOrder::Ascending,
            FAN as usize,
        )? {
            all += count(&row)?;
        }
        (slot, end, level) = (group, end / FAN, level + 1);
    }
    Ok(all)
}

/// Removes up to `most` rows that cover only trimmed messages, those with an ordinal up to `mn`. Returns the number of
/// removed rows.
pub(super) fn forget(
    rows: &mut impl RowWriter,
    conv: &ConversationId,
    mn: u64,
    most: usize,
) -> Result<usize, Error> {
    let (mut slot, mut removed) = (mn.saturating_add(1), 0);
    for level in 0..LEVELS {
        let (start, end) = (keys::deleted(conv, level, 0), keys::deleted(conv, level, slot));
        for (key, _) in rows.scan(
            ChatTable::Message,
            &start..&end,
            ScanOrder::Ascending,
            most - removed,
        )? {
            rows.delete(ChatTable::Message, &key);
            removed += 1;
        }
        slot /= FAN;
    }
    Ok(removed)
}

fn count(row: &[u8]) -> Result<u64, Error> {
    let count = row.try_into().map_err(|_| corrupt("a malformed count"))?;
    Ok(u64::from_be_bytes(count))
}
