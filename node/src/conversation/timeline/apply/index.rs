//! Membership as the user's shard knows it: it learns of each change through the outbox of the conversation's shard,
//! perhaps twice and perhaps late, and keeps the latest version.

use protocol::answer::Last;
use protocol::{ConvId, UserId};
use storage::Table;

use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect, OutboxId};
use super::super::rows::{IndexRow, Row};
use super::super::work::Work;
use super::{By, Result};

/// Writes the user's row unless a newer one is there. A row that says "no member" stays, so that a late repetition of
/// an older change doesn't bring the conversation back.
pub(super) fn put(
    work: &mut Work<'_, impl RowsMut>,
    by: By<'_>,
    member: bool,
    version: OutboxId,
    at_ms: u64,
) -> Result<Applied> {
    let key = keys::index(by.user, by.conv);
    let known = get(work, &key)?;
    if known.as_ref().is_some_and(|known| known.version >= version) {
        return Ok(Applied::silent(Effect::Indexed {
            changed: false,
            member,
        }));
    }
    let (last, large) = known
        .as_ref()
        .map_or((Last::default(), false), |known| (known.last, known.large));
    let row = IndexRow {
        member,
        version,
        at_ms,
        last,
        large,
    };
    set(work, by.user, by.conv, known.as_ref(), &row);
    Ok(Applied::silent(Effect::Indexed {
        changed: true,
        member,
    }))
}

/// Returns a user's row for a conversation.
pub(super) fn get(work: &Work<'_, impl RowsMut>, key: &[u8]) -> Result<Option<IndexRow>> {
    let row = work.rows.get(Table::UserIndex, key)?;
    Ok(row.map(|row| IndexRow::decode(&row)).transpose()?)
}

/// Writes a user's row for a conversation, in the place of `known`, and where it stands in time.
pub(super) fn set(
    work: &mut Work<'_, impl RowsMut>,
    user: &UserId,
    conv: &ConvId,
    known: Option<&IndexRow>,
    row: &IndexRow,
) {
    let bytes = row.encode();
    if let Some(known) = known.filter(|known| known.member) {
        let key = keys::order(user, known.order_ms(), conv);
        work.rows.delete(Table::UserIndex, &key);
    }
    if row.member {
        let key = keys::order(user, row.order_ms(), conv);
        work.rows.put(Table::UserIndex, &key, &bytes);
    }
    work.rows.put(Table::UserIndex, &keys::index(user, conv), &bytes);
}

/// Removes outbox entries.
pub(super) fn outbox_done(work: &mut Work<'_, impl RowsMut>, ids: &[OutboxId]) -> Applied {
    for id in ids {
        work.rows.delete(Table::Outbox, &id.key());
    }
    Applied::silent(Effect::None)
}
