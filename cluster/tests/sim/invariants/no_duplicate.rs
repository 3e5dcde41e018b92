//! A client id is in a conversation once, however often it was sent.

use std::collections::HashMap;

use crate::invariants::messages;
use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    for (conversation, rows) in messages(world) {
        let mut seen = HashMap::new();
        for (seq, row) in rows {
            if let Some(first) = seen.insert((row.append.client, row.append.id), seq) {
                return Err(format!(
                    "conversation {conversation}: {row:?} at {first} and at {seq}"
                ));
            }
        }
    }
    Ok(())
}
