//! Seeded bugs that the simulation must detect. A test enables one at a time, for its own thread.
//!
//! A check that cannot fail proves nothing, so `tests/sim` runs with each of these bugs and expects a violation.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// An append is acknowledged before it is on disk.
    AckBeforeFsync,
    /// Apply accepts a batch of any epoch.
    EpochUnchecked,
    /// Reads rely on the leader lease as openraft computes it.
    LeaseReads,
    /// A member uses its own clock without the majority's: for the time of batches and for its permission to own
    /// shards.
    ClockBelieved,
    /// As `ClockBelieved`, and apply does not check the time of a batch.
    TimeUnchecked,
    /// A replica is deleted while it votes in its group.
    VoterDeleted,
    /// Apply skips an entry that it cannot decode instead of stopping the replica.
    UndecodableSkipped,
}

thread_local! {
    // Thread-local, because tests of other seeds run in parallel threads of the same process.
    static SEEDED: Cell<Option<SeededBug>> = const { Cell::new(None) };
}

/// Enables a bug in this thread; `None` disables it.
pub fn plant(bug: Option<SeededBug>) {
    SEEDED.set(bug);
}

pub(crate) fn ack_before_fsync() -> bool {
    SEEDED.get() == Some(SeededBug::AckBeforeFsync)
}

pub(crate) fn clock_believed() -> bool {
    matches!(
        SEEDED.get(),
        Some(SeededBug::ClockBelieved | SeededBug::TimeUnchecked)
    )
}

pub(crate) fn time_unchecked() -> bool {
    SEEDED.get() == Some(SeededBug::TimeUnchecked)
}

pub(crate) fn voter_deleted() -> bool {
    SEEDED.get() == Some(SeededBug::VoterDeleted)
}

pub(crate) fn undecodable_skipped() -> bool {
    SEEDED.get() == Some(SeededBug::UndecodableSkipped)
}

pub(crate) fn epoch_unchecked() -> bool {
    SEEDED.get() == Some(SeededBug::EpochUnchecked)
}

pub(crate) fn lease_reads() -> bool {
    SEEDED.get() == Some(SeededBug::LeaseReads)
}
