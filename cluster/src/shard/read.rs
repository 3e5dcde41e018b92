//! [`Reads`]: proves that a local read sees everything that was acknowledged before it was asked for.
//!
//! ```text
//!   reader ── confirmed() ──► waiting ─┐            one round under way per shard; who comes meanwhile
//!   reader ── confirmed() ──► waiting ─┤            joins the next
//!                                      ▼
//!               the owner asks every voter: which is the newest term that you have voted in or heard of?
//!                                      │
//!          a majority says: none newer than that of my takeover   ► at the time of the question nobody else led,
//!                                      │                            so nobody else had acknowledged anything
//!                                      ▼
//!               local rows hold all that this owner acknowledged, for it applies first
//! ```
//!
//! A newer leader needs the votes of a majority, every two majorities share a member, and a vote is on disk before it is
//! given. No clock is part of it: a leader that was paused, or whose machine was suspended, finds out when it asks. That is
//! ReadIndex (Ongaro, "Consensus", 6.4) with the takeover in the place of the index: all that former owners acknowledged is
//! below it, and it is applied before there are reads.
//!
//! openraft's own ways are not used. Its lease and its ReadIndex take the time at which a quorum last answered from
//! bookkeeping that credits an old answer with a later append: see decision 14.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use storage::ShardId;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::ownership::Owner;
use crate::raft::group::Group;

/// The reads of a shard, for as long as an epoch lasts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reads {
    queue: Arc<Queue>,
}

struct Queue {
    shard: ShardId,
    owner: Owner,
    /// How long a round may take.
    patience: Duration,
    waiting: Mutex<Waiting>,
    wake: Notify,
    over: CancellationToken,
    metrics: Metrics,
}

/// Readers that the next round answers. Each has a place among the node's reads, which are bounded.
#[derive(Default)]
struct Waiting {
    readers: Vec<oneshot::Sender<bool>>,
    closed: bool,
}

// === impl Reads ===

impl Reads {
    pub(crate) fn new(shard: ShardId, owner: Owner, patience: Duration, metrics: Metrics) -> Reads {
        let queue = Queue {
            shard,
            owner,
            patience,
            waiting: Mutex::default(),
            wake: Notify::new(),
            over: CancellationToken::new(),
            metrics,
        };
        Reads {
            queue: Arc::new(queue),
        }
    }

    /// Whether this node was the shard's only owner at some time after this call. Then its rows hold everything that was
    /// acknowledged before the call.
    pub(crate) async fn confirmed(&self) -> bool {
        let (reader, answer) = oneshot::channel();
        {
            let mut waiting = self.queue.waiting.lock();
            if waiting.closed {
                return false;
            }
            waiting.readers.push(reader);
        }
        self.queue.wake.notify_one();
        answer.await.unwrap_or(false)
    }

    /// Ends the epoch: nothing more can be proved under it.
    pub(crate) fn close(&self) {
        self.queue.waiting.lock().closed = true;
        self.queue.over.cancel();
        answer(self.queue.take(), false);
    }

    /// Confirms, round by round, until [`close`](Self::close).
    pub(crate) async fn run(self, group: Group) {
        let queue = &self.queue;
        loop {
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
                proved = tokio::time::timeout(queue.patience, queue.round(&group)) => proved.unwrap_or(false),
            };
            if !proved {
                // Who came during a round that failed would wait for another one to fail. They ask again.
                readers.append(&mut queue.take());
            }
            queue.metrics.confirmed(readers.len(), proved);
            answer(readers, proved);
        }
    }
}

// === impl Queue ===

impl Queue {
    fn take(&self) -> Vec<oneshot::Sender<bool>> {
        std::mem::take(&mut self.waiting.lock().readers)
    }

    /// Asks the voters once.
    async fn round(&self, group: &Group) -> bool {
        let me = self.owner.node;
        let older = |term: Option<u64>| term.is_some_and(|term| term <= self.owner.term);
        let mut tally = group.tally();
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
                Some((node, term)) => tally.count(node, older(term)),
                None => return false,
            }
        }
    }
}

fn answer(readers: Vec<oneshot::Sender<bool>>, proved: bool) {
    for reader in readers {
        // A reader that went away needs no answer.
        let _ = reader.send(proved);
    }
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Reads(shard {}, epoch {})",
            self.queue.shard.0, self.queue.owner.epoch
        )
    }
}
