//! What a client was told is stored, is stored, whatever died since.

use crate::invariants::replicas;
use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    for (node, messages) in replicas(world) {
        for record in world.history.borrow().iter() {
            let Some((_, place)) = record.acked else { continue };
            let rows = messages.get(&record.append.conversation);
            let found = rows.is_some_and(|rows| {
                rows.iter()
                    .any(|(seq, row)| *seq == place.seq && row.append == record.append)
            });
            if !found {
                return Err(format!("member {node} lacks {record:?}"));
            }
        }
    }
    Ok(())
}
