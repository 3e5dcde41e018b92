//! An epoch belongs to one process: two owners of a shard never share one.

use std::collections::HashMap;

use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    let mut owners = HashMap::new();
    for activation in simulation.activations.lock().iter() {
        let owner = (activation.node, activation.life);
        let known = *owners
            .entry((activation.shard, activation.epoch))
            .or_insert(owner);
        if known != owner {
            return Err(format!("{activation:?} although {known:?} had that epoch"));
        }
    }
    Ok(())
}
