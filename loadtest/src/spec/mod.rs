//! Specification of a run as plain data: scenarios, their plans, behaviors and faults.

mod behavior;
mod client_slice;
mod duration;
mod fault;
mod fault_plan;
mod fault_text;
mod parameters;
mod plans;
mod scenario;
mod scenario_plan;
#[cfg(test)]
mod tests;

pub(crate) use self::behavior::{ActivityMix, ClientActivity, ClientBehavior};
pub(crate) use self::client_slice::ClientSlice;
pub(crate) use self::duration::parse_duration;
pub(crate) use self::fault::{Fault, FaultKind, FaultTarget};
pub(crate) use self::fault_plan::{FaultNeeds, FaultPlan, RandomFaults};
pub(crate) use self::scenario::Scenario;
pub(crate) use self::scenario_plan::{ConversationSizes, Hostile, PlannedConversation, ScenarioPlan};

/// Name of the phase in which the load starts.
pub(crate) const STEADY: &str = "steady";
/// Name of the phase of the load with hostile sessions.
pub(crate) const BESIDE_HOSTILE: &str = "beside hostile sessions";
