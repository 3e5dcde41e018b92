//! Estimate of another clock from its report, and the time that a majority's clocks have reached. Pure functions.
//!
//! ```text
//!   this node   ──asked────────────────answered──────────────now──►  its monotonic clock
//!                    ╲                ╱
//!   the other         ╲──wall_ms read╱           estimate = wall_ms + half of the round trip + (now − answered)
//! ```
//! The clock was read between the request and the response, so the estimate is wrong by at most half of the round trip.
//! See Cristian, "Probabilistic clock synchronization", 1989.

use std::time::Duration;

use tokio::time::Instant;

/// Maximum round trip of a report; a slower one is too inaccurate.
const LONGEST_WAY: Duration = Duration::from_secs(2);
/// Age at which a report is replaced by any newer one.
const OLD: Duration = Duration::from_secs(2);

/// Report of a member about its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockReport {
    wall_ms: u64,
    asked: Instant,
    answered: Instant,
    /// True if the reporting member's clock permits it to own shards.
    pub(crate) may_own: bool,
}

// === impl ClockReport ===

impl ClockReport {
    pub(crate) fn new(wall_ms: u64, asked: Instant, answered: Instant, may_own: bool) -> ClockReport {
        ClockReport {
            wall_ms,
            asked,
            answered,
            may_own,
        }
    }

    /// Returns the estimated time of the clock in milliseconds, accurate to [`error`](ClockReport::error).
    pub(crate) fn at(&self, now: Instant) -> u64 {
        let since = self.error() + now.saturating_duration_since(self.answered);
        self.wall_ms.saturating_add(super::millis(since))
    }

    pub(crate) fn error(&self) -> Duration {
        self.answered.saturating_duration_since(self.asked) / 2
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.asked)
    }

    pub(crate) fn is_precise(&self) -> bool {
        self.error() <= LONGEST_WAY / 2
    }

    /// Returns true if this report is preferable to the known one. Ignores an overtaken response. A much slower
    /// response is used only if the known one is old, or if the permission to own shards differs.
    pub(crate) fn replaces(&self, known: &ClockReport) -> bool {
        // The constant admits the usual variation of very short round trips.
        let precise = self.error() <= known.error() * 2 + Duration::from_millis(5);
        let overdue = self.asked.saturating_duration_since(known.asked) >= OLD;
        let changed = self.may_own != known.may_own;
        self.asked >= known.asked && (precise || overdue || changed)
    }
}

/// Returns the latest time that the clocks of a majority of `nodes` have reached; `known` are those with a report.
/// `None`: the known ones are no majority.
pub(crate) fn reached(mut known: Vec<u64>, nodes: usize) -> Option<u64> {
    // In descending order, the clock at `nodes / 2` and those before it are a majority.
    known.sort_unstable_by(|a, b| b.cmp(a));
    known.get(nodes / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clocks() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0..1_000_000_u64, 1..9)
    }

    proptest! {
        #[test]
        fn a_majority_has_reached_it_and_none_has_reached_more(known in clocks(), silent in 0..4_usize) {
            let nodes = known.len() + silent;
            let at_least = |time: u64| known.iter().filter(|clock| **clock >= time).count() * 2 > nodes;
            match reached(known.clone(), nodes) {
                Some(time) => {
                    prop_assert!(at_least(time));
                    prop_assert!(!known.iter().any(|clock| *clock > time && at_least(*clock)));
                    prop_assert!(known.contains(&time), "so there is always somebody who may own");
                }
                None => prop_assert!(known.len() * 2 <= nodes),
            }
        }

        #[test]
        fn a_minority_of_wrong_clocks_does_not_move_it(
            right in prop::collection::vec(500_000..501_000_u64, 1..6), wrong in prop::collection::vec(any::<u64>(), 0..5),
        ) {
            prop_assume!(wrong.len() < right.len());
            let nodes = right.len() + wrong.len();
            let time = reached([right, wrong].concat(), nodes).unwrap();
            prop_assert!((500_000..501_000).contains(&time), "{}", time);
        }

        #[test]
        fn an_estimate_is_wrong_by_half_of_the_round_trip_at_most(
            wall in 1_000_000..2_000_000_u64, there in 0..1_000_u64, back in 0..1_000_u64, later in 0..9_000_u64,
        ) {
            let asked = Instant::now();
            let ms = Duration::from_millis;
            // The other clock shows `wall` when the request arrives.
            let report = ClockReport::new(wall, asked, asked + ms(there + back), true);
            let now = asked + ms(there + back + later);
            let truth = wall + back + later;
            prop_assert!(report.at(now).abs_diff(truth) <= (there + back).div_ceil(2));
            prop_assert!(report.at(now).abs_diff(truth) <= crate::clock::millis(report.error()) + 1);
        }

        #[test]
        fn a_report_that_was_overtaken_changes_nothing(first in 0..5_000_u64, second in 0..5_000_u64) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let (older, newer) = (first.min(second), first.max(second) + 1);
            let known = ClockReport::new(1, at(newer), at(newer), true);
            prop_assert!(!ClockReport::new(2, at(older), at(newer + 1), true).replaces(&known));
        }
    }

    #[test]
    fn a_slow_answer_waits_for_a_better_one_for_a_while_only() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let known = ClockReport::new(1, at(0), at(2), true);
        assert!(!ClockReport::new(2, at(500), at(1_500), true).replaces(&known));
        assert!(ClockReport::new(2, at(500), at(510), true).replaces(&known));
        assert!(ClockReport::new(2, at(2_000), at(3_000), true).replaces(&known));
        assert!(ClockReport::new(2, at(500), at(1_500), false).replaces(&known));
    }

    #[test]
    fn without_a_known_majority_no_time_is_reached() {
        assert_eq!(reached(Vec::new(), 3), None);
        assert_eq!(reached(vec![7], 1), Some(7));
        assert_eq!(reached(vec![7], 2), None);
        assert_eq!(reached(vec![7, 5], 3), Some(5));
        assert_eq!(reached(vec![9, 5, 7, 6], 4), Some(6));
    }
}
