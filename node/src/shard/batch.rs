//! Batcher of a shard: queues the checked commands of its actors and proposes them, one log entry at a time.
//!
//! Spine: step 6 of 13. Previous: `node: shard/conversation_actor`. Next: `cluster: shard/proposer`.
//!
//! Queue: the checked commands, counted with those of the mailboxes and of the log: 16,384 per shard. Beyond it new
//! batches get `Busy`. One entry takes at most 512 of them, or 256 KiB. Metrics: `conversation_proposed`,
//! `shard_batches`.
//!
//! It is the only batcher between the actors and the log. While an entry is in flight the checked commands queue up and
//! become the next entry.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cluster::{BatchResult, ProposeError, Proposer};
use tokio::sync::Notify;

use super::context::ShardContext;
use super::inbound_batch::PendingCommand;
use crate::rpc::RpcError;
use crate::rpc::submit::BATCH_BYTES;

/// Accepted commands per shard without a response. Further batches get `busy`; the command queue sends them again.
const MAX_COMMANDS: usize = 16_384;

/// Checked commands of a shard that are not proposed yet.
#[derive(Default)]
pub(crate) struct BatchQueue {
    commands: RefCell<VecDeque<PendingCommand>>,
    wake: Notify,
    /// Number of commands without a response, here and elsewhere in the shard.
    pub(crate) load: Arc<AtomicUsize>,
}

/// Batch of commands that the log has decided.
pub(super) struct AppliedBatch {
    /// In the order in which they were proposed.
    pub(super) commands: Vec<PendingCommand>,
    /// One outcome per command, or the reason for their absence.
    pub(super) result: Result<BatchResult, ProposeError>,
}

// === impl BatchQueue ===

impl BatchQueue {
    /// Returns true if `more` commands fit within the shard's bound.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.load.load(Ordering::Relaxed) + more <= MAX_COMMANDS
    }

    /// Appends a command to the next batch.
    pub(crate) fn push(&self, pending: PendingCommand) {
        self.commands.borrow_mut().push_back(pending);
        self.wake.notify_one();
    }

    /// Fails everything that is not proposed yet.
    pub(crate) fn fail(&self, refused: &RpcError) {
        // Failed explicitly: a plain drop would send `Broken`, without the hint at the new owner.
        let queued = std::mem::take(&mut *self.commands.borrow_mut());
        for pending in queued {
            pending.fail(refused.clone());
        }
    }

    /// Removes and returns the commands of the next batch; commands of failed streams are dropped.
    fn next(&self, most: usize) -> Vec<PendingCommand> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut queued = self.commands.borrow_mut();
        while let Some(pending) = queued.pop_front() {
            // Dropping the command fails its batch, so its queue gets a response.
            if !pending.alive() {
                continue;
            }
            bytes += pending.bytes.len();
            // The first command always fits: one above the byte bound would otherwise block the shard.
            if !batch.is_empty() && (batch.len() >= most || bytes > BATCH_BYTES) {
                queued.push_front(pending);
                break;
            }
            batch.push(pending);
        }
        batch
    }
}

/// Waits for checked commands and proposes them as one entry. Returns when the entry is applied or the epoch is over.
///
/// If the actor ends meanwhile, the commands are dropped with this future, which fails their batch streams.
pub(super) async fn propose_next(core: Rc<ShardContext>, mut proposer: Proposer) -> (Proposer, AppliedBatch) {
    let (queue, most) = (&core.batch, core.shared.settings.batch_commands);
    // After all actors with pending work, so that the entry holds what arrived together.
    tokio::task::yield_now().await;
    let mut commands = queue.next(most);
    while commands.is_empty() {
        queue.wake.notified().await;
        commands = queue.next(most);
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
