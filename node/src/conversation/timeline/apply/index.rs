//! Membership as the user's shard knows it: it learns of each change through the outbox of the conversation's shard,
//! perhaps twice and perhaps late, and keeps the latest version.

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
    let known = work
        .rows
        .get(Table::UserIndex, &key)?
        .map(|row| IndexRow::decode(&row))
        .transpose()?;
    if known.is_some_and(|known| known.version >= version) {
        return Ok(Applied::silent(Effect::Indexed {
            changed: false,
            member,
        }));
    }
    work.rows.put(
        Table::UserIndex,
        &key,
        &IndexRow {
            member,
            version,
            at_ms,
        }
        .encode(),
    );
    Ok(Applied::silent(Effect::Indexed {
        changed: true,
        member,
    }))
}

/// Removes outbox entries.
pub(super) fn outbox_done(work: &mut Work<'_, impl RowsMut>, ids: &[OutboxId]) -> Applied {
    for id in ids {
        work.rows.delete(Table::Outbox, &id.key());
    }
    Applied::silent(Effect::None)
}
