//! When a user was seen last, as the user's shard keeps it: told now and then by the shard's owner, never by a client.

use storage::Table;

use super::super::door::RowsMut;
use super::super::keys;
use super::super::outcome::{Applied, Effect};
use super::super::rows::{Row, SeenRow};
use super::super::work::Work;
use super::{By, Result};

/// Writes the time unless a later one is there. Nobody was seen at a time that is to come: it would stand for as long.
pub(super) fn put(work: &mut Work<'_, impl RowsMut>, by: By<'_>, at_ms: u64) -> Result<Applied> {
    let at_ms = at_ms.min(work.now_ms);
    let key = keys::seen(by.user);
    let known = work.rows.get(Table::UserIndex, &key)?;
    let known = known.map(|row| SeenRow::decode(&row)).transpose()?;
    if known.is_none_or(|known| known.at_ms < at_ms) {
        let row = SeenRow { at_ms };
        work.rows.put(Table::UserIndex, &key, &row.encode());
    }
    Ok(Applied::silent(Effect::None))
}
