//! A conversation's numbers start at 1 and have no holes.

use crate::invariants::messages;
use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    for (conversation, rows) in messages(simulation) {
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
