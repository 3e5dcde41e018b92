//! How clients come back: from the loss of a connection to being online again, and to having everything.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::latency::{Percentiles, histogram};
use super::merge::Buckets;
use crate::clock::Nanos;

/// All returns of a run.
pub(crate) struct Recovery {
    lost: u64,
    resumed: u64,
    synced: u64,
    online: Histogram<u64>,
    level: Histogram<u64>,
    /// Clients that lost their connection and don't have everything yet.
    behind: usize,
    storms: Vec<Storm>,
}

/// All connections cut at once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Storm {
    /// Seconds of the run.
    pub(crate) at_s: f64,
    pub(crate) clients: usize,
    /// Until the last of them was back and had everything.
    pub(crate) level_after_s: f64,
}

/// What the report says of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reconnects {
    /// Connections that were lost, or dropped by the client.
    pub(crate) lost: u64,
    /// The session went on exactly where it was.
    pub(crate) resumed: u64,
    /// It didn't, and the client asked for what it had missed.
    pub(crate) synced: u64,
    /// From the loss, or the end of a planned absence, to `ready`.
    pub(crate) online: Percentiles,
    /// From there to having everything.
    pub(crate) level: Percentiles,
    pub(crate) storms: Vec<Storm>,
}

/// The returns of one process's clients, for another process.
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

    /// A client that had everything lost its connection.
    pub(crate) fn lost(&mut self) {
        self.behind += 1;
    }

    /// A connection was lost, whatever the client had.
    pub(crate) fn dropped(&mut self) {
        self.lost += 1;
    }

    /// The client is online again; `since` is when it began to come back.
    pub(crate) fn online(&mut self, since: Nanos, now: Nanos, resumed: bool) {
        *(if resumed {
            &mut self.resumed
        } else {
            &mut self.synced
        }) += 1;
        self.online.saturating_record(now.saturating_sub(since) / 1000);
    }

    /// It has everything again.
    pub(crate) fn level(&mut self, since: Nanos, now: Nanos) {
        self.behind = self.behind.saturating_sub(1);
        self.level.saturating_record(now.saturating_sub(since) / 1000);
    }

    /// How many clients don't have everything yet.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }

    /// A storm is over.
    pub(crate) fn storm(&mut self, storm: Storm) {
        self.storms.push(storm);
    }

    /// All returns, but for storms: those are about everybody at once.
    pub(crate) fn returned(&self) -> Returned {
        Returned {
            lost: self.lost,
            resumed: self.resumed,
            synced: self.synced,
            online: Buckets::of(&self.online),
            level: Buckets::of(&self.level),
        }
    }

    /// Adds those of another process's clients.
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
    fn one_who_is_lost_twice_before_it_has_everything_is_behind_once() {
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
