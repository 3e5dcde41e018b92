//! Clock exchange: requests the other members' clocks, evaluates this one, and logs and announces changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::{BOUND, ClockReport, ClockStatus, TOLERANCE, millis};
use crate::ids::NodeId;
use crate::member::Member;
use crate::shard::MemberMethod;

/// Interval of evaluating this clock. Every second time the other members' clocks are requested.
const LOOK: Duration = Duration::from_millis(250);
/// Time limit of a request; a slower response would be too inaccurate.
const DEADLINE: Duration = Duration::from_secs(2);
/// Suspension of the machine above which all reports are discarded. Reading two clocks in succession differs by
/// microseconds.
const SUSPENDED: Duration = Duration::from_millis(100);

/// State of this member's clock as logged last.
#[derive(Default)]
struct LoggedSkew {
    warned: bool,
    outside: bool,
}

/// Exchanges clocks until the member stops.
pub(crate) async fn run(node: Arc<Member>) {
    let mut ticks = interval(LOOK);
    // After a stall one evaluation replaces all missed ones.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut logged, mut suspended, mut asks) = (LoggedSkew::default(), node.clock().suspended(), true);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.stopping().cancelled() => return,
        }
        let longer = node.clock().suspended();
        // The monotonic clock stood still meanwhile, so extrapolated reports would be behind by that time.
        if longer > suspended + SUSPENDED {
            let stood_still_ms = millis(longer - suspended);
            tracing::warn!(
                stood_still_ms,
                "this machine was suspended, discarding all clock samples"
            );
            node.clock().forget();
            node.metrics().was_suspended();
            asks = true;
        }
        suspended = longer;
        if asks {
            for peer in node.others() {
                if node.health.is_up(peer) {
                    ask(&node, peer);
                }
            }
        }
        asks = !asks;
        let standing = node.clock().look();
        node.metrics().clock(&standing);
        if logged.update(&standing) {
            // Immediately: the reconciliation then transfers the shards, or accepts them again.
            node.announce();
            node.changed.notify_one();
        }
        // On every evaluation, because it also depends on the time since each group's last leader.
        node.stand_where_it_may();
    }
}

/// Requests the clock of a member, in a task.
pub(crate) fn ask(node: &Arc<Member>, peer: NodeId) {
    let node_ = node.clone();
    node.tasks().spawn(async move {
        // Before the request is queued: time in the queue is part of the round trip, and so of the uncertainty.
        let asked = Instant::now();
        let answer = node_.ask_rpc(peer, MemberMethod::Clock, Bytes::new(), DEADLINE);
        let answer = tokio::select! {
            answer = answer => answer,
            () = node_.stopping().cancelled() => return,
        };
        if let Some((wall_ms, may_own)) = answer.as_deref().and_then(decode) {
            let report = ClockReport::new(wall_ms, asked, Instant::now(), may_own);
            node_.clock().learn(peer, report);
        }
    });
}

/// Encodes a clock report: `wall_ms u64 | may_own u8`, big-endian.
pub(crate) fn encode(wall_ms: u64, may_own: bool) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9);
    bytes.put_u64(wall_ms);
    bytes.put_u8(u8::from(may_own));
    bytes.freeze()
}

fn decode(mut bytes: &[u8]) -> Option<(u64, bool)> {
    (bytes.len() == 9).then(|| (bytes.get_u64(), bytes.get_u8() == 1))
}

// === impl LoggedSkew ===

impl LoggedSkew {
    /// Logs changes. Returns true if the permission to own shards has changed.
    fn update(&mut self, standing: &ClockStatus) -> bool {
        let before = self.outside;
        if let Some(skew_ms) = standing.skew_ms {
            // Only the certain part of the skew warns, or slow connections would.
            let certain = skew_ms.unsigned_abs().saturating_sub(standing.error_ms);
            if !self.warned && certain > millis(TOLERANCE) {
                self.warned = true;
                tracing::warn!(skew_ms, "clock differs from the majority's, check NTP");
                // Half of the tolerance, so that a clock at the edge does not log every second.
            } else if self.warned && skew_ms.unsigned_abs() <= millis(TOLERANCE / 2) {
                self.warned = false;
                tracing::info!(skew_ms, "clock agrees with the majority's again");
            }
            if standing.outside && !self.outside {
                tracing::warn!(
                    skew_ms,
                    bound_ms = millis(BOUND),
                    "clock is too far from the majority's, transferring all shards until it is corrected"
                );
            } else if self.outside && !standing.outside {
                tracing::warn!(skew_ms, "clock is corrected, the node may own shards again");
            }
        }
        self.outside = standing.outside;
        before != self.outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_clock_is_frozen() {
        let bytes = encode(0x0102_0304_0506_0708, true);
        assert_eq!(bytes[..], [1, 2, 3, 4, 5, 6, 7, 8, 1]);
        assert_eq!(decode(&bytes), Some((0x0102_0304_0506_0708, true)));
        assert_eq!(decode(&bytes[..8]), None);
    }

    #[test]
    fn what_is_wrong_with_a_clock_is_logged_once() {
        let mut logged = LoggedSkew::default();
        let at = |skew_ms, outside| ClockStatus {
            skew_ms: Some(skew_ms),
            error_ms: 1,
            outside,
        };
        assert!(!logged.update(&at(600, false)) && logged.warned);
        assert!(logged.update(&at(11_000, true)));
        assert!(!logged.update(&at(12_000, true)));
        let unknown = ClockStatus {
            skew_ms: None,
            error_ms: 0,
            outside: true,
        };
        assert!(!logged.update(&unknown));
        assert!(logged.update(&at(100, false)) && !logged.warned);
    }
}
