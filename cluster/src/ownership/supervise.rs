//! Follows a group's leadership and turns it into ownership: proposes the takeover, ends the epoch.
//!
//! A member whose clock is [away](crate::clock) doesn't take over what it was elected to lead: it hands the leadership
//! on as soon as there is somebody to take it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::membership::reconcile;
use crate::node::{Node, Replica};
use crate::raft::Proposal;
use crate::types::shard_name;

/// A new leader's first proposal may be refused until its lease is confirmed; then it is tried again this soon.
const RETRY: Duration = Duration::from_millis(10);
/// How long a leader waits to hear of the others' clocks before it takes over without: it has a majority's votes, so
/// they are in reach.
const CLOCKS: Duration = Duration::from_secs(1);
/// Between two attempts to hand on what this member may not own.
const HAND_ON: Duration = Duration::from_millis(50);

/// Runs until the group stops or the replica is let go.
pub(crate) async fn supervise(node: Arc<Node>, replica: Arc<Replica>) {
    let shard = replica.group.shard();
    let mut leadership = replica.group.leadership();
    let mut taken = None;
    while !replica.over.is_cancelled() {
        let term = leadership.term();
        if term.is_none() || term != taken {
            taken = None;
            node.deactivate(&replica);
        }
        if term.is_some() && taken.is_none() && !may_take_over(&node, &replica).await {
            continue;
        }
        if term.is_some() && taken.is_none() {
            let takeover = Proposal::Takeover {
                node: node.id(),
                incarnation: node.incarnation(),
            };
            // When it is applied, the state machine's watcher activates the shard; nothing is left to do here.
            let proposed = tokio::select! {
                proposed = replica.group.propose(takeover) => Some(proposed),
                alive = leadership.changed() => if alive { None } else { break },
                () = replica.over.cancelled() => break,
            };
            match proposed {
                Some(Ok((epoch, _))) => {
                    tracing::debug!(shard = shard_name(shard), epoch, "took over");
                    taken = term;
                }
                Some(Err(error)) => {
                    tracing::debug!(shard = shard_name(shard), %error, "takeover was refused");
                    tokio::time::sleep(RETRY).await;
                }
                None => {}
            }
            continue;
        }
        tokio::select! {
            alive = leadership.changed() => if !alive { break },
            () = replica.lapsed.notified() => {
                taken = None;
                // To somebody else, if there is anybody: what was wrong here would be wrong again.
                if term.is_some() {
                    reconcile::hand_on(&node, &replica).await;
                }
            }
            () = replica.over.cancelled() => break,
        }
    }
    node.deactivate(&replica);
}

/// Whether this member's clock permits to own. If not, the leadership is handed on.
async fn may_take_over(node: &Arc<Node>, replica: &Replica) -> bool {
    let given_up = Instant::now() + CLOCKS;
    while node.clock().reached_ms().is_none() && Instant::now() < given_up {
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = replica.over.cancelled() => return false,
        }
    }
    if node.clock().may_own() {
        return true;
    }
    if !reconcile::hand_on(node, replica).await {
        tokio::select! {
            () = tokio::time::sleep(HAND_ON) => {}
            () = replica.over.cancelled() => {}
        }
    }
    false
}
