//! Comparison of the logs of all workers. Pure.
//!
//! It holds the digests of every conversation with members at several workers, from the first seq that not all workers
//! have reported. Two different digests of one event are a fork.

use std::collections::{HashMap, VecDeque};

use super::message::{DigestRange, ViewProgress};
use crate::oracle::ConvIx;

/// Digests of the conversations that several workers see.
#[derive(Debug)]
pub(super) struct DigestLogs {
    logs: HashMap<ConvIx, DigestLog>,
    /// Number of digests that some worker has not reported, over all conversations.
    waiting: usize,
    limit: usize,
    /// Number of digests that all concerned workers have reported alike.
    pub(super) compared: u64,
}

#[derive(Debug)]
struct DigestLog {
    /// Workers with members in the conversation, and the next seq of each; 0 before its first report.
    next: Vec<(u32, u64)>,
    /// Seq of the event of `digests[0]`.
    base: u64,
    /// Digests, with the worker that reported each first; `None` if no worker has.
    digests: VecDeque<Option<(u32, u64)>>,
}

/// Error of a reported range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// Clients of two workers received different events with the same seq.
    Fork { conv: ConvIx, s: u64, detail: String },
    /// A worker skipped events, or reported a conversation without members of its own.
    Nonsense { conv: ConvIx, s: u64, detail: String },
    /// A worker is so far behind the others that the limit is exceeded.
    Behind { worker: u32 },
}

/// Maximum number of held digests, 24 bytes each.
const WAITING: usize = 8_000_000;

// === impl DigestLogs ===

impl DigestLogs {
    /// Creates the logs. `seen_by` lists, per conversation, the workers with members in it.
    pub(super) fn new(seen_by: impl Iterator<Item = (ConvIx, Vec<u32>)>) -> DigestLogs {
        DigestLogs::with_limit(seen_by, WAITING)
    }

    fn with_limit(seen_by: impl Iterator<Item = (ConvIx, Vec<u32>)>, limit: usize) -> DigestLogs {
        let shared = seen_by.filter(|(_, workers)| workers.len() > 1);
        let log = |workers: Vec<u32>| DigestLog {
            next: workers.into_iter().map(|worker| (worker, 0)).collect(),
            base: 0,
            digests: VecDeque::new(),
        };
        DigestLogs {
            logs: shared.map(|(conv, workers)| (conv, log(workers))).collect(),
            waiting: 0,
            limit,
            compared: 0,
        }
    }

    /// Compares a range that a worker has reported.
    pub(super) fn reported(&mut self, worker: u32, range: &DigestRange) -> Result<(), Wrong> {
        let nonsense = |s, detail: String| Wrong::Nonsense {
            conv: range.conv,
            s,
            detail,
        };
        let Some(log) = self.logs.get_mut(&range.conv) else {
            return Err(nonsense(
                0,
                format!("worker {worker} reports a conversation of which only it has members"),
            ));
        };
        let before = log.digests.len();
        let compared = log.compare(worker, range);
        let after = log.digests.len();
        // Before the error is returned, because the log has changed even then.
        self.waiting = self.waiting + after - before;
        self.compared += compared?;
        if self.waiting > self.limit {
            // The worker with the lowest seq keeps the digests from being dropped.
            let behind = log.next.iter().min_by_key(|(_, next)| *next);
            return Err(Wrong::Behind {
                worker: behind.map_or(0, |(worker, _)| *worker),
            });
        }
        Ok(())
    }

