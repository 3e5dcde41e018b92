//! One log for all, over all workers: of every conversation with members at several of them, the digests that each
//! has told, from the first that not all have told on. A digest that two tell differently is a fork. Pure.

use std::collections::{HashMap, VecDeque};

use super::message::{Reached, Stretch};
use crate::oracle::ConvIx;

/// The conversations that several workers see.
#[derive(Debug)]
pub(super) struct Logs {
    logs: HashMap<ConvIx, Log>,
    /// Digests that wait for somebody, all conversations together.
    waiting: usize,
    limit: usize,
    /// Digests that all who see the conversation have told alike.
    pub(super) compared: u64,
}

#[derive(Debug)]
struct Log {
    /// The workers with members in it, and the next `s` of each; 0 before it has told anything.
    next: Vec<(u32, u64)>,
    /// The `s` of `digests[0]`.
    base: u64,
    /// With the worker that told it first.
    digests: VecDeque<Option<(u32, u64)>>,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// Two workers' clients saw different events at one place.
    Fork { conv: ConvIx, s: u64, detail: String },
    /// A worker left events out of what it told, or tells of a conversation that isn't its own.
    Nonsense { conv: ConvIx, s: u64, detail: String },
    /// A worker is too far behind the others for their logs to be kept.
    Behind { worker: u32 },
}

/// Digests that wait: 24 bytes each.
const WAITING: usize = 8_000_000;

// === impl Logs ===

impl Logs {
    /// `seen_by` names, per conversation, the workers that have members in it.
    pub(super) fn new(seen_by: impl Iterator<Item = (ConvIx, Vec<u32>)>) -> Logs {
        Logs::with_limit(seen_by, WAITING)
    }

    fn with_limit(seen_by: impl Iterator<Item = (ConvIx, Vec<u32>)>, limit: usize) -> Logs {
        let shared = seen_by.filter(|(_, workers)| workers.len() > 1);
        let log = |workers: Vec<u32>| Log {
            next: workers.into_iter().map(|worker| (worker, 0)).collect(),
            base: 0,
            digests: VecDeque::new(),
        };
        Logs {
            logs: shared.map(|(conv, workers)| (conv, log(workers))).collect(),
            waiting: 0,
            limit,
            compared: 0,
        }
    }

    /// A worker tells what it saw.
    pub(super) fn told(&mut self, worker: u32, stretch: &Stretch) -> Result<(), Wrong> {
        let nonsense = |s, detail: String| Wrong::Nonsense {
            conv: stretch.conv,
            s,
            detail,
        };
        let Some(log) = self.logs.get_mut(&stretch.conv) else {
            return Err(nonsense(
                0,
                format!("worker {worker} tells of what only it can see"),
            ));
        };
        let before = log.digests.len();
        let compared = log.told(worker, stretch);
        let after = log.digests.len();
        self.waiting = self.waiting + after - before;
        self.compared += compared?;
        if self.waiting > self.limit {
            let behind = log.next.iter().min_by_key(|(_, next)| *next);
            return Err(Wrong::Behind {
                worker: behind.map_or(0, |(worker, _)| *worker),
            });
        }
        Ok(())
    }

    /// Which conversations some worker's members have not got to the end of: the end is the highest that anybody knows.
    pub(super) fn behind(standing: &[Vec<Reached>]) -> Vec<(ConvIx, u64, u64)> {
        let mut ends: HashMap<ConvIx, u64> = HashMap::new();
        for reached in standing.iter().flatten() {
            let end = ends.entry(reached.conv).or_default();
            *end = (*end).max(reached.frontier);
        }
        let behind = standing.iter().flatten().filter_map(|reached| {
            let (end, slowest) = (ends[&reached.conv], reached.slowest?);
            (slowest < end).then_some((reached.conv, slowest, end))
        });
        behind.collect()
    }
}

// === impl Log ===

