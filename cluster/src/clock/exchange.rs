//! Asks the other members for their clocks, looks how this one stands, and says so when that changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::estimate::Report;
use super::{BOUND, Standing, TOLERANCE, millis};
use crate::node::Node;
use crate::ownership::announce::Method;
use crate::types::NodeId;

/// How often this clock is looked at; every second time the others are asked for theirs.
const LOOK: Duration = Duration::from_millis(250);
/// An answer that takes longer says too little.
const DEADLINE: Duration = Duration::from_secs(2);
/// A machine that was suspended for longer than this knows nothing of the others' clocks. Reading two clocks one after
/// the other makes a difference of microseconds.
const SUSPENDED: Duration = Duration::from_millis(100);

/// What was said last about this member's clock.
#[derive(Default)]
struct Logged {
    warned: bool,
    away: bool,
}

/// Runs until the member stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut ticks = interval(LOOK);
    // After a stall one look says as much as all that were missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut logged, mut suspended, mut asks) = (Logged::default(), node.clock().suspended(), true);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.stopping().cancelled() => return,
        }
        let longer = node.clock().suspended();
        if longer > suspended + SUSPENDED {
            let stood_still_ms = millis(longer - suspended);
            tracing::warn!(
                stood_still_ms,
                "this machine was suspended; nothing that was heard of the others' clocks counts"
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
            node.announce();
            node.changed.notify_one();
        }
        node.stand_where_it_may();
    }
}

/// Asks a member for its clock.
pub(crate) fn ask(node: &Arc<Node>, peer: NodeId) {
    let node_ = node.clone();
    node.tasks().spawn(async move {
        let asked = Instant::now();
        let answer = node_.ask_rpc(peer, Method::Clock, Bytes::new(), DEADLINE);
        let answer = tokio::select! {
            answer = answer => answer,
            () = node_.stopping().cancelled() => return,
        };
        if let Some((wall_ms, may_own)) = answer.as_deref().and_then(decode) {
            let report = Report::new(wall_ms, asked, Instant::now(), may_own);
            node_.clock().learn(peer, report);
        }
    });
}

/// `wall_ms u64 | may_own u8`, big-endian.
pub(crate) fn encode(wall_ms: u64, may_own: bool) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9);
    bytes.put_u64(wall_ms);
    bytes.put_u8(u8::from(may_own));
    bytes.freeze()
}

fn decode(mut bytes: &[u8]) -> Option<(u64, bool)> {
    (bytes.len() == 9).then(|| (bytes.get_u64(), bytes.get_u8() == 1))
}

// === impl Logged ===

impl Logged {
    /// Logs what is new. Returns whether this member may own from now on, or may no longer.
    fn update(&mut self, standing: &Standing) -> bool {
        let before = self.away;
        if let Some(skew_ms) = standing.skew_ms {
            let certain = skew_ms.unsigned_abs().saturating_sub(standing.error_ms);
            if !self.warned && certain > millis(TOLERANCE) {
                self.warned = true;
                tracing::warn!(
                    skew_ms,
                    "this machine's clock differs from the majority's: is it kept by NTP?"
                );
            } else if self.warned && skew_ms.unsigned_abs() <= millis(TOLERANCE / 2) {
                self.warned = false;
                tracing::info!(skew_ms, "this machine's clock agrees with the majority's again");
            }
            if standing.away && !self.away {
                tracing::warn!(
                    skew_ms,
                    bound_ms = millis(BOUND),
                    "this machine's clock is wrong: the node hands its shards over and owns nothing until it is right"
                );
            } else if self.away && !standing.away {
                tracing::warn!(
                    skew_ms,
                    "this machine's clock is right again: the node may own shards"
                );
            }
        }
        self.away = standing.away;
        before != self.away
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
        let mut logged = Logged::default();
        let at = |skew_ms, away| Standing {
            skew_ms: Some(skew_ms),
            error_ms: 1,
            away,
        };
        assert!(!logged.update(&at(600, false)) && logged.warned);
        assert!(logged.update(&at(11_000, true)));
        assert!(!logged.update(&at(12_000, true)));
        let unknown = Standing {
            skew_ms: None,
            error_ms: 0,
            away: true,
        };
        assert!(!logged.update(&unknown));
        assert!(logged.update(&at(100, false)) && !logged.warned);
    }
}
