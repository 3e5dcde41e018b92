//! [`ClusterClock`]: the shared clock of a member, with its evaluation against the majority's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::estimate::ClockReport;
use crate::clock::peer_clocks::PeerClocks;
use crate::clock::wall::{SystemWallClock, WallClock};
use crate::clock::{BOUND, Stamp, TOLERANCE, millis};
use crate::ids::NodeId;

/// Clock of a member. Cheap to clone; all parts of a node share one.
#[derive(Clone)]
pub struct ClusterClock {
    inner: Arc<Inner>,
}

struct Inner {
    wall: Box<dyn WallClock>,
    seen: Mutex<PeerClocks>,
}

/// Deviation of this member's clock from the majority's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockStatus {
    /// Milliseconds ahead of the majority; negative: behind. `None`: no majority is known.
    pub(crate) skew_ms: Option<i64>,
    /// Uncertainty of the skew in milliseconds, from the round trips of the reports.
    pub(crate) error_ms: u64,
    /// The clock is too far off for this member to own shards.
    pub(crate) outside: bool,
}

// === impl ClusterClock ===

impl ClusterClock {
    /// Creates a clock over the system's wall clock.
    #[must_use]
    pub fn system() -> ClusterClock {
        ClusterClock::new(SystemWallClock)
    }

    /// Creates a clock over another wall clock, such as a simulated one.
    #[must_use]
    pub fn new(wall: impl WallClock) -> ClusterClock {
        ClusterClock {
            inner: Arc::new(Inner {
                wall: Box::new(wall),
                seen: Mutex::default(),
            }),
        }
    }

    /// Returns the time in milliseconds since the Unix epoch: this machine's clock, limited to [`TOLERANCE`] around
    /// what a majority's clocks have reached, if that is known.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let own = self.wall_ms();
        let reached = self.inner.seen.lock().of_members(own, Instant::now());
        reached.map_or(own, |reached| held(own, reached))
    }

    /// Returns the time that a majority's clocks have reached, in milliseconds since the Unix epoch. Expiry is decided
    /// by it. `None`: too few clocks are known.
    #[must_use]
    pub fn reached_ms(&self) -> Option<u64> {
        let own = self.wall_ms();
        self.inner.seen.lock().of_members(own, Instant::now())
    }

    /// Returns this machine's wall clock, uncorrected.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.inner.wall.now_ms()
    }

    /// Returns the total time for which this machine has been suspended.
    pub(crate) fn suspended(&self) -> Duration {
        self.inner.wall.suspended()
    }

    /// Sets the members whose clocks count, `me` included.
    pub(crate) fn set_members(&self, me: NodeId, members: Vec<NodeId>) {
        let seen = &mut *self.inner.seen.lock();
        seen.reports.retain(|node, _| members.contains(node));
        (seen.me, seen.members) = (me, members);
    }

    /// Records a member's clock report. Ignores an inaccurate report and one that is worse than the known one.
    pub(crate) fn learn(&self, from: NodeId, report: ClockReport) {
        let seen = &mut *self.inner.seen.lock();
        let known = seen.reports.get(&from);
        if report.is_precise() && known.is_none_or(|known| report.replaces(known)) {
            seen.reports.insert(from, report);
        }
    }

    /// Discards all reports, because this machine was suspended and cannot extrapolate them.
    pub(crate) fn forget(&self) {
        self.inner.seen.lock().reports.clear();
    }

    /// Returns the time of a batch of a shard with the given voters. If too few clocks of the members are known, those
    /// of the voters count instead: a shard that can commit then also has a time. `None`: neither set has a known
    /// majority.
    pub(crate) fn stamp(&self, voters: impl FnOnce() -> Vec<NodeId>) -> Option<Stamp> {
        let (own, now) = (self.wall_ms(), Instant::now());
        let of_members = self.inner.seen.lock().of_members(own, now);
        let reached_ms = match of_members {
            Some(reached) => reached,
            // The lock is not held here: `voters` reads the group's state.
            None => {
                let voters = voters();
                self.inner.seen.lock().of(&voters, own, now)?
            }
        };
        #[cfg(feature = "planted-bugs")]
        if crate::seeded_bugs::clock_believed() {
            return Some(Stamp {
                now_ms: own,
                reached_ms,
            });
        }
        Some(Stamp {
            now_ms: held(own, reached_ms),
            reached_ms,
        })
    }

    /// Evaluates this clock. Beyond [`BOUND`] it is outside, and inside again within half of it, so that a clock at the
    /// edge does not alternate.
    pub(crate) fn look(&self) -> ClockStatus {
        let (own, now) = (self.wall_ms(), Instant::now());
        let seen = &mut *self.inner.seen.lock();
        let Some(reached) = seen.of_members(own, now) else {
            // Without a known majority the last verdict holds: missing reports prove nothing about this clock.
            return ClockStatus {
                skew_ms: None,
                error_ms: 0,
                outside: seen.outside,
            };
        };
        let error_ms = seen.error_ms(now);
        // The uncertainty is subtracted: a slow network must not cost a node with a right clock its shards.
        let certain = own.abs_diff(reached).saturating_sub(error_ms);
        if certain > millis(BOUND) {
            seen.outside = true;
        } else if own.abs_diff(reached) <= millis(BOUND / 2) {
            seen.outside = false;
        }
        ClockStatus {
            skew_ms: Some(difference(own, reached)),
            error_ms,
            outside: seen.outside,
        }
    }

    /// Returns true if this member's clock permits it to own shards.
    pub(crate) fn may_own(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        if crate::seeded_bugs::clock_believed() {
            return true;
        }
        !self.look().outside
    }

    /// Returns true if a member's last report permits it to own shards, or if there is no report of it.
    pub(crate) fn peer_may_own(&self, peer: NodeId) -> bool {
        let seen = self.inner.seen.lock();
        seen.reports.get(&peer).is_none_or(|report| report.may_own)
    }

    /// Returns the milliseconds by which a member's clock is ahead of the majority's; `None` if either is unknown.
    pub(crate) fn skew_of(&self, node: NodeId) -> Option<i64> {
        let (own, now) = (self.wall_ms(), Instant::now());
        let seen = self.inner.seen.lock();
        let reached = seen.of_members(own, now)?;
        Some(difference(seen.clock_of(node, own, now)?, reached))
    }
}

