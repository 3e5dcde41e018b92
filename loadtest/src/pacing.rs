//! When the next message is due. Open loop: the schedule goes on whatever the cluster does, and latency counts from
//! the scheduled time, so a stall is seen by every message that it delayed. Closed loop: a window of unanswered
//! messages, which finds the peak and hides stalls.

use rand::Rng;
use rand::rngs::StdRng;

use crate::clock::{Nanos, SECOND};

/// How the messages of a run are timed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    /// So many messages a second, all senders together.
    Open { rate: f64, arrival: Arrival },
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
    gap: f64,
    arrival: Arrival,
    next: f64,
}

// === impl Schedule ===

impl Schedule {
    /// `rate` is this sender's own. Senders begin at random points of their first gap, or they would all send at
    /// once for ever.
    pub(crate) fn new(rate: f64, arrival: Arrival, from: Nanos, rng: &mut StdRng) -> Schedule {
        let gap = SECOND as f64 / rate.max(1e-9);
        Schedule {
            gap,
            arrival,
            next: from as f64 + gap * rng.random::<f64>(),
        }
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> Nanos {
        self.next as Nanos
    }

    /// Takes the next due time, if it has come.
    pub(crate) fn due(&mut self, now: Nanos, rng: &mut StdRng) -> Option<Nanos> {
        let due = self.next();
        if due > now {
            return None;
        }
        self.next += match self.arrival {
            Arrival::Constant => self.gap,
            Arrival::Poisson => -self.gap * (1.0 - rng.random::<f64>()).ln(),
        };
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn count(arrival: Arrival, rate: f64, seconds: u64) -> (usize, Vec<Nanos>) {
        let mut rng = StdRng::seed_from_u64(7);
        let mut schedule = Schedule::new(rate, arrival, 0, &mut rng);
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
        let mut schedule = Schedule::new(10.0, Arrival::Constant, 0, &mut rng);
        let first = schedule.next();
        assert_eq!(schedule.due(first - 1, &mut rng), None);
        // A second of silence later, every message of that second is due, each with its own time.
        let late: Vec<_> = std::iter::from_fn(|| schedule.due(first + SECOND, &mut rng)).collect();
        assert_eq!(late.len(), 11);
        assert_eq!(late[1] - late[0], SECOND / 10);
    }
}
