//! Heartbeat timer for all groups that this node leads.
//!
//! openraft gives each group a timer with its own phase. A node with many groups would wake itself and its peers for
//! one small frame at a time. With one timer the frames of all groups leave together: a connection writes them at once,
//! and they are read and answered together. The idea is CockroachDB's coalesced heartbeats.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use crate::member::Member;

/// Sends heartbeats until the node stops.
pub(super) async fn run(node: Arc<Member>) {
    let mut clock = interval(node.config.heartbeat);
    // After a stall one heartbeat replaces all missed ones.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = node.stopping.cancelled() => return,
        }
        for replica in node.all_replicas() {
            replica.group.heartbeat();
        }
    }
}
