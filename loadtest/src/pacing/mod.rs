//! Schedule of the messages.
//!
//! * Open loop: the schedule continues independently of the cluster. Latency counts from the scheduled time, so every
//!   message that a stall delays includes it.
//! * Closed loop: a window of unacknowledged messages. It finds the peak throughput, and hides stalls.

mod precise_timer;
pub(crate) mod rate_curve;
pub(crate) mod search;

use rand::RngExt;
use rand::rngs::StdRng;

pub(crate) use self::precise_timer::{PreciseTimer, PreciseTimers};
pub(crate) use self::rate_curve::RateCurve;
use crate::clock::{Nanos, SECOND};

/// Timing of the messages of a run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum LoadPace {
    /// Rate in messages per second, of all senders together.
    Open {
        rate: RateCurve,
        arrival: ArrivalProcess,
    },
    /// Number of unacknowledged messages per sender.
    Closed { window: usize },
    /// Sends no message at all.
    Silent,
}

/// Distribution of the gaps of an open loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum ArrivalProcess {
    /// Equal gaps between the messages.
    Constant,
    /// Exponentially distributed gaps, as of many independent users.
    Poisson,
}

/// One sender's share of an open loop.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    rate: RateCurve,
    share: f64,
    arrival: ArrivalProcess,
    from: Nanos,
    /// Cumulative number of messages of the share at the next scheduled time. A fraction, because senders start at
    /// random points.
    level: f64,
    next: Nanos,
}

// === impl Schedule ===

impl Schedule {
    /// Creates the schedule of a sender with this share of the rate. It starts at a random point of the first gap, or
    /// all senders would send at the same times forever.
    pub(crate) fn new(
        rate: RateCurve,
        share: f64,
        arrival: ArrivalProcess,
        from: Nanos,
        rng: &mut StdRng,
    ) -> Schedule {
        let mut schedule = Schedule {
            rate,
            share,
            arrival,
            from,
            level: rng.random::<f64>(),
            next: from,
        };
        schedule.next = schedule.at_level();
        schedule
    }

    /// Returns the next scheduled time.
    pub(crate) fn next(&self) -> Nanos {
        self.next
    }

    /// Returns the next scheduled time if it has passed, and advances the schedule.
    pub(crate) fn due(&mut self, now: Nanos, rng: &mut StdRng) -> Option<Nanos> {
        let due = self.next;
        if due > now {
            return None;
        }
        // Advanced from the scheduled level, not from `now`: a late call must not slow the rate down.
        self.level += match self.arrival {
            ArrivalProcess::Constant => 1.0,
            ArrivalProcess::Poisson => -(1.0 - rng.random::<f64>()).ln(),
        };
        // `max`: rounding must not move the schedule backwards.
        self.next = self.at_level().max(due);
        Some(due)
    }

    fn at_level(&self) -> Nanos {
        let seconds = self.rate.reaches(self.level / self.share);
        self.from.saturating_add((seconds * SECOND as f64) as Nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn count(arrival: ArrivalProcess, rate: f64, seconds: u64) -> (usize, Vec<Nanos>) {
        let mut rng = StdRng::seed_from_u64(7);
        let mut schedule = Schedule::new((2.0 * rate).into(), 0.5, arrival, 0, &mut rng);
        let dues: Vec<_> = std::iter::from_fn(|| schedule.due(seconds * SECOND, &mut rng)).collect();
        (dues.len(), dues)
    }

    #[test]
    fn the_schedule_keeps_its_rate_and_never_goes_back() {
        for (arrival, slack) in [(ArrivalProcess::Constant, 1), (ArrivalProcess::Poisson, 400)] {
            let (count, dues) = count(arrival, 100.0, 100);
            assert!(count.abs_diff(10_000) <= slack, "{arrival:?}: {count}");
            assert!(dues.is_sorted());
        }
    }

    #[test]
    fn what_was_missed_is_due_at_its_own_time() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut schedule = Schedule::new(10.0.into(), 1.0, ArrivalProcess::Constant, 0, &mut rng);
        let first = schedule.next();
        assert_eq!(schedule.due(first - 1, &mut rng), None);
        // After one second without a call, every message of that second is due, each with its own time.
        let late: Vec<_> = std::iter::from_fn(|| schedule.due(first + SECOND, &mut rng)).collect();
        assert!((10..=11).contains(&late.len()), "{late:?}");
        assert!((late[1] - late[0]).abs_diff(SECOND / 10) <= 1);
    }

    #[test]
    fn a_schedule_follows_the_steps_and_the_ramp_of_its_curve() {
        let mut rng = StdRng::seed_from_u64(7);
        let second = std::time::Duration::from_secs(1);
        for (curve, expected) in [
            (RateCurve::steps(&[10.0, 40.0], 20 * second), [100, 400]),
            (RateCurve::ramp(0.0, 100.0, 20 * second), [250, 750]),
        ] {
            let mut schedule = Schedule::new(curve, 1.0, ArrivalProcess::Constant, 0, &mut rng);
            let dues: Vec<_> = std::iter::from_fn(|| schedule.due(20 * SECOND, &mut rng)).collect();
            let first = dues.iter().filter(|due| **due < 10 * SECOND).count();
            for (found, expected) in [first, dues.len() - first].into_iter().zip(expected) {
                assert!(found.abs_diff(expected) <= 1, "{found} where {expected} were due");
            }
        }
    }
}
