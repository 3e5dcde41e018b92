//! What was acknowledged before something else was sent comes before it (a linearizable append).

use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    let history = simulation.history.borrow();
    let acked = || history.iter().filter_map(|record| Some((record, record.acked?)));
    for (later, (_, later_ack)) in acked() {
        let earlier = acked().find(|(earlier, (at, ack))| {
            earlier.append.conversation == later.append.conversation
                && *at < later.invoked
                && ack.seq > later_ack.seq
        });
        if let Some((earlier, _)) = earlier {
            return Err(format!(
                "{earlier:?} came before {later:?} was sent, and stands behind it"
            ));
        }
    }
    Ok(())
}
