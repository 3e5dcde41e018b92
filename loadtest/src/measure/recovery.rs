//! Recovery times of clients: from the loss of a connection to being online, and to being caught up.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::merge::Buckets;
use super::recorder::{Percentiles, histogram};
use crate::clock::Nanos;

/// Recorder of all reconnections of a process.
pub(crate) struct Recovery {
    lost: u64,
    resumed: u64,
    synced: u64,
    online: Histogram<u64>,
    level: Histogram<u64>,
    /// Number of clients that lost their connection and have not caught up yet.
    behind: usize,
    storms: Vec<ReconnectStorm>,
}

/// Reconnect storm: all connections were cut at the same time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ReconnectStorm {
    /// Time of the cut, in seconds of the run.
    pub(crate) at_s: f64,
    pub(crate) clients: usize,
    /// Seconds from the cut until the last client has caught up.
    pub(crate) level_after_s: f64,
}

/// Reconnections, as they appear in the report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reconnects {
    /// Connections lost, or closed by the client.
    pub(crate) lost: u64,
    /// Reconnections that resumed the session without a loss.
    pub(crate) resumed: u64,
    /// Reconnections with a new session, after which the client synchronized.
    pub(crate) synced: u64,
    /// From the loss, or the end of a planned absence, to `ready`.
    pub(crate) online: Percentiles,
    /// From the same time to being caught up.
    pub(crate) level: Percentiles,
    pub(crate) storms: Vec<ReconnectStorm>,
}

/// Reconnections of one process's clients in serialized form, for another process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Returned {
    lost: u64,
    resumed: u64,
    synced: u64,
    online: Buckets,
    level: Buckets,
}

// === impl Recovery ===

impl Recovery {
    pub(crate) fn new() -> Recovery {
        Recovery {
            lost: 0,
            resumed: 0,
            synced: 0,
            online: histogram(),
            level: histogram(),
            behind: 0,
            storms: Vec::new(),
        }
    }

    /// Counts a client that was caught up and lost its connection.
    pub(crate) fn lost(&mut self) {
        self.behind += 1;
    }

    /// Counts a lost connection of any client.
    pub(crate) fn dropped(&mut self) {
        self.lost += 1;
    }

    /// Records a client that is online again. `since` is the start of its recovery.
    pub(crate) fn online(&mut self, since: Nanos, now: Nanos, resumed: bool) {
        // Without a resume the client always synchronizes, so there is no third case.
        *(if resumed {
            &mut self.resumed
        } else {
            &mut self.synced
        }) += 1;
        self.online.saturating_record(now.saturating_sub(since) / 1000);
    }

    /// Records a client that has caught up again.
    pub(crate) fn level(&mut self, since: Nanos, now: Nanos) {
        self.behind = self.behind.saturating_sub(1);
        self.level.saturating_record(now.saturating_sub(since) / 1000);
    }

    /// Returns the number of clients that have not caught up yet.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }

    /// Records a completed storm.
    pub(crate) fn storm(&mut self, storm: ReconnectStorm) {
        self.storms.push(storm);
    }

    /// Returns all reconnections without the storms, which workers do not support.
    pub(crate) fn returned(&self) -> Returned {
        Returned {
            lost: self.lost,
            resumed: self.resumed,
            synced: self.synced,
            online: Buckets::of(&self.online),
            level: Buckets::of(&self.level),
        }
    }

    /// Adds the reconnections of another process's clients.
    pub(crate) fn join(&mut self, theirs: &Returned) {
        self.lost += theirs.lost;
        self.resumed += theirs.resumed;
        self.synced += theirs.synced;
        theirs.online.add_to(&mut self.online);
        theirs.level.add_to(&mut self.level);
    }

    pub(crate) fn figures(&self) -> Reconnects {
        Reconnects {
            lost: self.lost,
            resumed: self.resumed,
            synced: self.synced,
            online: Percentiles::of(&self.online),
            level: Percentiles::of(&self.level),
            storms: self.storms.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn returns_of_two_processes_are_counted_and_timed_together() {
        let (mut ours, mut theirs) = (Recovery::new(), Recovery::new());
        for (recovery, took) in [(&mut ours, SECOND), (&mut theirs, 3 * SECOND)] {
            recovery.dropped();
            recovery.lost();
            recovery.online(0, took, true);
            recovery.level(0, took);
        }
        ours.join(&theirs.returned());
        let figures = ours.figures();
        assert_eq!((figures.lost, figures.resumed, figures.online.count), (2, 2, 2));
        assert_eq!(figures.level.max_us / 1_000_000, 3);
    }

    #[test]
    fn client_lost_twice_before_catch_up_counts_as_behind_once() {
        let mut recovery = Recovery::new();
        recovery.dropped();
        recovery.lost();
        recovery.dropped(); // before it was level
        recovery.online(0, SECOND, true);
        assert_eq!(recovery.behind(), 1);
        recovery.level(0, 2 * SECOND);
        let figures = recovery.figures();
        assert_eq!(
            (recovery.behind(), figures.lost, figures.resumed, figures.synced),
            (0, 2, 1, 0)
        );
        assert!(figures.level.max_us >= 1_990_000);
    }
}
