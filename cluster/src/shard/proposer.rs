//! Proposal queue of a shard, which packs queued commands into log entries.
//!
//! Spine: step 6 of 13. Previous: `node: conversation/shard/propose`. Next: `cluster: raft/log_store`.
//!
//! One entry is in flight per shard, and the next one contains everything queued in that time. Under load the batches
//! therefore grow by themselves, and without load no command is delayed for a fuller batch.
//!
//! The queue is bounded in commands ([`MAX_WAITING`]); when it is full, [`Proposer::submit`] returns [`Full`].
//!
//! Commands come from the conversation actors of this node; entries go to the shard's [Raft group](crate::raft).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::{ShardId, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::batch_codec;
use crate::clock::{ClusterClock, Stamp};
use crate::error::{Full, ProposeError};
use crate::ids::META_SHARD;
use crate::metrics::Metrics;
use crate::raft::{Group, Proposal, ProposalResult};

/// Result of a batch that a majority has on disk and that is applied on this node.
#[derive(Clone, Debug)]
pub struct BatchResult {
    /// Log index of the batch.
    pub index: u64,
    /// One outcome per command, in order.
    pub outcomes: Vec<Bytes>,
}

/// Maximum number of commands in one shard's queue: a longer queue is more than 100 ms old.
const MAX_WAITING: usize = 16_384;
/// Maximum number of commands in one log entry; one larger submission still becomes one entry.
const MAX_COMMANDS: usize = 512;
/// Maximum size of one log entry in bytes; one larger submission still becomes one entry.
const MAX_BYTES: usize = 256 << 10;

/// Completion callback of a submission. Runs once: on a cluster thread and in log order, or immediately on the caller's
/// thread if the epoch is already over.
pub type BatchCompletion = Box<dyn FnOnce(Result<BatchResult, ProposeError>) + Send>;

/// Appends commands to a shard's log while its epoch lasts. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    queue: Arc<ProposalQueue>,
}

struct ProposalQueue {
    shard: ShardId,
    epoch: u64,
    max_waiting: usize,
    max_commands: usize,
    max_bytes: usize,
    waiting: Mutex<QueuedProposal>,
    wake: Notify,
    over: CancellationToken,
    metrics: Metrics,
}

#[derive(Default)]
struct QueuedProposal {
    submissions: VecDeque<Submission>,
    commands: usize,
    closed: bool,
}

struct Submission {
    commands: Vec<Bytes>,
    done: BatchCompletion,
}

// === impl Proposer ===

impl Proposer {
    pub(crate) fn new(shard: ShardId, epoch: u64, metrics: Metrics) -> Proposer {
        let queue = ProposalQueue {
            shard,
            epoch,
            max_waiting: MAX_WAITING,
            max_commands: MAX_COMMANDS,
            max_bytes: MAX_BYTES,
            waiting: Mutex::default(),
            wake: Notify::new(),
            over: CancellationToken::new(),
            metrics,
        };
        Proposer {
            queue: Arc::new(queue),
        }
    }

    /// Enqueues the commands behind all earlier ones; they are proposed together, in one entry.
    ///
    /// # Errors
    /// [`Full`] returns the commands when the queue's bound is reached; `done` is then dropped without being called.
    pub fn submit(&self, commands: Vec<Bytes>, done: BatchCompletion) -> Result<(), Full> {
        // Checked and pushed under one lock: after `close` no task would complete the submission.
        let mut waiting = self.queue.waiting.lock();
        if waiting.closed {
            // The callback belongs to the caller and may submit again: never call it under the lock.
            drop(waiting);
            done(Err(ProposeError::NotOwner));
            return Ok(());
        }
        // An empty queue accepts any size, or a submission above the bound could never be proposed.
        if waiting.commands > 0 && waiting.commands + commands.len() > self.queue.max_waiting {
            return Err(Full(commands));
        }
        waiting.commands += commands.len();
        waiting.submissions.push_back(Submission { commands, done });
        drop(waiting);
        self.queue.wake.notify_one();
        Ok(())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.queue.epoch
    }

    /// Ends the epoch. Queued commands are certainly not applied; the outcome of the entry in flight is unknown.
    pub(crate) fn close(&self) {
        let submissions = {
            let mut waiting = self.queue.waiting.lock();
            waiting.closed = true;
            waiting.commands = 0;
            std::mem::take(&mut waiting.submissions)
        };
        self.queue.over.cancel();
        // Completed outside the lock: a callback may submit again.
        for submission in submissions {
            (submission.done)(Err(ProposeError::NotOwner));
        }
    }

