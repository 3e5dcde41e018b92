//! Cluster clock: this machine's clock, held close to the clocks of a majority of the members.
//!
//! A time in the log is permanent, so no single clock may determine it. Members exchange their wall clocks twice a
//! second (clock exchange of [`member`](crate::member)), and each extrapolates the received values by its own monotonic
//! clock ([`estimate`]). The result is one value: the time that the clocks of a *majority* have reached. While fewer
//! than half of the clocks are wrong, it lies between right ones, whatever the wrong ones show. See
//! `docs/decisions/0015-the-time-is-a-majoritys.md`.
//!
//! ```text
//!   own clock ──┐ limited to TOLERANCE around it: time of batches, of tokens, of responses to clients
//!   reports ────┴─► reached by a majority ─┬─► expiry: retention, tokens, keys
//!                                          ├─► stored in the entry beside its time: apply refuses a time too far ahead
//!                                          └─► a member further than BOUND from it owns nothing
//! ```

mod cluster_clock;
mod estimate;
mod peer_clocks;
mod wall;

pub(crate) use cluster_clock::ClockStatus;
pub use cluster_clock::ClusterClock;
pub(crate) use estimate::ClockReport;
#[cfg(feature = "clock-file")]
pub use wall::FileWallClock;
pub use wall::{SystemWallClock, WallClock};

use std::time::Duration;

/// Maximum time by which a batch may be ahead of what a majority's clocks have reached. Also the maximum deviation of
/// the clock of a member that may own shards. A constant, because every replica compares with it in apply. Clocks that
/// are synchronized at all agree within a second, also over slow connections.
pub const BOUND: Duration = Duration::from_secs(10);

/// Deviation from the majority's clocks above which a warning is logged, and limit of the deviation of
/// [`ClusterClock::now_ms`].
pub const TOLERANCE: Duration = Duration::from_millis(500);

/// Time of a batch and the evidence for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) now_ms: u64,
    /// Time that the clocks of a majority have reached.
    pub(crate) reached_ms: u64,
}

/// Returns true if a batch with this stamp may be applied. Every replica applies the same rule.
pub(crate) fn is_timely(stamp: Stamp) -> bool {
    stamp.now_ms <= stamp.reached_ms.saturating_add(millis(BOUND))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: u64 = 1_800_000_000_000;

    #[test]
    fn a_batch_is_timely_up_to_the_bound() {
        let at = |now_ms| Stamp {
            now_ms,
            reached_ms: RIGHT,
        };
        assert!(is_timely(at(0)) && is_timely(at(RIGHT + 10_000)));
        assert!(!is_timely(at(RIGHT + 10_001)));
    }
}
