//! An epoch belongs to one process: two owners of a shard never share one.

use std::collections::HashMap;

use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    let mut owners = HashMap::new();
    for activation in world.activations.lock().iter() {
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