impl Log {
    /// Returns how many digests are now compared for good.
    fn told(&mut self, worker: u32, stretch: &Stretch) -> Result<u64, Wrong> {
        let conv = stretch.conv;
        let nonsense = |s, detail| Wrong::Nonsense { conv, s, detail };
        let next = self.next.iter_mut().find(|(other, _)| *other == worker);
        let Some((_, next)) = next else {
            return Err(nonsense(
                stretch.from,
                format!("worker {worker} has no member there"),
            ));
        };
        if *next != 0 && *next != stretch.from {
            let detail = format!("worker {worker} tells s={} where s={next} was due", stretch.from);
            return Err(nonsense(stretch.from, detail));
        }
        *next = stretch.from + stretch.digests.len() as u64;
        if self.base == 0 {
            self.base = stretch.from;
        }
        // Members at this worker joined before those that have told until now.
        while self.base > stretch.from {
            self.base -= 1;
            self.digests.push_front(None);
        }
        for (s, digest) in (stretch.from..).zip(&stretch.digests) {
            let index = (s - self.base) as usize;
            if index >= self.digests.len() {
                self.digests.resize(index + 1, None);
            }
            match self.digests[index] {
                None => self.digests[index] = Some((worker, *digest)),
                Some((_, known)) if known == *digest => {}
                Some((other, known)) => {
                    let detail = format!(
                        "clients of worker {other} saw digest {known:016x}, clients of worker {worker} {digest:016x}"
                    );
                    return Err(Wrong::Fork { conv, s, detail });
                }
            }
        }
        Ok(self.trim())
    }

    /// Drops what everybody has told.
    fn trim(&mut self) -> u64 {
        let all = self.next.iter().map(|(_, next)| *next).min().unwrap_or(0);
        let done = all.saturating_sub(self.base).min(self.digests.len() as u64);
        self.digests.drain(..done as usize);
        self.base += done;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(from: u64, digests: &[u64]) -> Stretch {
        Stretch {
            conv: 0,
            from,
            digests: digests.to_vec(),
        }
    }

    fn logs() -> Logs {
        Logs::with_limit([(0, vec![0, 1]), (1, vec![1])].into_iter(), 8)
    }

    #[test]
    fn logs_that_agree_are_compared_whatever_order_they_come_in() {
        let mut logs = logs();
        assert_eq!(logs.told(0, &stretch(5, &[50, 60, 70])), Ok(()));
        assert_eq!(
            logs.told(1, &stretch(4, &[40, 50])),
            Ok(()),
            "joined one event earlier"
        );
        assert_eq!(logs.told(1, &stretch(6, &[60])), Ok(()));
        assert_eq!((logs.compared, logs.waiting), (3, 1));
        assert_eq!(logs.told(1, &stretch(7, &[70, 80])), Ok(()));
        assert_eq!((logs.compared, logs.waiting), (4, 1));
    }

    #[test]
    fn a_fork_between_two_workers_is_found_at_its_place() {
        let mut logs = logs();
        assert_eq!(logs.told(0, &stretch(1, &[10, 20, 30])), Ok(()));
        let fork = logs.told(1, &stretch(1, &[10, 21, 30]));
        assert!(matches!(fork, Err(Wrong::Fork { conv: 0, s: 2, .. })), "{fork:?}");
    }

    #[test]
    fn what_a_worker_leaves_out_or_cannot_know_is_nonsense() {
        let mut logs = logs();
        assert_eq!(logs.told(0, &stretch(1, &[10])), Ok(()));
        let hole = logs.told(0, &stretch(3, &[30]));
        assert!(matches!(hole, Err(Wrong::Nonsense { s: 3, .. })), "{hole:?}");
        assert!(matches!(
            logs.told(2, &stretch(1, &[10])),
            Err(Wrong::Nonsense { .. })
        ));
        let alone = Stretch {
            conv: 1,
            ..stretch(1, &[10])
        };
        assert!(matches!(logs.told(1, &alone), Err(Wrong::Nonsense { .. })));
    }

    #[test]
    fn what_waits_for_a_slow_worker_is_bounded() {
        let mut logs = logs();
        assert_eq!(logs.told(0, &stretch(1, &[1, 2, 3, 4, 5, 6, 7, 8])), Ok(()));
        assert_eq!(logs.told(0, &stretch(9, &[9])), Err(Wrong::Behind { worker: 1 }));
    }

    #[test]
    fn the_end_of_a_log_is_the_highest_that_anybody_knows() {
        let reached = |conv, frontier, slowest| Reached {
            conv,
            frontier,
            slowest,
        };
        let all = [
            vec![reached(0, 9, Some(9)), reached(1, 4, Some(4))],
            vec![reached(0, 0, Some(3)), reached(1, 4, None)],
        ];
        assert_eq!(Logs::behind(&all), [(0, 3, 9)]);
    }
}