    /// Proposes the submissions, batch by batch, until [`close`](Self::close).
    pub(crate) async fn run(self, group: Group, store: Store, clock: ClusterClock) {
        let queue = &self.queue;
        loop {
            if queue.over.is_cancelled() {
                return;
            }
            let batch = queue.take();
            if batch.is_empty() {
                tokio::select! {
                    () = queue.wake.notified() => continue,
                    () = queue.over.cancelled() => return,
                }
            }
            // Checked before the entry exists: an entry that a full disk refuses stops the whole Raft group.
            if let Err(error) = store.room() {
                tracing::debug!(shard = queue.shard.0, %error, "batch refused");
                refuse(batch, ProposeError::NoRoom);
                continue;
            }
            // Only the owner stamps. Replicas compare the two times of the entry with each other and never with their
            // own clock, or they would differ.
            let Some(stamp) = queue.stamp(&clock, &group) else {
                tracing::debug!(shard = queue.shard.0, "batch refused: too few clock samples");
                refuse(batch, ProposeError::NoTime);
                continue;
            };
            // Clones share the bytes. The submissions keep their commands, because `answer` counts the outcomes by
            // them.
            let commands: Vec<Bytes> = batch.iter().flat_map(|s| s.commands.iter().cloned()).collect();
            let count = commands.len();
            let proposal = Proposal::Batch {
                epoch: queue.epoch,
                now_ms: stamp.now_ms,
                reached_ms: stamp.reached_ms,
                commands: batch_codec::pack(&commands),
            };
            drop(commands);
            // Biased: an outcome that has arrived is never reported as unknown because the epoch ends in the same
            // moment.
            // Cancelling the proposal does not withdraw the entry; it may still be committed, hence `Unknown`.
            let result = tokio::select! {
                biased;
                result = group.propose(proposal) => result,
                () = queue.over.cancelled() => Err(ProposeError::Unknown),
            };
            queue.metrics.proposed(count, result.is_ok());
            if matches!(result, Ok((_, ProposalResult::Untimely))) {
                // Nothing may follow the refused batch under this epoch: a later command of the same sender would
                // overtake it.
                self.close();
            }
            answer(batch, result);
        }
    }
}

impl fmt::Debug for Proposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Proposer(shard {}, epoch {})",
            self.queue.shard.0, self.queue.epoch
        )
    }
}

// === impl ProposalQueue ===

impl ProposalQueue {
    /// Returns the time of a batch; `None` if too few clocks are known. The cluster map contains no times and must be
    /// changeable without known clocks, so the meta group then gets zeros.
    fn stamp(&self, clock: &ClusterClock, group: &Group) -> Option<Stamp> {
        let stamp = clock.stamp(|| group.voters().into_iter().collect());
        let none = Stamp {
            now_ms: 0,
            reached_ms: 0,
        };
        stamp.or((self.shard == META_SHARD).then_some(none))
    }

    /// Removes queued submissions from the front, up to the bounds of one entry but at least one submission.
    fn take(&self) -> Vec<Submission> {
        let mut waiting = self.waiting.lock();
        let (mut batch, mut commands, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = waiting.submissions.front() {
            let size: usize = next.commands.iter().map(Bytes::len).sum();
            if !batch.is_empty()
                && (commands + next.commands.len() > self.max_commands || bytes + size > self.max_bytes)
            {
                break;
            }
            commands += next.commands.len();
            bytes += size;
            batch.extend(waiting.submissions.pop_front());
        }
        waiting.commands -= commands;
        batch
    }
}

/// Completes each submission with the outcomes of its own commands.
fn answer(batch: Vec<Submission>, result: Result<(u64, ProposalResult), ProposeError>) {
    let (index, mut outcomes) = match result {
        Ok((index, ProposalResult::Outcomes(outcomes))) => (index, outcomes.into_iter()),
        Ok((_, ProposalResult::StaleEpoch | ProposalResult::Untimely)) => {
            return refuse(batch, ProposeError::NotOwner);
        }
        // A takeover or a membership entry has no outcomes: the answer does not belong to this batch.
        Ok((_, ProposalResult::Nothing)) => return refuse(batch, ProposeError::Unknown),
        Err(error) => return refuse(batch, error),
    };
    for submission in batch {
        let own: Vec<Bytes> = outcomes.by_ref().take(submission.commands.len()).collect();
        (submission.done)(Ok(BatchResult { index, outcomes: own }));
    }
}

fn refuse(batch: Vec<Submission>, error: ProposeError) {
    for submission in batch {
        (submission.done)(Err(error));
    }
}
