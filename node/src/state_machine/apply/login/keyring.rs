//! Signing keys of access tokens: one row in the shard of [`LoginKey::Keyring`](crate::state_machine::login::LoginKey::Keyring). Any node may propose a rotation; the state
//! machine decides by the majority's time whether one is due, so it happens once.

use crate::state_machine::ChatTable;

use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::login::{KeyRotationPolicy, Keyring, LoginOutcome, SecretBytes};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Rotates the keys if due. Accepted if anything changed.
pub(super) fn turn(
    work: &mut ApplyContext<'_, impl RowWriter>,
    seed: &SecretBytes,
    pepper: &SecretBytes,
    pace: KeyRotationPolicy,
) -> Result<LoginOutcome> {
    let row = work.rows.get(ChatTable::Login, &keys::KEYRING)?;
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
        work.rows.put(ChatTable::Login, &keys::KEYRING, &ring.encode());
    }
    Ok(match turned {
        true => LoginOutcome::Accepted,
        false => LoginOutcome::Refused,
    })
}
