//! Rate at which a draining node closes its sessions, so that the other nodes can admit their clients. Pure.

use std::time::{Duration, Instant};

/// Longest time for all sessions of a node: a stop has a deadline, and more sessions than that are closed faster.
const LONGEST: Duration = Duration::from_secs(20);
/// Longest pause whose closes may be made up for at once.
const BURST: Duration = Duration::from_millis(200);

/// Closes that a draining node has left.
#[derive(Debug)]
pub(super) struct CloseBudget {
    /// Lowest rate per second, by the number of sessions at the begin.
    least: f64,
    /// Closes that are permitted and not made.
    permitted: f64,
    updated: Option<Instant>,
}

// === impl CloseBudget ===

impl CloseBudget {
    /// Creates the budget for closing this number of sessions.
    pub(super) fn new(sessions: usize) -> CloseBudget {
        CloseBudget {
            least: as_f64(sessions) / LONGEST.as_secs_f64(),
            permitted: 0.0,
            updated: None,
        }
    }

    /// Returns how many sessions may be closed now, at most `wanted`, and takes them out of the budget.
    pub(super) fn take(&mut self, now: Instant, per_second: f64, wanted: usize) -> usize {
        let rate = per_second.max(self.least);
        let since = self
            .updated
            .map_or(BURST, |updated| now.saturating_duration_since(updated));
        self.updated = Some(now);
        let most = (rate * BURST.as_secs_f64()).max(1.0);
        self.permitted = (self.permitted + rate * since.as_secs_f64()).min(most);
        let whole = Duration::from_secs_f64(self.permitted).as_secs();
        let taken = usize::try_from(whole).unwrap_or(usize::MAX).min(wanted);
        self.permitted -= as_f64(taken);
        taken
    }

    /// Returns the time after which this number of sessions is closed.
    pub(super) fn time_for(sessions: usize, per_second: f64) -> Duration {
        let seconds = as_f64(sessions) / per_second.max(f64::MIN_POSITIVE);
        Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST))
    }
}

/// Returns a number of sessions for a computation of rates; more than four billion are four billion.
fn as_f64(sessions: usize) -> f64 {
    f64::from(u32::try_from(sessions).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_closed_at_the_rate_in_slices() {
        let mut budget = CloseBudget::new(2_000);
        let began = Instant::now();
        let mut left = 2_000;
        let mut slices = Vec::new();
        for tick in 0..20 {
            let taken = budget.take(began + Duration::from_millis(100) * tick, 1_000.0, left);
            left -= taken;
            slices.push(taken);
        }
        assert_eq!(
            (slices[0], slices[1], slices[18]),
            (200, 100, 100),
            "a first burst, then the rate"
        );
        assert_eq!(left, 0);
        // A worker that was busy makes up for little.
        let mut budget = CloseBudget::new(2_000);
        budget.take(began, 1_000.0, 200);
        assert_eq!(budget.take(began + Duration::from_secs(5), 1_000.0, 2_000), 200);
    }

    #[test]
    fn a_small_rate_still_closes_one_after_the_other() {
        let mut budget = CloseBudget::new(3);
        let began = Instant::now();
        let at = |budget: &mut CloseBudget, ms| budget.take(began + Duration::from_millis(ms), 2.0, 3);
        assert_eq!(
            [0, 250, 310, 600, 820].map(|ms| at(&mut budget, ms)),
            [0, 0, 1, 0, 1]
        );
    }

    #[test]
    fn very_many_sessions_are_closed_within_the_longest_time() {
        let mut budget = CloseBudget::new(100_000);
        assert_eq!(
            budget.take(Instant::now(), 1_000.0, 100_000),
            1_000,
            "5,000 a second"
        );
        assert_eq!(CloseBudget::time_for(100_000, 1_000.0), LONGEST);
        assert_eq!(CloseBudget::time_for(2_000, 1_000.0), Duration::from_secs(2));
        assert_eq!(CloseBudget::time_for(0, 0.0), Duration::ZERO);
    }
}
