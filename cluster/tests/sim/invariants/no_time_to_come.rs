//! No batch is applied with a time more than the bound ahead of what a majority's clocks show.

use crate::simulation::Simulation;

pub(crate) fn holds(simulation: &Simulation) -> Result<(), String> {
    simulation.clocks.early().map_or(Ok(()), Err)
}
