//! When the next message is due. Open loop: the schedule goes on whatever the cluster does, and latency counts from
//! the scheduled time, so a stall is seen by every message that it delayed. Closed loop: a window of unanswered
//! messages, which finds the peak and hides stalls.

pub(crate) mod alarm;
pub(crate) mod curve;
pub(crate) mod search;

use rand::Rng;
use rand::rngs::StdRng;

pub(crate) use self::alarm::{Alarm, Alarms};
pub(crate) use self::curve::Curve;
use crate::clock::{Nanos, SECOND};

/// How the messages of a run are timed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Pace {
    /// So many messages a second, all senders together.
    Open { rate: Curve, arrival: Arrival },
    /// So many unanswered messages per sender.
    Closed { window: usize },
    /// Nothing is sent.
    Silent,
}

/// The gaps of an open loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Arrival {
    /// All gaps alike.
    Constant,
    /// Gaps as of many independent people.
    Poisson,
}

/// One sender's share of an open loop.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    rate: Curve,
    share: f64,
    arrival: Arrival,
    from: Nanos,
    /// How many messages the share amounts to when the next one is due: whole ones or, in a Poisson process, not.
    level: f64,
    next: Nanos,
}

// === impl Schedule ===

impl Schedule {
    /// `share` is this sender's part of the rate. Senders begin at random points of their first gap, or they would all
    /// send at once for ever.
    pub(crate) fn new(rate: Curve, share: f64, arrival: Arrival, from: Nanos, rng: &mut StdRng) -> Schedule {
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

    /// When the next message is due.
    pub(crate) fn next(&self) -> Nanos {
        self.next
    }

    /// Takes the next due time, if it has come.
    pub(crate) fn due(&mut self, now: Nanos, rng: &mut StdRng) -> Option<Nanos> {
        let due = self.next;
        if due > now {
            return None;
        }
        self.level += match self.arrival {
            Arrival::Constant => 1.0,
            Arrival::Poisson => -(1.0 - rng.random::<f64>()).ln(),
        };
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

    fn count(arrival: Arrival, rate: f64, seconds: u64) -> (usize, Vec<Nanos>) {
        let mut rng = StdRng::seed_from_u64(7);
        let mut schedule = Schedule::new((2.0 * rate).into(), 0.5, arrival, 0, &mut rng);
        let dues: Vec<_> = std::iter::from_fn(|| schedule.due(seconds * SECOND, &mut rng)).collect();
        (dues.len(), dues)
    }

    #[test]
    fn the_schedule_keeps_its_rate_and_never_goes_back() {
        for (arrival, slack) in [(Arrival::Constant, 1), (Arrival::Poisson, 400)] {
            let (count, dues) = count(arrival, 100.0, 100);
            assert!(count.abs_diff(10_000) <= slack, "{arrival:?}: {count}");
            assert!(dues.is_sorted());
        }
    }

    #[test]
    fn what_was_missed_is_due_at_its_own_time() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut schedule = Schedule::new(10.0.into(), 1.0, Arrival::Constant, 0, &mut rng);
        let first = schedule.next();
        assert_eq!(schedule.due(first - 1, &mut rng), None);
        // A second of silence later, every message of that second is due, each with its own time.
        let late: Vec<_> = std::iter::from_fn(|| schedule.due(first + SECOND, &mut rng)).collect();
        assert!((10..=11).contains(&late.len()), "{late:?}");
        assert!((late[1] - late[0]).abs_diff(SECOND / 10) <= 1);
    }

    #[test]
    fn a_schedule_follows_the_steps_and_the_ramp_of_its_curve() {
        let mut rng = StdRng::seed_from_u64(7);
        let second = std::time::Duration::from_secs(1);
        for (curve, expected) in [
            (Curve::steps(&[10.0, 40.0], 20 * second), [100, 400]),
            (Curve::ramp(0.0, 100.0, 20 * second), [250, 750]),
        ] {
            let mut schedule = Schedule::new(curve, 1.0, Arrival::Constant, 0, &mut rng);
            let dues: Vec<_> = std::iter::from_fn(|| schedule.due(20 * SECOND, &mut rng)).collect();
            let first = dues.iter().filter(|due| **due < 10 * SECOND).count();
            for (found, expected) in [first, dues.len() - first].into_iter().zip(expected) {
                assert!(found.abs_diff(expected) <= 1, "{found} where {expected} were due");
            }
        }
    }
}
