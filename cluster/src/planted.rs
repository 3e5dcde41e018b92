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

pub(crate) fn epoch_unchecked() -> bool {
    PLANTED.get() == Some(Bug::EpochUnchecked)
}
