//! A read sees every message that was acknowledged before it was asked for, whoever answers it.

use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    let history = simulation.history.borrow();
    for read in simulation.reads.borrow().iter() {
        let missed = history.iter().find(|record| {
            record.append.conversation == read.conversation
                && record
                    .acked
                    .is_some_and(|(at, ack)| at < read.invoked && ack.seq > read.last)
        });
        if let Some(missed) = missed {
            return Err(format!("{read:?} does not see {missed:?}"));
        }
    }
    Ok(())
}
