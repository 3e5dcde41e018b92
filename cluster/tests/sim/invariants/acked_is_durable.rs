//! What a client was told is stored, is stored, whatever died since.

use crate::invariants::replicas;
use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    for (node, messages) in replicas(simulation) {
        for record in simulation.history.borrow().iter() {
            let Some((_, ack)) = record.acked else { continue };
            let rows = messages.get(&record.append.conversation);
            let found = rows.is_some_and(|rows| {
                rows.iter()
                    .any(|(seq, row)| *seq == ack.seq && row.append == record.append)
            });
            if !found {
                return Err(format!("member {node} lacks {record:?}"));
            }
        }
    }
    Ok(())
}
