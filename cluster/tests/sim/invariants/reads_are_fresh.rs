//! A read sees every message that was acknowledged before it was asked for, whoever answers it.

use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    let history = world.history.borrow();
    for read in world.reads.borrow().iter() {
        let missed = history.iter().find(|record| {
            record.append.conversation == read.conversation
                && record
                    .acked
                    .is_some_and(|(at, place)| at < read.invoked && place.seq > read.last)
        });
        if let Some(missed) = missed {
            return Err(format!("{read:?} does not see {missed:?}"));
        }
    }
    Ok(())
}
