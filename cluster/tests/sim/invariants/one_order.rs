//! Every replica holds the same message under the same number, and so says every ack.

use crate::invariants::{difference, messages};
use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    if let Some(difference) = difference(world) {
        return Err(difference);
    }
    let messages = messages(world);
    for record in world.history.borrow().iter() {
        let Some((_, place)) = record.acked else { continue };
        let rows = messages.get(&record.append.conversation);
        let row = rows.and_then(|rows| rows.iter().find(|(seq, _)| *seq == place.seq));
        if let Some((_, row)) = row
            && row.append != record.append
        {
            return Err(format!("{record:?} was acknowledged, but there is {row:?}"));
        }
    }
    Ok(())
}
