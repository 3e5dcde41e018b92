//! Supervisor task of a replica: proposes the takeover when the replica becomes leader, and ends the epoch with the
//! leadership.
//!
//! A member whose clock is [too far from the majority's](crate::clock) does not take over a group that it was elected
//! to lead. It transfers the leadership as soon as another member can lead.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::shard_name;
use crate::member::{Member, Replica, leadership_transfer};
use crate::raft::Proposal;

/// Pause before a refused takeover is proposed again: openraft may refuse a new leader until its lease is confirmed.
const RETRY: Duration = Duration::from_millis(10);
/// Time limit of waiting for the other members' clocks before a takeover. The leader has just received votes of a
/// majority, so their clocks are in reach.
const CLOCKS: Duration = Duration::from_secs(1);
/// Pause between two attempts to transfer a leadership that this member may not use.
const HAND_ON: Duration = Duration::from_millis(50);

/// Supervises the replica until its group stops or the replica is removed.
pub(crate) async fn supervise(node: Arc<Member>, replica: Arc<Replica>) {
    let shard = replica.group.shard();
    let mut leadership = replica.group.leadership();
    let mut taken = None;
    while !replica.over.is_cancelled() {
        let term = leadership.term();
        // Leadership may have been lost and won again between two wake-ups; another leader may have written in between,
        // so the old epoch must end.
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
            // The apply task activates the shard through the apply observer when the takeover is applied, not this
            // task.
            let proposed = tokio::select! {
                // Without a quorum the proposal never completes, and the leadership can end meanwhile.
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
                    tracing::debug!(shard = shard_name(shard), %error, "takeover refused");
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
                // Prefer another leader: the clock that made this member's batch untimely is still wrong.
                if term.is_some() {
                    leadership_transfer::hand_on(&node, &replica).await;
                }
            }
            () = replica.over.cancelled() => break,
        }
    }
    // Also after a stopped group: its watch reports no further change that would end the epoch.
    node.deactivate(&replica);
}

/// Checks that this member's clock permits ownership; otherwise transfers the leadership and returns false.
async fn may_take_over(node: &Arc<Member>, replica: &Replica) -> bool {
    // A member that has just started has no clock reports yet. It would own the shard but refuse every batch.
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
    if !leadership_transfer::hand_on(node, replica).await {
        // No member can lead now. Without a pause the caller would retry in a tight loop.
        tokio::select! {
            () = tokio::time::sleep(HAND_ON) => {}
            () = replica.over.cancelled() => {}
        }
    }
    false
}
