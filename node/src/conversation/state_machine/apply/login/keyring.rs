//! Signing keys of access tokens: one row in the shard of the id `keys`. Any node may propose a rotation; the state
//! machine decides by the majority's time whether one is due, so it happens once.

use crate::conversation::state_machine::TableId;

use super::answer;
use crate::conversation::state_machine::apply::Result;
use crate::conversation::state_machine::apply_context::ApplyContext;
use crate::conversation::state_machine::keys;
use crate::conversation::state_machine::login::{KeyRotationPolicy, Keyring, SecretBytes, verdict};
use crate::conversation::state_machine::outcome::CommandResult;
use crate::conversation::state_machine::row_store::RowWriter;
use crate::conversation::state_machine::rows::VersionedRow;

/// Rotates the keys if due. The verdict is `YES` if anything changed.
pub(super) fn turn(
    work: &mut ApplyContext<'_, impl RowWriter>,
    seed: &SecretBytes,
    pepper: &SecretBytes,
    pace: KeyRotationPolicy,
) -> Result<CommandResult> {
    let row = work.rows.get(TableId::UserIndex, &keys::keyring())?;
    let mut ring = match row {
        Some(row) => Keyring::decode(&row)?,
        // The pepper is fixed by the first proposal: user ids are derived from it, so later proposals never replace it.
        None => Keyring {
            pepper: pepper.clone(),
            keys: Vec::new(),
        },
    };
    let turned = ring.turn(work.reached_ms, pace, seed);
    if turned {
        work.rows
            .put(TableId::UserIndex, &keys::keyring(), &ring.encode());
    }
    Ok(answer(work, if turned { verdict::YES } else { verdict::NO }, 0))
}
