//! A client id is in a conversation once, however often it was sent.

use std::collections::HashMap;

use crate::invariants::messages;
use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    for (conversation, rows) in messages(simulation) {
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
