//! Which messages were deleted, by their ordinals, so that `unread` is exact and costs the same however many there are.
//!
//! A tree of counts beside the log: on the lowest level a row per deleted message, on each level above a row per
//! [`FAN`] places of the one below, with the number of deleted messages in it. Who asks how many were deleted above an
//! ordinal adds up, per level, what stands right of it in its group: less than [`FAN`] rows of each of a few levels. The
//! first row of a level is right of nothing, so none is kept for it, and the tree has as many levels as the log needs.

use protocol::ConvId;
use storage::{Error, Order, Table};

use super::door::{Rows, RowsMut};
use super::keys;
use super::rows::corrupt;

/// Places of one level that one place of the level above stands for.
const FAN: u64 = 64;
/// Levels that a log of `u64::MAX` messages has.
const LEVELS: u8 = 11;

/// Notes that the message with the ordinal `mn` is deleted. Only the first time may be noted.
pub(super) fn add(rows: &mut impl RowsMut, conv: &ConvId, mn: u64) -> Result<(), Error> {
    let mut place = mn;
    for level in 0..LEVELS {
        if place == 0 {
            break;
        }
        let key = keys::deleted(conv, level, place);
        let count = rows.get(Table::Message, &key)?.map_or(Ok(0), |row| count(&row))?;
        rows.put(Table::Message, &key, &(count + 1).to_be_bytes());
        place /= FAN;
    }
    Ok(())
}

/// Returns how many of the messages with an ordinal above `mn`, up to `last`, are deleted. Nothing above `last` is.
pub(super) fn above(rows: &impl Rows, conv: &ConvId, mn: u64, last: u64) -> Result<u64, Error> {
    let (mut place, mut end, mut level, mut all) = (mn, last, 0, 0);
    while place < end {
        // Its right neighbours within the group.
        let group = place / FAN;
        let (start, neighbours) = (place + 1, (group + 1).saturating_mul(FAN));
        let (start, neighbours) = (
            keys::deleted(conv, level, start),
            keys::deleted(conv, level, neighbours),
        );
        for (_, row) in rows.scan(
            Table::Message,
            &start..&neighbours,
            Order::Ascending,
            FAN as usize,
        )? {
            all += count(&row)?;
        }
        (place, end, level) = (group, end / FAN, level + 1);
    }
    Ok(all)
}

/// Removes up to `most` rows that stand for nothing but messages up to the ordinal `mn`, which are gone. Returns how
/// many were removed.
pub(super) fn forget(rows: &mut impl RowsMut, conv: &ConvId, mn: u64, most: usize) -> Result<usize, Error> {
    let (mut place, mut removed) = (mn.saturating_add(1), 0);
    for level in 0..LEVELS {
        let (start, end) = (keys::deleted(conv, level, 0), keys::deleted(conv, level, place));
        for (key, _) in rows.scan(Table::Message, &start..&end, Order::Ascending, most - removed)? {
            rows.delete(Table::Message, &key);
            removed += 1;
        }
        place /= FAN;
    }
    Ok(removed)
}

fn count(row: &[u8]) -> Result<u64, Error> {
    let count = row.try_into().map_err(|_| corrupt("a malformed count"))?;
    Ok(u64::from_be_bytes(count))
}
