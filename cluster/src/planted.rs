//! Known defects that the simulation must catch, each switched on by a test and for that test's thread alone.
//!
//! A check that never fails proves nothing: `tests/sim` runs with each of these and demands a violation.

use std::cell::Cell;

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An append is acknowledged before it is on disk.
    AckBeforeFsync,
    /// Apply doesn't compare a batch's epoch with the owner's.
    EpochUnchecked,
    /// Reads rely on the leader's lease as openraft reckons it.
    LeaseReads,
    /// A member believes its own clock whatever the others' show: for batches and for whether it may own.
    ClockBelieved,
    /// The same, and apply doesn't check a batch's time.
    TimeUnchecked,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a defect in this thread, or removes it.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub(crate) fn ack_before_fsync() -> bool {
    PLANTED.get() == Some(Bug::AckBeforeFsync)
}

pub(crate) fn clock_believed() -> bool {
    matches!(PLANTED.get(), Some(Bug::ClockBelieved | Bug::TimeUnchecked))
}

pub(crate) fn time_unchecked() -> bool {
    PLANTED.get() == Some(Bug::TimeUnchecked)
}

pub(crate) fn epoch_unchecked() -> bool {
    PLANTED.get() == Some(Bug::EpochUnchecked)
}

pub(crate) fn lease_reads() -> bool {
    PLANTED.get() == Some(Bug::LeaseReads)
}
