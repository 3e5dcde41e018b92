//! Along a conversation the epoch never falls: once a newer owner wrote, an older one writes nothing.

use crate::invariants::messages;
use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    for (conversation, rows) in messages(simulation) {
        for pair in rows.windows(2) {
            let ((before, older), (after, newer)) = (&pair[0], &pair[1]);
            if newer.epoch < older.epoch {
                return Err(format!(
                    "conversation {conversation}: {before} is of epoch {}, {after} of {}: {newer:?}",
                    older.epoch, newer.epoch
                ));
            }
        }
    }
    Ok(())
}
