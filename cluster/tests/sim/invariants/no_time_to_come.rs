//! No batch is applied with a time more than the bound ahead of what a majority's clocks show.

use crate::world::World;

pub(crate) fn holds(world: &World) -> Result<(), String> {
    world.clocks.early().map_or(Ok(()), Err)
}
