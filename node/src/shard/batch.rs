//! Batcher of a shard: proposes the checked commands of its actors, one log entry at a time.
//!
//! Spine: step 6 of 13. Previous: `node: shard/precheck`. Next: `cluster: shard/proposer`.
//!
//! Queue: the checked commands, counted with those of the mailbox: 16,384 per shard. Beyond it new batches get `Busy`.
//! One entry takes at most 512 of them, or 256 KiB. Metrics: `conversation_proposed`, `shard_batches`.
//!
//! It is the only batcher between the actors and the log. While an entry is in flight the checked commands queue up in
//! the [context](super::context), within the bound of `ShardContext::has_room`, and become the next entry.

use std::rc::Rc;

use bytes::Bytes;
use cluster::{BatchResult, ProposeError, Proposer};

use super::context::ShardContext;
use super::inbound_batch::PendingCommand;

/// Batch of commands that the log has decided.
pub(super) struct AppliedBatch {
    /// In the order in which they were proposed.
    pub(super) commands: Vec<PendingCommand>,
    /// One outcome per command, or the reason for their absence.
    pub(super) result: Result<BatchResult, ProposeError>,
}

/// Waits for checked commands and proposes them as one entry. Returns when the entry is applied or the epoch is over.
///
/// If the actor ends meanwhile, the commands are dropped with this future, which fails their batch streams.
pub(super) async fn propose_next(core: Rc<ShardContext>, mut proposer: Proposer) -> (Proposer, AppliedBatch) {
    // After all actors with pending work, so that the entry holds what arrived together.
    tokio::task::yield_now().await;
    let mut commands = core.next_batch();
    while commands.is_empty() {
        core.queued_wake.notified().await;
        commands = core.next_batch();
    }
    let batch: Vec<Bytes> = commands.iter().map(|pending| pending.bytes.clone()).collect();
    // Marked before the proposal: a command lost from here on may have been applied.
    for pending in &mut commands {
        pending.proposed = true;
    }
    core.shared.client.metrics.rounds.inc();
    core.shared.client.metrics.proposed.inc_by(commands.len() as u64);
    let result = proposer.propose(&batch).await;
    (proposer, AppliedBatch { commands, result })
}
