//! A conversation's numbers start at 1 and have no holes.

use crate::invariants::messages;
use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    for (conversation, rows) in messages(world) {
        for (expected, (seq, row)) in (1..).zip(rows) {
            if seq != expected {
                return Err(format!(
                    "conversation {conversation}: {seq} where {expected} belongs: {row:?}"
                ));
            }
        }
    }
    Ok(())
}