impl fmt::Debug for ClusterClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Returns the own time, limited to the tolerance around the majority's.
fn held(own: u64, reached: u64) -> u64 {
    let tolerance = millis(TOLERANCE);
    own.clamp(
        reached.saturating_sub(tolerance),
        reached.saturating_add(tolerance),
    )
}

fn difference(a: u64, b: u64) -> i64 {
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a < b { -size } else { size }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const ME: NodeId = NodeId(1);
    const DAYS: u64 = 10 * 24 * 3600 * 1000;
    /// Time that right clocks show.
    const RIGHT: u64 = 1_800_000_000_000;

    struct ClockSet(Arc<AtomicU64>);

    impl WallClock for ClockSet {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Creates the clock of a member of a cluster of that size, without any reports, and its wall clock.
    fn member(of: u64, own: u64) -> (ClusterClock, Arc<AtomicU64>) {
        let wall = Arc::new(AtomicU64::new(own));
        let clock = ClusterClock::new(ClockSet(wall.clone()));
        clock.set_members(ME, (1..=of).map(NodeId).collect());
        (clock, wall)
    }

    fn report(clock: &ClusterClock, from: u64, wall_ms: u64) {
        let now = Instant::now();
        clock.learn(NodeId(from), ClockReport::new(wall_ms, now, now, true));
    }

    #[tokio::test(start_paused = true)]
    async fn member_with_a_fast_clock_uses_majority_time_and_owns_nothing() {
        let (clock, _) = member(3, RIGHT + DAYS);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT + 20);
        assert_eq!(clock.reached_ms(), Some(RIGHT + 20));
        assert_eq!(clock.now_ms(), RIGHT + 520);
        assert!(!clock.may_own());
        assert_eq!(clock.look().skew_ms, Some(DAYS as i64 - 20));
    }

    #[tokio::test(start_paused = true)]
    async fn member_with_a_slow_clock_uses_majority_time_and_owns_nothing() {
        let (clock, _) = member(3, RIGHT - DAYS);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT + 20);
        assert_eq!(clock.now_ms(), RIGHT - 500);
        assert!(!clock.may_own());
    }

    #[tokio::test(start_paused = true)]
    async fn member_with_a_right_clock_may_own_beside_one_wrong_clock() {
        for wrong in [RIGHT + DAYS, RIGHT - DAYS] {
            let (clock, _) = member(3, RIGHT);
            report(&clock, 2, wrong);
            report(&clock, 3, RIGHT + 20);
            assert!(clock.may_own());
            assert_eq!(clock.now_ms(), RIGHT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_disagree_the_slower_counts_and_owns() {
        let (clock, _) = member(2, RIGHT);
        report(&clock, 2, RIGHT + DAYS);
        assert!(clock.may_own());
        assert_eq!(clock.reached_ms(), Some(RIGHT));
        let (clock, _) = member(2, RIGHT);
        report(&clock, 2, RIGHT - DAYS);
        assert!(!clock.may_own());
        assert_eq!(clock.now_ms(), RIGHT - DAYS + 500);
    }

    #[tokio::test(start_paused = true)]
    async fn corrected_clock_may_own_again_with_hysteresis_at_the_edge() {
        let (clock, wall) = member(3, RIGHT + 11_000);
        for peer in [2, 3] {
            report(&clock, peer, RIGHT);
        }
        assert!(!clock.may_own());
        wall.store(RIGHT + 9_000, Ordering::Relaxed);
        assert!(!clock.may_own());
        wall.store(RIGHT + 5_000, Ordering::Relaxed);
        assert!(clock.may_own());
        wall.store(RIGHT + 9_000, Ordering::Relaxed);
        assert!(clock.may_own());
    }

    #[tokio::test(start_paused = true)]
    async fn stamp_requires_a_majority_of_clocks_or_of_the_voters() {
        let (clock, _) = member(5, RIGHT);
        report(&clock, 2, RIGHT + 7);
        assert_eq!(clock.reached_ms(), None);
        assert_eq!(clock.stamp(|| vec![NodeId(3), NodeId(4), ME]), None);
        let stamp = clock.stamp(|| vec![ME, NodeId(2), NodeId(4)]).unwrap();
        assert_eq!((stamp.now_ms, stamp.reached_ms), (RIGHT, RIGHT));
        // The only voter of its group, like a member that has just admitted a second one.
        assert!(clock.stamp(|| vec![ME]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn clock_reports_are_extrapolated_and_expire_after_a_pause() {
        let (clock, wall) = member(3, RIGHT);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT);
        tokio::time::advance(Duration::from_secs(5)).await;
        wall.store(RIGHT + DAYS, Ordering::Relaxed);
        assert_eq!(clock.reached_ms(), Some(RIGHT + 5_000));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(clock.reached_ms(), None);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT);
        assert!(clock.reached_ms().is_some());
        clock.forget();
        assert_eq!(clock.reached_ms(), None);
    }
}
