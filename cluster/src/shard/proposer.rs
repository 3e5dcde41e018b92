//! Proposes the batches of a shard owner as log entries.
//!
//! Spine: step 6 of 13. Previous: `node: shard/batch`. Next: `cluster: raft/log_store`.
//!
//! A [`Proposer`] belongs to one epoch and has no queue: the batcher is the shard's batch task, which gets the proposer
//! with the ownership of the shard. [`propose`](Proposer::propose) borrows it mutably until the batch is applied, so
//! one entry is in flight per shard. Meanwhile the batcher collects the next batch: under load the batches grow by
//! themselves, and without load no command is delayed for a fuller batch.
//!
//! Entries go to the shard's [Raft group](crate::raft).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use storage::{ShardId, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch_codec;
use crate::clock::{ClusterClock, Stamp};
use crate::error::ProposeError;
use crate::ids::{FeatureLevel, META_SHARD};
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

/// Feature level of the cluster as known to this node, shared with its proposers.
#[derive(Debug, Default)]
pub(crate) struct LevelCell(AtomicU32);

/// Appends batches to a shard's log while its epoch lasts.
pub struct Proposer {
    shard: ShardId,
    epoch: u64,
    level: Arc<LevelCell>,
    group: Group,
    store: Store,
    clock: ClusterClock,
    /// Cancelled at the end of the epoch.
    over: CancellationToken,
    metrics: Metrics,
}

// === impl LevelCell ===

impl LevelCell {
    pub(crate) fn get(&self) -> FeatureLevel {
        // Relaxed: an older value is a level that every member supports, too.
        FeatureLevel(self.0.load(Ordering::Relaxed))
    }

    /// Raises the level; a lower one is ignored.
    pub(crate) fn raise(&self, level: FeatureLevel) {
        self.0.fetch_max(level.0, Ordering::Relaxed);
    }
}

// === impl Proposer ===

impl Proposer {
    /// Returns the proposer of an epoch that lasts until `over` is cancelled.
    pub(crate) fn new(
        group: Group,
        epoch: u64,
        over: CancellationToken,
        level: Arc<LevelCell>,
        store: Store,
        clock: ClusterClock,
        metrics: Metrics,
    ) -> Proposer {
        Proposer {
            shard: group.shard(),
            epoch,
            level,
            group,
            store,
            clock,
            over,
            metrics,
        }
    }

    /// Proposes the commands as one entry and waits until it is applied on this node. The end of the epoch ends the
    /// wait.
    ///
    /// # Errors
    /// [`ProposeError::Unknown`]: the batch may be applied later. Every other error: it is certainly not applied.
    pub async fn propose(&mut self, batch: &[Bytes]) -> Result<BatchResult, ProposeError> {
        if self.over.is_cancelled() {
            return Err(ProposeError::NotOwner);
        }
        // Checked before the entry exists: an entry that a full disk refuses stops the whole Raft group.
        if let Err(error) = self.store.room() {
            tracing::debug!(shard = self.shard.0, %error, "batch refused");
            return Err(ProposeError::NoRoom);
        }
        // Only the owner stamps. Replicas compare the two times of the entry with each other and never with their own
        // clock, or they would differ.
        let Some(stamp) = self.stamp() else {
            tracing::debug!(shard = self.shard.0, "batch refused: too few clock samples");
            return Err(ProposeError::NoTime);
        };
        let proposal = Proposal::Batch {
            epoch: self.epoch,
            level: self.level.get(),
            now_ms: stamp.now_ms,
            reached_ms: stamp.reached_ms,
            commands: batch_codec::pack(batch),
        };
        let began = Instant::now();
        // Biased: an outcome that has arrived is never reported as unknown because the epoch ends in the same moment.
        // Cancelling the proposal does not withdraw the entry; it may still be committed, hence `Unknown`.
        let result = tokio::select! {
            biased;
            result = self.group.propose(proposal) => result,
            () = self.over.cancelled() => Err(ProposeError::Unknown),
        };
        self.metrics
            .proposed(batch.len(), result.is_ok(), began.elapsed());
        match result? {
            (index, ProposalResult::Outcomes(outcomes)) => Ok(BatchResult { index, outcomes }),
            (_, ProposalResult::StaleEpoch) => Err(ProposeError::NotOwner),
            (_, ProposalResult::Untimely) => {
                // Nothing may follow the refused batch under this epoch: a later command of the same sender would
                // overtake it.
                self.over.cancel();
                Err(ProposeError::NotOwner)
            }
            // A takeover or a membership entry has no outcomes: the answer does not belong to this batch.
            (_, ProposalResult::Nothing) => Err(ProposeError::Unknown),
        }
    }

    /// Returns the time of a batch; `None` if too few clocks are known. The cluster map contains no times and must be
    /// changeable without known clocks, so the meta group then gets zeros.
    fn stamp(&self) -> Option<Stamp> {
        let stamp = self.clock.stamp(|| self.group.voters().into_iter().collect());
        let none = Stamp {
            now_ms: 0,
            reached_ms: 0,
        };
        stamp.or((self.shard == META_SHARD).then_some(none))
    }
}

impl fmt::Debug for Proposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposer(shard {}, epoch {})", self.shard.0, self.epoch)
    }
}