    /// Returns the conversations in which some worker has not reached the end, as (conversation, slowest seq, end). The
    /// end is the highest seq that any worker has reported.
    pub(super) fn behind(standing: &[Vec<ViewProgress>]) -> Vec<(ConvIx, u64, u64)> {
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

// === impl DigestLog ===

impl DigestLog {
    /// Compares a range. Returns the number of digests that are now complete.
    fn compare(&mut self, worker: u32, range: &DigestRange) -> Result<u64, Wrong> {
        let conv = range.conv;
        let nonsense = |s, detail| Wrong::Nonsense { conv, s, detail };
        let next = self.next.iter_mut().find(|(other, _)| *other == worker);
        let Some((_, next)) = next else {
            return Err(nonsense(
                range.from,
                format!("worker {worker} has no member there"),
            ));
        };
        // The first report may start anywhere, because members join at different times.
        if *next != 0 && *next != range.from {
            let detail = format!(
                "worker {worker} reports s={} where s={next} was expected",
                range.from
            );
            return Err(nonsense(range.from, detail));
        }
        *next = range.from + range.digests.len() as u64;
        // 0 is no seq, so it marks a log without reports.
        if self.base == 0 {
            self.base = range.from;
        }
        // This worker's members joined earlier than those of the workers that have reported so far.
        while self.base > range.from {
            self.base -= 1;
            self.digests.push_front(None);
        }
        for (s, digest) in (range.from..).zip(&range.digests) {
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

    /// Drops the digests that every worker has reported. Returns their number.
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

    fn range(from: u64, digests: &[u64]) -> DigestRange {
        DigestRange {
            conv: 0,
            from,
            digests: digests.to_vec(),
        }
    }

    fn logs() -> DigestLogs {
        DigestLogs::with_limit([(0, vec![0, 1]), (1, vec![1])].into_iter(), 8)
    }

    #[test]
    fn logs_that_agree_are_compared_whatever_order_they_come_in() {
        let mut logs = logs();
        assert_eq!(logs.reported(0, &range(5, &[50, 60, 70])), Ok(()));
        assert_eq!(
            logs.reported(1, &range(4, &[40, 50])),
            Ok(()),
            "joined one event earlier"
        );
        assert_eq!(logs.reported(1, &range(6, &[60])), Ok(()));
        assert_eq!((logs.compared, logs.waiting), (3, 1));
        assert_eq!(logs.reported(1, &range(7, &[70, 80])), Ok(()));
        assert_eq!((logs.compared, logs.waiting), (4, 1));
    }

    #[test]
    fn a_fork_between_two_workers_is_found_at_its_position() {
        let mut logs = logs();
        assert_eq!(logs.reported(0, &range(1, &[10, 20, 30])), Ok(()));
        let fork = logs.reported(1, &range(1, &[10, 21, 30]));
        assert!(matches!(fork, Err(Wrong::Fork { conv: 0, s: 2, .. })), "{fork:?}");
    }

    #[test]
    fn what_a_worker_leaves_out_or_cannot_know_is_nonsense() {
        let mut logs = logs();
        assert_eq!(logs.reported(0, &range(1, &[10])), Ok(()));
        let hole = logs.reported(0, &range(3, &[30]));
        assert!(matches!(hole, Err(Wrong::Nonsense { s: 3, .. })), "{hole:?}");
        assert!(matches!(
            logs.reported(2, &range(1, &[10])),
            Err(Wrong::Nonsense { .. })
        ));
        let alone = DigestRange {
            conv: 1,
            ..range(1, &[10])
        };
        assert!(matches!(logs.reported(1, &alone), Err(Wrong::Nonsense { .. })));
    }

    #[test]
    fn what_waits_for_a_slow_worker_is_bounded() {
        let mut logs = logs();
        assert_eq!(logs.reported(0, &range(1, &[1, 2, 3, 4, 5, 6, 7, 8])), Ok(()));
        assert_eq!(
            logs.reported(0, &range(9, &[9])),
            Err(Wrong::Behind { worker: 1 })
        );
    }

    #[test]
    fn the_end_of_a_log_is_the_highest_that_anybody_knows() {
        let reached = |conv, frontier, slowest| ViewProgress {
            conv,
            frontier,
            slowest,
        };
        let all = [
            vec![reached(0, 9, Some(9)), reached(1, 4, Some(4))],
            vec![reached(0, 0, Some(3)), reached(1, 4, None)],
        ];
        assert_eq!(DigestLogs::behind(&all), [(0, 3, 9)]);
    }
}
