//! Follows a group's leadership and turns it into ownership: proposes the takeover, ends the epoch.

use std::sync::Arc;
use std::time::Duration;

use crate::node::{Node, Replica};
use crate::raft::Proposal;
use crate::types::shard_name;

/// A new leader's first proposal may be refused until its lease is confirmed; then it is tried again this soon.
const RETRY: Duration = Duration::from_millis(10);

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
            () = replica.over.cancelled() => break,
        }
    }
    node.deactivate(&replica);
}
