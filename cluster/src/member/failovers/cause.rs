//! Cause of a takeover, and the time without service, from what the new owner has seen. Pure.

use std::time::Duration;

use crate::shard::FailoverCause;

/// Time between the last message of an owner and the end of its connection within which the end is taken for that of its
/// process. A connection to a silent member is closed only after [`peer_timeout`](crate::transport::TransportConfig).
const CLOSED_AT_ONCE: Duration = Duration::from_secs(2);

/// Observations of the old owner of a shard by the new one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The old owner is this node.
    pub(super) is_own: bool,
    /// And the same process of it.
    pub(super) is_same_process: bool,
    /// The group deposed the old owner.
    pub(super) was_deposed: bool,
    pub(super) is_draining: bool,
    /// Time since the old owner asked this node to take over.
    pub(super) handed_over: Option<Duration>,
    /// Time since the last message of the old owner to the group.
    pub(super) last_message: Option<Duration>,
    /// Time since the connection to the old owner ended; `None` while it is up.
    pub(super) down: Option<Duration>,
    /// Time since this replica knows the last epoch to be over.
    pub(super) ended: Option<Duration>,
    /// Time after which a transfer has failed if messages still arrive.
    pub(super) patience: Duration,
}

// === impl Seen ===

impl Seen {
    /// Returns the cause, and the time without service.
    pub(super) fn judge(self) -> (FailoverCause, Option<Duration>) {
        if self.was_deposed {
            // Its messages went on after its service had ended.
            return (FailoverCause::Clock, self.ended);
        }
        if self.is_own {
            return match self.is_same_process {
                true => (FailoverCause::Regained, self.ended),
                // The end of the earlier process is not known to this one.
                false => (FailoverCause::Restarted, None),
            };
        }
        // Messages after a transfer mean that it had failed, and that the old owner went on.
        let went_on = |since: Duration| {
            let last_message = self.last_message.unwrap_or(Duration::MAX);
            since.saturating_sub(last_message) > self.patience
        };
        if let Some(since) = self.handed_over.filter(|since| !went_on(*since)) {
            let cause = match self.is_draining {
                true => FailoverCause::Drained,
                false => FailoverCause::Moved,
            };
            return (cause, Some(since));
        }
        let at_once = |down: Duration| {
            let last_message = self.last_message.unwrap_or(Duration::ZERO);
            last_message.saturating_sub(down) < CLOSED_AT_ONCE
        };
        let cause = match self.down.is_some_and(at_once) {
            true => FailoverCause::Killed,
            false => FailoverCause::Isolated,
        };
        (cause, self.last_message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What is seen of an owner whose last message is 500 ms old.
    fn silent() -> Seen {
        Seen {
            last_message: Some(500 * MS),
            patience: 400 * MS,
            ..Seen::default()
        }
    }

    #[test]
    fn cause_and_time_follow_from_what_was_seen_of_the_old_owner() {
        let handed = Seen {
            handed_over: Some(30 * MS),
            ..silent()
        };
        let draining = Seen {
            is_draining: true,
            ..handed
        };
        let failed_transfer = Seen {
            handed_over: Some(5_000 * MS),
            ..silent()
        };
        let closed = Seen {
            down: Some(480 * MS),
            ..silent()
        };
        let cut = Seen {
            last_message: Some(4_000 * MS),
            down: Some(900 * MS),
            ..silent()
        };
        let own = Seen {
            is_own: true,
            ended: Some(7 * MS),
            ..silent()
        };
        let same = Seen {
            is_same_process: true,
            ..own
        };
        let deposed = Seen {
            was_deposed: true,
            ended: Some(9 * MS),
            ..silent()
        };
        let never_received = Seen {
            down: Some(480 * MS),
            ..Seen::default()
        };
        for (seen, cause, ms) in [
            (handed, FailoverCause::Moved, Some(30)),
            (draining, FailoverCause::Drained, Some(30)),
            (failed_transfer, FailoverCause::Isolated, Some(500)),
            (closed, FailoverCause::Killed, Some(500)),
            (silent(), FailoverCause::Isolated, Some(500)),
            (cut, FailoverCause::Isolated, Some(4_000)),
            (own, FailoverCause::Restarted, None),
            (same, FailoverCause::Regained, Some(7)),
            (deposed, FailoverCause::Clock, Some(9)),
            (never_received, FailoverCause::Killed, None),
        ] {
            assert_eq!(seen.judge(), (cause, ms.map(|ms| ms * MS)), "{seen:?}");
        }
    }
}
