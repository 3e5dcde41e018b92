//! Preconditions of a run, checked before anything is started.

use super::Error;
use crate::args::RunArgs;
use crate::load::permitted;
use crate::setup::Setup;
use crate::spec::FaultPlan;

/// Refuses options that contradict each other, the scenario or the faults.
pub(super) fn check(args: &RunArgs, setup: &Setup, faults: &FaultPlan) -> Result<(), Error> {
    if args.find.find_max && setup.first_rate().is_none() {
        return Err(Error::Usage(
            "--find-max needs an open-loop rate and a scenario that sends messages".to_owned(),
        ));
    }
    if args.team.coordinator.is_some() {
        setup.is_for_workers().map_err(Error::Usage)?;
    }
    if args.target.broker && !setup.is_plain() {
        return Err(Error::Usage(
            "--broker supports only pairs, groups, room and idle at one pace: MQTT has no equivalent of the rest".to_owned(),
        ));
    }
    if args.find.find_max && (args.team.coordinator.is_some() || args.target.broker) {
        return Err(Error::Usage(
            "--find-max supports neither --coordinator nor --broker".to_owned(),
        ));
    }
    if !setup.plan.wires.is_empty() && (args.target.broker || setup.plan.sizes.is_some()) {
        return Err(Error::Usage(
            "--wire supports neither --broker nor the scenario conversations".to_owned(),
        ));
    }
    if !faults.faults.is_empty() && args.target.local.is_none() {
        return Err(Error::Usage(
            "faults need --local: the harness injects faults only into its own processes".to_owned(),
        ));
    }
    if args.target.broker && args.team.coordinator.is_some() {
        return Err(Error::Usage("--broker does not support --coordinator".to_owned()));
    }
    // A coordinator opens no connections of its own.
    if args.team.coordinator.is_none() {
        permitted(u64::from(setup.plan.clients)).map_err(Error::Usage)?;
    }
    Ok(())
}

/// Collects the faults of the run: from the plan file, the command line and the seed.
pub(super) fn faults(args: &RunArgs, setup: &Setup) -> Result<FaultPlan, Error> {
    let mut plan = match &args.plan {
        Some(path) => FaultPlan::read(path).map_err(Error::Usage)?,
        None => FaultPlan::default(),
    };
    plan = plan.with(setup.faults.clone());
    if let Some(random) = args.random {
        plan = plan.with(random.draw(setup.duration, setup.seed));
    }
    Ok(plan)
}
