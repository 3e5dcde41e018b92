//! [`FreshReads`]: proof that a local read contains every write acknowledged before the read was requested.
//!
//! ```text
//!   reader ── confirmed() ──► waiting ─┐            one round in flight per shard; later readers
//!   reader ── confirmed() ──► waiting ─┤            join the next round
//!                                      ▼
//!               the owner asks every voter for the newest term that it has voted in or received
//!                                      │
//!          majority: no term newer than that of this takeover     ► when the question was sent, no other node
//!                                      │                            led, so none had acknowledged anything
//!                                      ▼
//!               the local rows hold all that this owner acknowledged, because it applies first
//! ```
//!
//! A newer leader needs the votes of a majority, every two majorities share a member, and a vote is on disk before it
//! is sent. The proof uses no clock: a leader that was paused, or whose machine was suspended, is refuted by the round.
//! It is ReadIndex (Ongaro, "Consensus", 6.4) with the takeover in the place of the index: everything that former
//! owners acknowledged is below it, and it is applied before there are reads.
//!
//! openraft's own lease and ReadIndex are not used. Both take the time of a quorum's last response from bookkeeping
//! that credits an old response to a later append: see `docs/decisions/0014-reads-ask-a-majority.md`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use storage::ShardId;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ids::ShardOwner;
use crate::metrics::Metrics;
use crate::raft::Group;

/// Consistent reads of a shard during one epoch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FreshReads {
    queue: Arc<ReadQueue>,
}

struct ReadQueue {
    shard: ShardId,
    owner: ShardOwner,
    /// Time limit of one round.
    patience: Duration,
    waiting: Mutex<WaitingReads>,
    wake: Notify,
    over: CancellationToken,
    metrics: Metrics,
}

/// Readers of the next round. The node bounds the number of its reads, so this list needs no bound.
#[derive(Default)]
struct WaitingReads {
    readers: Vec<oneshot::Sender<bool>>,
    closed: bool,
}

// === impl FreshReads ===

impl FreshReads {
    pub(crate) fn new(shard: ShardId, owner: ShardOwner, patience: Duration, metrics: Metrics) -> FreshReads {
        let queue = ReadQueue {
            shard,
            owner,
            patience,
            waiting: Mutex::default(),
            wake: Notify::new(),
            over: CancellationToken::new(),
            metrics,
        };
        FreshReads {
            queue: Arc::new(queue),
        }
    }

    /// Returns true if this node was the shard's only owner at some time after this call. Its rows then contain every
    /// write acknowledged before the call.
    pub(crate) async fn confirmed(&self) -> bool {
        let (reader, answer) = oneshot::channel();
        {
            // Checked and pushed under one lock: after `close` no round would resolve the reader.
            let mut waiting = self.queue.waiting.lock();
            if waiting.closed {
                return false;
            }
            waiting.readers.push(reader);
        }
        self.queue.wake.notify_one();
        answer.await.unwrap_or(false)
    }

    /// Ends the epoch: the waiting reads fail, and so do later ones.
    pub(crate) fn close(&self) {
        // Closed first, so that no reader is added behind the drain.
        self.queue.waiting.lock().closed = true;
        self.queue.over.cancel();
        answer(self.queue.take(), false);
    }

    /// Runs rounds until [`close`](Self::close).
    pub(crate) async fn run(self, group: Group) {
        let queue = &self.queue;
        loop {
            // Drained before the round: it proves nothing about writes acknowledged after its question was sent, which
            // a later reader may have seen.
            let mut readers = queue.take();
            if readers.is_empty() {
                tokio::select! {
                    () = queue.wake.notified() => continue,
                    () = queue.over.cancelled() => return,
                }
            }
            let proved = tokio::select! {
                biased;
                () = queue.over.cancelled() => false,
                // Without the limit one unresponsive voter could block all reads of the shard.
                proved = tokio::time::timeout(queue.patience, queue.round(&group)) => proved.unwrap_or(false),
            };
            if !proved {
                // Readers that arrived during a failed round would wait for another round to fail. They retry by
                // themselves.
                readers.append(&mut queue.take());
            }
            queue.metrics.confirmed(readers.len(), proved);
            answer(readers, proved);
        }
    }
}

// === impl ReadQueue ===

impl ReadQueue {
    fn take(&self) -> Vec<oneshot::Sender<bool>> {
        std::mem::take(&mut self.waiting.lock().readers)
    }

    /// Asks every voter once. Returns true if a majority of each voter set has no newer term than the takeover's.
    async fn round(&self, group: &Group) -> bool {
        let me = self.owner.node;
        let older = |term: Option<u64>| term.is_some_and(|term| term <= self.owner.term);
        let mut tally = group.tally();
        // This replica is a voter too, and may itself have voted in a newer term.
        tally.count(me, older(Some(group.promised())));
        let others = tally.voters().into_iter().filter(|&node| node != me);
        let mut answers: FuturesUnordered<_> = others
            .map(|node| {
                let answer = group.ask_promised(node, self.patience);
                async move { (node, answer.await) }
            })
            .collect();
        loop {
            if let Some(verdict) = tally.verdict() {
                return verdict;
            }
            match answers.next().await {
                // A voter without a response counts as a vote for a newer leader: its term is unknown.
                Some((node, term)) => tally.count(node, older(term)),
                None => return false,
            }
        }
    }
}

fn answer(readers: Vec<oneshot::Sender<bool>>, proved: bool) {
    for reader in readers {
        // Fails only if the reader was cancelled.
        let _ = reader.send(proved);
    }
}

impl std::fmt::Debug for FreshReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Reads(shard {}, epoch {})",
            self.queue.shard.0, self.queue.owner.epoch
        )
    }
}
