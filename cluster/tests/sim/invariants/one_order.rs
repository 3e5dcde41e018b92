//! Every replica holds the same message under the same number, and so says every ack.

use crate::invariants::{difference, messages};
use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    if let Some(difference) = difference(simulation) {
        return Err(difference);
    }
    let messages = messages(simulation);
    for record in simulation.history.borrow().iter() {
        let Some((_, ack)) = record.acked else { continue };
        let rows = messages.get(&record.append.conversation);
        let row = rows.and_then(|rows| rows.iter().find(|(seq, _)| *seq == ack.seq));
        if let Some((_, row)) = row
            && row.append != record.append
        {
            return Err(format!("{record:?} was acknowledged, but there is {row:?}"));
        }
    }
    Ok(())
}
