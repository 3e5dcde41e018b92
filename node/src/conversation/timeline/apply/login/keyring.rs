//! The signing keys: one row in the shard of `keys`. Any node may propose the next step; whether it is due is decided
//! here, by what the clocks of a majority have reached, so it is made once.

use storage::Table;

use super::super::super::door::RowsMut;
use super::super::super::keys;
use super::super::super::login::{Hidden, Keyring, Pace, verdict};
use super::super::super::outcome::Applied;
use super::super::super::rows::Row;
use super::super::super::work::Work;
use super::super::Result;
use super::answer;

/// Does what is due; the verdict says whether anything was.
pub(super) fn turn(
    work: &mut Work<'_, impl RowsMut>,
    seed: &Hidden,
    pepper: &Hidden,
    pace: Pace,
) -> Result<Applied> {
    let row = work.rows.get(Table::UserIndex, &keys::keyring())?;
    let mut ring = match row {
        Some(row) => Keyring::decode(&row)?,
        None => Keyring {
            pepper: pepper.clone(),
            keys: Vec::new(),
        },
    };
    let turned = ring.turn(work.reached_ms, pace, seed);
    if turned {
        work.rows.put(Table::UserIndex, &keys::keyring(), &ring.encode());
    }
    Ok(answer(work, if turned { verdict::YES } else { verdict::NO }, 0))
}
